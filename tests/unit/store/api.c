/*
 * The public functions of stores: the arguments that they refuse.
 */
#include <errno.h>

#include "store_test.h"

static int preadv_ones(void *self, const struct iovec *iov, int iovcnt,
		       uint64_t off, unsigned flags, struct qcow2_error *err)
{
	(void)self;
	(void)off, (void)err;
	(void)flags;
	for (int i = 0; i < iovcnt; i++)
		memset(iov[i].iov_base, 1, iov[i].iov_len);
	return 0;
}

static int size_ten(void *self, uint64_t *size, struct qcow2_error *err)
{
	(void)err;
	(void)self;
	*size = 10;
	return 0;
}

/* A future version of the structure. */
struct larger_ops {
	struct qcow2_store_ops ops;
	void *later;
};

static struct qcow2_store_ops minimal(void)
{
	struct qcow2_store_ops ops = { .struct_size = sizeof(ops),
				       .preadv = preadv_ones,
				       .size = size_ten };

	return ops;
}

TEST(makes_a_store_of_the_callers_operations)
{
	struct qcow2_store_ops ops = minimal();
	struct qcow2_error err = { 0 };
	struct qcow2_store *s;
	uint64_t size;
	char c = 0;

	ok(qcow2_store_new(&ops, NULL, &s, &err));
	ok(qcow2_store_pread(s, &c, 1, 0, 0, &err));
	assert_int_equal(c, 1);
	ok(qcow2_store_size(s, &size, &err));
	assert_int_equal(size, 10);
	assert_int_equal(qcow2_store_pwrite(s, "a", 1, 0, 0, &err), -EBADF);
	assert_ptr_equal(qcow2_store_ref(s), s);
	qcow2_store_unref(s);
	qcow2_store_unref(s);
	qcow2_store_unref(NULL);
}

TEST(wants_the_required_operations)
{
	struct qcow2_store_ops ops = minimal();
	struct qcow2_store *s;

	assert_int_equal(qcow2_store_new(NULL, NULL, &s, NULL), -EINVAL);
	assert_int_equal(qcow2_store_new(&ops, NULL, NULL, NULL), -EINVAL);
	ops.size = NULL;
	assert_int_equal(qcow2_store_new(&ops, NULL, &s, NULL), -EINVAL);
	ops = minimal();
	ops.preadv = NULL;
	assert_int_equal(qcow2_store_new(&ops, NULL, &s, NULL), -EINVAL);
}

TEST(accepts_operations_of_older_and_newer_callers)
{
	struct larger_ops larger = { .ops = minimal() };
	struct qcow2_store_ops ops = minimal();
	struct qcow2_store *s;

	larger.ops.struct_size = sizeof(larger);
	ok(qcow2_store_new(&larger.ops, NULL, &s, NULL));
	qcow2_store_unref(s);
	larger.later = &larger;
	assert_int_equal(qcow2_store_new(&larger.ops, NULL, &s, NULL), -EINVAL);

	/* The bytes behind the smaller structure are not looked at. */
	memset((char *)&ops + offsetof(struct qcow2_store_ops, allocated), 0x5a,
	       sizeof(ops) - offsetof(struct qcow2_store_ops, allocated));
	ops.struct_size = offsetof(struct qcow2_store_ops, allocated);
	ok(qcow2_store_new(&ops, NULL, &s, NULL));
	qcow2_store_unref(s);

	ops.struct_size = 0;
	assert_int_equal(qcow2_store_new(&ops, NULL, &s, NULL), -EINVAL);
}

TEST(refuses_bad_arguments)
{
	struct qcow2_error err = { 0 };
	struct qcow2_store *s;
	uint64_t size;
	char c;

	ok(qcow2_store_new_memory(&s, &err));
	assert_int_equal(qcow2_store_pread(s, &c, 1, 0, 0x80, &err), -EINVAL);
	assert_string_equal(err.message, "flags 0x80: this version does not "
					 "know 0x80");
	assert_int_equal(qcow2_store_pread(s, NULL, 1, 0, 0, &err), -EINVAL);
	assert_int_equal(qcow2_store_pread(NULL, &c, 1, 0, 0, &err), -EINVAL);
	assert_int_equal(qcow2_store_pread(s, &c, 1, INT64_MAX, 0, &err),
			 -EINVAL);
	assert_int_equal(qcow2_store_pwrite(s, &c, 1, UINT64_MAX, 0, &err),
			 -EINVAL);
	assert_int_equal(qcow2_store_size(s, NULL, &err), -EINVAL);
	assert_int_equal(qcow2_store_size(NULL, &size, &err), -EINVAL);
	assert_int_equal(qcow2_store_new_memory(NULL, &err), -EINVAL);
	qcow2_store_unref(s);
}

TEST(refuses_bad_ways_to_open)
{
	struct qcow2_store *s;

	assert_int_equal(qcow2_store_open_file("x", 0x40, &s, NULL), -EINVAL);
	assert_int_equal(qcow2_store_open_file(NULL, 0, &s, NULL), -EINVAL);
	assert_int_equal(qcow2_store_open_file("x", 0, NULL, NULL), -EINVAL);
	assert_int_equal(
		qcow2_store_open_file("x", QCOW2_STORE_CREATE, &s, NULL),
		-EINVAL);
	assert_int_equal(access("x", F_OK), -1);
	assert_int_equal(qcow2_store_open_fd(-1, "x", 0, &s, NULL), -EBADF);
	assert_int_equal(qcow2_store_open_fd(1000, "x", 0, &s, NULL), -EBADF);
}
