#include "check/prefetch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "check/bulk.h"
#include "store/mem.h"
#include "store/store.h"
#include "stores/fault.h"
#include "support/test.h"

enum { TABLE = 4096, N_TABLES = 1000 };

struct bench {
	struct qcow2_store *mem;
	struct qcow2_store *file;
	struct fault_injector fault;
	struct budget budget;
	struct l2set set;
	struct prefetch prefetch;
	uint64_t off[N_TABLES];
};

/* Tables in rows, and with gaps of all sizes; each begins with its number. */
static void open_bench(struct bench *t, size_t n)
{
	struct test_rng rng = test_rng_init(7);
	uint64_t off = TABLE;

	memset(t, 0, sizeof(*t));
	pthread_mutex_init(&t->fault.lock, NULL);
	budget_init(&t->budget, 0);
	l2set_init(&t->set, &t->budget);
	assert_int_equal(store_mem_new(&t->mem, NULL), 0);
	for (size_t i = 0; i < n; i++) {
		uint8_t number[8];

		t->off[i] = off;
		put_be64(number, i);
		assert_int_equal(store_pwrite(t->mem, number, 8, off, 0, NULL),
				 0);
		assert_true(l2set_add(&t->set, off, (uint32_t)i, true));
		off += TABLE + (test_rng_below(&rng, 3)
					? 0
					: TABLE * test_rng_below(&rng, 100));
	}
	l2set_sort(&t->set);
	assert_int_equal(fault_store_new(&t->fault, t->mem, &t->file), 0);
}

static void start(struct bench *t)
{
	prefetch_start(&t->prefetch, t->file, &t->set, TABLE, &t->budget);
}

static void close_bench(struct bench *t)
{
	prefetch_stop(&t->prefetch);
	l2set_release(&t->set);
	assert_int_equal(t->budget.used_bytes, 0);
	store_unref(t->file);
	store_unref(t->mem);
}

TEST(every_table_comes_in_its_turn)
{
	struct bench t;

	open_bench(&t, N_TABLES);
	start(&t);
	for (size_t i = 0; i < N_TABLES; i++) {
		const uint8_t *p = prefetch_get(&t.prefetch, t.off[i]);

		assert_non_null(p);
		assert_int_equal(get_be64(p), i);
	}
	assert_null(prefetch_get(&t.prefetch, t.off[N_TABLES - 1] + TABLE));
	close_bench(&t);
}

TEST(tables_can_be_left_out)
{
	struct bench t;

	open_bench(&t, N_TABLES);
	start(&t);
	for (size_t i = 0; i < N_TABLES; i += 1 + i % 150) {
		const uint8_t *p = prefetch_get(&t.prefetch, t.off[i]);

		assert_non_null(p);
		assert_int_equal(get_be64(p), i);
	}
	close_bench(&t);
}

TEST(it_can_be_stopped_anywhere)
{
	for (size_t n = 0; n < 20; n++) {
		struct bench t;

		open_bench(&t, N_TABLES);
		start(&t);
		for (size_t i = 0; i < n * 40; i++)
			assert_non_null(prefetch_get(&t.prefetch, t.off[i]));
		prefetch_stop(&t.prefetch);
		assert_null(prefetch_get(&t.prefetch, t.off[n * 40]));
		close_bench(&t);
	}
}

TEST(few_tables_take_no_thread)
{
	struct bench t;

	open_bench(&t, PREFETCH_TABLES_MIN - 1);
	start(&t);
	assert_false(t.prefetch.running);
	assert_null(prefetch_get(&t.prefetch, t.off[0]));
	close_bench(&t);
}

TEST(without_memory_there_is_nothing)
{
	for (size_t n = 0; n < PREFETCH_SLOTS; n++) {
		struct bench t;

		open_bench(&t, N_TABLES);
		t.budget.limit_bytes =
			t.budget.used_bytes + n * BULK_BYTES + 1000;
		start(&t);
		assert_false(t.prefetch.running);
		assert_null(prefetch_get(&t.prefetch, t.off[0]));
		close_bench(&t);
	}
}

TEST(what_cannot_be_read_is_left_to_others)
{
	const struct fault_plan plan = { .ops = FAULT_ON(STORE_OP_READ),
					 .nth = 3,
					 .code = -EIO };
	struct bench t;
	size_t n_missing = 0;

	open_bench(&t, N_TABLES);
	fault_arm(&t.fault, &plan);
	start(&t);
	for (size_t i = 0; i < N_TABLES; i++) {
		const uint8_t *p = prefetch_get(&t.prefetch, t.off[i]);

		n_missing += p == NULL;
		if (p)
			assert_int_equal(get_be64(p), i);
	}
	assert_true(n_missing > 0);
	assert_true(n_missing <= BULK_BYTES / TABLE);
	close_bench(&t);
}

/* ---- Its validator ------------------------------------------------------- */

TEST(slots_that_are_not_as_they_should_be_are_found)
{
	struct l2set set = { .n_tables = 100 };
	struct prefetch p = { .set = &set, .slot_bytes = 4096 };

	prefetch_validate(&p);
	ASSERT_ABORTS(p.table_bytes = 4097; prefetch_validate(&p));
	ASSERT_ABORTS(p.n_done = 1; prefetch_validate(&p));
	ASSERT_ABORTS(p.n_read = PREFETCH_SLOTS + 1; prefetch_validate(&p));
	ASSERT_ABORTS(p.n_done = p.n_read = 101; prefetch_validate(&p));
}
