/*
 * A session under fire: an image is opened, a workload runs, the image is
 * closed, and somewhere in it something fails.
 *
 * An injector decides which call fails.  The session asks it to let the n-th
 * call fail, for n = 1, 2, 3 ... until a whole session passes without reaching
 * that call, and judges each time:
 *
 *  - nothing fails without a reason, and the returned code agrees with the
 *    error that explains it;
 *  - every change that succeeded is there, one that failed is there or not,
 *    nothing else has changed;
 *  - after a barrier that failed, all later flushes and writes fail;
 *  - after anything else that failed a later flush succeeds, unless it fails
 *    itself, and everything that was acknowledged is there (D5);
 *  - the image in the stores, right after the failure and at the end, opens,
 *    holds everything that was flushed, and has no damage but leaks;
 *  - it can be written to again;
 *  - no memory is left behind.
 */
#ifndef FAULTS_SESSION_H
#define FAULTS_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "crash/base.h"
#include "crash/verify.h"

struct injector {
	/* The @nth call from now on fails; 0: none does. */
	void (*arm)(void *self, uint64_t nth);
	/* Calls that failed since arm(). */
	uint64_t (*fired)(void *self);
	/* Barriers among them; NULL: none. */
	uint64_t (*barriers_failed)(void *self);
	/* A store to be used in place of @inner, of which it takes its own
	 * reference. */
	int (*wrap)(void *self, struct qcow2_store *inner,
		    struct qcow2_store **out);
	/* Brings the files below such a store up to date; NULL: they always
	 * are. */
	void (*settle)(void *self);
	/* After a session; may be NULL. */
	void (*release)(void *self);
	/* The bytes that the library has allocated and not freed; NULL: not
	 * known. */
	uint64_t (*live)(void *self);
	void *self;
	bool persistent; /* all calls after the n-th fail too */
	bool barriers;   /* a barrier fails, which nobody may hide */
};

struct session_stats {
	uint64_t sessions;
	uint64_t faults;
};

/* Runs the workload again and again.  Returns false at the first violation;
 * *nth and the reason say which. */
bool session_run_all(const struct injector *in, const struct base *b,
		     const struct workload *w, struct session_stats *stats,
		     uint64_t *nth, char why[WHY_BYTES]);

/* Runs the workload only with the n-th call failing. */
bool session_run(const struct injector *in, const struct base *b,
		 const struct workload *w, uint64_t nth, bool *reached,
		 char why[WHY_BYTES]);

#endif
