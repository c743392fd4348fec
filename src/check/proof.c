#include "check/proof.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/error.h"
#include "check/context.h"

/* Defects that neither hide a reference nor add one, so that the refcounts can
 * be proved all the same.  Code that meets one in the tables reports it. */
static const enum defect harmless[] = {
	DEFECT_HEADER_DATA_FILE_RAW,
	DEFECT_HEADER_CORRUPT_BIT,
	DEFECT_HEADER_DIRTY_BIT,
	DEFECT_EXTENSION_FEATURE_TABLE,
	DEFECT_L1_ENTRY_RESERVED,
	DEFECT_L2_ENTRY_UNALIGNED,
	DEFECT_L2_ENTRY_RESERVED,
	DEFECT_L2_ENTRY_ZERO_V2,
	DEFECT_L2_ENTRY_COPIED_WITHOUT_OFFSET,
	DEFECT_L2_ENTRY_DATA_FILE_OFFSET,
	DEFECT_L2_ENTRY_COMPRESSED_DATA_FILE,
	DEFECT_L2_BITMAP_CONFLICT,
	DEFECT_L2_BITMAP_WITHOUT_OFFSET,
	DEFECT_L2_BITMAP_COMPRESSED,
	DEFECT_COMPRESSED_DATA,
	DEFECT_REFCOUNT_TOO_LOW,
	DEFECT_REFCOUNT_LEAK,
	DEFECT_COPIED_FLAG,
	DEFECT_SNAPSHOT_EXTRA_MISSING,
	/* A bitmap that cannot be followed is none: nobody can read it. */
	DEFECT_EXTENSION_BITMAPS,
	DEFECT_BITMAP_DIRECTORY,
	DEFECT_BITMAP_ENTRY,
	DEFECT_BITMAP_TABLE,
	DEFECT_BITMAP_TABLE_ENTRY,
	DEFECT_SNAPSHOT_DISK_SIZE,
	/* Neither the end nor a table without entries refers to anything. */
	DEFECT_EXTENSION_END,
	DEFECT_SNAPSHOT_L1_EMPTY,
	DEFECT_LUKS_HEADER,
	DEFECT_LUKS_SLOT,
};

/* All the others, and findings without a defect: failed reads. */
static struct defect_set harmful(void)
{
	struct defect_set set = { { 0 } };

	for (int d = 0; d < DEFECT_COUNT; d++)
		defect_set_add(&set, (enum defect)d);
	for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++)
		set.words[(unsigned)harmless[i] / 64] &=
			~(UINT64_C(1) << (unsigned)harmless[i] % 64);
	return set;
}

/* The first of each kind. */
struct reasons {
	struct qcow2_error corrupt;
	struct qcow2_error unread;
};

static void on_finding(void *opaque, const struct qcow2_finding *f)
{
	struct reasons *r = opaque;
	bool note = f->defect && f->severity == QCOW2_SEVERITY_NONE;

	/* A note is about a sound image, whatever defect it names. */
	if (note)
		return;
	if (f->defect && !r->corrupt.code)
		error_defect(&r->corrupt, -EIO, f->defect, f->host_off, "%s",
			     f->message);
	else if (!f->defect && !r->unread.code)
		error_set(&r->unread, -EIO, "%s", f->message);
}

/* ---- What is too low ----------------------------------------------------- */

static bool is_low(struct check *c, uint64_t cluster_idx, uint32_t word)
{
	uint32_t count = refs_count(word);
	enum stored stored = refs_stored(word);
	uint64_t exact;

	if (count <= (uint32_t)stored)
		return false;
	if (stored != STORED_MANY)
		return true;
	return refblocks_exact(c, cluster_idx, &exact) && exact < count;
}

static bool check_proof_continues(const struct proof_low *last,
				  uint64_t cluster_idx, uint32_t count)
{
	return last->first + last->n == cluster_idx && last->count == count;
}

static int add_low(struct check *c, struct proof_findings *out,
		   uint64_t cluster_idx, uint32_t count,
		   struct qcow2_error *err)
{
	struct proof_low *last = out->n_low ? &out->low[out->n_low - 1] : NULL;

	out->too_narrow = count > c->geo.refcount_max;
	if (out->too_narrow)
		return error_defect(err, -EIO, DEFECT_REFCOUNT_TOO_LOW,
				    cluster_idx << c->geo.cluster_bits,
				    "the cluster at 0x%" PRIx64 " has %" PRIu32
				    " references, and refcounts of %" PRIu32
				    " bits cannot say so",
				    cluster_idx << c->geo.cluster_bits, count,
				    c->geo.refcount_bits);
	if (last && check_proof_continues(last, cluster_idx, count)) {
		last->n++;
		return 0;
	}
	if (!budget_grow(&c->budget, (void **)&out->low, sizeof(*out->low),
			 out->n_low, &out->capacity))
		return budget_error(&c->budget, "refcounts that are too low",
				    err);
	out->low[out->n_low++] = (struct proof_low){ cluster_idx, 1, count };
	return 0;
}

static int collect_low(struct check *c, struct proof_findings *out,
		       struct qcow2_error *err)
{
	int rc = 0;

	for (size_t i = 0; i < c->refs.n_chunks; i++) {
		const struct refs_chunk *chunk = &c->refs.chunks[i];
		uint64_t first = chunk->idx << REFS_CHUNK_BITS;

		for (uint32_t k = 0; rc == 0 && k < REFS_CHUNK_CLUSTERS; k++)
			if (is_low(c, first + k, chunk->words[k]))
				rc = add_low(c, out, first + k,
					     refs_count(chunk->words[k]), err);
	}
	return rc;
}

/* ---- All of it ----------------------------------------------------------- */

static int judge(struct check *c, const struct reasons *why,
		 struct proof_findings *out, struct qcow2_error *err)
{
	const struct defect_set *found = &c->report.found;
	const struct qcow2_error *reason = why->corrupt.code ? &why->corrupt
							     : &why->unread;

	out->corrupt = why->corrupt.code != 0;
	if (reason->code) {
		*err = *reason;
		return reason->code;
	}
	out->wrong_flags = defect_set_has(found, DEFECT_REFCOUNT_TOO_LOW) ||
			   defect_set_has(found, DEFECT_COPIED_FLAG);
	return defect_set_has(found, DEFECT_REFCOUNT_TOO_LOW)
		       ? collect_low(c, out, err)
		       : 0;
}

int check_prove(struct qcow2_store *file, const struct qcow2_budget *budget,
		bool with_bitmaps, struct proof_findings *out,
		struct qcow2_error *err)
{
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	struct qcow2_check_result result = { 0 };
	struct defect_set only = harmful();
	struct reasons why = { { 0 }, { 0 } };
	struct check c;
	int rc;

	*out = (struct proof_findings){ 0 };
	opts.budget = *budget;
	opts.report = on_finding;
	opts.opaque = &why;
	check_begin(&c, file, &opts, &result);
	c.mode.any_width = true;
	c.mode.one_thread = true;
	c.mode.with_bitmaps = with_bitmaps;
	c.mode.long_compressed = true;
	c.report.only = &only;
	rc = check_run(&c, err);
	if (rc == 0)
		rc = judge(&c, &why, out, err);
	check_end(&c);
	return rc;
}
