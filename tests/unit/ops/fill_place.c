/*
 * Places for the runs of a batch, and the way each is written.
 */
#include <errno.h>

#include "fill_rig.h"

/* A run whose bytes are those of the source. */
static void add_run(struct fill_rig *t, uint64_t len, uint64_t off)
{
	t->r->runs[t->r->n_runs++] =
		(struct fill_run){ off, len, t->f.src->bytes + off, (size_t)len,
				   RUN_BYTES };
}

static void add_zero_run(struct fill_rig *t, uint64_t len, uint64_t off)
{
	t->r->runs[t->r->n_runs++] =
		(struct fill_run){ off, len, NULL, 0, RUN_ZERO };
}

static void place(struct fill_rig *t)
{
	assert_int_equal(fill_place(&t->w, &t->f, t->r, NULL), 0);
	assert_int_equal(t->r->n_placed, 0);
}

TEST(bytes_go_to_their_place)
{
	struct fill_rig t;

	fill_init(&t, 16 * UNIT);
	add_run(&t, 2 * UNIT, UNIT);
	place(&t);
	fill_expect(&t, 2 * UNIT, UNIT);
	assert_int_equal(t.f.dst->bytes[0], 0);
	assert_int_equal(t.f.dst->bytes[3 * UNIT], 0);
	assert_int_equal(fake_target.n_places, 1);
	assert_int_equal(fake_target.n_placed_writes, 1);
	assert_int_equal(fake_target.n_writes, 0);
	fill_release(&t);
}

TEST(places_side_by_side_are_written_at_once)
{
	struct fill_rig t;

	fill_init(&t, 16 * UNIT);
	fake_target.place_max = UNIT;
	add_run(&t, 2 * UNIT, 0);
	add_run(&t, 2 * UNIT, 2 * UNIT);
	add_run(&t, UNIT, 8 * UNIT);
	place(&t);
	fill_expect(&t, 4 * UNIT, 0);
	fill_expect(&t, UNIT, 8 * UNIT);
	assert_int_equal(fake_target.n_places, 5);
	assert_int_equal(fake_target.n_placed_writes, 2);
	fill_release(&t);
}

TEST(more_places_than_a_room_has_are_written_in_between)
{
	uint64_t n = 2 * PLACED_MAX + 7;
	struct fill_rig t;

	fill_init(&t, n * UNIT);
	fake_target.place_max = UNIT;
	add_run(&t, n * UNIT, 0);
	place(&t);
	fill_expect(&t, n * UNIT, 0);
	assert_int_equal(fake_target.n_places, n);
	assert_int_equal(fake_target.n_writes, 0);
	fill_release(&t);
}

TEST(a_cluster_without_a_place_is_written_as_any_disk_is)
{
	struct fill_rig t;

	fill_init(&t, 16 * UNIT);
	fake_target.no_place_off = 2 * UNIT;
	/* It ends inside its last cluster. */
	add_run(&t, 4 * UNIT + 512, 0);
	place(&t);
	fill_expect(&t, 4 * UNIT + 512, 0);
	assert_int_equal(fake_target.n_places, 3);
	assert_int_equal(fake_target.n_writes, 1);
	assert_int_equal(fake_target.n_placed_writes, 2);
	fill_release(&t);
}

TEST(a_disk_in_use_gives_no_places)
{
	struct fill_rig t;

	fill_init(&t, 16 * UNIT);
	t.f.is_new = false;
	add_run(&t, 4 * UNIT, UNIT);
	place(&t);
	fill_expect(&t, 4 * UNIT, UNIT);
	assert_int_equal(fake_target.n_places, 0);
	assert_int_equal(fake_target.n_writes, 1);
	fill_release(&t);
}

TEST(zeros_cost_nothing_where_the_disk_has_them)
{
	struct fill_rig t;

	fill_init(&t, 16 * UNIT);
	add_zero_run(&t, 4 * UNIT, 0);
	place(&t);
	assert_int_equal(fake_target.n_zeros, 0);
	t.f.writes_zeros = true;
	place(&t);
	assert_int_equal(fake_target.n_zeros, 1);
	assert_int_equal(fake_target.zero_bytes, 4 * UNIT);
	fill_release(&t);
}

