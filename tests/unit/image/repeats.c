/*
 * A small file can describe a vast disk whose L1 entries all point to the same
 * L2 table.  The length of the file bounds the time of a walk over it.
 */
#include "image/repeats.h"

#include <errno.h>
#include <stdlib.h>

#include "store/mem.h"
#include "store/store.h"
#include "stores/count.h"
#include "support/builder.h"
#include "support/test.h"
#include "write/tree.h"

enum { CLUSTER_BITS = 12, CLUSTER = 1 << CLUSTER_BITS, ENTRIES = CLUSTER / 8 };

/* The reach of one table. */
#define REACH ((uint64_t)ENTRIES * CLUSTER)

struct rig {
	struct builder b;
	struct count count;
	struct qcow2_store *file;
	uint64_t n_l1;
};

/* A disk of @n_l1 tables, none of which has been made. */
static void rig_init(struct rig *r, uint64_t n_l1)
{
	const struct builder_opts opts = {
		.version = 3,
		.cluster_bits = CLUSTER_BITS,
		.size = n_l1 * REACH,
	};

	*r = (struct rig){ .n_l1 = n_l1 };
	builder_init(&r->b, &opts);
}

/* Every entry of the first table becomes what @of says. */
static void fill_table(struct rig *r, struct l2_entry (*of)(uint64_t i))
{
	for (uint64_t i = 0; i < ENTRIES; i++)
		builder_set_entry(&r->b, i * CLUSTER, of(i));
}

static void share_first_table(struct rig *r)
{
	for (uint64_t i = 0; i < r->n_l1; i++)
		r->b.l1[i] = l1_table_off(r->b.l1[0]);
}

static struct qcow2_image *open_disk(struct rig *r)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_image *disk;

	builder_finish(&r->b);
	assert_int_equal(count_store_new(&r->count, r->b.file, &r->file), 0);
	assert_int_equal(qcow2_open_store(r->file, &opts, &disk, NULL), 0);
	return disk;
}

static void rig_release(struct rig *r, struct qcow2_image *disk)
{
	qcow2_close(disk, NULL);
	store_unref(r->file);
	builder_release(&r->b);
}

static struct l2_entry zero(uint64_t i)
{
	(void)i;
	return (struct l2_entry){ L2_ZERO, 0 };
}

static struct l2_entry nothing(uint64_t i)
{
	(void)i;
	return (struct l2_entry){ 0, 0 };
}

static struct l2_entry zero_and_nothing(uint64_t i)
{
	return (struct l2_entry){ i & 1 ? L2_ZERO : 0, 0 };
}

static struct l2_entry one_zero(uint64_t i)
{
	return (struct l2_entry){ i == 7 ? L2_ZERO : 0, 0 };
}

/* T7: 23 s for a file of 12 MiB. */
TEST(a_shared_table_of_zeros_is_one_extent_read_once)
{
	struct l2_entry (*const fill[])(uint64_t) = { zero, nothing };
	const uint64_t n_l1 = 131072;

	for (unsigned i = 0; i < 2; i++) {
		struct qcow2_image *disk;
		struct qcow2_extent x;
		struct rig r;
		uint64_t before;

		rig_init(&r, n_l1);
		fill_table(&r, fill[i]);
		share_first_table(&r);
		disk = open_disk(&r);
		before = r.count.calls[STORE_OP_READ];
		assert_int_equal(qcow2_map(disk, n_l1 * REACH, 0, 0, &x, NULL),
				 0);
		assert_int_equal(x.len, n_l1 * REACH);
		assert_true(x.flags & QCOW2_EXTENT_ZERO);
		assert_int_equal(!!(x.flags & QCOW2_EXTENT_PRESENT), i == 0);
		/* The table, and no slice of it. */
		assert_int_equal(r.count.calls[STORE_OP_READ] - before, 1);
		rig_release(&r, disk);
	}
}

