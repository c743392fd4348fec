#include <errno.h>

#include "store_test.h"
#include "stores/count.h"

static struct qcow2_store *over_memory(struct count *c)
{
	struct qcow2_store *mem;
	struct qcow2_store *s;

	ok(store_mem_new(&mem, NULL));
	ok(count_store_new(c, mem, &s));
	store_unref(mem);
	return s;
}

TEST(counts_calls_and_bytes_by_operation)
{
	struct count c = { 0 };
	struct qcow2_store *s = over_memory(&c);
	char buf[100];
	uint64_t n = 50;
	bool is_data;

	ok(store_pwrite(s, "0123456789", 10, 5, 0, NULL));
	ok(store_pread(s, buf, 100, 0, 0, NULL));
	ok(store_pread(s, buf, 7, 0, 0, NULL));
	ok(store_flush(s, NULL));
	ok(store_zero(s, 3, 0, 0, NULL));
	ok(store_extent(s, &n, 0, &is_data, NULL));
	ok(store_truncate(s, 9, NULL));
	ok(store_size(s, &n, NULL));
	assert_int_equal(n, 9);
	ok(store_allocated(s, &n, NULL));
	assert_int_equal(n, 4096);
	ok(store_lock(s, QCOW2_STORE_LOCK_READ, NULL));
	for (int op = 0; op < STORE_N_OPS; op++)
		assert_int_equal(c.calls[op], op == STORE_OP_READ ? 2 : 1);
	assert_int_equal(c.bytes[STORE_OP_READ], 107);
	assert_int_equal(c.bytes[STORE_OP_WRITE], 10);
	assert_int_equal(c.bytes[STORE_OP_ZERO], 3);
	store_unref(s);
}

TEST(passes_contents_and_nature_through)
{
	struct count c = { 0 };
	struct qcow2_store *mem;
	struct qcow2_store *s;
	char buf[4];

	ok(store_mem_new(&mem, NULL));
	ok(store_pwrite(mem, "abcd", 4, 0, 0, NULL));
	ok(count_store_new(&c, mem, &s));
	ok(store_pread(s, buf, 4, 0, 0, NULL));
	assert_memory_equal(buf, "abcd", 4);
	assert_string_equal(store_name(s), store_name(mem));
	assert_false(store_is_read_only(s));
	store_unref(mem);
	store_unref(s);
}
