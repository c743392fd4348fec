#include "image/map.h"

#include <pthread.h>

#include "support/amount.h"
#include "unit/write/disk_rig.h"

/* An L2 table of 64 KiB reaches over this much. */
#define REACH (UINT64_C(1) << 29)

struct rig {
	struct geometry geo;
	struct image_sizes sizes;
	struct qcow2_store *file;
	struct map map;
};

enum { N_L1 = 8, L1_OFF = CLUSTER, L2_OFF = 2 * CLUSTER };

/* Eight L1 entries, of which the third has a table with an entry in use. */
static int rig_try(struct rig *r, const struct qcow2_open_opts *opts)
{
	const struct header h = { .version = 3,
				  .cluster_bits = 16,
				  .refcount_order = 4,
				  .size = N_L1 * REACH };
	const struct map_source source = { &r->geo, &r->sizes, L1_OFF, N_L1 };
	uint8_t raw[8];

	geometry_init(&r->geo, &h);
	r->sizes = (struct image_sizes){ .file = UINT64_C(16) * CLUSTER };
	assert_int_equal(store_mem_new(&r->file, NULL), 0);
	assert_int_equal(store_truncate(r->file, 16 * CLUSTER, NULL), 0);
	put_be64(raw, L2_OFF | ENTRY_COPIED);
	assert_int_equal(store_pwrite(r->file, raw, 8, L1_OFF + 16, 0, NULL),
			 0);
	put_be64(raw, (5 * CLUSTER) | ENTRY_COPIED);
	assert_int_equal(store_pwrite(r->file, raw, 8, L2_OFF + 800, 0, NULL),
			 0);
	return map_open(&r->map, r->file, &source, opts, NULL);
}

static void rig_init(struct rig *r)
{
	const struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;

	assert_int_equal(rig_try(r, &opts), 0);
}

static void rig_release(struct rig *r)
{
	map_release(&r->map);
	store_unref(r->file);
}

static int get(struct rig *r, uint64_t off, struct map_window *w,
	       struct qcow2_error *err)
{
	return map_window_get(&r->map, N_L1 * REACH, off, 0, w, err);
}

TEST(without_a_table_all_empty_entries_are_one_window)
{
	struct map_window w;
	struct rig r;

	rig_init(&r);
	assert_int_equal(get(&r, CLUSTER, &w, NULL), 0);
	assert_null(w.slice);
	assert_int_equal(w.n_entries, 2 * REACH / CLUSTER - 1);
	map_window_put(&r.map, &w);
	assert_int_equal(get(&r, 3 * REACH, &w, NULL), 0);
	assert_int_equal(w.n_entries, 5 * REACH / CLUSTER);
	map_window_put(&r.map, &w);
	rig_release(&r);
}

TEST(a_window_ends_with_its_slice)
{
	const uint64_t off = 2 * REACH + UINT64_C(100) * CLUSTER;
	struct map_window w;
	struct rig r;

	rig_init(&r);
	assert_int_equal(get(&r, off, &w, NULL), 0);
	assert_non_null(w.slice);
	assert_int_equal(w.first, 100);
	assert_int_equal(w.n_entries, 4096 / 8 - 100);
	assert_int_equal(w.host_off, L2_OFF + 800);
	assert_true(map_window_entry(&w, &r.geo, 0).desc ==
		    ((5 * CLUSTER) | ENTRY_COPIED));
	assert_int_equal(map_window_entry(&w, &r.geo, 1).desc, 0);
	assert_int_equal(map_window_empty(&w, &r.geo, 0), 0);
	assert_int_equal(map_window_empty(&w, &r.geo, 1), w.n_entries - 1);
	map_window_put(&r.map, &w);
	rig_release(&r);
}

struct linker {
	struct rig *r;
	pthread_t thread;
	_Atomic bool done;
};

static void *link_and_unlink(void *arg)
{
	struct linker *l = arg;
	_Atomic uint64_t *entry = &l->r->map.l1.entries[2];

	for (unsigned i = 0; !atomic_load(&l->done); i++)
		atomic_store(entry, i % 2 ? L2_OFF | ENTRY_COPIED : 0);
	return NULL;
}

