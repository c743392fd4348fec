#include <errno.h>

#include "store_test.h"
#include "stores/fault.h"

static struct fault_injector fault = FAULT_INIT;

static struct qcow2_store *over_memory(void)
{
	struct qcow2_store *mem;
	struct qcow2_store *s;

	ok(store_mem_new(&mem, NULL));
	ok(fault_store_new(&fault, mem, &s));
	store_unref(mem);
	return s;
}

static int write_byte(struct qcow2_store *s, uint64_t off)
{
	return store_pwrite(s, "x", 1, off, 0, NULL);
}

static uint64_t size_of(struct qcow2_store *s)
{
	uint64_t n = 0;

	ok(store_size(s, &n, NULL));
	return n;
}

TEST(fails_exactly_the_nth_call)
{
	struct fault_plan plan = { .ops = FAULT_ON(STORE_OP_WRITE),
				   .nth = 3,
				   .code = -ENOSPC };
	struct qcow2_store *s = over_memory();

	fault_arm(&fault, &plan);
	ok(write_byte(s, 0));
	ok(store_flush(s, NULL));
	ok(write_byte(s, 1));
	assert_int_equal(write_byte(s, 9), -ENOSPC);
	assert_int_equal(size_of(s), 2);
	ok(write_byte(s, 2));
	assert_int_equal(fault_fired(&fault), 1);
	assert_int_equal(fault_seen(&fault), 4);
	store_unref(s);
}

TEST(a_persistent_fault_stays)
{
	struct fault_plan plan = { .ops = FAULT_ON_CHANGES,
				   .nth = 2,
				   .persistent = true,
				   .code = -EIO };
	struct qcow2_store *s = over_memory();
	char c;

	fault_arm(&fault, &plan);
	ok(write_byte(s, 0));
	assert_int_equal(write_byte(s, 1), -EIO);
	assert_int_equal(store_flush(s, NULL), -EIO);
	assert_int_equal(store_truncate(s, 0, NULL), -EIO);
	assert_int_equal(store_zero(s, 1, 0, 0, NULL), -EIO);
	ok(store_pread(s, &c, 1, 0, 0, NULL));
	assert_int_equal(c, 'x');
	fault_arm(&fault, NULL);
	ok(write_byte(s, 1));
	store_unref(s);
}

TEST(a_loop_visits_every_call_once)
{
	struct fault_plan plan = { .ops = FAULT_ON_ALL, .code = -EIO };
	uint64_t n_failed = 0;

	for (plan.nth = 1;; plan.nth++) {
		struct qcow2_store *s = over_memory();

		fault_arm(&fault, &plan);
		if (write_byte(s, 0) == 0 && write_byte(s, 1) == 0 &&
		    store_flush(s, NULL) == 0)
			write_byte(s, 2);
		store_unref(s);
		if (!fault_fired(&fault))
			break;
		n_failed++;
	}
	assert_int_equal(n_failed, 4);
}

TEST(a_short_write_leaves_its_beginning)
{
	struct fault_plan plan = { .ops = FAULT_ON(STORE_OP_WRITE),
				   .nth = 1,
				   .kind = FAULT_SHORT,
				   .code = -EIO,
				   .part = 5 };
	struct qcow2_store *s = over_memory();
	char abc[] = "abc";
	char defg[] = "defg";
	struct iovec iov[] = { { abc, 3 }, { defg, 4 } };
	char buf[7];

	fault_arm(&fault, &plan);
	assert_int_equal(store_pwritev(s, iov, 2, 0, 0, NULL), -EIO);
	assert_int_equal(size_of(s), 5);
	ok(store_pread(s, buf, 7, 0, 0, NULL));
	assert_memory_equal(buf, "abcde\0", 7);
	store_unref(s);
}

TEST(a_lying_flush_succeeds_without_flushing)
{
	struct fault_plan plan = { .ops = FAULT_ON(STORE_OP_FLUSH),
				   .nth = 1,
				   .kind = FAULT_LIE };
	struct fault_injector below = FAULT_INIT;
	struct qcow2_store *mem;
	struct qcow2_store *seen;
	struct qcow2_store *s;

	ok(store_mem_new(&mem, NULL));
	ok(fault_store_new(&below, mem, &seen));
	ok(fault_store_new(&fault, seen, &s));
	fault_arm(&below, NULL);
	fault_arm(&fault, &plan);
	ok(store_flush(s, NULL));
	assert_int_equal(fault_seen(&below), 0);
	ok(store_flush(s, NULL));
	assert_int_equal(fault_seen(&below), 1);
	store_unref(mem);
	store_unref(seen);
	store_unref(s);
}

TEST(one_fault_may_serve_several_stores)
{
	struct fault_plan plan = { .ops = FAULT_ON(STORE_OP_WRITE),
				   .nth = 2,
				   .code = -EIO };
	struct qcow2_store *a = over_memory();
	struct qcow2_store *b = over_memory();

	fault_arm(&fault, &plan);
	ok(write_byte(a, 0));
	assert_int_equal(write_byte(b, 0), -EIO);
	store_unref(a);
	store_unref(b);
}
