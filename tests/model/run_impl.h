/*
 * The parts of a run: run.c makes the operations of guests, image_ops.c those
 * on the image as a whole, kill.c ends without closing, compare.c and judge.c
 * compare the image with the contents that it must have.
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
	struct undo *undo; /* writes that no flush covers, newest first */
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
/* Closing finds the losses of a kill. */
bool run_close(struct run *r);
bool run_flush(struct run *r);

/* ---- image_ops.c --------------------------------------------------------- */

/* Sets *refused to whether the image refused it. */
bool run_image_op(struct run *r, const struct op *op, bool *refused);
void run_drop_snapshots(struct run *r);
/* The snapshot's disk and VM state, through an image that shows them; NULL: the
 * disk itself. */
bool run_view(struct run *r, const struct kept *k);
/* Checks the properties that the image tells of itself. */
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
/* Everything that was done is durable. */
void undo_clear(struct run *r);
bool run_kill(struct run *r, const struct op *op);

/* ---- low.c --------------------------------------------------------------- */

/* Refcounts of the closed image become lower, here and there. */
bool low_lower(struct run *r);
/* Before the image is closed: repairs the refcounts that nobody has repaired
 * yet. */
bool low_settle(struct run *r);

/* ---- judge.c ------------------------------------------------------------- */

/* The findings that a repair may have. */
enum judge_found {
	JUDGE_CLEAN,
	JUDGE_LEAKY, /* clusters that nobody uses */
	JUDGE_DIRTY, /* all that late refcounts lead to */
};

/* @repair: QCOW2_CHECK_REPAIR_* or 0.  Afterwards there must be no defect. */
bool judge_check(struct run *r, unsigned repair, enum judge_found may);
/* The closed image, at the end. */
bool judge_image(struct run *r);
bool judge_qemu(struct run *r);
/* The highest refcount that the file has. */
int judge_highest_refcount(struct run *r, uint64_t *value,
			   struct qcow2_error *err);

#endif
