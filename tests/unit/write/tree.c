#include "write/tree.h"

#include "disk_rig.h"

static struct tree tree_of(struct disk_rig *t)
{
	struct tree tree = { 0 };

	assert_int_equal(qcow2_flush(t->disk, NULL), 0);
	assert_int_equal(tree_of_image(&tree, t->img, NULL), 0);
	return tree;
}

/* The number of times that a walk meets each cluster of the file. */
struct seen {
	uint64_t n[64];
	uint64_t last; /* in the batch */
	unsigned n_batches;
};

static int see(void *opaque, const struct tree_run *runs, size_t n,
	       struct qcow2_error *err)
{
	struct seen *s = opaque;

	(void)err;
	s->n_batches++;
	s->last = 0;
	for (size_t i = 0; i < n; i++) {
		assert_true(runs[i].first >= s->last);
		s->last = runs[i].first;
		for (uint64_t c = 0; c < runs[i].n; c++) {
			assert_in_range(runs[i].first + c, 1, 63);
			s->n[runs[i].first + c]++;
		}
	}
	return 0;
}

static uint64_t cluster_of(struct disk_rig *t, uint64_t guest)
{
	return l2_host_off(disk_entry(t, guest)) / CLUSTER;
}

TEST(every_reference_is_seen_in_order)
{
	struct seen seen = { { 0 }, 0, 0 };
	struct disk_rig t;
	struct tree tree;
	uint64_t n = 0;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 1, CLUSTER, 5 * CLUSTER);
	disk_fill(&t, 2, 2 * CLUSTER, 0);
	tree = tree_of(&t);
	assert_int_equal(tree_walk(t.img, &tree, see, &seen, NULL), 0);
	for (unsigned i = 0; i < 64; i++)
		n += seen.n[i];
	/* Three clusters of data and a table. */
	assert_int_equal(n, 4);
	assert_int_equal(seen.n[cluster_of(&t, 0)], 1);
	assert_int_equal(seen.n[cluster_of(&t, 1)], 1);
	assert_int_equal(seen.n[cluster_of(&t, 5)], 1);
	assert_int_equal(
		seen.n[l1_table_off(map_l1_entry(&t.img->map, 0)) / CLUSTER],
		1);
	assert_int_equal(seen.n[t.img->header.l1_off / CLUSTER], 0);
	assert_true(tree.has_copied);
	tree_release(&tree);
	disk_release(&t);
}

TEST(compressed_data_counts_once_for_each_piece)
{
	struct seen seen = { { 0 }, 0, 0 };
	struct disk_rig t;
	struct tree tree;
	uint64_t most = 0;

	disk_init(&t, (struct disk_want){ 0 });
	for (uint64_t i = 0; i < 3; i++)
		disk_compress(&t, (uint8_t)(i + 1), i);
	tree = tree_of(&t);
	assert_int_equal(tree_walk(t.img, &tree, see, &seen, NULL), 0);
	for (unsigned i = 0; i < 64; i++)
		most = max_u64(most, seen.n[i]);
	assert_int_equal(most, 3);
	tree_release(&tree);
	disk_release(&t);
}

TEST(runs_that_are_kept_are_the_same)
{
	struct seen first = { { 0 }, 0, 0 }, second = { { 0 }, 0, 0 };
	struct disk_rig t;
	struct tree tree;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 2, 4 * CLUSTER, 0);
	tree = tree_of(&t);
	tree.keep = true;
	assert_int_equal(tree_walk(t.img, &tree, see, &first, NULL), 0);
	assert_true(tree.kept.n > 0);
	/* Nothing is read any more. */
	fault_arm(&t.fault, &(struct fault_plan){ .ops = FAULT_ON_ALL,
						  .nth = 1,
						  .code = -EIO,
						  .persistent = true });
	assert_int_equal(tree_walk(t.img, &tree, see, &second, NULL), 0);
	fault_arm(&t.fault, NULL);
	assert_memory_equal(first.n, second.n, sizeof(first.n));
	tree_release(&tree);
	disk_release(&t);
}

static int refuse(void *opaque, const struct tree_run *runs, size_t n,
		  struct qcow2_error *err)
{
	(void)opaque;
	(void)runs;
	(void)n;
	(void)err;
	return -EXDEV;
}