/* Passing over a table must not change what a walk says of the disk. */
TEST(shared_tables_and_others_say_what_each_says)
{
	const uint64_t n_l1 = 64;
	struct qcow2_image *disk;
	uint64_t off = 0;
	struct rig r;

	rig_init(&r, n_l1);
	fill_table(&r, zero);
	share_first_table(&r);
	/* The other table again, nothing, and an entry behind both. */
	r.b.l1[10] = 0;
	r.b.l1[11] = 0;
	builder_set_entry(&r.b, 11 * REACH, nothing(0));
	r.b.l1[30] = r.b.l1[11];
	disk = open_disk(&r);
	while (off < n_l1 * REACH) {
		uint64_t l1 = off / REACH;
		bool empty = l1 == 10 || l1 == 11 || l1 == 30;
		struct qcow2_extent x;

		assert_int_equal(
			qcow2_map(disk, n_l1 * REACH - off, off, 0, &x, NULL),
			0);
		assert_int_equal(!(x.flags & QCOW2_EXTENT_PRESENT), empty);
		assert_int_equal(x.off, off);
		assert_int_equal(x.len % REACH, 0);
		off += x.len;
		assert_true(off == 10 * REACH || off == 12 * REACH ||
			    off == 30 * REACH || off == 31 * REACH ||
			    off == 64 * REACH);
	}
	rig_release(&r, disk);
}

/* A map has a line for each extent: without a limit it does not end. */
TEST(too_much_to_go_through_again_is_refused)
{
	const uint64_t n_l1 = 2 * REPEATED_STEPS_MAX / ENTRIES;
	struct qcow2_error err = { 0 };
	struct qcow2_image *disk;
	struct qcow2_extent x;
	struct rig r;
	uint8_t byte;

	rig_init(&r, n_l1);
	fill_table(&r, zero_and_nothing);
	share_first_table(&r);
	disk = open_disk(&r);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(qcow2_map(disk, REACH, 0, 0, &x, &err),
				 -E2BIG);
	assert_non_null(strstr(err.message, "share L2 tables"));
	/* One request is no walk. */
	assert_int_equal(qcow2_pread(disk, &byte, 1, 5 * REACH, 0, NULL), 0);
	assert_int_equal(byte, 0);
	rig_release(&r, disk);
}

TEST(a_few_shared_tables_are_walked_as_any_others)
{
	const uint64_t n_l1 = 100;
	struct qcow2_image *disk;
	uint64_t n = 0, off = 0;
	struct rig r;

	rig_init(&r, n_l1);
	fill_table(&r, one_zero);
	share_first_table(&r);
	disk = open_disk(&r);
	while (off < n_l1 * REACH) {
		struct qcow2_extent x;

		assert_int_equal(
			qcow2_map(disk, n_l1 * REACH - off, off, 0, &x, NULL),
			0);
		assert_int_equal(!!(x.flags & QCOW2_EXTENT_PRESENT),
				 off % REACH == 7 * CLUSTER);
		off += x.len;
		n++;
	}
	assert_int_equal(n, 2 * n_l1 + 1);
	rig_release(&r, disk);
}

/* A file of 8 GiB that takes 1 MiB took 23 s too: all its tables are holes. */
TEST(tables_in_holes_are_not_read)
{
	const uint64_t n_l1 = 4096, used = 1000;
	struct qcow2_image *disk;
	uint64_t before, off = 0;
	struct rig r;

	rig_init(&r, n_l1);
	for (uint64_t i = 0; i < n_l1; i++)
		builder_set_entry(&r.b, i * REACH, nothing(0));
	for (uint64_t i = 0; i < n_l1; i++)
		if (i != used)
			assert_int_equal(store_zero(r.b.file, CLUSTER,
						    l1_table_off(r.b.l1[i]),
						    QCOW2_STORE_UNMAP, NULL),
					 0);
	builder_set_entry(&r.b, used * REACH + 5 * CLUSTER, zero(0));
	disk = open_disk(&r);
	before = r.count.calls[STORE_OP_READ];
	for (unsigned i = 0; i < 3; i++) {
		struct qcow2_extent x;

		assert_int_equal(
			qcow2_map(disk, n_l1 * REACH - off, off, 0, &x, NULL),
			0);
		assert_int_equal(!!(x.flags & QCOW2_EXTENT_PRESENT), i == 1);
		off += x.len;
		assert_int_equal(off, i == 0   ? used * REACH + 5 * CLUSTER
				      : i == 1 ? used * REACH + 6 * CLUSTER
					       : n_l1 * REACH);
	}
	assert_in_range(r.count.calls[STORE_OP_READ] - before, 1, 2);
	assert_in_range(r.count.calls[STORE_OP_EXTENT], 1, 4);
	rig_release(&r, disk);
}

/* ---- The search itself --------------------------------------------------- */

struct search {
	struct rig r;
	struct repeats_source src;
	struct repeats found;
};

