/*
 * What the parts of a run share: run.c does what guests do, image_ops.c what is
 * done to the image as a whole, kill.c ends without closing, compare.c and
 * judge.c hold it against what must be there.
 */
#ifndef MODEL_RUN_IMPL_H
#define MODEL_RUN_IMPL_H

#include "model/files.h"
#include "model/oracle.h"
#include "model/run.h"
#include "model/state.h"

enum { PIECE = 1 << 20 };

struct run {
	const struct trial *trial;
	struct state state;
	struct files files;
	struct qcow2_image *img;
	struct oracle now;
	struct oracle snapshots[KEPT_MAX]; /* as in state.kept */
	struct undo *undo; /* what no flush covers, newest first */
	unsigned n_opened;
	bool leaky;     /* was killed: clusters may have leaked */
	bool stretched; /* has had another size */
	struct verdict *verdict;
};

__attribute__((format(printf, 2, 3))) bool run_wrong(struct run *r,
						     const char *fmt, ...);
bool run_succeeds(struct run *r, int rc, const char *what,
		  const struct qcow2_error *err);

bool run_open(struct run *r);
/* What a kill has lost is found here. */
bool run_close(struct run *r);
bool run_flush(struct run *r);

/* ---- image_ops.c --------------------------------------------------------- */

/* Whether it was refused goes to *refused. */
bool run_image_op(struct run *r, const struct op *op, bool *refused);
void run_drop_snapshots(struct run *r);
/* The snapshot's disk and VM state, through an image that shows them; NULL: the
 * disk itself. */
bool run_view(struct run *r, const struct kept *k);
/* The image says of itself what it must. */
bool run_state_matches(struct run *r);

/* ---- compare.c ----------------------------------------------------------- */

bool compare_bytes(struct run *r, const uint8_t *want, const uint8_t *got,
		   uint64_t len, uint64_t off);
bool compare_disk(struct run *r, struct qcow2_image *img,
		  const struct oracle *o);
/* A raw file in the scratch directory. */
bool compare_file(struct run *r, const char *name, const struct oracle *o);
/* The map of the disk. */
bool compare_map(struct run *r);

/* ---- kill.c -------------------------------------------------------------- */

/* The operation is about to change the disk. */
void undo_add(struct run *r, const struct op *op);
/* All that was done is durable. */
void undo_clear(struct run *r);
bool run_kill(struct run *r, const struct op *op);

/* ---- low.c --------------------------------------------------------------- */

/* Refcounts of the closed image become lower, here and there. */
bool low_lower(struct run *r);
/* Before it is closed: what nobody has put right so far is put right. */
bool low_settle(struct run *r);

/* ---- judge.c ------------------------------------------------------------- */

/* What a repair may find. */
enum judge_found {
	JUDGE_CLEAN,
	JUDGE_LEAKY, /* clusters that nobody uses */
	JUDGE_DIRTY, /* all that late refcounts lead to */
};

/* @repair: QCOW2_CHECK_REPAIR_* or 0.  Nothing must be wrong afterwards. */
bool judge_check(struct run *r, unsigned repair, enum judge_found may);
/* The closed image, at the end. */
bool judge_image(struct run *r);
bool judge_qemu(struct run *r);
/* The highest refcount that the file has. */
int judge_highest_refcount(struct run *r, uint64_t *value,
			   struct qcow2_error *err);

#endif
