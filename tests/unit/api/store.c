/*
 * One store, several users: images, checks and jobs exclude each other as
 * programs do (D2 to D4 of the list in tests/regressions.md).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <qcow2.h>

#include "support/test.h"

#define CLUSTER 65536
#define DISK_BYTES (16 * CLUSTER)

#define ok(expression) assert_int_equal((expression), 0)

struct fixture {
	char path[64];
	struct qcow2_store *store; /* of an image at that path */
	struct qcow2_open_opts rdwr;
	struct qcow2_check_result found;
	struct qcow2_error err;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;

	create.virtual_size = DISK_BYTES;
	snprintf(f->path, sizeof(f->path), "./api-store-%d.qcow2",
		 (int)getpid());
	ok(qcow2_create_path(f->path, &create, NULL));
	ok(qcow2_store_open_file(f->path, QCOW2_STORE_RDWR, &f->store, NULL));
	f->rdwr = (struct qcow2_open_opts)QCOW2_OPEN_OPTS_INIT;
	f->rdwr.flags = QCOW2_OPEN_RDWR;
	f->found.struct_size = sizeof(f->found);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	qcow2_store_unref(f->store);
	unlink(f->path);
	free(f);
	return 0;
}

static struct qcow2_image *open_writer(struct fixture *f)
{
	struct qcow2_image *img;

	ok(qcow2_open_store(f->store, &f->rdwr, &img, NULL));
	return img;
}

/* Opens the path as another program would, for reading or writing. */
static int open_elsewhere(struct fixture *f, uint32_t flags)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_image *img;
	int rc;

	opts.flags = flags;
	rc = qcow2_open_path(f->path, &opts, &img, NULL);
	if (rc == 0)
		ok(qcow2_close(img, NULL));
	return rc;
}

static void put(struct qcow2_image *img, uint8_t value)
{
	ok(qcow2_pwrite(img, &value, 1, CLUSTER, 0, NULL));
	ok(qcow2_flush(img, NULL));
}

static uint8_t get(struct qcow2_image *img)
{
	uint8_t value = 0xee;

	ok(qcow2_pread(img, &value, 1, CLUSTER, 0, NULL));
	return value;
}

/* D2: both wrote their own tables over the other's. */
TEST_WITH(a_second_writer_of_one_store_is_refused, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_image *first = open_writer(f);
	struct qcow2_image *second;

	assert_int_equal(qcow2_open_store(f->store, &f->rdwr, &second, &f->err),
			 -EBUSY);
	assert_non_null(strstr(f->err.message, "api-store-"));
	assert_int_equal(qcow2_open_store(f->store, NULL, &second, &f->err),
			 -EBUSY);
	put(first, 5);
	ok(qcow2_close(first, NULL));
	first = open_writer(f);
	assert_int_equal(get(first), 5);
	ok(qcow2_close(first, NULL));
}

TEST_WITH(readers_of_one_store_share_it, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_image *a;
	struct qcow2_image *b;

	ok(qcow2_open_store(f->store, NULL, &a, NULL));
	ok(qcow2_open_store(f->store, NULL, &b, NULL));
	ok(qcow2_close(a, NULL));
	/* b is still a reader. */
	assert_int_equal(open_elsewhere(f, QCOW2_OPEN_RDWR), -EBUSY);
	assert_int_equal(qcow2_open_store(f->store, &f->rdwr, &a, NULL),
			 -EBUSY);
	ok(qcow2_close(b, NULL));
	ok(open_elsewhere(f, QCOW2_OPEN_RDWR));
}

/* D3: the check made the writer's lock a reader's, and others came in. */
TEST_WITH(a_check_leaves_the_writers_lock_alone, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_image *img = open_writer(f);
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;

	assert_int_equal(open_elsewhere(f, 0), -EBUSY);
	assert_int_equal(qcow2_check_store(f->store, NULL, &f->found, &f->err),
			 -EBUSY);
	assert_int_equal(open_elsewhere(f, 0), -EBUSY);
	opts.flags = QCOW2_CHECK_NO_LOCK;
	ok(qcow2_check_store(f->store, &opts, &f->found, &f->err));
	assert_int_equal(open_elsewhere(f, 0), -EBUSY);
	ok(qcow2_close(img, NULL));
}

