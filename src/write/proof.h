/*
 * Before a writer relies on refcounts it must know that none is too low (O39).
 * Then a cluster without a refcount is free, one with a refcount of 1 has one
 * owner, and an entry with the COPIED flag may be written in place.
 *
 * The proof is one pass over all metadata (check/proof.h), made before the
 * first change and not at open: an image that is not changed costs nothing.
 * New clusters at the end of the file need it too, because an entry may point
 * past the end, to where the next cluster would be.  Refcounts that turn out
 * too low are raised, and flags that turn out wrong cleared.  An image with
 * other damage is marked corrupt and takes no changes.
 *
 * If the pass cannot be made (no memory, a table that cannot be read) writing
 * goes on, and nothing that the file held is claimed, overwritten in place,
 * punched or cut off: L2 tables and data are copied when they change.
 * Operations that cannot live with that call proof_require().
 *
 * The pass runs on the caller's thread, which must hold nothing: no range in
 * flight, no grace period, no lock below snapshot_lock.  Other writers wait,
 * readers do not.
 */
#ifndef WRITE_PROOF_H
#define WRITE_PROOF_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/validate.h"

struct image;

enum proof_state {
	PROOF_OPEN,    /* nobody has needed it yet */
	PROOF_MADE,    /* or the caller vouched for the refcounts */
	PROOF_FAILED,  /* could not be made: why says it */
	PROOF_REFUSED, /* the image is damaged: why says it */
};

/* Its fields change under writer.snapshot_lock. */
struct proof {
	_Atomic int state;         /* enum proof_state; read without it too */
	_Atomic uint64_t n_raised; /* refcounts that were too low */
	struct qcow2_error why;
	struct qcow2_budget budget;
	bool had_bitmaps; /* they were valid when the image opened */
};

/* The caller must hold snapshot_lock, or have the image to himself. */
VALIDATOR(proof);

/* All that the file holds is inherited from now on. */
void proof_init(struct image *img, const struct qcow2_open_opts *opts);

/*
 * Before @len bytes of guest data change: makes the proof.  -EAGAIN with
 * QCOW2_NOWAIT while there is none; -EIO for a damaged image.
 */
int proof_before_change(struct image *img, uint64_t len, unsigned flags,
			struct qcow2_error *err);

/* Makes the proof, unless it was tried before.  0 also when it failed for want
 * of memory or of a table. */
int proof_make(struct image *img, struct qcow2_error *err);

/* The same for callers that cannot do without the proof: tries a failed pass
 * again, and fails if that fails. */
int proof_require(struct image *img, struct qcow2_error *err);

/* The same for callers that hold snapshot_lock and keep writers out. */
int proof_require_frozen(struct image *img, struct qcow2_error *err);

/* Whether COPIED may be believed of the cluster at @host_off: not where the
 * proof failed and the file held the cluster before.  The answer stays while a
 * request is in flight. */
bool proof_allows_in_place(const struct image *img, uint64_t host_off);

#endif
