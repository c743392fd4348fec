/*
 * Compaction runs again and again, and each time another of its calls to the
 * host, or another of its allocations, fails.  The failure is told; afterwards
 * the disk and its snapshot are as before, the check finds leaks at most, and
 * the next run does the rest.
 */
#include "rig.h"

#include <errno.h>

#include "faults/wrap_alloc.h"
#include "store/mem.h"
#include "stores/fault.h"

/* ---- The image ----------------------------------------------------------- */

struct scene {
	struct rig r;
	uint8_t *view; /* the contents of the snapshot */
};

/* Something of each kind that moves, behind free space. */
static void scene_init(struct scene *s, const struct qcow2_create_opts *kind)
{
	rig_init(&s->r, 128 * (uint64_t)kind->cluster_size, kind);
	compact_write(&s->r, 0, 40, 1);
	compact_write_compressed(&s->r, 64, 32, 2, kind->cluster_size / 4);
	compact_write(&s->r, 100, 8, 4);
	compact_discard(&s->r, 0, 36);
	s->view = rig_copy(&s->r);
	rig_create(&s->r, "then");
	compact_discard(&s->r, 36, 4);
	for (uint64_t i = 64; i < 80; i += 2)
		compact_discard(&s->r, i, 1);
	compact_write(&s->r, 120, 4, 5);
	rig_close(&s->r);
	rig_check(&s->r);
}

static void scene_release(struct scene *s)
{
	free(s->view);
	rig_release(&s->r);
}

static struct qcow2_store *copy_of(struct qcow2_store *store)
{
	struct qcow2_store *copy;
	uint64_t size;
	uint8_t *bytes = compact_bytes(store, &size);

	assert_int_equal(qcow2_store_new_memory(&copy, NULL), 0);
	assert_int_equal(store_pwrite(copy, bytes, size, 0, 0, NULL), 0);
	free(bytes);
	return copy;
}

/* ---- Judging ------------------------------------------------------------- */

static void expect_all(struct scene *s, struct rig *after)
{
	rig_open(after);
	rig_expect_image(after->img, s->r.disk, s->r.size);
	rig_close(after);
	rig_expect_view(after, "then", s->view, s->r.size);
}

/* Leaks are allowed here. */
static void expect_sound(struct qcow2_store *store)
{
	struct qcow2_check_result found = { .struct_size = sizeof(found) };

	assert_int_equal(check_store(store, NULL, &found, NULL), 0);
	assert_int_equal(found.corruptions, 0);
	assert_int_equal(found.check_errors, 0);
}

static void judge(struct scene *s, struct qcow2_store *store)
{
	struct qcow2_compact_result result = { .struct_size = sizeof(result) };
	struct rig after = { .store = store,
			     .create = s->r.create,
			     .open = s->r.open };
	struct qcow2_error err;

	expect_sound(store);
	expect_all(s, &after);
	rig_open(&after);
	if (qcow2_compact(after.img, NULL, &result, &err) < 0)
		rig_fail("going on", &err);
	rig_close(&after);
	expect_sound(store);
	expect_all(s, &after);
}

/* ---- Running ------------------------------------------------------------- */

static const struct qcow2_create_opts kinds[] = {
	{ .cluster_size = 512, .version = 3, .refcount_bits = 64 },
	{ .cluster_size = 4096, .version = 2 },
	{ .cluster_size = 16384,
	  .version = 3,
	  .flags = QCOW2_CREATE_EXTENDED_L2 },
};

enum { N_KINDS = sizeof(kinds) / sizeof(kinds[0]) };

/* 1 when no call was left to fail. */
static int run_with_fault(struct scene *s, const struct fault_plan *plan)
{
	struct qcow2_compact_result result = { .struct_size = sizeof(result) };
	struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;
	struct fault_injector fault = FAULT_INIT;
	struct qcow2_store *copy = copy_of(s->r.store);
	struct qcow2_store *store;
	struct qcow2_image *img;
	bool fired;
	int rc;

	assert_int_equal(fault_store_new(&fault, copy, &store), 0);
	open.flags = QCOW2_OPEN_RDWR;
	assert_int_equal(qcow2_open_store(store, &open, &img, NULL), 0);
	fault_arm(&fault, plan);
	rc = qcow2_compact(img, NULL, &result, NULL);
	fired = fault_fired(&fault);
	/* Space that cannot be punched is not given back, and that is all. */
	if (!fired)
		assert_int_equal(rc, 0);
	else if (plan->ops &
		 (FAULT_ON(STORE_OP_WRITE) | FAULT_ON(STORE_OP_FLUSH)))
		assert_true(rc < 0);
	qcow2_close(img, NULL);
	fault_arm(&fault, NULL);
	judge(s, copy);
	qcow2_store_unref(store);
	qcow2_store_unref(copy);
	return !fired;
}

static void run_all(bool persistent, unsigned ops, uint64_t at_least)
{
	for (int k = 0; k < N_KINDS; k++) {
		struct fault_plan plan = {
			.ops = ops,
			.nth = 1,
			.persistent = persistent,
			.code = -EIO,
		};
		struct scene s;

		scene_init(&s, &kinds[k]);
		while (!run_with_fault(&s, &plan))
			plan.nth++;
		assert_true(plan.nth > at_least);
		scene_release(&s);
	}
}

TEST(one_write_or_flush_fails)
{
	run_all(false, FAULT_ON(STORE_OP_WRITE) | FAULT_ON(STORE_OP_FLUSH), 20);
}

TEST(one_truncation_or_punch_fails)
{
	run_all(false, FAULT_ON(STORE_OP_ZERO) | FAULT_ON(STORE_OP_TRUNCATE),
		1);
}

TEST(one_read_fails)
{
	run_all(false, FAULT_ON(STORE_OP_READ), 20);
}

TEST(all_changes_fail_from_some_point_on)
{
	run_all(true, FAULT_ON_CHANGES, 20);
}

static bool run_without_memory(struct scene *s, uint64_t nth)
{
	struct qcow2_compact_result result = { .struct_size = sizeof(result) };
	struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_store *copy = copy_of(s->r.store);
	struct qcow2_image *img;
	bool fired;
	int rc;

	open.flags = QCOW2_OPEN_RDWR;
	assert_int_equal(qcow2_open_store(copy, &open, &img, NULL), 0);
	wrap_alloc_arm(nth, false);
	rc = qcow2_compact(img, NULL, &result, NULL);
	fired = wrap_alloc_fired();
	wrap_alloc_arm(0, false);
	if (rc < 0)
		assert_true(fired);
	qcow2_close(img, NULL);
	judge(s, copy);
	qcow2_store_unref(copy);
	return fired;
}

TEST(one_allocation_fails)
{
	for (int k = 0; k < N_KINDS; k++) {
		uint64_t nth = 1;
		struct scene s;

		scene_init(&s, &kinds[k]);
		while (run_without_memory(&s, nth))
			nth++;
		assert_true(nth > 20);
		scene_release(&s);
	}
}
