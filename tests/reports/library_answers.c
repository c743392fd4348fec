/*
 * D7, D9, D14: the library meets a caller's store that gives answers it should
 * not, that is open for reading only, or that lacks operations.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "library.h"

enum call {
	PREADV,
	PWRITEV,
	FLUSH,
	ZERO,
	TRUNCATE,
	SIZE,
	ALLOCATED,
	EXTENT,
	LOCK,
	FD,
	IDENTITY,
	N_CALLS
};

/* A store over memory that gives an answer it should not to one call. */
struct odd {
	struct qcow2_store *inner;
	enum call call;
	int answer;
	int count; /* the first calls are right */
};

static int is_odd(struct odd *o, enum call call)
{
	return o->answer && o->call == call && o->count-- <= 0;
}

static int o_preadv(void *self, const struct iovec *iov, int iovcnt,
		    uint64_t off, unsigned flags, struct qcow2_error *err)
{
	struct odd *o = self;
	int i, rc = 0;

	if (is_odd(o, PREADV))
		return o->answer;
	for (i = 0; i < iovcnt && rc == 0; off += iov[i++].iov_len)
		rc = qcow2_store_pread(o->inner, iov[i].iov_base,
				       iov[i].iov_len, off, flags, err);
	return rc;
}

static int o_pwritev(void *self, const struct iovec *iov, int iovcnt,
		     uint64_t off, unsigned flags, struct qcow2_error *err)
{
	struct odd *o = self;
	int i, rc = 0;

	if (is_odd(o, PWRITEV))
		return o->answer;
	for (i = 0; i < iovcnt && rc == 0; off += iov[i++].iov_len)
		rc = qcow2_store_pwrite(o->inner, iov[i].iov_base,
					iov[i].iov_len, off, flags, err);
	return rc;
}

static int o_flush(void *self, struct qcow2_error *err)
{
	struct odd *o = self;

	(void)err;
	return is_odd(o, FLUSH) ? o->answer : 0;
}

static int o_zero(void *self, uint64_t len, uint64_t off, unsigned flags,
		  struct qcow2_error *err)
{
	struct odd *o = self;

	(void)len, (void)off, (void)flags, (void)err;
	return is_odd(o, ZERO) ? o->answer : -ENOTSUP;
}

static int o_truncate(void *self, uint64_t size, struct qcow2_error *err)
{
	struct odd *o = self;
	uint64_t now;
	int rc = qcow2_store_size(o->inner, &now, err);

	if (is_odd(o, TRUNCATE))
		return o->answer;
	if (rc == 0 && size > now)
		rc = qcow2_store_pwrite(o->inner, "", 1, size - 1, 0, err);
	return rc;
}

static int o_size(void *self, uint64_t *size, struct qcow2_error *err)
{
	struct odd *o = self;

	if (is_odd(o, SIZE))
		return o->answer;
	return qcow2_store_size(o->inner, size, err);
}

static int o_allocated(void *self, uint64_t *bytes, struct qcow2_error *err)
{
	struct odd *o = self;

	*bytes = 0;
	(void)err;
	return is_odd(o, ALLOCATED) ? o->answer : 0;
}

static int o_extent(void *self, uint64_t *len, uint64_t off, int *is_data,
		    struct qcow2_error *err)
{
	struct odd *o = self;

	(void)off, (void)err;
	*is_data = 1;
	if (!is_odd(o, EXTENT))
		return 0;
	if (o->answer == 1)
		*len = 0;
	else if (o->answer == 2)
		*len *= 2;
	else if (o->answer == 3)
		*len = UINT64_MAX;
	else
		return o->answer;
	return 0;
}

static int o_lock(void *self, enum qcow2_store_lock lock,
		  struct qcow2_error *err)
{
	struct odd *o = self;

	(void)lock, (void)err;
	return is_odd(o, LOCK) ? o->answer : 0;
}

