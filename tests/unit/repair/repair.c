/*
 * Whole repairs: failures, random damage, costs.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check/check.h"
#include "format/defect.h"
#include "mend.h"
#include "repair/context.h"
#include "stores/fault.h"
#include "stores/record.h"

/* An image with a snapshot, bitmaps and some data. */
static struct rig *rich(void)
{
	struct rig *r = rig_new(&(struct rig_opts){ .cluster_bits = 9 });
	struct small s = rig_small(r);

	rig_snapshot(r, &s);
	rig_bitmap(r, "map");
	rig_data(r, rig_l2(r, 2), 7);
	rig_finish(r);
	return r;
}

static void damage_refcounts(struct rig *r)
{
	rig_poke_refcount(r, r->l1_off, 0);
	rig_poke_refcount(r, r->table_off, 5);
	rig_put64(r, HEADER_OFF_INCOMPAT, INCOMPAT_DIRTY);
}

static void damage_block(struct rig *r)
{
	rig_put64(r, r->table_off, r->block_off + 8);
}

static void damage_snapshots(struct rig *r)
{
	rig_put32(r, r->header.snapshots_off + 36, 8);
}

static void damage_overlap(struct rig *r)
{
	rig_put64(r, r->l1[2] & ENTRY_OFFSET_MASK, r->l1_off | ENTRY_COPIED);
}

static void damage_bits(struct rig *r)
{
	rig_put64(r, r->l1_off, rig_get64(r, r->l1_off) | 1);
	rig_put64(r, r->l1[2] & ENTRY_OFFSET_MASK, ENTRY_COPIED);
}

static void (*const damages[])(struct rig *r) = {
	damage_refcounts, damage_block, damage_snapshots,
	damage_overlap,   damage_bits,
};

#define N_DAMAGES (sizeof(damages) / sizeof(damages[0]))

static void expect_clean_store(struct qcow2_store *s)
{
	struct qcow2_check_result r = { .struct_size = sizeof(r) };

	assert_int_equal(check_store(s, NULL, &r, NULL), 0);
	assert_int_equal(r.corruptions + r.leaks + r.check_errors, 0);
}

/* Fails the n-th call, once or from then on, and repairs again. */
static bool fails_at(const struct rig *r, unsigned ops, uint64_t nth,
		     bool persistent)
{
	const struct fault_plan plan = {
		.ops = ops, .nth = nth, .code = -EIO, .persistent = persistent
	};
	struct fault_injector fault = FAULT_INIT;
	struct qcow2_store *copy = copy_store(r->store);
	struct qcow2_store *faulty;
	struct mended m;
	bool fired;

	fault_arm(&fault, &plan);
	assert_int_equal(fault_store_new(&fault, copy, &faulty), 0);
	m = mend_store(faulty, REPAIR_ALL);
	fired = fault_fired(&fault);
	if (!fired || (ops & FAULT_ON_CHANGES) == ops)
		assert_int_equal(m.rc, fired ? -EIO : 0);
	store_unref(faulty);
	m = mend_store(copy, REPAIR_ALL);
	assert_int_equal(m.rc, 0);
	expect_clean_store(copy);
	store_unref(copy);
	return fired;
}

TEST(every_call_may_fail)
{
	for (size_t i = 0; i < N_DAMAGES; i++) {
		struct rig *r = rich();
		uint64_t nth = 1;
		bool once, always;

		damages[i](r);
		do {
			once = fails_at(r, FAULT_ON_CHANGES, nth, false);
			always = fails_at(r, FAULT_ON_CHANGES, nth++, true);
		} while (once || always);
		assert_true(nth > 3);
		rig_free(r);
	}
}

/* A repair draws no conclusion from bytes that cannot be read this time. */
TEST_SLOW(every_read_may_fail)
{
	for (size_t i = 0; i < N_DAMAGES; i++) {
		struct rig *r = rich();
		uint64_t nth = 1;

		damages[i](r);
		while (fails_at(r, FAULT_ON(STORE_OP_READ), nth, false))
			nth++;
		assert_true(nth > 5);
		rig_free(r);
	}
}

/* R26: with any damage, one repair is enough, costs no more than the image is
 * worth, and leaves nothing that -r all should have repaired. */
