/*
 * Tells the caller what has happened to a disk: what its top layer says of
 * itself, against what events.h says that the caller knows.
 */
#include "chain/watch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "chain/disk_impl.h"
#include "store/store.h"

enum { MESSAGE_MAX = 256 };

static void watch_tell(struct events *e, uint32_t kind, uint64_t value,
		       const char *message, const struct qcow2_error *why)
{
	struct qcow2_event event = {
		.struct_size = sizeof(event),
		.kind = kind,
		.value = value,
		.message = message,
		.error = why,
	};

	events_tell(e, &event);
}

void watch_repaired(struct events *e, uint64_t n)
{
	if (e)
		watch_tell(e, QCOW2_EVENT_REPAIRED, n,
			   "the image was not closed properly: its refcounts "
			   "have been counted anew",
			   NULL);
}

/* ---- The top layer ------------------------------------------------------- */

static void watch_proof(struct events *e, const struct layer_health *h)
{
	char message[MESSAGE_MAX];

	if (h->n_raised && events_is_news(e, NEWS_RAISED)) {
		snprintf(message, sizeof(message),
			 "%" PRIu64 " refcounts were too low, and have been "
			 "raised",
			 h->n_raised);
		watch_tell(e, QCOW2_EVENT_REPAIRED, h->n_raised, message, NULL);
	}
	if (h->is_unproved && events_is_news(e, NEWS_UNPROVED))
		watch_tell(e, QCOW2_EVENT_LOG, 0,
			   "the refcounts could not be proved: data that the "
			   "image had is copied when it changes, and the file "
			   "only grows",
			   NULL);
}

static void watch_end(struct events *e, const struct layer_health *h,
		      const struct qcow2_error *why)
{
	if (h->is_corrupt && events_is_news(e, NEWS_CORRUPT))
		watch_tell(e, QCOW2_EVENT_CORRUPT, 0,
			   "the image is damaged, and has been marked corrupt",
			   why);
	if (h->dead && events_is_news(e, NEWS_DEAD))
		watch_tell(e, QCOW2_EVENT_DEAD, 0,
			   "the image takes no more changes until it is opened "
			   "again",
			   why);
}

static void watch_threshold(struct events *e, const struct layer_health *h)
{
	char message[MESSAGE_MAX];

	if (!events_has_passed(e, h->used_end))
		return;
	snprintf(message, sizeof(message),
		 "the image file is in use up to byte %" PRIu64, h->used_end);
	watch_tell(e, QCOW2_EVENT_WRITE_THRESHOLD, h->used_end, message, NULL);
}

static void watch_health(struct disk *d, const struct qcow2_error *why)
{
	struct layer *top = &d->layers[0];
	struct layer_health h = { 0 };

	if (!top->ops->watch->get_health)
		return;
	top->ops->watch->get_health(top, &h);
	watch_proof(&d->events, &h);
	watch_end(&d->events, &h, why);
	watch_threshold(&d->events, &h);
}

/* ---- The disk ------------------------------------------------------------ */

static void watch_size(struct disk *d)
{
	uint64_t size = disk_size(d);
	char message[MESSAGE_MAX];

	if (!events_is_new_size(&d->events, size))
		return;
	snprintf(message, sizeof(message), "the disk has %" PRIu64 " bytes now",
		 size);
	watch_tell(&d->events, QCOW2_EVENT_RESIZED, size, message, NULL);
}

/* -EFBIG is a limit that no room lifts. */
static void watch_room(struct disk *d, const struct qcow2_error *why)
{
	if ((why->code == -ENOSPC || why->code == -EDQUOT) &&
	    events_is_news(&d->events, NEWS_NO_ROOM))
		watch_tell(&d->events, QCOW2_EVENT_NO_ROOM, 0, why->message,
			   why);
}

/* The caller may not have asked why. */
static void watch_failed(struct disk *d, int rc, const struct qcow2_error *err)
{
	struct qcow2_error own = { 0 };

	if (!err || err->code != rc) {
		error_set(&own, rc, "%s", error_words(-rc));
		err = &own;
	}
	watch_room(d, err);
	watch_health(d, err);
}

int watch_disk(struct disk *d, int rc, const struct qcow2_error *err)
{
	if (!atomic_load_explicit(&d->events.any, memory_order_relaxed))
		return rc;
	watch_size(d);
	if (rc < 0)
		watch_failed(d, rc, err);
	else
		watch_health(d, NULL);
	return rc;
}

int watch_flushed(struct disk *d, int rc, const struct qcow2_error *err)
{
	if (rc == 0)
		events_is_over(&d->events, NEWS_NO_ROOM);
	return watch_disk(d, rc, err);
}

int watch_recovered(struct disk *d, int rc, const struct qcow2_error *err)
{
	if (rc == 0)
		events_is_over(&d->events, NEWS_DEAD);
	return watch_flushed(d, rc, err);
}

static void watch_locks(struct events *e, const struct layer *l)
{
	char message[MESSAGE_MAX];
	struct qcow2_event event = {
		.struct_size = sizeof(event),
		.kind = QCOW2_EVENT_LOG,
		.layer = l->depth,
		.message = message,
	};

	if (!l->hold.store || !store_is_unlocked(l->store))
		return;
	snprintf(message, sizeof(message),
		 "the host has no locks for %s: other programs are not kept "
		 "out",
		 TEXT(store_name(l->store), strlen(store_name(l->store))));
	events_tell(e, &event);
}

void watch_opened(struct disk *d)
{
	d->events.size = disk_size(d);
	for (uint32_t i = 0; i < d->n_layers; i++)
		watch_locks(&d->events, &d->layers[i]);
	watch_disk(d, 0, NULL);
}

/* ---- What the caller asks for -------------------------------------------- */

int disk_set_event_fn(struct disk *d, qcow2_event_fn *fn, void *opaque,
		      void (*free_opaque)(void *opaque),
		      struct qcow2_error *err)
{
	int rc;

	if (!d->events.any)
		d->events.size = disk_size(d);
	rc = events_listen(&d->events, fn, opaque, free_opaque, err);
	return rc < 0 ? rc : watch_disk(d, 0, NULL);
}

int disk_set_write_threshold(struct disk *d, uint64_t host_off,
			     struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];
	int rc = disk_check_writable(d, err);

	if (rc < 0)
		return rc;
	if (!top->ops->watch->find_used_end)
		return layer_refuse(top,
				    "does not know how much of its file "
				    "is in use",
				    err);
	if (host_off)
		top->ops->watch->find_used_end(top);
	d->events.threshold = host_off ? host_off : EVENTS_NO_THRESHOLD;
	return watch_disk(d, 0, NULL);
}