static int o_fd(void *self)
{
	struct odd *o = self;

	return is_odd(o, FD) ? o->answer : -1;
}

static int o_identity(void *self, uint64_t *device, uint64_t *number)
{
	struct odd *o = self;

	*device = 1;
	*number = (uintptr_t)self;
	return is_odd(o, IDENTITY) ? o->answer : 0;
}

static struct qcow2_store_ops odd_ops(void)
{
	struct qcow2_store_ops ops = QCOW2_STORE_OPS_INIT;

	ops.name = "the odd one";
	ops.preadv = o_preadv;
	ops.pwritev = o_pwritev;
	ops.flush = o_flush;
	ops.zero = o_zero;
	ops.truncate = o_truncate;
	ops.size = o_size;
	ops.allocated = o_allocated;
	ops.extent = o_extent;
	ops.lock = o_lock;
	ops.fd = o_fd;
	ops.identity = o_identity;
	return ops;
}

static struct qcow2_store *make_odd(struct odd *o,
				    const struct qcow2_store_ops *ops)
{
	struct qcow2_create_opts opts = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_store *store;

	memset(o, 0, sizeof(*o));
	ok(qcow2_store_new_memory(&o->inner, NULL));
	opts.virtual_size = UINT64_C(16) << 20;
	ok(qcow2_create_store(o->inner, NULL, &opts, NULL));
	ok(qcow2_store_new(ops, o, &store, NULL));
	return store;
}

/* Asks everything that can be asked of a disk; nothing may end the process. */
static void exercise(struct qcow2_store *store, struct odd *o)
{
	struct qcow2_compact_result compact = QCOW2_COMPACT_RESULT_INIT;
	struct qcow2_check_result check = QCOW2_CHECK_RESULT_INIT;
	struct qcow2_open_opts opts = opts_of(QCOW2_OPEN_RDWR);
	struct qcow2_info info = QCOW2_INFO_INIT;
	struct qcow2_image *img, *raw;
	struct qcow2_store *target;
	struct qcow2_extent extent;

	if (open_store(store, QCOW2_OPEN_RDWR, &img) == 0) {
		put(img, 1);
		put(img, 9);
		qcow2_zero(img, 3 * CLUSTER / 2, CLUSTER, 0, NULL);
		qcow2_flush(img, NULL);
		qcow2_discard(img, CLUSTER, 9 * CLUSTER, 0, NULL);
		qcow2_snapshot_create(img, "x", NULL, NULL);
		put(img, 1);
		qcow2_map(img, 2 * CLUSTER, 0, 0, &extent, NULL);
		qcow2_get_info(img, 0, &info, NULL);
		qcow2_compact(img, NULL, &compact, NULL);
		qcow2_resize(img, UINT64_C(32) << 20, NULL, NULL);
		qcow2_close(img, NULL);
	}
	qcow2_check_store(store, NULL, &check, NULL);
	opts.format = QCOW2_FORMAT_RAW;
	opts.flags = 0;
	if (qcow2_open_store(store, &opts, &raw, NULL) == 0) {
		qcow2_map(raw, CLUSTER, 0, 0, &extent, NULL);
		ok(qcow2_store_new_memory(&target, NULL));
		qcow2_convert_raw_store(raw, target, NULL, NULL);
		qcow2_store_unref(target);
		qcow2_close(raw, NULL);
	}
	qcow2_store_unref(store);
	qcow2_store_unref(o->inner);
}

static void d07_no_answer_of_a_store_ends_the_process(void **state)
{
	static const int answers[] = { 1,     2,         3,         512,
				       4096,  65536,     INT32_MAX, -70000,
				       -4096, INT32_MIN, -2,        -EIO };
	const struct qcow2_store_ops ops = odd_ops();
	struct odd o;
	size_t i;
	int call, count;

	(void)state;
	for (call = 0; call < N_CALLS; call++)
		for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
			for (count = 0; count < 6; count += 5) {
				struct qcow2_store *store = make_odd(&o, &ops);

				o.call = (enum call)call;
				o.count = count;
				o.answer = answers[i];
				exercise(store, &o);
			}
}

