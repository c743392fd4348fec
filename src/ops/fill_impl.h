/*
 * The parts of fill, for its own files only.
 *
 *	fill.c        the walk, the workers
 *	fill_runs.c   what a batch comes to: bytes, zeros, encoded clusters
 *	fill_place.c  finding places in turn, writing to them
 *	fill_share.c  sharing blocks instead
 */
#ifndef OPS_FILL_IMPL_H
#define OPS_FILL_IMPL_H

#include "base/validate.h"
#include "ops/batch.h"
#include "ops/extents.h"
#include "ops/offload.h"
#include "ops/pace.h"
#include "ops/progress.h"
#include "ops/turns.h"
#include "ops/workers.h"

/* The blocks that dst can share with src. */
struct share {
	uint64_t block_bytes; /* of the file system that dst is on */
	bool *layers;         /* those of src that can; NULL: none */
};

struct fill {
	struct disk *src;
	struct disk *dst;
	struct disk *backing; /* what dst shows so far; NULL: zeros */
	uint64_t size;
	uint64_t window_bytes;
	uint32_t unit;         /* a cluster of dst */
	uint32_t shared_depth; /* layers of src from here on are backing's */
	uint64_t sparse_bytes; /* shorter zeros are written */
	bool compress;
	bool is_new;       /* dst has no other use: see disk_place() */
	bool writes_zeros; /* dst does not read as zeros or backing */
	bool in_order;     /* what is written where depends on the order */
	struct pace pace;
	struct progress progress;
	struct turns turns;

	struct share share;

	pthread_mutex_t lock; /* guards the walk: */
	struct extents extents;
	uint64_t pos;
	uint64_t n_batches;
};

/* The caller must hold f->lock. */
VALIDATOR(fill);

enum run_kind {
	RUN_BYTES,
	RUN_ZERO,
	RUN_ENCODED, /* one cluster */
};

/* Guest bytes that are written in one way. */
struct fill_run {
	uint64_t off;
	uint64_t len;
	const uint8_t *from; /* not for zeros */
	size_t n_from;
	enum run_kind kind;
};

/* Bytes that have a place and are to be written there; @from is NULL for those
 * of an extent whose blocks are shared. */
struct placed {
	uint64_t off;
	uint64_t host_off;
	uint64_t len;
	const uint8_t *from;
};

#define PLACED_MAX 256

/* A worker's batch and its buffers. */
struct fill_room {
	uint8_t *plain;   /* one window */
	uint8_t *encoded; /* likewise; clusters at the places they have in
				 * plain */
	struct fill_run *runs;
	size_t n_runs;
	size_t n_placed;
	struct placed placed[PLACED_MAX];
	struct batch batch;
	uint64_t turn;
	/* Instead of a batch: what dst shares; or len is 0. */
	struct qcow2_extent shared;
	bool is_full; /* the batch is to have nothing more */
};

/* A room belongs to one worker. */
void fill_room_validate(const struct fill *f, const struct fill_room *r);

/* How many runs a batch can come to. */
size_t fill_runs_max(const struct fill *f);

/* Reads the batch and cuts it into runs. */
int fill_runs(struct fill *f, struct fill_room *r, struct qcow2_error *err);

/* Finds the layers of src that can share blocks with dst.  -ENOMEM. */
int fill_share_init(struct fill *f, const struct qcow2_convert_opts *opts,
		    struct qcow2_error *err);
/* How much of @x, which begins with a cluster of dst, dst can share. */
uint64_t fill_share_len(const struct fill *f, const struct qcow2_extent *x);
/* Gives places in r->placed, which are part of r->shared, their contents. */
int fill_share_placed(struct fill *f, struct fill_room *r,
		      struct qcow2_error *err);

/* Waits for the batch's turn and writes its runs. */
int fill_place(struct workers *w, struct fill *f, struct fill_room *r,
	       struct qcow2_error *err);

/* All pieces to be read lie in one window, at their places in it. */
static inline uint64_t fill_place_of(const struct fill *f, uint64_t off)
{
	return off & (f->window_bytes - 1);
}

#endif
