/*
 * Each operation is run again and again, and each time another of its calls to
 * the host, or another of its allocations, fails.  Afterwards the image opens,
 * the disk and all snapshots are as before or as after, and there is no damage
 * but leaks, or flags under the dirty bit.
 */
#include "rig.h"

#include <errno.h>

#include "api/handle.h"
#include "base/bytes.h"
#include "chain/disk_impl.h"
#include "faults/wrap_alloc.h"
#include "format/header.h"
#include "format/limits.h"
#include "image/image.h"
#include "store/mem.h"
#include "stores/fault.h"

#define DISK (256 * 1024)

/* ---- The image ----------------------------------------------------------- */

enum operation { CREATE, APPLY, DELETE, VM_CREATE, N_OPERATIONS };

struct scene {
	struct rig r;
	uint8_t *one; /* the contents of snapshot "one" */
};

static void scene_init(struct scene *s, const struct qcow2_create_opts *kind)
{
	rig_init(&s->r, DISK, kind);
	rig_write(&s->r, 1, 100000, 3000);
	s->one = rig_copy(&s->r);
	rig_create(&s->r, "one");
	rig_write(&s->r, 2, 50000, 40000);
	rig_write(&s->r, 3, 5000, 200000);
	rig_close(&s->r);
}

static void scene_release(struct scene *s)
{
	free(s->one);
	rig_release(&s->r);
}

static struct qcow2_store *copy_of(struct qcow2_store *store)
{
	struct qcow2_store *copy;
	uint64_t size;
	uint8_t *bytes;

	assert_int_equal(store_size(store, &size, NULL), 0);
	bytes = malloc(size);
	assert_non_null(bytes);
	assert_int_equal(store_pread(store, bytes, size, 0, 0, NULL), 0);
	assert_int_equal(qcow2_store_new_memory(&copy, NULL), 0);
	assert_int_equal(store_pwrite(copy, bytes, size, 0, 0, NULL), 0);
	free(bytes);
	return copy;
}

static int perform(struct qcow2_image *img, enum operation op)
{
	struct qcow2_snapshot_opts opts = QCOW2_SNAPSHOT_OPTS_INIT;
	static const char state[] = "the state of a machine";
	int rc;

	switch (op) {
	case CREATE:
		return qcow2_snapshot_create(img, "two", &opts, NULL);
	case APPLY:
		return qcow2_snapshot_apply(img, "one", NULL);
	case DELETE:
		return qcow2_snapshot_delete(img, "one", NULL);
	default:
		rc = qcow2_vmstate_write(img, state, sizeof(state), 600, NULL);
		opts.vm_state_size = 600 + sizeof(state);
		return rc < 0 ? rc
			      : qcow2_snapshot_create(img, "two", &opts, NULL);
	}
}

/* ---- Judging ------------------------------------------------------------- */

static bool disk_is(struct qcow2_store *store, const char *snapshot,
		    const uint8_t *want)
{
	struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;
	uint8_t *now = malloc(DISK);
	struct qcow2_image *img;
	struct qcow2_error err;
	bool same;

	open.snapshot = snapshot;
	if (qcow2_open_store(store, &open, &img, &err) < 0)
		rig_fail("opening afterwards", &err);
	assert_int_equal(qcow2_size(img), DISK);
	if (qcow2_pread(img, now, DISK, 0, 0, &err) < 0)
		rig_fail("reading afterwards", &err);
	same = memcmp(now, want, DISK) == 0;
	qcow2_close(img, NULL);
	free(now);
	return same;
}

static uint32_t names_of(struct qcow2_store *store, bool *one, bool *two)
{
	struct qcow2_snapshot_info s = { .struct_size = sizeof(s) };
	struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_image *img;
	uint32_t n = 0;

	*one = *two = false;
	assert_int_equal(qcow2_open_store(store, &open, &img, NULL), 0);
	for (; qcow2_get_snapshot(img, n, &s, NULL) == 0; n++) {
		*one |= strcmp(s.name, "one") == 0;
		*two |= strcmp(s.name, "two") == 0;
	}
	qcow2_close(img, NULL);
	return n;
}

