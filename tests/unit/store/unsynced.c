#include "store/unsynced.h"

#include "store_test.h"
#include "stores/count.h"

static struct qcow2_store *over_counted(struct count *c)
{
	struct qcow2_store *mem, *counted, *s;

	ok(store_mem_new(&mem, NULL));
	ok(count_store_new(c, mem, &counted));
	ok(store_new_unsynced(counted, &s, NULL));
	store_unref(counted);
	store_unref(mem);
	return s;
}

TEST(barriers_go_nowhere)
{
	struct count c = { 0 };
	struct qcow2_store *s = over_counted(&c);

	ok(store_pwrite(s, "abc", 3, 0, 0, NULL));
	ok(store_flush(s, NULL));
	assert_int_equal(c.calls[STORE_OP_FLUSH], 0);
	assert_int_equal(c.calls[STORE_OP_WRITE], 1);
	store_unref(s);
}

TEST(all_else_reaches_the_store_below)
{
	struct count c = { 0 };
	struct qcow2_store *s = over_counted(&c);
	uint64_t n = 8192;
	bool is_data;
	char buf[4];

	ok(store_truncate(s, 8192, NULL));
	ok(store_pwrite(s, "abcd", 4, 0, 0, NULL));
	ok(store_zero(s, 2, 1, 0, NULL));
	ok(store_pread(s, buf, 4, 0, 0, NULL));
	assert_memory_equal(buf, "a\0\0d", 4);
	ok(store_extent(s, &n, 0, &is_data, NULL));
	assert_true(is_data);
	assert_int_equal(n, 4096);
	ok(store_size(s, &n, NULL));
	assert_int_equal(n, 8192);
	ok(store_allocated(s, &n, NULL));
	assert_int_equal(n, 4096);
	ok(store_lock(s, QCOW2_STORE_LOCK_WRITE, NULL));
	/* The holder of the store below has locked it. */
	assert_int_equal(c.calls[STORE_OP_LOCK], 0);
	assert_int_equal(store_fd(s), -1);
	store_unref(s);
}