TEST_WITH(a_repair_under_a_writer_or_reader_is_refused, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_image *img = open_writer(f);
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;

	opts.flags = QCOW2_CHECK_REPAIR_ALL;
	assert_int_equal(qcow2_check_store(f->store, &opts, &f->found, NULL),
			 -EBUSY);
	ok(qcow2_close(img, NULL));
	ok(qcow2_open_store(f->store, NULL, &img, NULL));
	assert_int_equal(qcow2_check_store(f->store, &opts, &f->found, NULL),
			 -EBUSY);
	ok(qcow2_check_store(f->store, NULL, &f->found, NULL));
	ok(qcow2_close(img, NULL));
	ok(qcow2_check_store(f->store, &opts, &f->found, NULL));
}

/* D3: the lock outlived the image until the store went. */
TEST_WITH(the_lock_goes_with_the_last_user, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_image *img = open_writer(f);

	assert_int_equal(open_elsewhere(f, 0), -EBUSY);
	ok(qcow2_close(img, NULL));
	ok(open_elsewhere(f, QCOW2_OPEN_RDWR));
	ok(qcow2_check_store(f->store, NULL, &f->found, NULL));
	ok(open_elsewhere(f, QCOW2_OPEN_RDWR));
}

TEST_WITH(a_failed_open_leaves_no_lock, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_open_opts opts = f->rdwr;
	struct qcow2_image *img;

	opts.snapshot = "that nobody took";
	assert_true(qcow2_open_store(f->store, &opts, &img, NULL) < 0);
	ok(open_elsewhere(f, QCOW2_OPEN_RDWR));
	img = open_writer(f);
	ok(qcow2_close(img, NULL));
}

/* D4: the image that was open was emptied under its writer. */
TEST_WITH(creating_over_a_store_in_use_is_refused, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_image *img = open_writer(f);
	struct qcow2_store *same;

	create.virtual_size = DISK_BYTES;
	put(img, 5);
	assert_int_equal(qcow2_create_store(f->store, NULL, &create, NULL),
			 -EBUSY);
	/* By another descriptor, as another program would. */
	ok(qcow2_store_open_file(f->path, QCOW2_STORE_RDWR, &same, NULL));
	assert_int_equal(qcow2_create_store(same, NULL, &create, NULL), -EBUSY);
	assert_int_equal(get(img), 5);
	ok(qcow2_close(img, NULL));
	ok(qcow2_create_store(same, NULL, &create, NULL));
	ok(open_elsewhere(f, QCOW2_OPEN_RDWR));
	qcow2_store_unref(same);
}

TEST_WITH(a_data_file_in_use_is_not_emptied, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_image *img = open_writer(f);
	struct qcow2_store *memory;

	create.virtual_size = DISK_BYTES;
	create.data_file = "data";
	put(img, 5);
	ok(qcow2_store_new_memory(&memory, NULL));
	assert_int_equal(qcow2_create_store(memory, f->store, &create, NULL),
			 -EBUSY);
	assert_int_equal(get(img), 5);
	ok(qcow2_close(img, NULL));
	qcow2_store_unref(memory);
}

TEST_WITH(converting_into_a_store_in_use_is_refused, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_open_opts raw = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_image *img = open_writer(f);
	struct qcow2_image *source;
	struct qcow2_store *memory;

	put(img, 5);
	raw.format = QCOW2_FORMAT_RAW;
	ok(qcow2_store_new_memory(&memory, NULL));
	ok(qcow2_open_store(memory, &raw, &source, NULL));
	assert_int_equal(qcow2_convert_raw_store(source, f->store, NULL, NULL),
			 -EBUSY);
	/* The store that is read cannot be the target either. */
	assert_int_equal(qcow2_convert_raw_store(img, f->store, NULL, NULL),
			 -EBUSY);
	assert_int_equal(get(img), 5);
	ok(qcow2_close(img, NULL));
	ok(qcow2_convert_raw_store(source, f->store, NULL, NULL));
	ok(qcow2_close(source, NULL));
	qcow2_store_unref(memory);
}

