#include <errno.h>
#include <inttypes.h>

#include "store_test.h"

/* A store that notes what it was asked and answers what it is told. */
struct fake {
	int rc;
	int n_calls;
	int n_closes;
	uint64_t off;
	uint64_t len;
	unsigned flags;
	uint64_t size;
	uint64_t extent_len;
};

static int note(struct fake *f, const struct iovec *iov, int iovcnt,
		uint64_t off, unsigned flags)
{
	f->n_calls++;
	f->off = off;
	f->flags = flags;
	f->len = 0;
	for (int i = 0; i < iovcnt; i++)
		f->len += iov[i].iov_len;
	return f->rc;
}

static int fake_rw(void *self, const struct iovec *iov, int iovcnt,
		   uint64_t off, unsigned flags)
{
	return note(self, iov, iovcnt, off, flags);
}

static int fake_size(void *self, uint64_t *size)
{
	struct fake *f = self;

	*size = f->size;
	return f->rc;
}

static int fake_extent(void *self, uint64_t off, uint64_t *len, int *is_data)
{
	struct fake *f = self;

	(void)off;
	*len = f->extent_len;
	*is_data = 0;
	return f->rc;
}

static int fake_lock(void *self, enum qcow2_store_lock lock,
		     struct qcow2_error *err)
{
	struct fake *f = self;

	(void)lock;
	if (f->rc == -EBUSY) {
		err->code = f->rc;
		strcpy(err->message, "somebody has it");
	}
	return f->rc;
}

static void fake_close(void *self)
{
	((struct fake *)self)->n_closes++;
}

/* Writes arrive; zeroing is not there. */
static const struct qcow2_store_ops plain_ops = {
	.struct_size = sizeof(plain_ops),
	.preadv = fake_rw,
	.pwritev = fake_rw,
	.size = fake_size,
	.close = fake_close,
};

static struct qcow2_store *make(struct fake *f, const char *name,
				const struct qcow2_store_ops *ops)
{
	struct qcow2_store *s;

	ok(store_new(ops, f, name, false, &s, NULL));
	return s;
}

static void closes_once_with_the_last_reference(void **state)
{
	struct fake f = { 0 };
	struct qcow2_store *s = make(&f, "x", &plain_ops);

	(void)state;
	assert_ptr_equal(store_ref(s), s);
	store_unref(s);
	assert_int_equal(f.n_closes, 0);
	store_unref(s);
	assert_int_equal(f.n_closes, 1);
	store_unref(NULL);
}

static void hands_arguments_through(void **state)
{
	struct fake f = { 0 };
	struct qcow2_store *s = make(&f, "x", &plain_ops);
	char buf[10];

	(void)state;
	ok(store_pread(s, buf, 7, 99, QCOW2_STORE_NOWAIT, NULL));
	assert_int_equal(f.off, 99);
	assert_int_equal(f.len, 7);
	assert_int_equal(f.flags, QCOW2_STORE_NOWAIT);
	assert_string_equal(store_name(s), "x");
	store_unref(s);
}

static void an_empty_range_reaches_no_operation(void **state)
{
	struct fake f = { .rc = -EIO };
	struct qcow2_store *s = make(&f, "x", &plain_ops);

	(void)state;
	ok(store_pread(s, NULL, 0, 5, 0, NULL));
	ok(store_pwrite(s, NULL, 0, 5, 0, NULL));
	ok(store_zero(s, 0, 5, 0, NULL));
	assert_int_equal(f.n_calls, 0);
	store_unref(s);
}

static void refuses_to_change_a_read_only_store(void **state)
{
	struct fake f = { 0 };
	struct qcow2_error err = { 0 };
	struct qcow2_store *s;

	(void)state;
	ok(store_new(&plain_ops, &f, "ro", true, &s, NULL));
	assert_true(store_is_read_only(s));
	assert_int_equal(store_pwrite(s, "a", 1, 0, 0, &err), -EBADF);
	assert_string_equal(err.message, "ro: is open read-only");
	assert_int_equal(store_zero(s, 1, 0, 0, NULL), -EBADF);
	assert_int_equal(store_truncate(s, 1, NULL), -EBADF);
	ok(store_flush(s, NULL));
	assert_int_equal(f.n_calls, 0);
	store_unref(s);
}

static void missing_operations_have_their_defaults(void **state)
{
	struct fake f = { .size = 123 };
	struct qcow2_store *s = make(&f, "x", &plain_ops);
	uint64_t n = 0;
	uint64_t len = 55;
	bool is_data = false;

	(void)state;
	assert_int_equal(store_flush(s, NULL), -ENOTSUP);
	assert_int_equal(store_truncate(s, 5, NULL), -ENOTSUP);
	ok(store_allocated(s, &n, NULL));
	assert_int_equal(n, 123);
	ok(store_extent(s, &len, 7, &is_data, NULL));
	assert_int_equal(len, 55);
	assert_true(is_data);
	ok(store_lock(s, QCOW2_STORE_LOCK_WRITE, NULL));
	assert_int_equal(store_fd(s), -1);
	store_unref(s);
}

