#include "image/snapshots.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "store/mem.h"
#include "store/store.h"
#include "stores/fault.h"
#include "support/test.h"

enum { CLUSTER = 65536, N = 3, TABLE_OFF = CLUSTER };

static const struct snapshot entries[N] = {
	{ .l1_off = 2 * CLUSTER,
	  .l1_size = 1,
	  .id_len = 1,
	  .id = "1",
	  .name_len = 5,
	  .name = "first",
	  .date_sec = 1600000000,
	  .date_nsec = 7,
	  .vm_clock_nsec = 8,
	  .vm_state_size = 1 << 20,
	  .disk_size = 1 << 20,
	  .icount = 12 },
	{ .l1_off = 3 * CLUSTER,
	  .l1_size = 2,
	  .id_len = 1,
	  .id = "2",
	  .name_len = 1,
	  .name = "1",
	  .disk_size = 1 << 21 },
	{ .l1_off = 4 * CLUSTER,
	  .l1_size = 1,
	  .id_len = 2,
	  .id = "10",
	  .name_len = 5,
	  .name = "first",
	  .disk_size = 1 << 20 },
};

struct table {
	struct qcow2_store *file;
	struct header header;
	struct snapshots written;
	uint64_t size;
};

/* A file of eight clusters whose second is the table. */
static void table_init(struct table *t)
{
	uint8_t *buf;

	*t = (struct table){ .size = 8 * CLUSTER };
	t->header = (struct header){ .version = 3,
				     .cluster_bits = 16,
				     .refcount_order = 4,
				     .n_snapshots = N,
				     .snapshots_off = TABLE_OFF };
	t->written.list = calloc(N, sizeof(*t->written.list));
	assert_non_null(t->written.list);
	t->written.n = N;
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(snapshot_info_init(&t->written.list[i],
						    &entries[i], NULL),
				 0);
	t->written.table_bytes = snapshots_bytes(&t->written);
	buf = calloc(1, t->written.table_bytes);
	assert_non_null(buf);
	snapshots_encode(&t->written, buf, t->written.table_bytes);
	assert_int_equal(store_mem_new(&t->file, NULL), 0);
	assert_int_equal(store_truncate(t->file, t->size, NULL), 0);
	assert_int_equal(store_pwrite(t->file, buf, t->written.table_bytes,
				      TABLE_OFF, 0, NULL),
			 0);
	free(buf);
}

static void table_release(struct table *t)
{
	snapshots_release(&t->written);
	store_unref(t->file);
}

static int open_all(struct table *t, struct snapshots *s, uint64_t budget,
		    struct qcow2_error *err)
{
	*s = (struct snapshots){ 0 };
	return snapshots_open(s, &t->header, t->file, t->size, budget, err);
}

TEST(what_is_written_is_read)
{
	struct snapshots s;
	struct table t;

	table_init(&t);
	assert_int_equal(open_all(&t, &s, 1 << 20, NULL), 0);
	assert_int_equal(s.n, N);
	assert_int_equal(s.table_bytes, t.written.table_bytes);
	for (unsigned i = 0; i < N; i++) {
		const struct snapshot *want = &entries[i];
		const struct snapshot_info *got = &s.list[i];

		assert_string_equal(got->id, want->id);
		assert_string_equal(got->name, want->name);
		assert_true(got->l1_off == want->l1_off);
		assert_int_equal(got->l1_size, want->l1_size);
		assert_int_equal(got->date_sec, want->date_sec);
		assert_int_equal(got->date_nsec, want->date_nsec);
		assert_true(got->vm_clock_nsec == want->vm_clock_nsec);
		assert_true(got->vm_state_size == want->vm_state_size);
		assert_true(got->disk_size == want->disk_size);
	}
	snapshots_release(&s);
	table_release(&t);
}