/* A caller that knows better may go without the lock. */
TEST_WITH(no_lock_neither_asks_nor_takes, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_image *img = open_writer(f);
	struct qcow2_image *peek;

	opts.flags = QCOW2_OPEN_NO_LOCK;
	put(img, 5);
	ok(qcow2_open_store(f->store, &opts, &peek, NULL));
	assert_int_equal(get(peek), 5);
	ok(qcow2_close(peek, NULL));
	assert_int_equal(open_elsewhere(f, 0), -EBUSY);
	ok(qcow2_close(img, NULL));
}

static int give_store(void *opaque, const struct qcow2_reference *ref,
		      struct qcow2_store **out, struct qcow2_error *err)
{
	(void)ref, (void)err;
	*out = qcow2_store_ref(opaque);
	return 0;
}

TEST_WITH(a_backing_file_is_not_written_to_meanwhile, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_gate gate = QCOW2_GATE_INIT;
	struct qcow2_store *memory;
	struct qcow2_image *img;
	struct qcow2_image *base;

	create.virtual_size = DISK_BYTES;
	create.backing_file = "base";
	create.backing_format = "qcow2";
	gate.open = give_store;
	gate.opaque = f->store;
	opts.gate = &gate;
	ok(qcow2_store_new_memory(&memory, NULL));
	ok(qcow2_create_store(memory, NULL, &create, NULL));
	ok(qcow2_open_store(memory, &opts, &img, NULL));
	assert_int_equal(qcow2_open_store(f->store, &f->rdwr, &base, NULL),
			 -EBUSY);
	ok(qcow2_close(img, NULL));
	base = open_writer(f);
	assert_int_equal(qcow2_open_store(memory, &opts, &img, NULL), -EBUSY);
	ok(qcow2_close(base, NULL));
	qcow2_store_unref(memory);
}

/* ---- Writing to what cannot be written (D9) ------------------------------ */

TEST_WITH(writing_to_a_read_only_store_is_refused_at_open, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_open_opts raw = f->rdwr;
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_check_opts repair = QCOW2_CHECK_OPTS_INIT;
	struct qcow2_store *s;
	struct qcow2_image *img;

	raw.format = QCOW2_FORMAT_RAW;
	create.virtual_size = DISK_BYTES;
	repair.flags = QCOW2_CHECK_REPAIR_ALL;
	ok(qcow2_store_open_file(f->path, 0, &s, NULL));
	assert_int_equal(qcow2_open_store(s, &f->rdwr, &img, &f->err), -EROFS);
	assert_non_null(strstr(f->err.message, "is open for reading only"));
	assert_int_equal(qcow2_open_store(s, &raw, &img, NULL), -EROFS);
	raw.flags |= QCOW2_OPEN_NO_LOCK;
	assert_int_equal(qcow2_open_store(s, &raw, &img, NULL), -EROFS);
	assert_int_equal(qcow2_create_store(s, NULL, &create, NULL), -EROFS);
	assert_int_equal(qcow2_check_store(s, &repair, &f->found, NULL),
			 -EROFS);
	ok(qcow2_open_store(f->store, NULL, &img, NULL));
	assert_int_equal(qcow2_convert_raw_store(img, s, NULL, NULL), -EROFS);
	ok(qcow2_close(img, NULL));
	ok(qcow2_open_store(s, NULL, &img, NULL));
	ok(qcow2_close(img, NULL));
	qcow2_store_unref(s);
}

