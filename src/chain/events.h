/*
 * The caller's function for events, and what it has been told.
 *
 * Nothing in the library announces an event where it happens, with locks held.
 * It leaves a state (a poisoned commit, a header bit, a number that has grown),
 * and at the end of each call that can change an image chain/watch.c looks
 * whether the caller knows that state.  So the caller's function runs with no
 * lock held and nothing in flight.  Who finds news marks it as told in one
 * atomic step, so that each event is told once.
 *
 * All zeros, after events_init(), is nobody who listens.
 */
#ifndef CHAIN_EVENTS_H
#define CHAIN_EVENTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/validate.h"

struct events_listener;

/* States that the caller is told of once. */
enum events_news {
	NEWS_CORRUPT = 1,
	NEWS_DEAD = 2,
	NEWS_RAISED = 4,
	NEWS_UNPROVED = 8,
	/* And this until a flush succeeds. */
	NEWS_NO_ROOM = 16,
};

struct events {
	pthread_mutex_t lock; /* protects the pointer, and the users of the
			       * listener */
	struct events_listener *to; /* NULL: nobody listens */
	_Atomic bool any;           /* somebody does; a stale value costs that
				     * an event is told by the next call */
	_Atomic unsigned told;      /* NEWS_* */
	_Atomic uint64_t size;      /* of the disk, as told */
	_Atomic uint64_t threshold; /* host offset; EVENTS_NO_THRESHOLD */
};

#define EVENTS_NO_THRESHOLD UINT64_MAX

VALIDATOR(events);

void events_init(struct events *e);
/* Nobody listens any more. */
void events_release(struct events *e);

/* Instead of the function that was there; NULL @fn: nobody.  The old one's
 * @free_opaque is called when no thread is in its function any more.  -ENOMEM:
 * nothing has changed, and @opaque stays the caller's. */
int events_listen(struct events *e, qcow2_event_fn *fn, void *opaque,
		  void (*free_opaque)(void *opaque), struct qcow2_error *err);
/* Nobody listens, and the opaque pointer stays the caller's. */
void events_forget(struct events *e);

/* Calls the function, if there is one. */
void events_tell(struct events *e, const struct qcow2_event *event);

/* True for the one who has to tell it. */
bool events_is_news(struct events *e, enum events_news news);
void events_is_over(struct events *e, enum events_news news);
/* True for the one who has to tell that the disk has another @size. */
bool events_is_new_size(struct events *e, uint64_t size);
/* True for the one who has to tell that @end has passed the threshold, which is
 * gone then. */
bool events_has_passed(struct events *e, uint64_t end);

#endif