TEST(ids_come_before_names)
{
	struct table t;

	table_init(&t);
	assert_ptr_equal(snapshots_find(&t.written, "1"), &t.written.list[0]);
	assert_ptr_equal(snapshots_find(&t.written, "10"), &t.written.list[2]);
	assert_ptr_equal(snapshots_find(&t.written, "first"),
			 &t.written.list[0]);
	assert_null(snapshots_find(&t.written, "fir"));
	assert_null(snapshots_find(&t.written, ""));
	table_release(&t);
}

TEST(a_table_that_the_file_cuts_off_is_refused)
{
	struct table t;

	table_init(&t);
	while (t.size > TABLE_OFF) {
		struct qcow2_error err = { 0 };
		struct snapshots s;

		t.size = min_u64(t.size, TABLE_OFF + t.written.table_bytes) - 8;
		assert_int_equal(store_truncate(t.file, t.size, NULL), 0);
		assert_true(open_all(&t, &s, 1 << 20, &err) < 0);
		assert_int_not_equal(err.defect, 0);
		snapshots_release(&s);
	}
	table_release(&t);
}

TEST(names_that_need_too_much_memory_are_refused)
{
	struct qcow2_error err = { 0 };
	struct snapshots s;
	struct table t;

	table_init(&t);
	assert_true(open_all(&t, &s, 100, &err) < 0);
	assert_int_not_equal(err.message[0], 0);
	snapshots_release(&s);
	table_release(&t);
}

TEST(a_failed_read_is_told)
{
	const struct fault_plan plan = { .ops = FAULT_ON(STORE_OP_READ),
					 .nth = 1,
					 .code = -EIO };
	struct fault_injector fault = FAULT_INIT;
	struct qcow2_store *below;
	struct snapshots s;
	struct table t;

	table_init(&t);
	below = t.file;
	assert_int_equal(fault_store_new(&fault, below, &t.file), 0);
	fault_arm(&fault, &plan);
	assert_int_equal(open_all(&t, &s, 1 << 20, NULL), -EIO);
	snapshots_release(&s);
	store_unref(below);
	table_release(&t);
}

TEST(a_disk_that_cannot_be_seen_is_refused)
{
	struct geometry g;
	struct table t;
	struct snapshot_info s;

	table_init(&t);
	geometry_init(&g, &t.header);
	s = t.written.list[0];
	assert_int_equal(snapshot_check_view(&g, &s, t.size, NULL), 0);
	s.l1_off += 512;
	assert_int_equal(snapshot_check_view(&g, &s, t.size, NULL), -EINVAL);
	s = t.written.list[0];
	s.l1_off = t.size;
	assert_int_equal(snapshot_check_view(&g, &s, t.size, NULL), -EINVAL);
	s = t.written.list[0];
	s.l1_size = UINT32_MAX;
	assert_int_equal(snapshot_check_view(&g, &s, t.size, NULL), -EINVAL);
	s = t.written.list[0];
	s.disk_size = UINT64_C(1) << 40;
	assert_int_equal(snapshot_check_view(&g, &s, t.size, NULL), -EINVAL);
	table_release(&t);
}

/* ---- Its validator ------------------------------------------------------- */

TEST(a_list_that_is_not_as_it_should_be_is_found)
{
	struct table t;
	struct snapshots *s = &t.written;
	struct snapshot_info *info;

	table_init(&t);
	info = &s->list[1];
	snapshots_validate(s);
	ASSERT_ABORTS(s->n = SNAPSHOTS_MAX + 1; snapshots_validate(s));
	ASSERT_ABORTS(s->list = NULL; snapshots_validate(s));
	ASSERT_ABORTS(s->table_bytes = UINT64_MAX; snapshots_validate(s));
	ASSERT_ABORTS(s->why.code = -EINVAL; snapshots_validate(s));
	ASSERT_ABORTS(info->name++; snapshots_validate(s));
	ASSERT_ABORTS(info->id[1] = 'x'; snapshots_validate(s));
	ASSERT_ABORTS(info->name[1] = 'x'; snapshots_validate(s));
	ASSERT_ABORTS(info->unknown_extra_len = 1; info->unknown_extra = NULL;
		      snapshots_validate(s));
	table_release(&t);
}