static bool is_dirty(const struct scene *s, struct qcow2_store *store)
{
	uint8_t raw[8];

	assert_int_equal(
		store_pread(store, raw, 8, HEADER_OFF_INCOMPAT, 0, NULL), 0);
	return s->r.create.version != 2 && (get_be64(raw) & INCOMPAT_DIRTY);
}

static void judge(struct scene *s, struct qcow2_store *store, enum operation op,
		  int rc)
{
	struct rig view = { .store = store };
	bool one, two;
	uint32_t n = names_of(store, &one, &two);

	assert_int_equal(n, (uint32_t)one + two);
	assert_true(one || op == DELETE);
	assert_true(!two || op == CREATE || op == VM_CREATE);
	if (one)
		assert_true(disk_is(store, "one", s->one));
	if (two)
		assert_true(disk_is(store, "two", s->r.disk));
	if (op == APPLY && rc == 0)
		assert_true(disk_is(store, NULL, s->one));
	else if (op == APPLY)
		assert_true(disk_is(store, NULL, s->one) ||
			    disk_is(store, NULL, s->r.disk));
	else
		assert_true(disk_is(store, NULL, s->r.disk));
	if (rc == 0)
		assert_int_equal(n, op == DELETE ? 0 : op == APPLY ? 1 : 2);
	/* Version 2 has no dirty bit for flags that are behind. */
	if (!is_dirty(s, store) && s->r.create.version != 2)
		rig_check_leaks(&view, UINT64_MAX);
}

/* ---- Running ------------------------------------------------------------- */

static bool run_with_fault(struct scene *s, enum operation op,
			   const struct fault_plan *plan)
{
	struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;
	struct fault_injector fault = FAULT_INIT;
	struct qcow2_store *copy = copy_of(s->r.store);
	struct qcow2_store *store;
	struct qcow2_image *img;
	bool fired;
	int rc, end;

	assert_int_equal(fault_store_new(&fault, copy, &store), 0);
	open.flags = QCOW2_OPEN_RDWR;
	assert_int_equal(qcow2_open_store(store, &open, &img, NULL), 0);
	fault_arm(&fault, plan);
	rc = perform(img, op);
	fired = fault_fired(&fault);
	if (rc < 0)
		assert_true(fired);
	end = qcow2_close(img, NULL);
	fault_arm(&fault, NULL);
	judge(s, copy, op, rc < 0 ? rc : end);
	qcow2_store_unref(store);
	qcow2_store_unref(copy);
	return fired;
}

/* S15: @n writes in a row find no room, and then there is room: an operation
 * that failed is undone, or done, at once or when the image is closed, without
 * the repair. */
static bool run_without_room(struct scene *s, enum operation op, uint64_t nth,
			     uint64_t n)
{
	struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;
	struct fault_plan plan = { .ops = FAULT_ON(STORE_OP_WRITE) |
					  FAULT_ON(STORE_OP_TRUNCATE),
				   .nth = nth,
				   .more = n - 1,
				   .code = -ENOSPC };
	struct fault_injector fault = FAULT_INIT;
	struct qcow2_store *copy = copy_of(s->r.store);
	struct rig view = { .store = copy };
	struct qcow2_store *store;
	struct qcow2_image *img;
	bool fired;
	int rc;

	assert_int_equal(fault_store_new(&fault, copy, &store), 0);
	open.flags = QCOW2_OPEN_RDWR;
	assert_int_equal(qcow2_open_store(store, &open, &img, NULL), 0);
	fault_arm(&fault, &plan);
	rc = perform(img, op);
	fired = fault_fired(&fault);
	if (rc < 0)
		assert_int_equal(rc, -ENOSPC);
	fault_arm(&fault, NULL);
	assert_int_equal(qcow2_flush(img, NULL), 0);
	assert_int_equal(qcow2_close(img, NULL), 0);
	judge(s, copy, op, rc);
	if (is_dirty(s, copy))
		fail_msg("operation %d is unfinished after write %d", (int)op,
			 (int)nth);
	rig_check_leaks(&view, UINT64_MAX);
	qcow2_store_unref(store);
	qcow2_store_unref(copy);
	return fired;
}