/* An entry that was looked at twice led to a table at offset 0: the header. */
TEST(a_table_that_comes_meanwhile_is_there_or_not)
{
	struct linker l = { .done = false };
	struct map_window w;
	struct rig r;

	rig_init(&r);
	l.r = &r;
	assert_int_equal(pthread_create(&l.thread, NULL, link_and_unlink, &l),
			 0);
	for (unsigned i = 0; i < TEST_AMOUNT(4000000, 100000); i++) {
		assert_int_equal(get(&r, 2 * REACH, &w, NULL), 0);
		if (w.slice)
			assert_int_equal(w.host_off, L2_OFF);
		map_window_put(&r.map, &w);
	}
	atomic_store(&l.done, true);
	pthread_join(l.thread, NULL);
	rig_release(&r);
}

TEST(entries_behind_the_table_are_empty)
{
	struct rig r;

	rig_init(&r);
	assert_int_equal(l1_table_off(map_l1_entry(&r.map, 2)), L2_OFF);
	assert_int_equal(map_l1_entry(&r.map, N_L1), 0);
	assert_int_equal(map_l1_entry(&r.map, UINT64_MAX), 0);
	rig_release(&r);
}

TEST(a_table_out_of_place_is_told_with_its_rule)
{
	const uint64_t bad[] = { L2_OFF + 512, UINT64_C(1) << 50,
				 16 * CLUSTER };

	for (unsigned i = 0; i < 3; i++) {
		struct qcow2_error err = { 0 };
		struct map_window w;
		struct rig r;

		rig_init(&r);
		r.map.l1.entries[2] = bad[i];
		assert_int_equal(get(&r, 2 * REACH, &w, &err), -EIO);
		assert_true(err.defect != 0);
		rig_release(&r);
	}
}

TEST(slices_have_sizes_that_divide_a_cluster)
{
	const uint64_t bad[] = { 256, 4097, 2 * CLUSTER, 1 };
	const uint64_t good[] = { 512, 4096, CLUSTER };

	for (unsigned i = 0; i < 4; i++) {
		struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
		struct rig r;

		opts.l2_slice_bytes = (uint32_t)bad[i];
		assert_int_equal(rig_try(&r, &opts), -EINVAL);
		store_unref(r.file);
	}
	for (unsigned i = 0; i < 3; i++) {
		struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
		struct map_window w;
		struct rig r;

		opts.l2_slice_bytes = (uint32_t)good[i];
		assert_int_equal(rig_try(&r, &opts), 0);
		assert_int_equal(get(&r, 2 * REACH, &w, NULL), 0);
		assert_int_equal(w.n_entries, good[i] / 8);
		map_window_put(&r.map, &w);
		rig_release(&r);
	}
}

TEST(an_l1_table_that_cannot_be_read_is_told)
{
	const struct fault_plan plan = { .ops = FAULT_ON(STORE_OP_READ),
					 .nth = 1,
					 .code = -EIO };
	const struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct fault_injector fault = FAULT_INIT;
	struct map_source source;
	struct qcow2_store *faulty;
	struct map_window w;
	struct rig r;
	struct map m;

	rig_init(&r);
	source = (struct map_source){ &r.geo, &r.sizes, L1_OFF, N_L1 };
	assert_int_equal(fault_store_new(&fault, r.file, &faulty), 0);
	fault_arm(&fault, &plan);
	assert_int_equal(map_open(&m, faulty, &source, &opts, NULL), -EIO);
	store_unref(faulty);
	assert_int_equal(get(&r, 2 * REACH, &w, NULL), 0);
	map_window_put(&r.map, &w);
	rig_release(&r);
}

/* ---- Its validator ------------------------------------------------------- */

TEST(a_map_that_is_not_as_it_should_be_is_found)
{
	struct map_window w;
	struct rig r;
	struct map *m = &r.map;

	rig_init(&r);
	map_validate(m);
	ASSERT_ABORTS(m->sizes = NULL; map_validate(m));
	ASSERT_ABORTS(m->l1.n_entries = 1 << 30; map_validate(m));
	ASSERT_ABORTS(m->l2.slice_bytes = 2 * CLUSTER; map_validate(m));
	ASSERT_ABORTS(m->l2.slice_bytes = 1536; map_validate(m));
	ASSERT_ABORTS(get(&r, N_L1 * REACH, &w, NULL));
	assert_int_equal(get(&r, 2 * REACH, &w, NULL), 0);
	ASSERT_ABORTS(map_window_entry(&w, &r.geo, w.n_entries));
	ASSERT_ABORTS(map_window_empty(&w, &r.geo, w.n_entries));
	map_window_put(m, &w);
	rig_release(&r);
}
