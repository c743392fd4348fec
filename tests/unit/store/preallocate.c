#include "store_test.h"
#include "stores/fault.h"
#include "stores/record.h"

#include <errno.h>

#include "base/zero.h"

#define MIB ((uint64_t)1 << 20)
#define SIZE (11 * MIB)
#define OFF (MIB - 1)
#define LEN (9 * MIB + 1)

struct filled {
	struct record_log *log;
	struct qcow2_store *mem;
	struct qcow2_store *store; /* over it, recorded */
};

static struct filled filled_new(void)
{
	struct filled f = { .log = record_log_new() };
	uint8_t *buf = malloc(SIZE);

	assert_non_null(f.log);
	assert_non_null(buf);
	memset(buf, 'x', SIZE);
	ok(store_mem_new(&f.mem, NULL));
	ok(store_pwrite(f.mem, buf, SIZE, 0, 0, NULL));
	ok(record_store_new(f.log, f.mem, NULL, &f.store));
	free(buf);
	return f;
}

static void filled_free(struct filled *f)
{
	store_unref(f->store);
	store_unref(f->mem);
	record_log_free(f->log);
}

/* Zeros in the range, and the old bytes around it. */
static void expect_zeros(struct qcow2_store *s)
{
	uint8_t *buf = malloc(SIZE);
	uint64_t size;

	assert_non_null(buf);
	ok(store_size(s, &size, NULL));
	assert_int_equal(size, SIZE);
	ok(store_pread(s, buf, SIZE, 0, 0, NULL));
	assert_true(is_zero(buf + OFF, LEN));
	assert_int_equal(buf[OFF - 1], 'x');
	assert_int_equal(buf[OFF + LEN], 'x');
	free(buf);
}

TEST(what_is_reserved_or_given_back_is_zeroed_in_one_call)
{
	static const struct {
		enum qcow2_preallocation mode;
		unsigned flags;
	} modes[] = {
		{ QCOW2_PREALLOC_OFF, QCOW2_STORE_UNMAP },
		{ QCOW2_PREALLOC_METADATA, QCOW2_STORE_UNMAP },
		{ QCOW2_PREALLOC_FALLOC, 0 },
	};

	for (size_t i = 0; i < 3; i++) {
		struct filled f = filled_new();
		const struct record_event *ev;

		ok(store_preallocate(f.store, LEN, OFF, modes[i].mode, NULL));
		expect_zeros(f.store);
		assert_int_equal(record_n_events(f.log), 1);
		ev = record_event(f.log, 0);
		assert_int_equal(ev->op, STORE_OP_ZERO);
		assert_int_equal(ev->flags, modes[i].flags);
		filled_free(&f);
	}
}

TEST(what_is_full_is_written)
{
	struct filled f = filled_new();
	uint64_t end = OFF;

	ok(store_preallocate(f.store, LEN, OFF, QCOW2_PREALLOC_FULL, NULL));
	expect_zeros(f.store);
	for (size_t i = 0; i < record_n_events(f.log); i++) {
		const struct record_event *ev = record_event(f.log, i);

		assert_int_equal(ev->op, STORE_OP_WRITE);
		assert_int_equal(ev->off, end);
		end += ev->len;
	}
	assert_int_equal(end, OFF + LEN);
	filled_free(&f);
}

TEST(nothing_costs_no_call)
{
	struct filled f = filled_new();

	ok(store_preallocate(f.store, 0, OFF, QCOW2_PREALLOC_FULL, NULL));
	ok(store_preallocate(f.store, 0, OFF, QCOW2_PREALLOC_FALLOC, NULL));
	assert_int_equal(record_n_events(f.log), 0);
	filled_free(&f);
}

TEST(a_write_that_fails_is_the_last)
{
	const struct fault_plan plan = { .ops = FAULT_ON(STORE_OP_WRITE),
					 .nth = 2,
					 .code = -ENOSPC };
	struct fault_injector fault = FAULT_INIT;
	struct filled f = filled_new();
	struct qcow2_store *faulty;

	ok(fault_store_new(&fault, f.store, &faulty));
	fault_arm(&fault, &plan);
	assert_int_equal(
		store_preallocate(faulty, LEN, OFF, QCOW2_PREALLOC_FULL, NULL),
		-ENOSPC);
	assert_int_equal(record_n_events(f.log), 1);
	store_unref(faulty);
	filled_free(&f);
}