/* A data file as the callback of @f below gives it. */
struct giver {
	const char *path;
	unsigned flags;
	unsigned asked; /* flags of the reference */
	size_t struct_size;
	int answer;
	bool gives;
};

static int give_file(void *opaque, const struct qcow2_reference *ref,
		     struct qcow2_store **out, struct qcow2_error *err)
{
	struct giver *g = opaque;

	g->asked = ref->flags;
	g->struct_size = ref->struct_size;
	if (g->answer || !g->gives)
		return g->answer;
	return qcow2_store_open_file(g->path, g->flags, out, err);
}

static int open_with_data(struct fixture *f, struct giver *g, uint32_t flags)
{
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_gate gate = QCOW2_GATE_INIT;
	struct qcow2_store *memory;
	struct qcow2_store *data;
	struct qcow2_image *img;
	int rc;

	create.virtual_size = DISK_BYTES;
	create.data_file = "data";
	gate.open = give_file;
	gate.opaque = g;
	opts.gate = &gate;
	opts.flags = flags;
	ok(qcow2_store_new_memory(&memory, NULL));
	ok(qcow2_store_new_memory(&data, NULL));
	ok(qcow2_create_store(memory, data, &create, NULL));
	qcow2_store_unref(data);
	g->path = f->path;
	rc = qcow2_open_store(memory, &opts, &img, &f->err);
	if (rc == 0)
		ok(qcow2_close(img, NULL));
	qcow2_store_unref(memory);
	return rc;
}

TEST_WITH(the_gate_hears_how_a_file_will_be_used, setup, teardown)
{
	struct fixture *f = *state;
	struct giver g = { .gives = true };

	ok(open_with_data(f, &g, 0));
	assert_int_equal(g.asked, 0);
	assert_int_equal(g.struct_size, sizeof(struct qcow2_reference));
	assert_int_equal(open_with_data(f, &g, QCOW2_OPEN_RDWR), -EROFS);
	assert_int_equal(g.asked, QCOW2_STORE_RDWR);
	assert_non_null(strstr(f->err.message, f->path));
	g.flags = g.asked;
	ok(open_with_data(f, &g, QCOW2_OPEN_RDWR));
	ok(open_with_data(f, &g,
			  QCOW2_OPEN_RDWR | QCOW2_OPEN_NO_FLUSH |
				  QCOW2_OPEN_DIRECT));
	assert_int_equal(g.asked, QCOW2_STORE_RDWR | QCOW2_STORE_NO_FLUSH |
					  QCOW2_STORE_DIRECT);
}

/* D7: the gate gives answers that make no sense. */
TEST_WITH(a_gate_that_answers_nonsense_is_an_error, setup, teardown)
{
	static const int answers[] = { 1, 4096, -70000, INT32_MIN };
	struct fixture *f = *state;
	struct giver g = { .gives = false };
	char said[64];

	for (size_t i = 0; i < 4; i++) {
		g.answer = answers[i];
		assert_int_equal(open_with_data(f, &g, 0), -EIO);
		snprintf(said, sizeof(said), "returned %d ", g.answer);
		assert_non_null(strstr(f->err.message, said));
	}
	g.answer = 0;
	assert_int_equal(open_with_data(f, &g, 0), -EIO);
	assert_non_null(strstr(f->err.message, "no store"));
	g.answer = -EACCES;
	assert_int_equal(open_with_data(f, &g, 0), -EACCES);
}

/* ---- Stores of the caller's (D14) ---------------------------------------- */

static int behind_preadv(void *self, const struct iovec *iov, int iovcnt,
			 uint64_t off, unsigned flags, struct qcow2_error *err)
{
	for (int i = 0; i < iovcnt; i++) {
		int rc = qcow2_store_pread(self, iov[i].iov_base,
					   iov[i].iov_len, off, flags, err);

		if (rc < 0)
			return rc;
		off += iov[i].iov_len;
	}
	return 0;
}