TEST(random_damage_is_settled_at_once)
{
	struct test_rng rng = test_rng_init(test_seed());

	for (int round = 0; round < 400; round++) {
		struct rig *r = rich();
		uint64_t size = r->n_clusters * r->cs, new_size;
		struct mended m, again;
		struct bytes before;

		for (uint64_t n = 1 + test_rng_below(&rng, 4); n; n--) {
			uint64_t off = 36 + test_rng_below(&rng, size - 44);
			uint8_t byte = (uint8_t)test_rng_next(&rng);

			rig_put(r, off, &byte, 1);
		}
		m = mend_store(r->store, REPAIR_ALL);
		if (m.rc == 0) {
			before = bytes_of(r->store);
			again = mend_store(r->store, REPAIR_ALL);
			assert_int_equal(again.rc, 0);
			assert_int_equal(again.result.corruptions,
					 m.result.corruptions);
			assert_int_equal(again.result.leaks, m.result.leaks);
			assert_int_equal(again.result.corruptions_fixed +
						 again.result.leaks_fixed,
					 0);
			assert_true(bytes_equal(before, bytes_of(r->store)));
		}
		assert_int_equal(store_size(r->store, &new_size, NULL), 0);
		assert_true(new_size <= 3 * size + 65536);
		rig_free(r);
	}
}

static int stop(void *opaque, uint64_t done, uint64_t total)
{
	uint64_t *left = opaque;

	assert_true(done <= total);
	return (*left)-- == 0;
}

TEST(it_can_be_stopped_anywhere)
{
	for (uint64_t calls = 0;; calls++) {
		struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
		struct qcow2_check_result result = { 0 };
		struct rig *r = rich();
		uint64_t left = calls;
		int rc;

		damage_overlap(r);
		opts.progress = stop;
		opts.opaque = &left;
		rc = repair_store(r->store, &opts, REPAIR_ALL, &result, NULL);
		assert_true(rc == 0 || rc == -ECANCELED);
		mend(r, REPAIR_ALL);
		rig_free(r);
		if (rc == 0)
			break;
	}
}

/* R7: the budget holds, and nothing was written when it does not suffice. */
TEST(memory_is_bounded)
{
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	struct qcow2_check_result result = { 0 };
	struct rig *r = rich();
	struct bytes before;

	damage_refcounts(r);
	before = bytes_of(r->store);
	opts.budget.metadata_bytes = 4096;
	assert_int_equal(
		repair_store(r->store, &opts, REPAIR_ALL, &result, NULL),
		-E2BIG);
	assert_true(bytes_equal(before, bytes_of(r->store)));
	rig_free(r);
}

/* The repair tells which of two tables in one place is there. */
TEST(an_l1_table_that_is_the_refcount_table_is_not_believed)
{
	struct rig *r = rich();
	struct mended m;
	struct bytes before;

	rig_put64(r, HEADER_OFF_L1_OFF, r->table_off);
	before = bytes_of(r->store);
	m = mend_store(r->store, REPAIR_ALL);
	assert_int_equal(m.rc, -EINVAL);
	assert_int_equal(m.err.defect, DEFECT_HEADER_L1_OFFSET);
	assert_true(bytes_equal(before, bytes_of(r->store)));
	rig_free(r);

	r = rich();
	rig_put64(r, HEADER_OFF_REFCOUNT_TABLE_OFF, r->l1_off);
	mend(r, REPAIR_ALL);
	rig_free(r);
}

/* ---- Its validator ------------------------------------------------------- */

TEST(a_repair_that_is_not_as_it_should_be_is_found)
{
	struct qcow2_check_result result = { .struct_size = sizeof(result) };
	struct rig *rig = rich();
	struct repair r = { .file = rig->store,
			    .what = REPAIR_REFCOUNTS,
			    .has_check = true,
			    .n_checks = 1 };

	check_begin(&r.c, rig->store, NULL, &result);
	assert_int_equal(check_run(&r.c, NULL), 0);
	repair_validate(&r);
	ASSERT_ABORTS(r.what = (enum repair_what)99; repair_validate(&r));
	ASSERT_ABORTS(r.permille = 1001; repair_validate(&r));
	ASSERT_ABORTS(r.n_checks = 0; repair_validate(&r));
	ASSERT_ABORTS(r.c.file = NULL; repair_validate(&r));
	check_end(&r.c);
	/* The rest of an ended check belongs to nobody. */
	r.has_check = false;
	r.c.file = NULL;
	repair_validate(&r);
	rig_free(rig);
}
