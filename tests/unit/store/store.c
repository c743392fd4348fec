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
		   uint64_t off, unsigned flags, struct qcow2_error *err)
{
	(void)err;
	return note(self, iov, iovcnt, off, flags);
}

static int fake_size(void *self, uint64_t *size, struct qcow2_error *err)
{
	struct fake *f = self;

	(void)err;
	*size = f->size;
	return f->rc;
}

static int fake_extent(void *self, uint64_t *len, uint64_t off, int *is_data,
		       struct qcow2_error *err)
{
	struct fake *f = self;

	(void)off, (void)err;
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

/* It can write, but not zero. */
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

TEST(closes_once_with_the_last_reference)
{
	struct fake f = { 0 };
	struct qcow2_store *s = make(&f, "x", &plain_ops);

	assert_ptr_equal(store_ref(s), s);
	store_unref(s);
	assert_int_equal(f.n_closes, 0);
	store_unref(s);
	assert_int_equal(f.n_closes, 1);
	store_unref(NULL);
}

TEST(hands_arguments_through)
{
	struct fake f = { 0 };
	struct qcow2_store *s = make(&f, "x", &plain_ops);
	char buf[10];

	ok(store_pread(s, buf, 7, 99, QCOW2_STORE_NOWAIT, NULL));
	assert_int_equal(f.off, 99);
	assert_int_equal(f.len, 7);
	assert_int_equal(f.flags, QCOW2_STORE_NOWAIT);
	assert_string_equal(store_name(s), "x");
	store_unref(s);
}

TEST(an_empty_range_reaches_no_operation)
{
	struct fake f = { .rc = -EIO };
	struct qcow2_store *s = make(&f, "x", &plain_ops);

	ok(store_pread(s, NULL, 0, 5, 0, NULL));
	ok(store_pwrite(s, NULL, 0, 5, 0, NULL));
	ok(store_zero(s, 0, 5, 0, NULL));
	assert_int_equal(f.n_calls, 0);
	store_unref(s);
}

TEST(refuses_to_change_a_read_only_store)
{
	struct fake f = { 0 };
	struct qcow2_error err = { 0 };
	struct qcow2_store *s;

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

TEST(missing_operations_have_their_defaults)
{
	struct fake f = { .size = 123 };
	struct qcow2_store *s = make(&f, "x", &plain_ops);
	uint64_t n = 0;
	uint64_t len = 55;
	bool is_data = false;

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

TEST(writes_zeros_up_to_the_end_where_it_cannot_zero)
{
	struct fake f = { .size = 100000 };
	struct qcow2_store *s = make(&f, "x", &plain_ops);

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

TEST(messages_say_what_failed_and_where)
{
	struct fake f = { .rc = -EIO, .size = 10 };
	struct qcow2_error err = { 0 };
	struct qcow2_store *s = make(&f, "a\n\033b", &plain_ops);
	uint64_t size;

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

TEST(long_names_are_shown_by_their_end)
{
	struct fake f = { .rc = -EIO };
	struct qcow2_error err = { 0 };
	struct qcow2_store *s;
	char name[300];

	memset(name, 'd', sizeof(name));
	strcpy(name + 280, "/disk.qcow2");
	s = make(&f, name, &plain_ops);
	store_flush(s, &err);
	assert_true(strncmp(err.message, "...ddd", 6) == 0);
	assert_non_null(strstr(err.message, "/disk.qcow2: cannot flush"));
	assert_string_equal(store_name(s), name);
	store_unref(s);
}

TEST(an_impossible_size_is_an_error)
{
	struct fake f = { .size = UINT64_C(1) << 63 };
	struct qcow2_store *s = make(&f, "x", &plain_ops);
	uint64_t size = 5;

	assert_int_equal(store_size(s, &size, NULL), -EIO);
	assert_int_equal(size, 5);
	store_unref(s);
}

TEST(the_reason_of_a_lock_is_kept)
{
	struct qcow2_store_ops ops = plain_ops;
	struct fake f = { .rc = -EBUSY };
	struct qcow2_error err = { 0 };
	struct qcow2_store *s;

	ops.lock = fake_lock;
	s = make(&f, "x", &ops);
	assert_int_equal(store_lock(s, QCOW2_STORE_LOCK_READ, &err), -EBUSY);
	assert_string_equal(err.message, "x: somebody has it");
	f.rc = -ENOLCK;
	assert_int_equal(store_lock(s, QCOW2_STORE_LOCK_READ, &err), -ENOLCK);
	assert_string_equal(err.message, "x: cannot lock: No locks available");
	store_unref(s);
}

TEST(extents_may_be_unknown_but_not_wrong)
{
	struct qcow2_store_ops ops = plain_ops;
	struct fake f = { .rc = -ENOTSUP, .extent_len = 1 };
	struct qcow2_store *s;
	uint64_t len = 9;
	bool is_data = false;

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

/* The error of a store that breaks its contract, and its message. */
static void check_wrong(struct qcow2_store *s, int rc, const char *message,
			const struct qcow2_error *err)
{
	assert_int_equal(rc, -EIO);
	assert_int_equal(err->code, -EIO);
	assert_memory_equal(err->message, store_name(s), 4);
	assert_non_null(strstr(err->message, message));
}

#define WRONG(call, message) check_wrong(s, (call), (message), &err)

static int wrong_allocated(void *self, uint64_t *bytes, struct qcow2_error *err)
{
	(void)err;
	*bytes = ((struct fake *)self)->size;
	return ((struct fake *)self)->rc;
}

static int fake_flush(void *self, struct qcow2_error *err)
{
	(void)err;
	return ((struct fake *)self)->rc;
}

static int fake_zero(void *self, uint64_t len, uint64_t off, unsigned flags,
		     struct qcow2_error *err)
{
	(void)len, (void)off, (void)flags, (void)err;
	return ((struct fake *)self)->rc;
}

static int fake_truncate(void *self, uint64_t size, struct qcow2_error *err)
{
	(void)size, (void)err;
	return ((struct fake *)self)->rc;
}

static int fake_fd(void *self)
{
	return ((struct fake *)self)->rc;
}

static int fake_identity(void *self, uint64_t *device, uint64_t *number)
{
	*device = *number = 1;
	return ((struct fake *)self)->rc;
}

static const struct qcow2_store_ops full_ops = {
	.struct_size = sizeof(full_ops),
	.preadv = fake_rw,
	.pwritev = fake_rw,
	.flush = fake_flush,
	.zero = fake_zero,
	.truncate = fake_truncate,
	.size = fake_size,
	.allocated = wrong_allocated,
	.extent = fake_extent,
	.lock = fake_lock,
	.fd = fake_fd,
	.identity = fake_identity,
};

/* D7: each of these ended the program. */
TEST(answers_out_of_contract_are_errors)
{
	static const int answers[] = { 1,     512,    4096,     INT32_MAX,
				       -4096, -70000, INT32_MIN };
	struct fake f = { .extent_len = 1 };
	struct qcow2_store *s = make(&f, "wild", &full_ops);

	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		struct qcow2_error err = { 0 };
		struct store_identity id;
		char said[80];
		uint64_t n = 1;
		bool is_data;
		char c = 0;

		f.rc = answers[i];
		snprintf(said, sizeof(said),
			 " returned %d, expected 0 or a negative errno", f.rc);
		WRONG(store_pread(s, &c, 1, 0, 0, &err), said);
		WRONG(store_pwrite(s, &c, 1, 0, 0, &err), said);
		WRONG(store_flush(s, &err), said);
		WRONG(store_zero(s, 1, 0, 0, &err), said);
		WRONG(store_truncate(s, 1, &err), said);
		WRONG(store_size(s, &n, &err), said);
		WRONG(store_allocated(s, &n, &err), said);
		WRONG(store_extent(s, &n, 0, &is_data, &err), said);
		WRONG(store_lock(s, QCOW2_STORE_LOCK_READ, &err), said);
		assert_false(store_identity(s, &id));
		assert_int_equal(store_fd(s), f.rc < 0 ? -1 : f.rc);
	}
	store_unref(s);
}

TEST(the_message_names_store_and_operation)
{
	struct fake f = { .rc = 4096 };
	struct qcow2_store *s = make(&f, "mine", &full_ops);
	struct qcow2_error err = { 0 };
	char c;

	store_pread(s, &c, 1, 0, 0, &err);
	assert_string_equal(err.message,
			    "mine: cannot read 1 bytes at offset 0: preadv "
			    "returned 4096, expected 0 or a negative errno");
	store_unref(s);
}

TEST(numbers_that_cannot_be_are_errors)
{
	struct fake f = { .size = UINT64_C(1) << 63, .extent_len = 11 };
	struct qcow2_store *s = make(&f, "wild", &full_ops);
	struct qcow2_error err = { 0 };
	uint64_t n = 10;
	bool is_data;

	WRONG(store_size(s, &n, &err),
	      "size answered 9223372036854775808, which is beyond 2^63-1");
	WRONG(store_allocated(s, &n, &err), "allocated answered 92233");
	WRONG(store_extent(s, &n, 0, &is_data, &err),
	      "extent answered a length of 11, expected 1 to 10");
	f.extent_len = 0;
	WRONG(store_extent(s, &n, 0, &is_data, &err), "a length of 0, ");
	assert_int_equal(n, 10);
	store_unref(s);
}

static int explained(void *self, const struct iovec *iov, int iovcnt,
		     uint64_t off, unsigned flags, struct qcow2_error *err)
{
	(void)self, (void)iov, (void)iovcnt, (void)off, (void)flags;
	snprintf(err->message, sizeof(err->message), "the line is dead");
	return -EIO;
}

TEST(a_store_may_explain_its_failure)
{
	struct qcow2_store_ops ops = full_ops;
	struct qcow2_error err = { 0 };
	struct fake f = { 0 };
	struct qcow2_store *s;
	char c;

	ops.preadv = explained;
	s = make(&f, "mine", &ops);
	assert_int_equal(store_pread(s, &c, 1, 0, 0, &err), -EIO);
	assert_string_equal(err.message, "mine: cannot read 1 bytes at offset "
					 "0: the line is dead");
	assert_int_equal(store_pread(s, &c, 1, 0, 0, NULL), -EIO);
	store_unref(s);
}

TEST(writing_needs_its_operations)
{
	struct qcow2_store_ops ops = full_ops;
	struct qcow2_error err = { 0 };
	struct fake f = { 0 };
	struct qcow2_store *s = make(&f, "x", &ops);

	ok(store_check_writable(s, &err));
	store_unref(s);
	ops.flush = NULL;
	s = make(&f, "x", &ops);
	assert_int_equal(store_check_writable(s, &err), -ENOTSUP);
	assert_string_equal(err.message,
			    "x: has no operation flush, which writing needs");
	store_unref(s);
	ops = full_ops;
	ops.truncate = NULL;
	s = make(&f, "x", &ops);
	assert_int_equal(store_check_writable(s, &err), -ENOTSUP);
	assert_non_null(strstr(err.message, "truncate"));
	store_unref(s);
	ok(store_new(&full_ops, &f, "x", true, &s, NULL));
	assert_int_equal(store_check_writable(s, &err), -EROFS);
	store_unref(s);
}

TEST(stores_of_one_identity_are_the_same)
{
	struct fake f = { 0 };
	struct qcow2_store *a = make(&f, "a", &full_ops);
	struct qcow2_store *b = make(&f, "b", &full_ops);
	struct qcow2_store *c = make(&f, "c", &plain_ops);
	struct qcow2_store *d = make(&f, "d", &plain_ops);

	assert_true(store_same_file(a, a));
	assert_true(store_same_file(a, b));
	assert_true(store_same_file(c, c));
	assert_false(store_same_file(a, c));
	assert_false(store_same_file(c, d));
	f.rc = -EIO;
	assert_false(store_same_file(a, b));
	store_unref(a);
	store_unref(b);
	store_unref(c);
	store_unref(d);
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

TEST(broken_contracts_stop_the_program)
{
	struct fake f = { 0 };
	struct qcow2_store *s;

	s = make(&f, "x", &plain_ops);
	assert_false(aborts(read_one, s));
	assert_true(aborts(read_past_the_last_offset, s));
	assert_true(aborts(read_with_a_foreign_flag, s));
	store_unref(s);
}
