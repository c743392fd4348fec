/*
 * Refcounts are changed where they are: in the blocks that the check found to
 * be in place.  Raising comes before anything that relies on it, lowering after
 * everything that had to be done for it.
 */
#include "base/checked.h"
#include "format/refcount.h"
#include "repair/context.h"
#include "store/store.h"

/* The refcounts of one chunk of counters: 4 KiB when they have 64 bits. */
#define RUN_BYTES_MAX (REFS_CHUNK_CLUSTERS * sizeof(uint64_t))

enum direction {
	RAISE,
	LOWER,
};

static struct defect_set set_of(enum defect defect)
{
	struct defect_set set = { { 0 } };

	defect_set_add(&set, defect);
	return set;
}

static uint64_t wanted(const struct repair *r, uint64_t stored, uint32_t count,
		       enum direction direction)
{
	uint64_t count_max = r->c.geo.refcount_max;

	if (direction == RAISE)
		return max_u64(stored, min_u64(count, count_max));
	/* A counter at its end may stand for any number above. */
	if (count == REFS_COUNT_MAX)
		return stored;
	return min_u64(stored, count);
}

/* Whether the digest says that there is nothing to do. */
static bool is_done(uint32_t word, enum direction direction)
{
	uint32_t count = refs_count(word);
	enum stored stored = refs_stored(word);

	if (direction == RAISE)
		return count <= (uint32_t)stored &&
		       (stored != STORED_MANY || count < 2);
	return stored != STORED_MANY && (uint32_t)stored <= count;
}

static enum stored repair_counts_digest(uint64_t refcount)
{
	return refcount > 1 ? STORED_MANY : (enum stored)refcount;
}

/* @n counters of one block, of which @i is the index of the first in it. */
static int fix_run(struct repair *r, uint64_t block_off, uint64_t i,
		   uint32_t *words, uint32_t n, enum direction direction,
		   struct qcow2_error *err)
{
	uint32_t order = r->c.geo.refcount_order;
	uint64_t from = (i << order) / 8;
	uint64_t end = div_round_up((i + n) << order, 8);
	uint8_t buf[RUN_BYTES_MAX];
	size_t len = (size_t)(end - from);
	bool changed = false;
	int rc = store_pread(r->file, buf, len, block_off + from, 0, err);

	if (rc < 0)
		return rc;
	for (uint32_t k = 0; k < n; k++) {
		uint64_t old = refcount_get(buf, k, order);
		uint64_t new = wanted(r, old, refs_count(words[k]), direction);

		if (old == new)
			continue;
		refcount_put(buf, k, order, new);
		refs_set_stored(&words[k], repair_counts_digest(new));
		r->made_sole |= new == 1;
		changed = true;
	}
	if (!changed)
		return 0;
	return store_pwrite(r->file, buf, len, block_off + from, 0, err);
}

static int fix_clusters(struct repair *r, uint64_t first, uint32_t *words,
			uint32_t n, enum direction direction,
			struct qcow2_error *err)
{
	const struct refblocks *b = &r->c.refblocks;
	uint64_t block = first >> r->c.geo.refcount_block_bits;
	uint64_t mask = (UINT64_C(1) << r->c.geo.refcount_block_bits) - 1;
	uint64_t n_file = geometry_clusters(&r->c.geo, r->c.file_size);
	bool done = true;

	/* Refcounts past the end are of clusters that may come. */
	if (direction == LOWER)
		n = first < n_file ? (uint32_t)min_u64(n, n_file - first) : 0;
	if (block >= b->n || !b->offs[block] ||
	    b->offs[block] == REFBLOCK_UNKNOWN ||
	    !repair_is_sole(r, b->offs[block]))
		return 0;
	for (uint32_t k = 0; k < n && done; k++)
		done = is_done(words[k], direction);
	if (done)
		return 0;
	return fix_run(r, b->offs[block], first & mask, words, n, direction,
		       err);
}

/* Chunks are cut at blocks, which count 64 clusters at least. */
static int fix_chunk(struct repair *r, const struct refs_chunk *chunk,
		     enum direction direction, struct qcow2_error *err)
{
	uint64_t block_bits = r->c.geo.refcount_block_bits;
	uint32_t step = block_bits < REFS_CHUNK_BITS ? 1u << block_bits
						     : REFS_CHUNK_CLUSTERS;
	int rc = 0;

	for (uint32_t k = 0; rc == 0 && k < REFS_CHUNK_CLUSTERS; k += step)
		rc = fix_clusters(r, (chunk->idx << REFS_CHUNK_BITS) + k,
				  chunk->words + k, step, direction, err);
	return rc;
}

static int fix_all(struct repair *r, enum direction direction,
		   struct qcow2_error *err)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < r->c.refs.n_chunks; i++)
		rc = fix_chunk(r, &r->c.refs.chunks[i], direction, err);
	return rc;
}

/* The comparison once more, aloud. */
static int repair_counts_tell(struct repair *r, enum defect defect,
			      struct qcow2_error *err)
{
	struct defect_set only = set_of(defect);
	struct qcow2_check_result counted = { 0 };
	struct report old = r->c.report;
	int rc;

	r->c.report.only = &only;
	r->c.report.action = QCOW2_ACTION_REPAIRED;
	r->c.report.opts = &r->aloud;
	r->c.report.result = &counted;
	rc = check_compare(&r->c, err);
	r->c.report = old;
	r->fixed.leaks_fixed += counted.leaks;
	r->fixed.corruptions_fixed += counted.corruptions;
	return rc;
}

int repair_raise(struct repair *r, struct qcow2_error *err)
{
	int rc = repair_counts_tell(r, DEFECT_REFCOUNT_TOO_LOW, err);

	if (rc == 0)
		rc = fix_all(r, RAISE, err);
	return rc < 0 ? rc : repair_barrier(r, err);
}

int repair_lower(struct repair *r, bool aloud, struct qcow2_error *err)
{
	int rc = 0;

	/* References that could not be followed may lead anywhere. */
	if (r->c.report.incomplete)
		return 0;
	if (aloud)
		rc = repair_counts_tell(r, DEFECT_REFCOUNT_LEAK, err);
	if (rc == 0)
		rc = fix_all(r, LOWER, err);
	return rc < 0 ? rc : repair_barrier(r, err);
}
