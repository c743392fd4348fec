/*
 * Legal states after a crash: which of the changes that no flush covers yet
 * have reached the disk.
 */
#ifndef CRASH_ENUMERATE_H
#define CRASH_ENUMERATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <qcow2.h>

#include "crash/base.h"
#include "crash/trial.h"
#include "stores/record.h"
#include "support/test.h"

/* The effect of a crash on one event. */
enum fate {
	FATE_LOST,
	FATE_KEPT,
	FATE_TORN,  /* some of its sectors */
	FATE_EARLY, /* it took effect before all others that are pending */
};

enum tear {
	TEAR_FIRST,
	TEAR_LAST,
	TEAR_MIDDLE,
	TEAR_NOT_FIRST,
	TEAR_NOT_LAST,
	TEAR_RANDOM,
	N_TEARS,
};

struct choice {
	uint8_t *fate;  /* of each pending event */
	enum tear tear; /* of those that are torn */
	uint64_t tear_seed;
};

struct pending {
	const struct record_event **events;
	size_t n;
	size_t room;
	struct qcow2_store *durable[BASE_FILES]; /* no crash can undo this */
	uint8_t *fates;                          /* room for one choice */
};

void pending_init(struct pending *p,
		  struct qcow2_store *const files[BASE_FILES]);
void pending_release(struct pending *p);

/* A change is one more event that may be lost.  After a flush, the events that
 * ended before it in its file cannot be lost any more. */
void pending_add(struct pending *p, const struct record_event *ev);

/* The files as the choice leaves them; the caller drops them. */
void pending_build(const struct pending *p, const struct choice *c,
		   struct qcow2_store *files[BASE_FILES]);
void pending_describe(const struct pending *p, const struct choice *c,
		      char *text, size_t size);

/* Called for each state; false stops. */
typedef bool visit_fn(void *opaque, const struct choice *c);

struct visitor {
	visit_fn *visit;
	void *opaque;
	const struct effort *effort;
	struct test_rng *rng;
};

/* States in which the last event survived at least in part. */
bool enumerate_last(struct pending *p, const struct visitor *v);
/* More of the states before a flush, for a flush that had too many for all. */
bool enumerate_epoch(struct pending *p, const struct visitor *v);
/* States of any kind. */
bool enumerate_all(struct pending *p, const struct visitor *v);

#endif
