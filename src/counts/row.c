/*
 * Clusters in a row, which tables need: the first gap that is long enough, else
 * the end of the file.
 */
#include "base/checked.h"
#include "base/cleanup.h"
#include "counts/grow.h"
#include "counts/refcounts.h"
#include "counts/view.h"

enum { READ_AT_ONCE = 512 };

int refcounts_find_row(struct refcounts *r, uint64_t n, uint64_t end,
		       uint64_t *first, struct qcow2_error *err)
{
	uint64_t values[READ_AT_ONCE];
	uint64_t at = refcounts_first_candidate(r);
	uint64_t n_free = 0;

	for (; at < end; at += READ_AT_ONCE) {
		uint64_t part = min_u64(READ_AT_ONCE, end - at);
		int rc = refcounts_read(r, part, at, values, err);

		if (rc < 0)
			return rc;
		for (uint64_t i = 0; i < part; i++) {
			n_free = values[i] ? 0 : n_free + 1;
			*first = at + i + 1 - n_free;
			if (n_free == n)
				return 0;
		}
	}
	return 1;
}

/* A cluster that is cut off by the end of the file does not count. */
static uint64_t whole_clusters(struct refcounts *r)
{
	SCOPED_LOCK(&r->grow_lock);

	return r->file_size >> r->geo->cluster_bits;
}

/* 1 when there is no gap, or somebody was faster. */
static int claim_gap(struct refcounts *r, uint64_t n, struct claim *out,
		     struct qcow2_error *err)
{
	uint32_t bits = r->geo->cluster_bits;
	uint64_t first;
	int rc = refcounts_find_row(r, n, whole_clusters(r), &first, err);

	if (rc == 0)
		rc = refcounts_take(r, n, first, err);
	if (rc == 0)
		*out = (struct claim){ first << bits, n, false };
	return rc;
}

int refcounts_claim_row(struct refcounts *r, uint64_t n, struct claim *out,
			struct qcow2_error *err)
{
	int rc = refcounts_claim(r, n, out, err);

	if (rc < 0 || out->n_clusters == n)
		return rc;
	refcounts_unclaim(r, out);
	rc = claim_gap(r, n, out, err);
	while (rc == 1)
		rc = refcounts_claim_end(r, n, out, err);
	return rc;
}
