#include "check/bulk.h"

#include <errno.h>
#include <stdlib.h>

#include "store/mem.h"
#include "store/store.h"
#include "stores/count.h"
#include "stores/fault.h"
#include "support/test.h"

struct bench {
	struct qcow2_store *mem;
	struct qcow2_store *counted;
	struct count count;
	struct fault_injector fault;
	struct budget budget;
	struct bulk bulk;
};

static void open_bench(struct bench *t, struct qcow2_store *mem)
{
	*t = (struct bench){ .mem = mem, .fault = FAULT_INIT };
	assert_int_equal(count_store_new(&t->count, mem, &t->counted), 0);
	budget_init(&t->budget, 0);
	assert_int_equal(
		bulk_init(&t->bulk, t->counted, &t->budget, 64 * KIB, NULL), 0);
}

static void close_bench(struct bench *t)
{
	bulk_release(&t->bulk);
	assert_int_equal(t->budget.used_bytes, 0);
	store_unref(t->counted);
	store_unref(t->mem);
}

static struct qcow2_store *filled(size_t len)
{
	struct qcow2_store *s;
	uint8_t *p = malloc(len);

	assert_non_null(p);
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i >> 10);
	assert_int_equal(store_mem_new(&s, NULL), 0);
	assert_int_equal(store_pwrite(s, p, len, 0, 0, NULL), 0);
	free(p);
	return s;
}

TEST(pieces_in_a_row_are_one_read)
{
	struct bench t;
	const uint8_t *p;

	open_bench(&t, filled(128 * KIB));
	for (uint64_t off = 0; off < 128 * KIB; off += KIB) {
		assert_int_equal(
			bulk_read(&t.bulk, KIB, 128 * KIB - off, off, &p, NULL),
			0);
		assert_int_equal(p[0], (uint8_t)(off >> 10));
		assert_int_equal(p[KIB - 1], (uint8_t)(off >> 10));
	}
	assert_int_equal(t.count.calls[STORE_OP_READ], 1);
	close_bench(&t);
}

TEST(reading_ahead_stops_at_the_capacity)
{
	struct bench t;
	const uint8_t *p;

	open_bench(&t, filled(16 * KIB));
	assert_int_equal(bulk_read(&t.bulk, KIB, UINT64_MAX, 0, &p, NULL), 0);
	assert_int_equal(t.count.bytes[STORE_OP_READ], BULK_BYTES);
	/* Past the end of the file there is nothing but zeros. */
	assert_int_equal(bulk_read(&t.bulk, KIB, KIB, 20 * KIB, &p, NULL), 0);
	assert_int_equal(p[0], 0);
	close_bench(&t);
}

TEST(a_hole_is_read_once_at_most)
{
	struct qcow2_store *mem;
	struct bench t;
	const uint8_t *p;

	assert_int_equal(store_mem_new(&mem, NULL), 0);
	assert_int_equal(store_truncate(mem, UINT64_C(1) << 40, NULL), 0);
	open_bench(&t, mem);
	for (uint64_t i = 1; i < 1000; i++) {
		uint64_t off = (1000 - i) << 20;

		assert_int_equal(
			bulk_read(&t.bulk, 64 * KIB, 64 * KIB, off, &p, NULL),
			0);
		if (p)
			bulk_found_empty(&t.bulk, off);
	}
	assert_int_equal(t.count.calls[STORE_OP_READ], 1);
	close_bench(&t);
}

TEST(data_after_a_hole_is_seen)
{
	struct qcow2_store *mem;
	struct bench t;
	const uint8_t *p;

	assert_int_equal(store_mem_new(&mem, NULL), 0);
	assert_int_equal(store_pwrite(mem, "x", 1, 1 << 20, 0, NULL), 0);
	open_bench(&t, mem);
	assert_int_equal(bulk_read(&t.bulk, KIB, KIB, 0, &p, NULL), 0);
	bulk_found_empty(&t.bulk, 0);
	assert_int_equal(bulk_read(&t.bulk, KIB, KIB, 512 * KIB, &p, NULL), 0);
	assert_null(p);
	assert_int_equal(bulk_read(&t.bulk, KIB, KIB, 1024 * KIB, &p, NULL), 0);
	assert_non_null(p);
	assert_int_equal(p[0], 'x');
	close_bench(&t);
}

TEST(one_bad_piece_does_not_spoil_its_neighbours)
{
	struct fault_plan plan = { .ops = FAULT_ON(STORE_OP_READ),
				   .nth = 1,
				   .code = -EIO };
	struct qcow2_store *mem = filled(16 * KIB);
	struct qcow2_store *bad;
	struct fault_injector fault = FAULT_INIT;
	struct bench t;
	const uint8_t *p;

	assert_int_equal(fault_store_new(&fault, mem, &bad), 0);
	store_unref(mem);
	open_bench(&t, bad);
	fault_arm(&fault, &plan);
	assert_int_equal(bulk_read(&t.bulk, KIB, 16 * KIB, 0, &p, NULL), 0);
	assert_int_equal(t.count.bytes[STORE_OP_READ], 17 * KIB);
	plan.persistent = true;
	fault_arm(&fault, &plan);
	assert_int_equal(bulk_read(&t.bulk, KIB, 4 * KIB, 8 * KIB, &p, NULL),
			 -EIO);
	close_bench(&t);
}

/* ---- Its validator ------------------------------------------------------- */

TEST(a_window_that_is_not_as_it_should_be_is_found)
{
	uint8_t byte;
	struct bulk b = { .buf = &byte, .capacity = BULK_BYTES };

	bulk_validate(&b);
	ASSERT_ABORTS(b.buf = NULL; bulk_validate(&b));
	ASSERT_ABORTS(b.capacity--; bulk_validate(&b));
	ASSERT_ABORTS(b.buf_len = BULK_BYTES + 1; bulk_validate(&b));
	ASSERT_ABORTS(b.hole_off = 1; bulk_validate(&b));
	ASSERT_ABORTS(b.ask_first = true; bulk_validate(&b));
}