static int behind_pwritev(void *self, const struct iovec *iov, int iovcnt,
			  uint64_t off, unsigned flags, struct qcow2_error *err)
{
	for (int i = 0; i < iovcnt; i++) {
		int rc = qcow2_store_pwrite(self, iov[i].iov_base,
					    iov[i].iov_len, off, flags, err);

		if (rc < 0)
			return rc;
		off += iov[i].iov_len;
	}
	return 0;
}

static int behind_size(void *self, uint64_t *size, struct qcow2_error *err)
{
	return qcow2_store_size(self, size, err);
}

static int behind_flush(void *self, struct qcow2_error *err)
{
	return qcow2_store_flush(self, err);
}

static int behind_truncate(void *self, uint64_t size, struct qcow2_error *err)
{
	return qcow2_store_truncate(self, size, err);
}

static struct qcow2_store_ops behind_ops(void)
{
	struct qcow2_store_ops ops = QCOW2_STORE_OPS_INIT;

	ops.name = "the archive";
	ops.preadv = behind_preadv;
	ops.pwritev = behind_pwritev;
	ops.flush = behind_flush;
	ops.truncate = behind_truncate;
	ops.size = behind_size;
	return ops;
}

/* The functions that the header calls enough are enough. */
TEST_WITH(the_minimum_of_a_writable_store_is_enough, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_store_ops ops = behind_ops();
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_store *memory;
	struct qcow2_store *s;
	struct qcow2_image *img;

	create.virtual_size = DISK_BYTES;
	ok(qcow2_store_new_memory(&memory, NULL));
	ok(qcow2_store_new(&ops, memory, &s, NULL));
	ok(qcow2_create_store(s, NULL, &create, NULL));
	ok(qcow2_open_store(s, &f->rdwr, &img, NULL));
	assert_string_equal(qcow2_layer_filename(img, 0), "the archive");
	put(img, 5);
	assert_int_equal(get(img), 5);
	ok(qcow2_close(img, NULL));
	ok(qcow2_check_store(s, NULL, &f->found, NULL));
	assert_int_equal(f->found.corruptions + f->found.leaks, 0);
	qcow2_store_unref(s);
	qcow2_store_unref(memory);
}

TEST_WITH(what_writing_needs_is_asked_at_open, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_store_ops ops = behind_ops();
	struct qcow2_store *s;
	struct qcow2_image *img;

	ops.flush = NULL;
	ok(qcow2_store_new(&ops, f->store, &s, NULL));
	assert_int_equal(qcow2_open_store(s, &f->rdwr, &img, &f->err),
			 -ENOTSUP);
	assert_non_null(strstr(f->err.message, "the archive"));
	assert_non_null(strstr(f->err.message, "flush"));
	qcow2_store_unref(s);
	ops = behind_ops();
	ops.pwritev = NULL;
	ok(qcow2_store_new(&ops, f->store, &s, NULL));
	assert_int_equal(qcow2_open_store(s, &f->rdwr, &img, &f->err), -EROFS);
	ok(qcow2_open_store(s, NULL, &img, NULL));
	ok(qcow2_close(img, NULL));
	qcow2_store_unref(s);
}

/* D7: it returns what pread() does, which authors of bindings write first. */
static int counting_preadv(void *self, const struct iovec *iov, int iovcnt,
			   uint64_t off, unsigned flags,
			   struct qcow2_error *err)
{
	int rc = behind_preadv(self, iov, iovcnt, off, flags, err);

	return rc < 0 ? rc : (int)iov[0].iov_len;
}

TEST_WITH(a_byte_count_is_no_answer, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_store_ops ops = behind_ops();
	struct qcow2_store *s;
	struct qcow2_image *img;

	ops.preadv = counting_preadv;
	ok(qcow2_store_new(&ops, f->store, &s, NULL));
	assert_int_equal(qcow2_open_store(s, NULL, &img, &f->err), -EIO);
	assert_non_null(strstr(f->err.message, "the archive"));
	assert_non_null(strstr(f->err.message, "preadv returned "));
	qcow2_store_unref(s);
}
