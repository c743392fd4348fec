/*
 * The runs of a batch: bytes, zeros, encoded clusters.
 */
#include <errno.h>

#include "fill_rig.h"

static void clear(struct fill_rig *t, uint64_t len, uint64_t off)
{
	memset(t->f.src->bytes + off, 0, (size_t)len);
}

static void read_all(struct fill_rig *t)
{
	batch_clear(&t->r->batch, WINDOW);
	batch_add(&t->r->batch, t->f.size, 0, READ_FIRST);
	assert_int_equal(fill_runs(&t->f, t->r, NULL), 0);
}

static void expect_run(const struct fill_rig *t, size_t i, enum run_kind kind,
		       uint64_t len, uint64_t off)
{
	const struct fill_run *run = &t->r->runs[i];

	assert_true(i < t->r->n_runs);
	assert_int_equal(run->kind, kind);
	assert_int_equal(run->off, off);
	assert_int_equal(run->len, len);
	if (kind == RUN_BYTES)
		assert_memory_equal(run->from, t->f.src->bytes + off, len);
}

TEST(long_zeros_are_left_out)
{
	struct fill_rig t;

	fill_init(&t, 4 * UNIT);
	clear(&t, 4096, 4096);
	read_all(&t);
	assert_int_equal(t.r->n_runs, 2);
	expect_run(&t, 0, RUN_BYTES, 4096, 0);
	expect_run(&t, 1, RUN_BYTES, 3 * UNIT, UNIT);
	fill_release(&t);
}

TEST(short_zeros_are_written)
{
	struct fill_rig t;

	fill_init(&t, 4 * UNIT);
	t.f.sparse_bytes = 8192;
	clear(&t, 4096, 4096);
	/* These zeros do not fill whole pieces of those that are looked at. */
	clear(&t, 8192, 3 * 4096 + 512);
	read_all(&t);
	assert_int_equal(t.r->n_runs, 1);
	expect_run(&t, 0, RUN_BYTES, 4 * UNIT, 0);
	fill_release(&t);
}

TEST(zeros_at_the_ends_are_left_out_however_short)
{
	struct fill_rig t;

	fill_init(&t, 4 * UNIT);
	t.f.sparse_bytes = 4 * UNIT;
	clear(&t, 4096, 0);
	clear(&t, 4096, 4 * UNIT - 4096);
	read_all(&t);
	assert_int_equal(t.r->n_runs, 1);
	expect_run(&t, 0, RUN_BYTES, 4 * UNIT - 8192, 4096);
	fill_release(&t);
}

TEST(nothing_but_zeros_comes_to_nothing)
{
	struct fill_rig t;

	fill_init(&t, 4 * UNIT);
	clear(&t, 4 * UNIT, 0);
	read_all(&t);
	assert_int_equal(t.r->n_runs, 0);
	t.f.sparse_bytes = QCOW2_CONVERT_NOT_SPARSE;
	read_all(&t);
	assert_int_equal(t.r->n_runs, 1);
	expect_run(&t, 0, RUN_BYTES, 4 * UNIT, 0);
	fill_release(&t);
}

TEST(over_other_contents_clusters_are_whole)
{
	struct fill_rig t;

	fill_init(&t, 4 * UNIT + 512);
	t.f.writes_zeros = true;
	clear(&t, UNIT - 1, 0);
	clear(&t, 2 * UNIT, UNIT);
	clear(&t, 512, 4 * UNIT);
	read_all(&t);
	assert_int_equal(t.r->n_runs, 4);
	expect_run(&t, 0, RUN_BYTES, UNIT, 0);
	expect_run(&t, 1, RUN_ZERO, 2 * UNIT, UNIT);
	expect_run(&t, 2, RUN_BYTES, UNIT, 3 * UNIT);
	expect_run(&t, 3, RUN_ZERO, 512, 4 * UNIT);
	fill_release(&t);
}

TEST(what_is_not_read_becomes_zeros)
{
	struct fill_rig t;

	fill_init(&t, 4 * UNIT);
	batch_add(&t.r->batch, UNIT, UNIT, 0);
	batch_add(&t.r->batch, UNIT, 2 * UNIT, READ_FIRST);
	assert_int_equal(fill_runs(&t.f, t.r, NULL), 0);
	assert_int_equal(t.r->n_runs, 2);
	expect_run(&t, 0, RUN_ZERO, UNIT, UNIT);
	expect_run(&t, 1, RUN_BYTES, UNIT, 2 * UNIT);
	assert_int_equal(t.f.src->n_reads, 1);
	fill_release(&t);
}