static void search_init(struct search *s, struct l2_entry (*of)(uint64_t i))
{
	rig_init(&s->r, 4);
	fill_table(&s->r, of);
	builder_finish(&s->r.b);
	s->src = (struct repeats_source){ .geo = &s->r.b.geo,
					  .file = s->r.b.file,
					  .file_end = s->r.b.next_off };
}

static void search_release(struct search *s)
{
	repeats_release(&s->found);
	builder_release(&s->r.b);
}

TEST(tables_in_rising_order_are_not_looked_at)
{
	uint64_t offs[] = { 4096, 8192, 12288 };
	struct search s;

	search_init(&s, zero);
	s.src.file = NULL;
	assert_int_equal(repeats_find(&s.found, &s.src, offs, 3, NULL), 0);
	assert_int_equal(s.found.n, 0);
	assert_int_equal(s.found.n_steps, 0);
	search_release(&s);
}

TEST(tables_that_may_change_are_never_passed_over)
{
	enum subcluster_kind kind;
	struct search s;
	uint64_t table;

	for (unsigned changing = 0; changing < 2; changing++) {
		search_init(&s, zero);
		table = l1_table_off(s.r.b.l1[0]);
		uint64_t offs[] = { table, 1 << 20, table, table };
		s.src.changing = changing;
		assert_int_equal(repeats_find(&s.found, &s.src, offs, 4, NULL),
				 0);
		assert_int_equal(
			repeats_uniform(&s.found, s.src.geo, table, &kind),
			!changing);
		if (!changing)
			assert_int_equal(kind, SUBCLUSTER_ZERO_PLAIN);
		assert_false(
			repeats_uniform(&s.found, s.src.geo, 1 << 20, &kind));
		search_release(&s);
	}
}

TEST(steps_follow_what_the_tables_hold)
{
	struct search s;

	/* A run of empty entries is a step, and so is an entry in use; to each
	 * table the look at all of its bytes. */
	const struct {
		struct l2_entry (*of)(uint64_t);
		uint64_t low, high;
	} cases[] = {
		{ zero, 3, 20 },
		{ one_zero, 3 * 3, 3 * 20 },
		{ zero_and_nothing, 3 * ENTRIES, 3 * ENTRIES + 60 },
	};

	for (unsigned i = 0; i < 3; i++) {
		search_init(&s, cases[i].of);
		uint64_t table = l1_table_off(s.r.b.l1[0]);
		uint64_t offs[] = { table, table, table };

		assert_int_equal(repeats_find(&s.found, &s.src, offs, 3, NULL),
				 0);
		assert_in_range(s.found.n_steps, cases[i].low, cases[i].high);
		assert_int_equal(repeats_check(&s.found, NULL), 0);
		search_release(&s);
	}
}

TEST(a_table_outside_the_file_is_left_to_the_walk)
{
	uint64_t offs[] = { 512,
			    512,
			    1 << 30,
			    1 << 30,
			    UINT64_MAX & ~511ull,
			    UINT64_MAX & ~511ull };
	struct search s;

	search_init(&s, zero);
	assert_int_equal(repeats_find(&s.found, &s.src, offs, 6, NULL), 0);
	assert_int_equal(s.found.n, 0);
	assert_int_equal(repeats_check(&s.found, NULL), 0);
	search_release(&s);
}

/* ---- Its validator ------------------------------------------------------- */

TEST(lists_that_are_not_as_they_should_be_are_found)
{
	struct repeated_table list[] = {
		{ CLUSTER, 2, SUBCLUSTER_UNALLOCATED_PLAIN },
		{ 2 * CLUSTER, 3, SUBCLUSTER_ZERO_PLAIN },
	};
	struct hole holes[] = { { 0, CLUSTER }, { CLUSTER, 3 * CLUSTER } };
	struct repeats r = { list, 2, holes, 2, 0 };

	repeats_validate(&r);
	ASSERT_ABORTS(r.list = NULL; repeats_validate(&r));
	ASSERT_ABORTS(list[0].n_refs = 1; repeats_validate(&r));
	ASSERT_ABORTS(list[0].kind = SUBCLUSTER_NORMAL; repeats_validate(&r));
	ASSERT_ABORTS(list[1].host_off = CLUSTER; repeats_validate(&r));
	ASSERT_ABORTS(holes[0].end = 0; repeats_validate(&r));
	ASSERT_ABORTS(holes[0].end++; repeats_validate(&r));
}
