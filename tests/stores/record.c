#include "stores/record.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/iov.h"
#include "store/mem.h"
#include "store/store.h"

struct record_log {
	pthread_mutex_t lock;         /* guards all below */
	struct record_event **events; /* each its own allocation: they stay */
	size_t n_events;
	size_t room;
	uint64_t clock;
	uint32_t n_files;
};

struct recorder {
	struct record_log *log;
	uint32_t file;
	uint32_t epoch; /* guarded by the log's lock */
};

struct record_log *record_log_new(void)
{
	struct record_log *log = calloc(1, sizeof(*log));

	if (log)
		pthread_mutex_init(&log->lock, NULL);
	return log;
}

void record_log_free(struct record_log *log)
{
	if (!log)
		return;
	for (size_t i = 0; i < log->n_events; i++) {
		free(log->events[i]->data);
		free(log->events[i]);
	}
	free(log->events);
	pthread_mutex_destroy(&log->lock);
	free(log);
}

static uint8_t *copy_data(const struct store_call *call)
{
	struct iov_cursor c = iov_cursor_init(call->iov, call->iovcnt);
	uint8_t *data = malloc(call->len);
	uint64_t done = 0;

	assert(data);
	while (done < call->len) {
		struct iovec piece = iov_next(&c, call->len - done);

		memcpy(data + done, piece.iov_base, piece.iov_len);
		done += piece.iov_len;
	}
	return data;
}

static void append(struct record_log *log, struct record_event *ev)
{
	if (log->n_events == log->room) {
		log->room = log->room ? 2 * log->room : 64;
		log->events =
			realloc(log->events, log->room * sizeof(*log->events));
		assert(log->events);
	}
	log->events[log->n_events++] = ev;
}

static bool is_change(enum store_op op)
{
	return op == STORE_OP_WRITE || op == STORE_OP_ZERO ||
	       op == STORE_OP_TRUNCATE || op == STORE_OP_FLUSH;
}

static struct hook_answer record_enter(void *opaque,
				       const struct store_call *call)
{
	struct recorder *r = opaque;
	struct record_event *ev;

	if (!is_change(call->op))
		return (struct hook_answer){ .what = HOOK_PASS };
	ev = calloc(1, sizeof(*ev));
	assert(ev);
	ev->op = call->op;
	ev->flags = call->flags;
	ev->file = r->file;
	ev->off = call->off;
	ev->len = call->len;
	if (call->op == STORE_OP_WRITE)
		ev->data = copy_data(call);
	ev->ended = RECORD_NEVER;
	SCOPED_LOCK(&r->log->lock);
	ev->epoch = r->epoch;
	ev->began = r->log->clock++;
	append(r->log, ev);
	return (struct hook_answer){ .what = HOOK_PASS, .token = ev };
}

static void record_leave(void *opaque, const struct store_call *call,
			 void *token, int rc)
{
	struct recorder *r = opaque;
	struct record_event *ev = token;
	SCOPED_LOCK(&r->log->lock);

	if (!ev)
		return;
	ev->rc = rc;
	ev->ended = r->log->clock++;
	r->epoch += call->op == STORE_OP_FLUSH && rc == 0;
}

int record_store_new(struct record_log *log, struct qcow2_store *inner,
		     uint32_t *file, struct qcow2_store **out)
{
	struct recorder *r = calloc(1, sizeof(*r));
	struct hook hook = { record_enter, record_leave, free, r };
	int rc;

	if (!r)
		return -ENOMEM;
	r->log = log;
	mutex_lock(&log->lock);
	r->file = log->n_files++;
	mutex_unlock(&log->lock);
	if (file)
		*file = r->file;
	rc = hook_store_new(inner, &hook, out);
	if (rc < 0)
		free(r);
	return rc;
}

size_t record_n_events(struct record_log *log)
{
	SCOPED_LOCK(&log->lock);

	return log->n_events;
}

const struct record_event *record_event(struct record_log *log, size_t i)
{
	SCOPED_LOCK(&log->lock);

	assert(i < log->n_events);
	return log->events[i];
}

struct record_event record_copy(struct record_log *log, size_t i)
{
	SCOPED_LOCK(&log->lock);

	assert(i < log->n_events);
	return *log->events[i];
}

uint64_t record_now(struct record_log *log)
{
	SCOPED_LOCK(&log->lock);

	return log->clock;
}

bool record_is_durable(struct record_log *log, size_t i, uint64_t time)
{
	const struct record_event *ev = record_event(log, i);
	SCOPED_LOCK(&log->lock);

	for (size_t k = i + 1; k < log->n_events; k++) {
		const struct record_event *f = log->events[k];

		if (f->op == STORE_OP_FLUSH && f->file == ev->file &&
		    f->rc == 0 && f->ended != RECORD_NEVER && f->ended < time &&
		    f->began > ev->ended)
			return true;
	}
	return false;
}

int record_apply_part(struct qcow2_store *image, const struct record_event *ev,
		      uint64_t from, uint64_t to)
{
	uint64_t end = min_u64(to, ev->len);

	if (from >= end)
		return 0;
	if (ev->op == STORE_OP_WRITE)
		return store_pwrite(image, ev->data + from, end - from,
				    ev->off + from, 0, NULL);
	assert(ev->op == STORE_OP_ZERO);
	return store_zero(image, end - from, ev->off + from,
			  ev->flags & ~QCOW2_STORE_NOWAIT, NULL);
}

int record_apply(struct qcow2_store *image, const struct record_event *ev)
{
	if (ev->op == STORE_OP_FLUSH)
		return 0;
	if (ev->op == STORE_OP_TRUNCATE)
		return store_truncate(image, ev->off, NULL);
	return record_apply_part(image, ev, 0, ev->len);
}

int record_rebuild(struct record_log *log, uint32_t file,
		   struct qcow2_store *base, const bool *keep, size_t n_events,
		   struct qcow2_store **out)
{
	CLEANUP_STORE struct qcow2_store *image = NULL;
	int rc = store_mem_clone(base, &image, NULL);

	for (size_t i = 0; rc == 0 && i < n_events; i++) {
		const struct record_event *ev = record_event(log, i);

		if (ev->file == file && (!keep || keep[i]))
			rc = record_apply(image, ev);
	}
	if (rc == 0)
		*out = store_ref(image);
	return rc;
}