static const struct qcow2_create_opts kinds[] = {
	{ .cluster_size = 512 },
	{ .cluster_size = 4096, .version = 2 },
	{ .cluster_size = 65536 },
};

enum { N_KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static void run_all(bool persistent, unsigned ops)
{
	for (int k = 0; k < N_KINDS; k++) {
		struct scene s;

		scene_init(&s, &kinds[k]);
		for (int op = 0; op < N_OPERATIONS; op++) {
			struct fault_plan plan = {
				.ops = ops,
				.nth = 1,
				.persistent = persistent,
				.code = -EIO,
			};

			while (run_with_fault(&s, (enum operation)op, &plan))
				plan.nth++;
			assert_true(plan.nth > 3);
		}
		scene_release(&s);
	}
}

TEST(one_call_fails)
{
	run_all(false, FAULT_ON_CHANGES | FAULT_ON(STORE_OP_READ));
}

TEST(all_calls_fail_from_some_point_on)
{
	run_all(true, FAULT_ON_CHANGES);
}

TEST(want_of_room_is_undone_at_once)
{
	for (int i = 0; i < N_KINDS * N_OPERATIONS; i++) {
		enum operation op = (enum operation)(i % N_OPERATIONS);
		struct scene s;

		scene_init(&s, &kinds[i / N_OPERATIONS]);
		for (uint64_t n = 1; n <= 4; n += 3) {
			uint64_t nth = 1;

			while (run_without_room(&s, op, nth, n))
				nth++;
			assert_true(nth > 3);
		}
		scene_release(&s);
	}
}

/* No new table is needed if all L1 entries that change lie in one sector. */
TEST(applying_needs_no_room_for_a_table)
{
	for (int k = 0; k < N_KINDS; k++) {
		struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;
		struct fault_plan plan = { .ops = FAULT_ON(STORE_OP_WRITE),
					   .nth = 1,
					   .code = -ENOSPC };
		struct fault_injector fault = FAULT_INIT;
		struct qcow2_store *store;
		struct qcow2_image *img;
		struct qcow2_extent x;
		struct map *map;
		struct scene s;

		scene_init(&s, &kinds[k]);
		assert_int_equal(fault_store_new(&fault, s.r.store, &store), 0);
		open.flags = QCOW2_OPEN_RDWR;
		assert_int_equal(qcow2_open_store(store, &open, &img, NULL), 0);
		assert_int_equal(qcow2_map(img, DISK, 0, 0, &x, NULL), 0);
		map = &img->disk->layers[0].image->map;
		assert_non_null(atomic_load(&map->repeats));
		fault_arm(&fault, &plan);
		assert_int_equal(qcow2_snapshot_apply(img, "one", NULL), 0);
		assert_int_equal(fault_fired(&fault), 1);
		assert_null(atomic_load(&map->repeats));
		assert_int_equal(qcow2_close(img, NULL), 0);
		judge(&s, s.r.store, APPLY, 0);
		rig_check(&s.r);
		qcow2_store_unref(store);
		scene_release(&s);
	}
}

static bool run_without_memory(struct scene *s, enum operation op, uint64_t nth)
{
	struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_store *copy = copy_of(s->r.store);
	struct qcow2_image *img;
	bool fired;
	int rc, end;

	open.flags = QCOW2_OPEN_RDWR;
	assert_int_equal(qcow2_open_store(copy, &open, &img, NULL), 0);
	wrap_alloc_arm(nth, false);
	rc = perform(img, op);
	fired = wrap_alloc_fired();
	wrap_alloc_arm(0, false);
	if (rc < 0)
		assert_true(fired);
	end = qcow2_close(img, NULL);
	judge(s, copy, op, rc < 0 ? rc : end);
	qcow2_store_unref(copy);
	return fired;
}

TEST(one_allocation_fails)
{
	for (int k = 0; k < N_KINDS; k++) {
		struct scene s;

		scene_init(&s, &kinds[k]);
		for (int op = 0; op < N_OPERATIONS; op++) {
			uint64_t nth = 1;

			while (run_without_memory(&s, (enum operation)op, nth))
				nth++;
			assert_true(nth > 3);
		}
		scene_release(&s);
	}
}
