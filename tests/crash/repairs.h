/*
 * O34: an image is damaged and repaired, and the repair crashes at every
 * moment.
 *
 * In each state the disk reads as it did, no more is wrong than before the
 * repair, a dirty image is marked dirty as long as refcounts are too low, and
 * another repair ends with a clean image and the same disk.  COPIED flags are
 * not counted as wrong: they follow refcounts that have been raised.
 */
#ifndef CRASH_REPAIRS_H
#define CRASH_REPAIRS_H

#include "crash/trial.h"

struct repair_case {
	const char *name;
	const char *config;
	void (*damage)(struct qcow2_store *file);
};

extern const struct repair_case repair_cases[];
extern const unsigned n_repair_cases;

/* Returns false at the first violation, which it describes in *failure. */
bool repairs_run(const struct trial_env *env, const struct base *b,
		 const struct repair_case *c, struct failure *failure);

#endif
