#include "write/proof.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "check/proof.h"
#include "counts/grow.h"
#include "counts/inherited.h"
#include "counts/used.h"
#include "image/image.h"
#include "store/store.h"
#include "write/copied_flags.h"
#include "write/features.h"
#include "write/writer.h"

void proof_validate(const struct proof *p)
{
	int state = atomic_load(&p->state);

	assert(state >= PROOF_OPEN && state <= PROOF_REFUSED);
	/* "Why says it". */
	assert(implies(state == PROOF_FAILED || state == PROOF_REFUSED,
		       p->why.code < 0));
	assert(implies(state == PROOF_MADE, p->why.code == 0));
}

void proof_init(struct image *img, const struct qcow2_open_opts *opts)
{
	struct proof *p = &img->writer->proof;

	p->budget = opts->budget;
	p->had_bitmaps = img->header.autoclear_features & AUTOCLEAR_BITMAPS;
	refcounts_doubt(&img->writer->refs);
	if (!(opts->flags & QCOW2_OPEN_TRUST_REFCOUNTS))
		return;
	refcounts_believe(&img->writer->refs);
	p->state = PROOF_MADE;
}

/* ---- Raising ------------------------------------------------------------- */

/* The regions of a file that lost its blocks are no longer behind its end, so a
 * block cannot lie among the clusters it describes: another one counts it,
 * durably, before the table has it. */
static int make_block(struct image *img, uint64_t cluster_idx,
		      struct qcow2_error *err)
{
	struct refcounts *r = &img->writer->refs;
	struct claim claim;
	int rc = refcounts_claim(r, 1, &claim, err);

	if (rc < 0)
		return rc;
	/* The end of the file may be in the same region. */
	if (refcounts_has_block(r, cluster_idx)) {
		refcounts_unclaim(r, &claim);
		return 0;
	}
	rc = commit_flush(&img->writer->commit, err);
	if (rc == 0)
		rc = refcounts_add_block_at(r, cluster_idx, claim.host_off,
					    err);
	if (rc < 0)
		refcounts_unclaim(r, &claim);
	return rc;
}

/* The first cluster of the run that no block describes. */
static uint64_t without_block(const struct refcounts *r,
			      const struct proof_low *low)
{
	uint64_t i = low->first;

	while (refcounts_has_block(r, i))
		i = ((i >> r->geo->refcount_block_bits) + 1)
		    << r->geo->refcount_block_bits;
	return i;
}

static int raise_one(struct image *img, const struct proof_low *low,
		     uint64_t *n_raised, struct qcow2_error *err)
{
	struct refcounts *r = &img->writer->refs;
	int rc;

	do {
		rc = refcounts_raise(r, low->n, low->first, low->count,
				     n_raised, err);
		if (rc != 1)
			return rc;
		rc = make_block(img, without_block(r, low), err);
	} while (rc == 0);
	return rc;
}

/* Refcounts first, durably: a flag that is set where they say 1 is right. */
static int put_right(struct image *img, const struct proof_findings *f,
		     struct qcow2_error *err)
{
	struct commit *c = &img->writer->commit;
	uint64_t n_raised = 0, n_lost;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < f->n_low; i++)
		rc = raise_one(img, &f->low[i], &n_raised, err);
	if (rc == 0)
		rc = commit_flush(c, err);
	if (rc == 0 && f->wrong_flags)
		rc = copied_flags_restore(img, &n_lost, err);
	if (rc == 0 && f->wrong_flags)
		rc = commit_flush(c, err);
	img->writer->proof.n_raised += n_raised;
	return rc;
}

/* ---- The pass ------------------------------------------------------------ */

static int write_proof_refuse(struct image *img, const struct proof_findings *f,
			      struct qcow2_error *err)
{
	struct proof *p = &img->writer->proof;

	p->state = PROOF_REFUSED;
	if (f->corrupt)
		features_mark_corrupt(img, p->why.code);
	if (err)
		*err = p->why;
	return p->why.code;
}

/* A counter for every cluster, and what goes with it. */
enum { BYTES_PER_CLUSTER = 5 };

/* If the caller names no budget, a large image may cost more than the usual
 * one: the memory for counting its clusters, but no more than the file takes up
 * on the host, so that a small file cannot claim to be a large one. */
