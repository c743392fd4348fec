/*
 * The events of a disk: each kind comes once, with no lock held, so that the
 * caller may ask the image about itself.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qcow2.h>

#include "base/bytes.h"
#include "support/test.h"

enum { CLUSTER = 65536, DISK_CLUSTERS = 64, EVENTS_MAX = 64 };

#define ok(expression) assert_int_equal((expression), 0)

/* A store whose host fails on demand. */
struct host {
	struct qcow2_store *mem;
	int write_rc;
	int flush_rc;
	bool has_no_locks;
	unsigned n_bad_reads; /* of large pieces */
};

static int host_read(void *self, const struct iovec *iov, int iovcnt,
		     uint64_t off, unsigned flags, struct qcow2_error *err)
{
	struct host *h = self;

	if (h->n_bad_reads && iov[0].iov_len > 8192) {
		h->n_bad_reads--;
		return -EIO;
	}
	for (int i = 0; i < iovcnt; i++) {
		int rc = qcow2_store_pread(h->mem, iov[i].iov_base,
					   iov[i].iov_len, off, flags, err);

		if (rc < 0)
			return rc;
		off += iov[i].iov_len;
	}
	return 0;
}

static int host_write(void *self, const struct iovec *iov, int iovcnt,
		      uint64_t off, unsigned flags, struct qcow2_error *err)
{
	struct host *h = self;

	for (int i = 0; i < iovcnt && !h->write_rc; i++) {
		int rc = qcow2_store_pwrite(h->mem, iov[i].iov_base,
					    iov[i].iov_len, off, flags, err);

		if (rc < 0)
			return rc;
		off += iov[i].iov_len;
	}
	return h->write_rc;
}

static int host_flush(void *self, struct qcow2_error *err)
{
	(void)err;
	return ((struct host *)self)->flush_rc;
}

static int host_truncate(void *self, uint64_t size, struct qcow2_error *err)
{
	return qcow2_store_truncate(((struct host *)self)->mem, size, err);
}

static int host_size(void *self, uint64_t *size, struct qcow2_error *err)
{
	return qcow2_store_size(((struct host *)self)->mem, size, err);
}

static int host_lock(void *self, enum qcow2_store_lock lock,
		     struct qcow2_error *err)
{
	(void)err;
	return lock != QCOW2_STORE_UNLOCK && ((struct host *)self)->has_no_locks
		       ? -ENOTSUP
		       : 0;
}

struct heard {
	uint32_t kind;
	uint32_t layer;
	uint64_t value;
	int32_t code; /* of the error; 0: there is none */
	char message[256];
};

struct fixture {
	struct host host;
	struct qcow2_store *store;
	struct qcow2_image *img; /* NULL while it is being opened */
	struct qcow2_open_opts opts;
	struct heard heard[EVENTS_MAX];
	unsigned n;
	unsigned n_freed;
};

/* All that the function may ask. */
static void ask(struct fixture *f)
{
	struct qcow2_stats stats = QCOW2_STATS_INIT;
	struct qcow2_info info = QCOW2_INFO_INIT;

	if (!f->img)
		return;
	assert_true(qcow2_size(f->img) > 0);
	assert_int_equal(qcow2_layer_count(f->img), 1);
	assert_non_null(qcow2_layer_filename(f->img, 0));
	ok(qcow2_get_stats(f->img, 0, &stats, NULL));
	ok(qcow2_get_info(f->img, 0, &info, NULL));
}

static void hear(void *opaque, const struct qcow2_event *event)
{
	struct fixture *f = opaque;
	struct heard *h = &f->heard[f->n++];

	assert_true(f->n <= EVENTS_MAX);
	assert_int_equal(event->struct_size, sizeof(*event));
	assert_true(strlen(event->message) > 0);
	h->kind = event->kind;
	h->layer = event->layer;
	h->value = event->value;
	h->code = event->error ? event->error->code : 0;
	snprintf(h->message, sizeof(h->message), "%s", event->message);
	ask(f);
}

static void release(void *opaque)
{
	((struct fixture *)opaque)->n_freed++;
}