/* Nothing need be hidden where the backing file has no bytes, or has zeros. */
TEST(zeros_hide_the_data_of_a_backing_file)
{
	struct fill_rig t;

	fill_init(&t, 16 * UNIT);
	t.f.backing = fake_new(UNIT);
	fake_add(t.f.backing, 2 * UNIT, FAKE_HOLE);
	fake_add(t.f.backing, 2 * UNIT, FAKE_DATA);
	fake_add(t.f.backing, UNIT, FAKE_HOLE);
	/* Its end is not the end of a cluster of the target. */
	fake_add(t.f.backing, 512, FAKE_DATA);
	add_zero_run(&t, 16 * UNIT, 0);
	place(&t);
	assert_int_equal(fake_target.n_zeros, 2);
	assert_int_equal(fake_target.zero_bytes, 3 * UNIT);
	fake_free(t.f.backing);
	fill_release(&t);
}

static void add_encoded_run(struct fill_rig *t, uint64_t off)
{
	memcpy(t->r->plain + off, t->f.src->bytes + off, UNIT);
	t->r->runs[t->r->n_runs++] = (struct fill_run){ off, UNIT,
							t->r->encoded + off,
							100, RUN_ENCODED };
}

TEST(an_encoded_cluster_goes_to_its_place)
{
	struct fill_rig t;

	fill_init(&t, 16 * UNIT);
	add_encoded_run(&t, UNIT);
	place(&t);
	assert_int_equal(fake_target.n_placed_writes, 1);
	assert_int_equal(fake_target.placed_bytes, 100);
	assert_int_equal(fake_target.n_encoded_writes, 0);
	fill_release(&t);
}

TEST(an_encoded_cluster_without_a_place_comes_with_its_bytes)
{
	struct fill_rig t;

	fill_init(&t, 16 * UNIT);
	add_encoded_run(&t, UNIT);
	fake_target.no_places = true;
	place(&t);
	t.f.is_new = false;
	place(&t);
	fill_expect(&t, UNIT, UNIT);
	assert_int_equal(fake_target.n_encoded_writes, 2);
	assert_int_equal(fake_target.n_placed_writes, 0);
	fill_release(&t);
}

TEST(what_cannot_be_shared_is_copied)
{
	struct fill_rig t;

	fill_init(&t, 16 * UNIT);
	t.r->shared = (struct qcow2_extent){ .off = 2 * UNIT, .len = 3 * UNIT };
	fake_target.no_places = true;
	place(&t);
	fill_expect(&t, 3 * UNIT, 2 * UNIT);
	assert_int_equal(t.f.dst->bytes[5 * UNIT], 0);
	assert_int_equal(fake_target.n_writes, 3);
	fill_release(&t);
}

/* Others may have their turn; the failure tells them that they need not. */
TEST(a_failure_ends_the_turn)
{
	struct qcow2_error err;
	struct fill_rig t;

	fill_init(&t, 16 * UNIT);
	t.f.in_order = true;
	fake_target.write_rc = -ENOSPC;
	add_run(&t, UNIT, 0);
	assert_int_equal(fill_place(&t.w, &t.f, t.r, &err), -ENOSPC);
	assert_true(turns_wait(&t.f.turns, 1));
	fill_release(&t);
}

TEST(who_gets_no_turn_writes_nothing)
{
	struct fill_rig t;

	fill_init(&t, 16 * UNIT);
	t.f.in_order = true;
	t.r->turn = 1;
	turns_stop(&t.f.turns);
	add_run(&t, UNIT, 0);
	place(&t);
	assert_int_equal(fake_target.n_places, 0);
	fill_release(&t);
}

TEST(who_is_stopped_writes_nothing_more)
{
	struct fill_rig t;

	fill_init(&t, 16 * UNIT);
	t.w.stop = true;
	add_run(&t, UNIT, 0);
	place(&t);
	assert_int_equal(fake_target.n_places, 0);
	fill_release(&t);
}