TEST(the_first_error_ends_it)
{
	const struct fault_plan plan = { .ops = FAULT_ON(STORE_OP_READ),
					 .nth = 1,
					 .code = -EIO };
	struct seen seen = { { 0 }, 0, 0 };
	struct disk_rig t;
	struct tree tree;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 2, CLUSTER, 0);
	tree = tree_of(&t);
	assert_int_equal(tree_walk(t.img, &tree, refuse, NULL, NULL), -EXDEV);
	fault_arm(&t.fault, &plan);
	assert_int_equal(tree_walk(t.img, &tree, see, &seen, NULL), -EIO);
	assert_int_equal(seen.n_batches, 0);
	fault_arm(&t.fault, NULL);
	tree_release(&tree);
	disk_release(&t);
}

TEST(an_entry_that_points_nowhere_is_told)
{
	const uint8_t bad[8] = { 0x80, 0, 0x7f, 0, 0, 0, 0, 0 };
	struct qcow2_error err = { 0 };
	struct seen seen = { { 0 }, 0, 0 };
	struct disk_rig t;
	struct tree tree;
	uint64_t off;
	uint8_t good[8];

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 2, 2 * CLUSTER, 0);
	tree = tree_of(&t);
	off = l1_table_off(tree.l1[0]) + 8;
	assert_int_equal(store_pread(t.mem, good, 8, off, 0, NULL), 0);
	assert_int_equal(store_pwrite(t.mem, bad, 8, off, 0, NULL), 0);
	assert_int_equal(tree_walk(t.img, &tree, see, &seen, &err), -EIO);
	assert_true(err.defect != 0);
	assert_int_equal(seen.n_batches, 0);
	assert_int_equal(store_pwrite(t.mem, good, 8, off, 0, NULL), 0);
	tree_release(&tree);
	disk_release(&t);
}

TEST(references_come_and_go)
{
	struct disk_rig t;
	struct tree tree;
	uint64_t off;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 2, 2 * CLUSTER, 0);
	tree = tree_of(&t);
	off = cluster_of(&t, 1) * CLUSTER;
	assert_int_equal(tree_add_references(t.img, &tree, NULL), 0);
	assert_int_equal(disk_count(&t, off), 2);
	assert_int_equal(disk_count(&t, l1_table_off(tree.l1[0])), 2);
	assert_int_equal(tree_drop_references(t.img, &tree, NULL), 0);
	assert_int_equal(disk_count(&t, off), 1);
	assert_int_equal(disk_count(&t, l1_table_off(tree.l1[0])), 1);
	tree_release(&tree);
	disk_release(&t);
}

/* The last cluster of the tree has as many references as it can. */
TEST(a_full_refcount_changes_none)
{
	struct qcow2_error err = { 0 };
	struct disk_rig t;
	struct tree tree;
	uint64_t last;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 2, 3 * CLUSTER, 0);
	tree = tree_of(&t);
	last = cluster_of(&t, 2);
	assert_int_equal(refcounts_set(&t.img->writer->refs, 65535, last, NULL),
			 0);
	assert_int_equal(tree_add_references(t.img, &tree, &err), -ERANGE);
	for (uint64_t i = 0; i < 2; i++)
		assert_int_equal(disk_count(&t, cluster_of(&t, i) * CLUSTER),
				 1);
	assert_int_equal(disk_count(&t, l1_table_off(tree.l1[0])), 1);
	assert_int_equal(disk_count(&t, last * CLUSTER), 65535);
	assert_int_equal(refcounts_set(&t.img->writer->refs, 1, last, NULL), 0);
	tree_release(&tree);
	disk_release(&t);
}

struct looks {
	struct disk_rig *rig;
	unsigned n;
};

static int look(void *opaque, uint8_t *table, uint64_t index, uint64_t host_off,
		struct qcow2_error *err)
{
	struct looks *looks = opaque;
	struct disk_rig *t = looks->rig;

	(void)err;
	assert_int_equal(index, 0);
	assert_int_equal(host_off, l1_table_off(map_l1_entry(&t->img->map, 0)));
	assert_int_equal(l2_get(&t->img->geo, table, 3).desc,
			 disk_entry(t, 3).desc);
	looks->n++;
	return 0;
}