static void d07_the_number_of_bytes_read_is_an_error_with_a_name(void **state)
{
	const struct qcow2_store_ops ops = odd_ops();
	struct qcow2_error err = { 0 };
	struct qcow2_store *store;
	struct qcow2_image *img;
	struct odd o;

	(void)state;
	store = make_odd(&o, &ops);
	o.call = PREADV;
	o.answer = 4096;
	assert_int_equal(qcow2_open_store(store, NULL, &img, &err), -EIO);
	assert_int_equal(err.code, -EIO);
	assert_non_null(strstr(err.message, "the odd one"));
	assert_non_null(strstr(err.message, "4096"));
	qcow2_store_unref(store);
	qcow2_store_unref(o.inner);
}

static void d07_a_wrong_answer_loses_nothing_that_was_flushed(void **state)
{
	const struct qcow2_store_ops ops = odd_ops();
	struct qcow2_store *store;
	struct qcow2_image *img;
	struct odd o;
	uint64_t i;

	(void)state;
	store = make_odd(&o, &ops);
	ok(open_store(store, QCOW2_OPEN_RDWR, &img));
	for (i = 0; i < 20; i++)
		ok(put(img, i));
	ok(qcow2_flush(img, NULL));
	o.call = PWRITEV;
	o.answer = CLUSTER;
	assert_int_equal(put(img, 30), -EIO);
	assert_true(qcow2_flush(img, NULL) == 0 || put(img, 31) < 0);
	qcow2_close(img, NULL);
	o.answer = 0;
	ok(open_store(store, 0, &img));
	assert_int_equal(n_wrong(img, 20), 0);
	ok(qcow2_close(img, NULL));
	qcow2_store_unref(store);
	qcow2_store_unref(o.inner);
}

static void d09_a_store_open_for_reading_is_not_opened_for_writing(void **state)
{
	struct qcow2_store *store;
	struct qcow2_image *img;

	(void)state;
	create("d09", UINT64_C(64) << 20);
	ok(qcow2_store_open_file("d09", 0, &store, NULL));
	assert_int_equal(open_store(store, QCOW2_OPEN_RDWR, &img), -EROFS);
	ok(open_store(store, 0, &img));
	ok(qcow2_close(img, NULL));
	qcow2_store_unref(store);
}

static void d09_nor_a_raw_one(void **state)
{
	struct qcow2_open_opts opts = opts_of(QCOW2_OPEN_RDWR);
	struct qcow2_store *store;
	struct qcow2_image *img;

	(void)state;
	create("d09-raw", UINT64_C(64) << 20);
	ok(qcow2_store_open_file("d09-raw", 0, &store, NULL));
	opts.format = QCOW2_FORMAT_RAW;
	assert_int_equal(qcow2_open_store(store, &opts, &img, NULL), -EROFS);
	qcow2_store_unref(store);
}

static void d09_nor_a_descriptor_that_only_reads(void **state)
{
	struct qcow2_store *store = NULL;
	struct qcow2_image *img;
	int fd, rc;

	(void)state;
	create("d09-fd", UINT64_C(64) << 20);
	fd = open("d09-fd", O_RDONLY);
	rc = qcow2_store_open_fd(fd, "d09-fd", QCOW2_STORE_RDWR, &store, NULL);
	if (rc == 0) {
		assert_true(open_store(store, QCOW2_OPEN_RDWR, &img) < 0);
		qcow2_store_unref(store);
	} else {
		close(fd);
	}
}

