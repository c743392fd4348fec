/*
 * A store whose calls can be held and let go, so that a test decides in which
 * order things happen.
 *
 * A test sets a hold on a kind of call, starts the threads, waits until one of
 * them is caught, lets others run, and releases the caught one:
 *
 *	struct sched_hold *h;
 *
 *	h = sched_hold(sched, "disk.write.before", 65536, 512);
 *	... start a thread that writes ...
 *	assert_true(sched_wait_caught(h));
 *	... the write has been planned but has not reached the disk ...
 *	sched_release(h);
 *
 * A hold catches one call and is then spent; others pass by.
 */
#ifndef STORES_SCHEDULE_H
#define STORES_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

struct sched;
struct sched_hold;

struct sched *sched_new(void);
/* Frees the holds; all stores must be gone, and no hold may still hold a
 * call. */
void sched_free(struct sched *s);

/* @name: the first part of the names of this store's points; copied. */
int sched_store_new(struct sched *s, const char *name,
		    struct qcow2_store *inner, struct qcow2_store **out);

/* Sets a hold on point "<store>.<operation>.<before|after>", operations as in
 * store_op_name(), for calls that touch [off, off+len); len 0: any call.
 * Holds are tried in the order they were set.  Owned by @s. */
struct sched_hold *sched_hold(struct sched *s, const char *point, uint64_t off,
			      uint64_t len);

/* Waits until a call is caught; returns false when none came in ten seconds. */
bool sched_wait_caught(struct sched_hold *h);
bool sched_is_caught(struct sched_hold *h);

/* Lets the caught call go on, or removes a hold that has caught none. */
void sched_release(struct sched_hold *h);

/* A point outside any store, such as a callback of the test. */
void sched_point(struct sched *s, const char *point);

#endif
