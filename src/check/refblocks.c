#include "check/refblocks.h"

#include <assert.h>
#include <inttypes.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/zero.h"
#include "check/context.h"
#include "format/refcount.h"

/* How often the caller hears from us, in blocks. */
#define PROGRESS_BLOCKS 256

static uint64_t table_bytes(const struct check *c)
{
	return (uint64_t)c->header.refcount_table_clusters *
	       c->geo.cluster_size;
}

/* Clusters that exist in the file and are counted by block @i. */
static uint64_t clusters_of_block(const struct check *c, uint64_t i)
{
	uint64_t first = i << c->geo.refcount_block_bits;
	uint64_t n_file = geometry_clusters(&c->geo, c->file_size);

	if (first >= n_file)
		return 0;
	return min_u64(n_file - first, UINT64_C(1)
					       << c->geo.refcount_block_bits);
}

enum { VALIDATED_MAX = 4096 };

/* "Blocks that count clusters of the file": so few, and where they are clusters
 * themselves. */
void refblocks_validate(const struct check *c)
{
	const struct refblocks *b = &c->refblocks;

	assert(implies(b->n, b->offs));
	assert(implies(b->n > 1, clusters_of_block(c, b->n - 2)));
	for (size_t i = 0; i < b->n && i < VALIDATED_MAX; i++) {
		uint64_t off = b->offs[i];

		assert(off == REFBLOCK_UNKNOWN ||
		       (off < c->file_size &&
			is_aligned(off, c->geo.cluster_size)));
	}
}

static void set_block(struct check *c, uint64_t i, uint64_t off)
{
	if (i < c->refblocks.n)
		c->refblocks.offs[i] = off;
}

/* Nothing is known about what block @i should have counted. */
static void block_unknown(struct check *c, uint64_t i, uint64_t entry_off,
			  const char *why)
{
	uint64_t n = clusters_of_block(c, i);

	set_block(c, i, REFBLOCK_UNKNOWN);
	if (n)
		report_unchecked(
			&c->report, n, entry_off,
			"refcounts of %" PRIu64 " clusters from 0x%" PRIx64
			" cannot be checked: refcount block %" PRIu64 " %s",
			n,
			i << (c->geo.refcount_block_bits + c->geo.cluster_bits),
			i, why);
}

static bool is_shared(const struct check *c, uint64_t off)
{
	enum use use = refs_use(refs_get(&c->refs, check_cluster(c, off)));

	return use == USE_REFCOUNT_BLOCK || use == USE_CONFLICT;
}

static int claim_block(struct check *c, uint64_t i, uint64_t off,
		       uint64_t entry_off, struct qcow2_error *err)
{
	struct use_claim claim = {
		.off = off,
		.len = c->geo.cluster_size,
		.use = USE_REFCOUNT_BLOCK,
		.n = 1,
		.from = entry_off,
		.beyond = DEFECT_REFCOUNT_BLOCK_BEYOND_EOF,
	};
	bool shared = is_shared(c, off);
	int rc = claim_clusters(c, &claim, err);

	if (rc < 0)
		return rc;
	set_block(c, i, off);
	if (!shared)
		return 0;
	report_defect(&c->report, DEFECT_REFCOUNT_BLOCK_SHARED, entry_off,
		      "refcount table entry %" PRIu64 " points to the refcount "
		      "block at 0x%" PRIx64 ", which an earlier entry uses",
		      i, off);
	block_unknown(c, i, entry_off, "is shared");
	return 0;
}

static int refblocks_table_entry(struct check *c, uint64_t i, uint64_t entry,
				 uint64_t entry_off, struct qcow2_error *err)
{
	enum defect bad =
		refcount_table_entry_defect(&c->geo, entry, c->file_size);
	uint64_t off = refcount_block_off(entry);

	if (bad)
		report_defect(&c->report, bad, entry_off,
			      "refcount table entry %" PRIu64
			      " is 0x%016" PRIx64 ": %s",
			      i, entry, defect_info((int)bad)->text);
	if (off == 0 || off >= c->file_size)
		return 0;
	if (!is_aligned(off, c->geo.cluster_size)) {
		block_unknown(c, i, entry_off, "is out of place");
		return 0;
	}
	return claim_block(c, i, off, entry_off, err);
}

static int refblocks_read_table(struct check *c, struct qcow2_error *err)
{
	uint64_t off = c->header.refcount_table_off;
	uint64_t end = off + table_bytes(c);
	uint64_t i = 0;

	while (off < end) {
		size_t len = (size_t)min_u64(BULK_BYTES, end - off);
		const uint8_t *p;
		int rc;

		rc = bulk_read(&c->bulk, len, len, off, &p, err);
		if (rc < 0)
			return error_prefix(err, rc, "refcount table");
		if (p && is_zero(p, len))
			bulk_found_empty(&c->bulk, off);
		for (size_t k = 0; p && k < len; k += 8) {
			uint64_t entry = get_be64(p + k);

			rc = entry ? refblocks_table_entry(c, i + k / 8, entry,
							   off + k, err)
				   : 0;
			if (rc < 0)
				return rc;
		}
		i += len / 8;
		off += len;
	}
	return 0;
}

static uint64_t stored_at(const struct check *c, const uint8_t *block,
			  uint64_t i)
{
	if (c->geo.refcount_order == REFCOUNT_ORDER_V2)
		return get_be16(block + i * 2);
	return refcount_get(block, i, c->geo.refcount_order);
}