TEST(each_table_is_shown_with_its_place)
{
	struct disk_rig t;
	struct looks looks = { &t, 0 };
	struct tree tree;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 2, CLUSTER, 3 * CLUSTER);
	tree = tree_of(&t);
	assert_int_equal(tree_each_table(t.img, &tree, look, &looks, NULL), 0);
	assert_int_equal(looks.n, 1);
	tree_release(&tree);
	disk_release(&t);
}

static int count_unread(void *opaque, uint8_t *table, uint64_t index,
			uint64_t host_off, struct qcow2_error *err)
{
	unsigned *n = opaque;

	(void)index;
	(void)host_off;
	(void)err;
	n[table != NULL]++;
	return 0;
}

/* T7: every L1 entry of a vast disk may point to one table. */
TEST(a_shared_table_that_points_nowhere_is_not_read_again)
{
	static const uint8_t zeros[CLUSTER];
	static uint8_t own[CLUSTER];
	struct disk_rig t;
	struct tree tree;
	uint64_t table;

	for (unsigned empty = 0; empty < 2; empty++) {
		unsigned n[2] = { 0, 0 };

		disk_init(&t, (struct disk_want){ 0 });
		disk_fill(&t, 1, CLUSTER, 0);
		tree = tree_of(&t);
		table = l1_table_off(tree.l1[0]);
		assert_int_equal(
			store_pread(t.mem, own, CLUSTER, table, 0, NULL), 0);
		if (empty)
			assert_int_equal(store_pwrite(t.mem, zeros, CLUSTER,
						      table, 0, NULL),
					 0);
		tree.n_l1 = 50;
		tree.l1 = realloc(tree.l1, tree.n_l1 * sizeof(*tree.l1));
		for (uint64_t i = 0; i < tree.n_l1; i++)
			tree.l1[i] = table;
		assert_int_equal(
			tree_each_table(t.img, &tree, count_unread, n, NULL),
			0);
		assert_int_equal(n[0], empty ? 50 : 0);
		assert_int_equal(n[1], empty ? 0 : 50);
		assert_int_equal(tree_points_nowhere(&tree, &t.img->geo, table),
				 empty);
		assert_int_equal(
			store_pwrite(t.mem, own, CLUSTER, table, 0, NULL), 0);
		tree_release(&tree);
		disk_release(&t);
	}
}

TEST(a_tree_that_takes_too_long_is_refused_before_the_first)
{
	struct qcow2_error err = { 0 };
	unsigned n[2] = { 0, 0 };
	struct disk_rig t;
	struct tree tree;
	uint64_t table;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 1, CLUSTER, 0);
	tree = tree_of(&t);
	table = l1_table_off(tree.l1[0]);
	tree.n_l1 = REPEATED_STEPS_MAX / 64;
	tree.l1 = realloc(tree.l1, tree.n_l1 * sizeof(*tree.l1));
	for (uint64_t i = 0; i < tree.n_l1; i++)
		tree.l1[i] = table;
	assert_int_equal(tree_each_table(t.img, &tree, count_unread, n, &err),
			 -E2BIG);
	assert_int_equal(n[0] + n[1], 0);
	assert_non_null(strstr(err.message, "share L2 tables"));
	tree_release(&tree);
	disk_release(&t);
}

/* ---- Its validator ------------------------------------------------------- */

TEST(a_tree_that_is_not_as_it_should_be_is_found)
{
	struct tree_run run = { 1, 1 };
	struct hole hole = { 0, 4096 };
	uint64_t entry = 0;
	struct tree t = { .l1 = &entry, .n_l1 = 1, .kept = { &run, 1, 1 } };

	tree_validate(&t);
	ASSERT_ABORTS(t.l1 = NULL; tree_validate(&t));
	ASSERT_ABORTS(t.kept.n = 2; tree_validate(&t));
	ASSERT_ABORTS(t.kept.list = NULL; tree_validate(&t));
	ASSERT_ABORTS(run.n = 0; tree_validate(&t));
	ASSERT_ABORTS(t.repeats.holes = &hole; t.repeats.n_holes = 1;
		      tree_validate(&t));
}