static void d09_nor_one_without_pwritev(void **state)
{
	struct qcow2_store_ops ops = odd_ops();
	struct qcow2_store *store;
	struct qcow2_image *img;
	struct odd o;

	(void)state;
	ops.pwritev = NULL;
	store = make_odd(&o, &ops);
	assert_int_equal(open_store(store, QCOW2_OPEN_RDWR, &img), -EROFS);
	ok(open_store(store, 0, &img));
	ok(qcow2_close(img, NULL));
	qcow2_store_unref(store);
	qcow2_store_unref(o.inner);
}

static void
d14_a_store_that_cannot_write_says_so_when_it_is_opened(void **state)
{
	struct qcow2_create_opts opts = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_store_ops ops;
	struct qcow2_store *store;
	struct qcow2_image *img;
	struct odd o;
	int i;

	(void)state;
	opts.virtual_size = CLUSTER;
	for (i = 0; i < 2; i++) {
		ops = odd_ops();
		if (i == 0)
			ops.flush = NULL;
		else
			ops.truncate = NULL;
		store = make_odd(&o, &ops);
		assert_int_equal(open_store(store, QCOW2_OPEN_RDWR, &img),
				 -ENOTSUP);
		assert_true(qcow2_create_store(store, NULL, &opts, NULL) < 0);
		ok(open_store(store, 0, &img));
		ok(qcow2_close(img, NULL));
		qcow2_store_unref(store);
		qcow2_store_unref(o.inner);
	}
}

static void d14_what_is_optional_is_optional(void **state)
{
	struct qcow2_store_ops ops = odd_ops();
	struct qcow2_store *store;
	struct qcow2_image *img;
	struct odd o;
	uint64_t i;

	(void)state;
	ops.zero = NULL;
	ops.allocated = NULL;
	ops.extent = NULL;
	ops.lock = NULL;
	ops.fd = NULL;
	ops.identity = NULL;
	ops.close = NULL;
	ops.name = NULL;
	store = make_odd(&o, &ops);
	ok(open_store(store, QCOW2_OPEN_RDWR, &img));
	for (i = 0; i < 20; i++)
		ok(put(img, i));
	ok(qcow2_zero(img, CLUSTER, 30 * CLUSTER, 0, NULL));
	ok(qcow2_snapshot_create(img, "x", NULL, NULL));
	ok(put(img, 3));
	ok(qcow2_flush(img, NULL));
	assert_int_equal(n_wrong(img, 20), 0);
	ok(qcow2_close(img, NULL));
	qcow2_store_unref(store);
	qcow2_store_unref(o.inner);
}

static void d14_a_stores_name_is_in_messages_and_for_its_layer(void **state)
{
	const struct qcow2_store_ops ops = odd_ops();
	struct qcow2_store *store;
	struct qcow2_image *img;
	struct odd o;

	(void)state;
	store = make_odd(&o, &ops);
	ok(open_store(store, 0, &img));
	assert_string_equal(qcow2_layer_filename(img, 0), "the odd one");
	ok(qcow2_close(img, NULL));
	qcow2_store_unref(store);
	qcow2_store_unref(o.inner);
}

int main(void)
{
	char directory[64];
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(d07_no_answer_of_a_store_ends_the_process),
		cmocka_unit_test(
			d07_the_number_of_bytes_read_is_an_error_with_a_name),
		cmocka_unit_test(
			d07_a_wrong_answer_loses_nothing_that_was_flushed),
		cmocka_unit_test(
			d09_a_store_open_for_reading_is_not_opened_for_writing),
		cmocka_unit_test(d09_nor_a_raw_one),
		cmocka_unit_test(d09_nor_a_descriptor_that_only_reads),
		cmocka_unit_test(d09_nor_one_without_pwritev),
		cmocka_unit_test(
			d14_a_store_that_cannot_write_says_so_when_it_is_opened),
		cmocka_unit_test(d14_what_is_optional_is_optional),
		cmocka_unit_test(
			d14_a_stores_name_is_in_messages_and_for_its_layer),
	};

	enter_directory(directory);
	return RUN_IN_DIRECTORY(tests, directory);
}