static struct qcow2_budget budget_of(struct image *img)
{
	struct qcow2_budget budget = img->writer->proof.budget;
	uint64_t size = image_file_end(img);
	uint64_t wanted =
		geometry_clusters(&img->geo, size) * BYTES_PER_CLUSTER;
	uint64_t allocated;

	if (store_allocated(img->file, &allocated, NULL) < 0)
		allocated = size;
	if (!budget.metadata_bytes)
		budget.metadata_bytes =
			METADATA_BYTES_DEFAULT + min_u64(wanted, allocated);
	return budget;
}

/* With the file as the metadata in memory has it. */
static int prove(struct image *img, struct qcow2_error *err)
{
	struct proof *p = &img->writer->proof;
	struct qcow2_budget budget = budget_of(img);
	struct proof_findings f = { 0 };
	struct qcow2_error why = { 0 };
	SCOPED_VALIDATE(proof, p);
	int rc = commit_flush(&img->writer->commit, err);

	if (rc < 0)
		return rc;
	rc = check_prove(img->file, &budget, p->had_bitmaps, &f, &why);
	if (rc < 0)
		p->why = why;
	if (rc < 0 && (f.corrupt || f.too_narrow)) {
		rc = write_proof_refuse(img, &f, err);
	} else if (rc < 0) {
		p->state = PROOF_FAILED;
		rc = 0;
	} else {
		rc = put_right(img, &f, err);
		if (rc == 0) {
			refcounts_believe(&img->writer->refs);
			p->why = why;
			p->state = PROOF_MADE;
		}
	}
	assert(f.n_low <= f.capacity);
	free(f.low);
	return rc;
}

static int refused(const struct proof *p, struct qcow2_error *err)
{
	if (err)
		*err = p->why;
	return p->why.code;
}

int proof_make(struct image *img, struct qcow2_error *err)
{
	struct proof *p = &img->writer->proof;
	struct inflight_freeze freeze;
	int rc = 0;

	if (p->state == PROOF_MADE || p->state == PROOF_FAILED)
		return 0;
	SCOPED_LOCK(&img->writer->snapshot_lock);
	if (p->state == PROOF_OPEN) {
		inflight_freeze(&img->writer->inflight, &freeze);
		rc = prove(img, err);
		inflight_thaw(&img->writer->inflight, &freeze);
	} else if (p->state == PROOF_REFUSED) {
		rc = refused(p, err);
	}
	return rc;
}

int proof_require_frozen(struct image *img, struct qcow2_error *err)
{
	struct proof *p = &img->writer->proof;
	int rc = 0;

	if (p->state == PROOF_MADE)
		return 0;
	if (p->state == PROOF_REFUSED)
		return refused(p, err);
	rc = prove(img, err);
	if (rc < 0 || p->state == PROOF_MADE)
		return rc;
	return error_prefix(err, refused(p, err),
			    "it cannot be proved that no refcount is too low");
}

int proof_require(struct image *img, struct qcow2_error *err)
{
	struct inflight_freeze freeze;
	int rc;
	SCOPED_LOCK(&img->writer->snapshot_lock);

	inflight_freeze(&img->writer->inflight, &freeze);
	rc = proof_require_frozen(img, err);
	inflight_thaw(&img->writer->inflight, &freeze);
	return rc;
}

bool proof_allows_in_place(const struct image *img, uint64_t host_off)
{
	const struct writer *writer = img->writer;

	return atomic_load_explicit(&writer->proof.state,
				    memory_order_acquire) != PROOF_FAILED ||
	       refcounts_may_reuse(&writer->refs,
				   host_off >> img->geo.cluster_bits);
}

/* ---- Before a request ---------------------------------------------------- */

int proof_before_change(struct image *img, uint64_t len, unsigned flags,
			struct qcow2_error *err)
{
	struct proof *p = &img->writer->proof;

	if (!len)
		return 0;
	switch (atomic_load_explicit(&p->state, memory_order_acquire)) {
	case PROOF_MADE:
	case PROOF_FAILED:
		return 0;
	case PROOF_REFUSED:
		return proof_make(img, err);
	default:
		break;
	}
	if (flags & QCOW2_NOWAIT)
		return error_set(err, -EAGAIN,
				 "the refcounts have not been proved yet");
	return proof_make(img, err);
}