static void open_again(struct fixture *f)
{
	struct qcow2_image *img;

	if (f->img)
		qcow2_close(f->img, NULL);
	f->img = NULL;
	f->n = 0;
	ok(qcow2_open_store(f->store, &f->opts, &img, NULL));
	f->img = img;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct qcow2_store_ops ops = QCOW2_STORE_OPS_INIT;
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;

	ops.preadv = host_read;
	ops.pwritev = host_write;
	ops.flush = host_flush;
	ops.truncate = host_truncate;
	ops.size = host_size;
	ops.lock = host_lock;
	create.virtual_size = (uint64_t)DISK_CLUSTERS * CLUSTER;
	f->opts = (struct qcow2_open_opts)QCOW2_OPEN_OPTS_INIT;
	f->opts.flags = QCOW2_OPEN_RDWR;
	f->opts.event_fn = hear;
	f->opts.event_opaque = f;
	ok(qcow2_store_new_memory(&f->host.mem, NULL));
	ok(qcow2_store_new(&ops, &f->host, &f->store, NULL));
	ok(qcow2_create_store(f->store, NULL, &create, NULL));
	open_again(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	qcow2_close(f->img, NULL);
	qcow2_store_unref(f->store);
	qcow2_store_unref(f->host.mem);
	free(f);
	return 0;
}

static int write_cluster(struct fixture *f, uint64_t index)
{
	static const uint8_t bytes[CLUSTER] = { 7 };

	return qcow2_pwrite(f->img, bytes, CLUSTER, index * CLUSTER, 0, NULL);
}

/* And clears it. */
static void expect(struct fixture *f, uint32_t kind, uint64_t value,
		   int32_t code)
{
	assert_int_equal(f->n, 1);
	assert_int_equal(f->heard[0].kind, kind);
	assert_int_equal(f->heard[0].layer, 0);
	assert_int_equal(f->heard[0].value, value);
	assert_int_equal(f->heard[0].code, code);
	f->n = 0;
}

/* Bytes of the file while no image uses it. */
static void patch(struct fixture *f, uint64_t off, uint8_t byte)
{
	ok(qcow2_store_pwrite(f->host.mem, &byte, 1, off, 0, NULL));
}

static uint64_t number_at(struct fixture *f, uint64_t off)
{
	uint8_t raw[8];

	ok(qcow2_store_pread(f->host.mem, raw, sizeof(raw), off, 0, NULL));
	return get_be64(raw);
}

TEST_WITH(nothing_happens_to_a_sound_image, setup, teardown)
{
	struct fixture *f = *state;

	ok(write_cluster(f, 0));
	ok(qcow2_flush(f->img, NULL));
	ok(qcow2_discard(f->img, CLUSTER, 0, 0, NULL));
	ok(qcow2_snapshot_create(f->img, "one", NULL, NULL));
	ok(qcow2_snapshot_delete(f->img, "one", NULL));
	assert_int_equal(qcow2_pwrite(f->img, "", 1, UINT64_MAX, 0, NULL),
			 -EINVAL);
	assert_int_equal(qcow2_snapshot_delete(f->img, "one", NULL), -ENOENT);
	assert_int_equal(f->n, 0);
}

TEST_WITH(a_flush_that_fails_ends_the_image, setup, teardown)
{
	struct fixture *f = *state;

	ok(write_cluster(f, 0));
	f->host.flush_rc = -EIO;
	assert_int_equal(qcow2_flush(f->img, NULL), -EIO);
	expect(f, QCOW2_EVENT_DEAD, 0, -EIO);
	f->host.flush_rc = 0;
	assert_int_equal(qcow2_flush(f->img, NULL), -EIO);
	assert_int_equal(write_cluster(f, 0), -EIO);
	assert_int_equal(f->n, 0);
}

/* Who comes later hears what nobody has heard. */
TEST_WITH(what_is_dead_already_is_told_to_who_asks, setup, teardown)
{
	struct fixture *f = *state;

	ok(qcow2_set_event_fn(f->img, NULL, NULL, NULL, NULL));
	ok(write_cluster(f, 0));
	f->host.flush_rc = -EIO;
	assert_int_equal(qcow2_flush(f->img, NULL), -EIO);
	assert_int_equal(f->n, 0);
	ok(qcow2_set_event_fn(f->img, hear, f, NULL, NULL));
	expect(f, QCOW2_EVENT_DEAD, 0, 0);
	ok(qcow2_set_event_fn(f->img, hear, f, NULL, NULL));
	assert_int_equal(f->n, 0);
}

TEST_WITH(want_of_room_is_told_until_a_flush_succeeds, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_error err;
	static const uint8_t bytes[CLUSTER];

	ok(write_cluster(f, 0));
	f->host.write_rc = -ENOSPC;
	assert_int_equal(qcow2_pwrite(f->img, bytes, CLUSTER, CLUSTER, 0, &err),
			 -ENOSPC);
	assert_string_equal(f->heard[0].message, err.message);
	expect(f, QCOW2_EVENT_NO_ROOM, 0, -ENOSPC);
	assert_int_equal(write_cluster(f, 2), -ENOSPC);
	assert_int_equal(qcow2_flush(f->img, NULL), -ENOSPC);
	assert_int_equal(f->n, 0);
	f->host.write_rc = 0;
	ok(qcow2_flush(f->img, NULL));
	assert_int_equal(f->n, 0);
	f->host.write_rc = -EDQUOT;
	assert_int_equal(write_cluster(f, 2), -EDQUOT);
	expect(f, QCOW2_EVENT_NO_ROOM, 0, -EDQUOT);
	f->host.write_rc = 0;
}

/* The entry of cluster 0 points between two clusters. */
TEST_WITH(damage_marks_the_image_corrupt, setup, teardown)
{
	struct fixture *f = *state;
	uint64_t l2;

	ok(write_cluster(f, 0));
	ok(qcow2_close(f->img, NULL));
	f->img = NULL;
	l2 = number_at(f, number_at(f, 40)) & 0xfffffffffffe00;
	patch(f, l2 + 6, 0x02);
	f->opts.flags |= QCOW2_OPEN_TRUST_REFCOUNTS;
	open_again(f);
	assert_int_equal(write_cluster(f, 0), -EIO);
	assert_int_equal(f->n, 2);
	assert_int_equal(f->heard[0].kind, QCOW2_EVENT_CORRUPT);
	assert_int_equal(f->heard[1].kind, QCOW2_EVENT_DEAD);
	assert_int_equal(f->heard[0].code, -EIO);
	assert_int_equal(f->heard[1].code, -EIO);
	assert_int_equal(write_cluster(f, 0), -EIO);
	assert_int_equal(f->n, 2);
}

TEST_WITH(a_dirty_image_is_repaired_at_open, setup, teardown)
{
	struct fixture *f = *state;

	ok(write_cluster(f, 0));
	ok(qcow2_close(f->img, NULL));
	f->img = NULL;
	patch(f, 79, 1);
	open_again(f);
	assert_int_equal(f->n, 1);
	assert_int_equal(f->heard[0].kind, QCOW2_EVENT_REPAIRED);
	f->n = 0;
	ok(write_cluster(f, 0));
	assert_int_equal(f->n, 0);
}

/* The data cluster has no refcount. */
TEST_WITH(refcounts_that_are_raised_are_told, setup, teardown)
{
	struct fixture *f = *state;
	uint64_t l2, data;

	ok(write_cluster(f, 0));
	ok(qcow2_close(f->img, NULL));
	f->img = NULL;
	l2 = number_at(f, number_at(f, 40)) & 0xfffffffffffe00;
	data = (number_at(f, l2) & 0xfffffffffffe00) / CLUSTER;
	patch(f, number_at(f, number_at(f, 48)) + 2 * data + 1, 0);
	open_again(f);
	assert_int_equal(f->n, 0);
	ok(write_cluster(f, 0));
	expect(f, QCOW2_EVENT_REPAIRED, 1, 0);
	ok(write_cluster(f, 1));
	assert_int_equal(f->n, 0);
}

TEST_WITH(a_proof_that_cannot_be_made_is_told, setup, teardown)
{
	struct fixture *f = *state;

	ok(write_cluster(f, 0));
	open_again(f);
	f->host.n_bad_reads = 1;
	ok(write_cluster(f, 1));
	assert_int_equal(f->host.n_bad_reads, 0);
	expect(f, QCOW2_EVENT_LOG, 0, 0);
	ok(write_cluster(f, 2));
	assert_int_equal(f->n, 0);
}

TEST_WITH(a_host_without_locks_is_told, setup, teardown)
{
	struct fixture *f = *state;

	f->host.has_no_locks = true;
	open_again(f);
	expect(f, QCOW2_EVENT_LOG, 0, 0);
}

TEST_WITH(every_new_size_is_told, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_resize_opts shrink = QCOW2_RESIZE_OPTS_INIT;
	uint64_t size = (uint64_t)DISK_CLUSTERS * CLUSTER;

	shrink.flags = QCOW2_RESIZE_SHRINK;
	ok(qcow2_snapshot_create(f->img, "small", NULL, NULL));
	ok(qcow2_resize(f->img, 2 * size, NULL, NULL));
	expect(f, QCOW2_EVENT_RESIZED, 2 * size, 0);
	ok(qcow2_resize(f->img, 2 * size, NULL, NULL));
	assert_int_equal(f->n, 0);
	ok(qcow2_snapshot_apply(f->img, "small", NULL));
	expect(f, QCOW2_EVENT_RESIZED, size, 0);
	ok(qcow2_resize(f->img, size / 2, &shrink, NULL));
	expect(f, QCOW2_EVENT_RESIZED, size / 2, 0);
}

/* ---- The threshold ------------------------------------------------------- */

static uint64_t allocated_end(struct fixture *f)
{
	struct qcow2_stats s = QCOW2_STATS_INIT;

	ok(qcow2_get_stats(f->img, 0, &s, NULL));
	return s.allocated_end;
}

TEST_WITH(the_threshold_is_told_when_it_is_passed, setup, teardown)
{
	struct fixture *f = *state;
	uint64_t goal = allocated_end(f) + 20 * CLUSTER;

	ok(qcow2_set_write_threshold(f->img, goal, NULL));
	for (uint64_t i = 0; i < 40; i++) {
		ok(write_cluster(f, i));
		assert_int_equal(f->n != 0, allocated_end(f) > goal);
	}
	assert_true(f->heard[0].value > goal);
	expect(f, QCOW2_EVENT_WRITE_THRESHOLD, f->heard[0].value, 0);
}

TEST_WITH(a_threshold_of_the_past_is_told_at_once, setup, teardown)
{
	struct fixture *f = *state;
	uint64_t end;

	for (uint64_t i = 0; i < 8; i++)
		ok(write_cluster(f, i));
	open_again(f);
	end = allocated_end(f);
	open_again(f);
	ok(qcow2_set_write_threshold(f->img, end, NULL));
	assert_int_equal(f->n, 0);
	ok(qcow2_set_write_threshold(f->img, end - 1, NULL));
	expect(f, QCOW2_EVENT_WRITE_THRESHOLD, end, 0);
	ok(write_cluster(f, 9));
	assert_int_equal(f->n, 0);
}

TEST_WITH(a_threshold_can_be_taken_away, setup, teardown)
{
	struct fixture *f = *state;

	ok(qcow2_set_write_threshold(f->img, allocated_end(f), NULL));
	ok(qcow2_set_write_threshold(f->img, 0, NULL));
	for (uint64_t i = 0; i < 8; i++)
		ok(write_cluster(f, i));
	assert_int_equal(f->n, 0);
}

/* It comes although the write that passed it failed. */
TEST_WITH(a_write_that_fails_passes_it_too, setup, teardown)
{
	struct fixture *f = *state;

	ok(write_cluster(f, 0));
	ok(qcow2_flush(f->img, NULL));
	ok(qcow2_set_write_threshold(f->img, allocated_end(f), NULL));
	f->host.write_rc = -ENOSPC;
	for (uint64_t i = 1; i < 40; i++)
		assert_int_equal(write_cluster(f, i), -ENOSPC);
	f->host.write_rc = 0;
	assert_int_equal(f->n, 2);
	assert_int_equal(f->heard[0].kind, QCOW2_EVENT_NO_ROOM);
	assert_int_equal(f->heard[1].kind, QCOW2_EVENT_WRITE_THRESHOLD);
}

/* ---- Opening and closing ------------------------------------------------- */

TEST_WITH(closing_gives_the_opaque_pointer_back, setup, teardown)
{
	struct fixture *f = *state;

	f->opts.event_free = release;
	open_again(f);
	assert_int_equal(f->n_freed, 0);
	ok(qcow2_close(f->img, NULL));
	f->img = NULL;
	assert_int_equal(f->n_freed, 1);
	f->opts.event_free = NULL;
}

TEST_WITH(an_open_that_fails_leaves_it_to_the_caller, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_open_opts opts = f->opts;
	struct qcow2_image *img;

	opts.event_free = release;
	opts.snapshot = "none";
	opts.flags = QCOW2_OPEN_NO_LOCK;
	assert_int_equal(qcow2_open_store(f->store, &opts, &img, NULL),
			 -ENOENT);
	opts.event_fn = NULL;
	opts.snapshot = NULL;
	assert_int_equal(qcow2_open_store(f->store, &opts, &img, NULL),
			 -EINVAL);
	assert_int_equal(f->n_freed, 0);
}
