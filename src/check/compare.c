#include <inttypes.h>
#include <stdio.h>

#include "base/checked.h"
#include "check/context.h"

/* How often the caller hears from us, in chunks of counters. */
#define PROGRESS_CHUNKS 1024

/* Neighbouring clusters with the same mismatch, which make one finding. */
struct compare_same_run {
	uint64_t first;
	uint64_t n;
	uint64_t stored;
	uint32_t count;
	enum use use;
};

struct width {
	char text[80];
};

/* Names the width that is needed when this one is too narrow. */
static const char *width_text(const struct check *c,
			      const struct compare_same_run *run,
			      struct width *w)
{
	w->text[0] = 0;
	if (run->count > c->geo.refcount_max)
		snprintf(w->text, sizeof(w->text),
			 "; %" PRIu32
			 " bits cannot count them, refcount_bits=%u can",
			 c->geo.refcount_bits,
			 1u << geometry_refcount_order(run->count));
	return w->text;
}

static void tell_low(struct check *c, const struct compare_same_run *run,
		     uint64_t off)
{
	struct width width;

	/* A count too large for this width is not repaired in place. */
	if (c->report.only && !c->mode.any_width &&
	    run->count > c->geo.refcount_max)
		return;
	report_clusters(&c->report, DEFECT_REFCOUNT_TOO_LOW, run->n, off,
			"%" PRIu64 " cluster%s from 0x%" PRIx64
			" (%s): refcount %" PRIu64 ", references %" PRIu32
			": a write may overwrite what others use%s",
			run->n, run->n == 1 ? "" : "s", off, use_name(run->use),
			run->stored, run->count, width_text(c, run, &width));
}

static void tell_leak(struct check *c, const struct compare_same_run *run,
		      uint64_t off)
{
	report_clusters(
		&c->report, DEFECT_REFCOUNT_LEAK, run->n, off,
		"%" PRIu64 " cluster%s from 0x%" PRIx64 ": refcount %" PRIu64
		", references %" PRIu32 ": space is lost",
		run->n, run->n == 1 ? "" : "s", off, run->stored, run->count);
}

static void compare_end_run(struct check *c, struct compare_same_run *run)
{
	uint64_t off = run->first << c->geo.cluster_bits;

	if (!run->n)
		return;
	if (run->stored < run->count)
		tell_low(c, run, off);
	else if (!c->report.incomplete)
		tell_leak(c, run, off);
	run->n = 0;
}

static void mismatch(struct check *c, struct compare_same_run *run,
		     uint64_t cluster_idx, uint64_t stored, uint32_t word)
{
	struct compare_same_run one = { cluster_idx, 1, stored,
					refs_count(word), refs_use(word) };

	if (run->n && run->first + run->n == cluster_idx &&
	    run->stored == stored && run->count == one.count &&
	    run->use == one.use) {
		run->n++;
		return;
	}
	compare_end_run(c, run);
	*run = one;
}

/* The stored refcount, from the digest where that says it all. */
static bool stored_refcount(struct check *c, uint64_t cluster_idx,
			    uint32_t word, uint64_t *stored)
{
	enum stored digest = refs_stored(word);

	if (!refblocks_known(c, cluster_idx))
		return false;
	*stored = (uint64_t)digest;
	if (digest < STORED_MANY || refblocks_exact(c, cluster_idx, stored))
		return true;
	report_unchecked(&c->report, 1, cluster_idx << c->geo.cluster_bits,
			 "the refcount of the cluster at 0x%" PRIx64
			 " cannot be read",
			 cluster_idx << c->geo.cluster_bits);
	return false;
}

static void compare_word(struct check *c, struct compare_same_run *run,
			 uint64_t cluster_idx, uint32_t word)
{
	uint32_t count = refs_count(word);
	uint64_t stored;

	if (!stored_refcount(c, cluster_idx, word, &stored))
		return;
	if (stored == count || (count == REFS_COUNT_MAX && stored > count))
		return;
	/* An overlap has been reported, and says more. */
	if (stored < count && refs_use(word) == USE_CONFLICT)
		return;
	mismatch(c, run, cluster_idx, stored, word);
}

static inline bool is_consistent(uint32_t word)
{
	return word == 0 ||
	       (refs_stored(word) == STORED_ONE && refs_count(word) == 1);
}

/* Returns the number of clusters up to the last one that is used or counted,
 * 0 when there is none.  Refcounts past the end of the file, of clusters that
 * may come, are nobody's loss. */
static uint64_t compare_chunk(struct check *c, struct compare_same_run *run,
			      const struct refs_chunk *chunk)
{
	uint64_t n_file = geometry_clusters(&c->geo, c->file_size);
	uint64_t first = chunk->idx << REFS_CHUNK_BITS;
	uint64_t end = 0;

	for (uint32_t k = 0; k < REFS_CHUNK_CLUSTERS; k++) {
		uint32_t word = chunk->words[k];

		if (first + k >= n_file && !refs_count(word))
			continue;
		if (word)
			end = first + k + 1;
		if (!is_consistent(word))
			compare_word(c, run, first + k, word);
	}
	return end;
}

int check_compare(struct check *c, struct qcow2_error *err)
{
	struct compare_same_run run = { 0 };
	uint64_t end = 0;

	refs_sort(&c->refs);
	for (size_t i = 0; i < c->refs.n_chunks; i++) {
		uint64_t chunk_end = compare_chunk(c, &run, &c->refs.chunks[i]);
		int rc = 0;

		end = max_u64(end, chunk_end);
		if (i % PROGRESS_CHUNKS == 0)
			rc = report_progress(&c->report, 950, err);
		if (rc < 0)
			return rc;
	}
	compare_end_run(c, &run);
	c->report.result->image_end_off = end << c->geo.cluster_bits;
	return 0;
}