static enum stored refblocks_digest(uint64_t refcount)
{
	return refcount > 1 ? STORED_MANY : (enum stored)refcount;
}

/* @n refcounts from @i on, all of which belong to one chunk of words. */
static int load_run(struct check *c, const uint8_t *block, uint64_t i,
		    uint64_t n, uint64_t cluster_idx, struct qcow2_error *err)
{
	uint64_t first_byte = (i << c->geo.refcount_order) / 8;
	uint64_t end_byte = div_round_up((i + n) << c->geo.refcount_order, 8);
	uint32_t *words;

	if (is_zero(block + first_byte, (size_t)(end_byte - first_byte)))
		return 0;
	words = refs_at(&c->refs, cluster_idx);
	if (!words)
		return budget_error(&c->budget, "reference counters", err);
	for (uint64_t k = 0; k < n; k++)
		refs_set_stored(&words[k],
				refblocks_digest(stored_at(c, block, i + k)));
	return 0;
}

static int load_block(struct check *c, uint64_t i, struct qcow2_error *err)
{
	uint64_t first = i << c->geo.refcount_block_bits;
	uint64_t n = UINT64_C(1) << c->geo.refcount_block_bits;
	uint64_t off = c->refblocks.offs[i];
	const uint8_t *block;
	int rc;

	rc = bulk_read(&c->bulk, c->geo.cluster_size, c->geo.cluster_size, off,
		       &block, NULL);
	if (rc < 0) {
		block_unknown(c, i, off, "cannot be read");
		return 0;
	}
	if (block && is_zero(block, c->geo.cluster_size))
		bulk_found_empty(&c->bulk, off);
	for (uint64_t k = 0; block && k < n;) {
		uint64_t room = REFS_CHUNK_CLUSTERS -
				((first + k) & (REFS_CHUNK_CLUSTERS - 1));
		uint64_t run = min_u64(room, n - k);

		rc = load_run(c, block, k, run, first + k, err);
		if (rc < 0)
			return rc;
		k += run;
	}
	return 0;
}

static int load_blocks(struct check *c, struct qcow2_error *err)
{
	const struct refblocks *b = &c->refblocks;

	for (size_t i = 0; i < b->n; i++) {
		int rc = 0;

		if (b->offs[i] && b->offs[i] != REFBLOCK_UNKNOWN)
			rc = load_block(c, i, err);
		if (rc >= 0 && i % PROGRESS_BLOCKS == 0)
			rc = report_progress(&c->report,
					     (uint32_t)(i * 50 / b->n), err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int refblocks_claim_table(struct check *c, struct qcow2_error *err)
{
	struct use_claim claim = {
		.off = c->header.refcount_table_off,
		.len = table_bytes(c),
		.use = USE_REFCOUNT_TABLE,
		.n = 1,
		.from = HEADER_OFF_REFCOUNT_TABLE_OFF,
		.beyond = DEFECT_HEADER_REFCOUNT_TABLE_OFFSET,
	};

	return claim.len ? claim_clusters(c, &claim, err) : 0;
}

int refblocks_load(struct check *c, struct qcow2_error *err)
{
	struct refblocks *b = &c->refblocks;
	uint64_t n_file = geometry_clusters(&c->geo, c->file_size);
	int rc;

	b->n = (size_t)min_u64(table_bytes(c) / REFCOUNT_TABLE_ENTRY_BYTES,
			       (n_file >> c->geo.refcount_block_bits) + 1);
	b->offs = budget_alloc(&c->budget, b->n * sizeof(*b->offs));
	if (!b->offs) {
		b->n = 0;
		return budget_error(&c->budget, "the refcount table", err);
	}
	rc = refblocks_claim_table(c, err);
	if (rc >= 0)
		rc = refblocks_read_table(c, err);
	if (rc >= 0)
		rc = load_blocks(c, err);
	IF_VALIDATING(refblocks_validate(c));
	return rc;
}

void refblocks_release(struct check *c)
{
	budget_free(&c->budget, c->refblocks.offs,
		    c->refblocks.n * sizeof(*c->refblocks.offs));
	c->refblocks = (struct refblocks){ 0 };
}

bool refblocks_known(const struct check *c, uint64_t cluster_idx)
{
	uint64_t i = cluster_idx >> c->geo.refcount_block_bits;

	/* Of a table out of place one finding is enough. */
	if (c->refcounts_dropped)
		return false;
	return i >= c->refblocks.n || c->refblocks.offs[i] != REFBLOCK_UNKNOWN;
}

bool refblocks_stored(const struct check *c, uint64_t cluster_idx,
		      enum stored *stored)
{
	*stored = refs_stored(refs_get(&c->refs, cluster_idx));
	return refblocks_known(c, cluster_idx);
}

bool refblocks_exact(struct check *c, uint64_t cluster_idx, uint64_t *value)
{
	uint64_t i = cluster_idx >> c->geo.refcount_block_bits;
	uint64_t mask = (UINT64_C(1) << c->geo.refcount_block_bits) - 1;
	const uint8_t *block;

	*value = 0;
	if (i >= c->refblocks.n || !c->refblocks.offs[i])
		return true;
	if (c->refblocks.offs[i] == REFBLOCK_UNKNOWN)
		return false;
	if (bulk_read(&c->bulk, c->geo.cluster_size, c->geo.cluster_size,
		      c->refblocks.offs[i], &block, NULL) < 0)
		return false;
	if (block)
		*value = stored_at(c, block, cluster_idx & mask);
	return true;
}