static void writes_zeros_up_to_the_end_where_it_cannot_zero(void **state)
{
	struct fake f = { .size = 100000 };
	struct qcow2_store *s = make(&f, "x", &plain_ops);

	(void)state;
	assert_int_equal(store_zero(s, 10, 0, QCOW2_STORE_NO_FALLBACK, NULL),
			 -ENOTSUP);
	assert_int_equal(f.n_calls, 0);
	ok(store_zero(s, UINT64_C(1) << 40, 99000, QCOW2_STORE_UNMAP, NULL));
	assert_int_equal(f.n_calls, 1);
	assert_int_equal(f.off, 99000);
	assert_int_equal(f.len, 1000);
	assert_int_equal(f.flags, 0);
	ok(store_zero(s, 100, 100000, 0, NULL));
	assert_int_equal(f.n_calls, 1);
	store_unref(s);
}

static void messages_say_what_failed_and_where(void **state)
{
	struct fake f = { .rc = -EIO, .size = 10 };
	struct qcow2_error err = { 0 };
	struct qcow2_store *s = make(&f, "a\n\033b", &plain_ops);
	uint64_t size;

	(void)state;
	assert_int_equal(store_pread(s, &size, 8, 4096, 0, &err), -EIO);
	assert_string_equal(err.message,
			    "a\\x0a\\x1bb: cannot read 8 bytes at offset 4096: "
			    "Input/output error");
	assert_int_equal(err.code, -EIO);
	assert_int_equal(store_size(s, &size, &err), -EIO);
	assert_string_equal(err.message, "a\\x0a\\x1bb: cannot find the size: "
					 "Input/output error");
	store_unref(s);
}

static void long_names_are_shown_by_their_end(void **state)
{
	struct fake f = { .rc = -EIO };
	struct qcow2_error err = { 0 };
	struct qcow2_store *s;
	char name[300];

	(void)state;
	memset(name, 'd', sizeof(name));
	strcpy(name + 280, "/disk.qcow2");
	s = make(&f, name, &plain_ops);
	store_flush(s, &err);
	assert_true(strncmp(err.message, "...ddd", 6) == 0);
	assert_non_null(strstr(err.message, "/disk.qcow2: cannot flush"));
	assert_string_equal(store_name(s), name);
	store_unref(s);
}

static void an_impossible_size_is_an_error(void **state)
{
	struct fake f = { .size = UINT64_C(1) << 63 };
	struct qcow2_store *s = make(&f, "x", &plain_ops);
	uint64_t size = 5;

	(void)state;
	assert_int_equal(store_size(s, &size, NULL), -EFBIG);
	assert_int_equal(size, 5);
	store_unref(s);
}

static void the_reason_of_a_lock_is_kept(void **state)
{
	struct qcow2_store_ops ops = plain_ops;
	struct fake f = { .rc = -EBUSY };
	struct qcow2_error err = { 0 };
	struct qcow2_store *s;

	(void)state;
	ops.lock = fake_lock;
	s = make(&f, "x", &ops);
	assert_int_equal(store_lock(s, QCOW2_STORE_LOCK_READ, &err), -EBUSY);
	assert_string_equal(err.message, "x: somebody has it");
	f.rc = -ENOLCK;
	assert_int_equal(store_lock(s, QCOW2_STORE_LOCK_READ, &err), -ENOLCK);
	assert_string_equal(err.message,
			    "x: cannot lock: No locks available");
	store_unref(s);
}

static void extents_may_be_unknown_but_not_wrong(void **state)
{
	struct qcow2_store_ops ops = plain_ops;
	struct fake f = { .rc = -ENOTSUP, .extent_len = 1 };
	struct qcow2_store *s;
	uint64_t len = 9;
	bool is_data = false;

	(void)state;
	ops.extent = fake_extent;
	s = make(&f, "x", &ops);
	ok(store_extent(s, &len, 0, &is_data, NULL));
	assert_true(is_data);
	assert_int_equal(len, 9);
	f.rc = -EIO;
	assert_int_equal(store_extent(s, &len, 0, &is_data, NULL), -EIO);
	f = (struct fake){ .extent_len = 4 };
	ok(store_extent(s, &len, 0, &is_data, NULL));
	assert_false(is_data);
	assert_int_equal(len, 4);
	store_unref(s);
}

static void read_past_the_last_offset(void *s)
{
	char c[2];

	store_pread(s, c, 2, INT64_MAX - 1, 0, NULL);
}

static void read_with_a_foreign_flag(void *s)
{
	char c;

	store_pread(s, &c, 1, 0, QCOW2_STORE_UNMAP, NULL);
}

static void read_one(void *s)
{
	char c;

	store_pread(s, &c, 1, 0, 0, NULL);
}

static void broken_contracts_stop_the_program(void **state)
{
	struct fake f = { 0 };
	struct qcow2_store *s;

	(void)state;
	s = make(&f, "x", &plain_ops);
	assert_false(aborts(read_one, s));
	assert_true(aborts(read_past_the_last_offset, s));
	assert_true(aborts(read_with_a_foreign_flag, s));
	store_unref(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(closes_once_with_the_last_reference),
		cmocka_unit_test(hands_arguments_through),
		cmocka_unit_test(an_empty_range_reaches_no_operation),
		cmocka_unit_test(refuses_to_change_a_read_only_store),
		cmocka_unit_test(missing_operations_have_their_defaults),
		cmocka_unit_test(
			writes_zeros_up_to_the_end_where_it_cannot_zero),
		cmocka_unit_test(messages_say_what_failed_and_where),
		cmocka_unit_test(long_names_are_shown_by_their_end),
		cmocka_unit_test(an_impossible_size_is_an_error),
		cmocka_unit_test(the_reason_of_a_lock_is_kept),
		cmocka_unit_test(extents_may_be_unknown_but_not_wrong),
		cmocka_unit_test(broken_contracts_stop_the_program),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
