/*
 * A store that records every change, so that the file can be rebuilt as it
 * might be after a crash.
 *
 * One log serves any number of stores ("files", numbered from 0 in the order
 * they were made).  Each write, zeroing, truncation and flush becomes an event
 * in the order in which the calls began; a clock that ticks at every beginning
 * and end says which calls overlapped.
 *
 * A flush makes the events durable that had ended before it began, in its own
 * file.  Other events that have begun may have reached the disk or not, in any
 * combination.
 */
#ifndef STORES_RECORD_H
#define STORES_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <qcow2.h>

#include "stores/hook.h"

#define RECORD_NEVER UINT64_MAX

struct record_event {
	enum store_op op; /* WRITE, ZERO, TRUNCATE or FLUSH */
	unsigned flags;
	uint32_t file;
	uint32_t epoch; /* flushes of this file that succeeded before */
	uint64_t off;   /* TRUNCATE: the new size */
	uint64_t len;
	uint8_t *data;  /* of a WRITE, owned by the log */
	uint64_t began; /* ticks of the clock */
	uint64_t ended; /* RECORD_NEVER while the call runs */
	int rc;         /* a failed write may have happened in part */
};

struct record_log;

struct record_log *record_log_new(void);
void record_log_free(struct record_log *log); /* after its stores */

/* @file receives the number, may be NULL. */
int record_store_new(struct record_log *log, struct qcow2_store *inner,
		     uint32_t *file, struct qcow2_store **out);

/* The log so far.  Events stay valid until record_log_free(). */
size_t record_n_events(struct record_log *log);
const struct record_event *record_event(struct record_log *log, size_t i);
/* The same, of an event that may still be under way. */
struct record_event record_copy(struct record_log *log, size_t i);
uint64_t record_now(struct record_log *log);

/* Returns true when a crash at @time cannot undo the event: a flush of its file
 * began after the event had ended, and succeeded by then. */
bool record_is_durable(struct record_log *log, size_t i, uint64_t time);

/* Applies one event to an image; flushes do nothing. */
int record_apply(struct qcow2_store *image, const struct record_event *ev);
/* Applies only bytes [from, to) of a write or zeroing: a torn one. */
int record_apply_part(struct qcow2_store *image, const struct record_event *ev,
		      uint64_t from, uint64_t to);

/* A copy of @base (a memory store) with the events of @file below @n_events
 * applied in order: all of them when @keep is NULL, else those with
 * keep[i] set. */
int record_rebuild(struct record_log *log, uint32_t file,
		   struct qcow2_store *base, const bool *keep, size_t n_events,
		   struct qcow2_store **out);

#endif