TEST(clusters_are_encoded_one_by_one)
{
	struct fill_rig t;

	fill_init(&t, 2 * UNIT + 512);
	t.f.compress = true;
	fake_target.encoded_len = 100;
	clear(&t, UNIT, UNIT);
	read_all(&t);
	assert_int_equal(t.r->n_runs, 3);
	expect_run(&t, 0, RUN_ENCODED, UNIT, 0);
	assert_int_equal(t.r->runs[0].n_from, 100);
	expect_run(&t, 1, RUN_ZERO, UNIT, UNIT);
	expect_run(&t, 2, RUN_ENCODED, 512, 2 * UNIT);
	/* The last cluster holds zeros behind the end of the disk. */
	assert_int_equal(t.r->plain[2 * UNIT + 512], 0);
	assert_int_equal(t.r->plain[3 * UNIT - 1], 0);
	fill_release(&t);
}

TEST(a_cluster_that_becomes_no_smaller_is_bytes)
{
	struct fill_rig t;

	fill_init(&t, 2 * UNIT);
	t.f.compress = true;
	read_all(&t);
	assert_int_equal(t.r->n_runs, 2);
	expect_run(&t, 0, RUN_BYTES, UNIT, 0);
	expect_run(&t, 1, RUN_BYTES, UNIT, UNIT);
	fill_release(&t);
}

/* An encoded cluster would put zeros there. */
TEST(what_a_larger_disk_has_in_the_last_cluster_stays)
{
	struct fill_rig t;

	fill_init(&t, UNIT + 512);
	fake_add(t.f.dst, UNIT, FAKE_DATA);
	t.f.compress = true;
	t.f.is_new = false;
	fake_target.encoded_len = 100;
	read_all(&t);
	assert_int_equal(t.r->n_runs, 2);
	expect_run(&t, 0, RUN_ENCODED, UNIT, 0);
	expect_run(&t, 1, RUN_BYTES, 512, UNIT);
	fill_release(&t);
}

TEST(a_failed_read_comes_to_an_error)
{
	struct qcow2_error err;
	struct fill_rig t;

	fill_init(&t, 4 * UNIT);
	t.f.src->fail_read_off = UNIT;
	batch_add(&t.r->batch, 4 * UNIT, 0, READ_FIRST);
	assert_int_equal(fill_runs(&t.f, t.r, &err), -EIO);
	assert_int_equal(t.r->n_runs, 0);
	fill_release(&t);
}

/* ---- Their validators ---------------------------------------------------- */

TEST(a_room_that_is_not_as_it_should_be_is_found)
{
	struct fill_rig t;
	struct fill_run *runs;

	fill_init(&t, 4 * UNIT);
	clear(&t, 4096, 4096);
	read_all(&t);
	runs = t.r->runs;
	assert_int_equal(t.r->n_runs, 2);
	fill_room_validate(&t.f, t.r);
	ASSERT_ABORTS(t.r->n_placed = PLACED_MAX + 1;
		      fill_room_validate(&t.f, t.r));
	ASSERT_ABORTS(t.r->n_runs = SIZE_MAX; fill_room_validate(&t.f, t.r));
	ASSERT_ABORTS(runs[0].len = 0; fill_room_validate(&t.f, t.r));
	ASSERT_ABORTS(runs[0].from = NULL; fill_room_validate(&t.f, t.r));
	ASSERT_ABORTS(runs[0].n_from--; fill_room_validate(&t.f, t.r));
	ASSERT_ABORTS(runs[0].kind = RUN_ZERO; fill_room_validate(&t.f, t.r));
	ASSERT_ABORTS(runs[1].kind = RUN_ENCODED;
		      fill_room_validate(&t.f, t.r));
	ASSERT_ABORTS(runs[1].off = 4095; fill_room_validate(&t.f, t.r));
	fill_release(&t);
}

TEST(a_walk_that_is_not_as_it_should_be_is_found)
{
	struct fill_rig t;

	fill_init(&t, 4 * UNIT);
	t.f.pos = UNIT;
	t.f.n_batches = 1;
	fill_validate(&t.f);
	ASSERT_ABORTS(t.f.dst = NULL; fill_validate(&t.f));
	ASSERT_ABORTS(t.f.window_bytes++; fill_validate(&t.f));
	ASSERT_ABORTS(t.f.window_bytes = UNIT / 2; fill_validate(&t.f));
	ASSERT_ABORTS(t.f.pos += 512; fill_validate(&t.f));
	ASSERT_ABORTS(t.f.pos = 5 * UNIT; fill_validate(&t.f));
	ASSERT_ABORTS(t.f.n_batches = UNIT + 1; fill_validate(&t.f));
	fill_release(&t);
}
