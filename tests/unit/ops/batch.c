#include "ops/batch.h"

#include "fake_disk.h"

#define KIB 1024
#define MIB (1024 * 1024)
#define WINDOW (512 * KIB)

TEST(window_is_never_smaller_than_a_cluster)
{
	for (uint32_t cluster = 512; cluster <= 2 * MIB; cluster *= 2) {
		struct disk *d = fake_new(cluster);
		uint64_t window = batch_window_bytes(d);

		assert_true(window >= cluster);
		assert_true(window >= WINDOW && window <= 2 * MIB);
		fake_free(d);
	}
}

TEST(neighbours_become_one_piece)
{
	struct batch b;

	batch_clear(&b, WINDOW);
	batch_add(&b, 4 * KIB, 0, READ_FIRST);
	batch_add(&b, 4 * KIB, 4 * KIB, READ_FIRST);
	batch_add(&b, 4 * KIB, 8 * KIB + BATCH_GAP_BYTES, READ_FIRST);
	assert_int_equal(b.n, 1);
	assert_int_equal(b.pieces[0].len, 12 * KIB + BATCH_GAP_BYTES);
	assert_int_equal(b.data_bytes, 12 * KIB);
}

TEST(a_wide_gap_is_not_read)
{
	struct batch b;

	batch_clear(&b, WINDOW);
	batch_add(&b, 4 * KIB, 0, READ_FIRST);
	batch_add(&b, 4 * KIB, 4 * KIB + BATCH_GAP_BYTES + 512, READ_FIRST);
	assert_int_equal(b.n, 2);
}

TEST(no_piece_crosses_into_the_next_window)
{
	struct batch b;

	batch_clear(&b, WINDOW);
	assert_int_equal(batch_room(&b, WINDOW - 512, READ_FIRST), 512);
	assert_int_equal(batch_room(&b, WINDOW, READ_FIRST), WINDOW);
	batch_add(&b, 512, WINDOW - 512, READ_FIRST);
	batch_add(&b, 512, WINDOW, READ_FIRST);
	assert_int_equal(b.n, 2);
}

TEST(is_full_at_the_end_of_a_window_with_enough_in_it)
{
	struct batch b;

	batch_clear(&b, WINDOW);
	batch_add(&b, WINDOW / 2 - 512, 0, READ_FIRST);
	assert_false(batch_is_full(&b, WINDOW));
	batch_add(&b, 512, WINDOW / 2 - 512, READ_FIRST);
	assert_false(batch_is_full(&b, WINDOW / 2));
	assert_true(batch_is_full(&b, WINDOW));
}

TEST(is_full_after_so_many_pieces_or_steps)
{
	struct batch b;

	batch_clear(&b, WINDOW);
	for (unsigned i = 0; i < BATCH_PIECES; i++) {
		assert_false(batch_is_full(&b, i * MIB + 512));
		batch_add(&b, 512, (uint64_t)i * MIB, READ_FIRST);
	}
	assert_true(batch_is_full(&b, BATCH_PIECES * MIB + 512));

	batch_clear(&b, WINDOW);
	b.n_steps = 1000000;
	assert_true(batch_is_full(&b, 512));
}

TEST(zeros_merge_over_windows_but_not_with_data)
{
	struct batch b;

	batch_clear(&b, WINDOW);
	batch_add(&b, 512, 0, READ_FIRST);
	batch_add(&b, 512, 512, 0);
	batch_add(&b, 10 * MIB, 1024, 0);
	batch_add(&b, 512, 1024 + 10 * MIB, READ_FIRST);
	assert_int_equal(b.n, 3);
	assert_int_equal(b.pieces[1].len, 10 * MIB + 512);
	assert_int_equal(b.pieces[1].reads, 0);
	assert_int_equal(b.data_bytes, 1024);
}

TEST(a_long_range_of_zeros_fills_a_batch)
{
	struct batch b;

	batch_clear(&b, WINDOW);
	batch_add(&b, WINDOW, 0, 0);
	assert_true(batch_is_full(&b, WINDOW));
}

TEST(small_pieces_of_different_disks_are_read_together)
{
	struct batch b;

	batch_clear(&b, WINDOW);
	batch_add(&b, 100 * KIB, 0, READ_FIRST);
	batch_add(&b, 4 * KIB, 100 * KIB, READ_SECOND);
	assert_int_equal(b.n, 1);
	assert_int_equal(b.pieces[0].reads, READ_FIRST | READ_SECOND);
	batch_add(&b, 100 * KIB, 104 * KIB, READ_FIRST | READ_SECOND);
	assert_int_equal(b.n, 1);
	batch_add(&b, 100 * KIB, 204 * KIB, READ_SECOND);
	assert_int_equal(b.n, 2);
}

TEST(a_worker_is_woken_where_reading_has_to_wait)
{
	struct disk *d = fake_new(64 * KIB);
	struct workers w = { .n = 4, .n_awake = 1 };
	struct batch b;

	pthread_mutex_init(&w.lock, NULL);
	pthread_cond_init(&w.wake, NULL);
	process_mark_init(&w.here);
	fake_add(d, 4 * WINDOW, FAKE_DATA);
	batch_clear(&b, WINDOW);
	batch_add(&b, WINDOW, 0, 0);
	batch_wake(&b, &w, d, READ_FIRST);
	d->has_to_wait = true;
	/* There is nothing to read, or nothing from this disk. */
	batch_wake(&b, &w, d, READ_FIRST);
	batch_clear(&b, WINDOW);
	batch_add(&b, 100 * KIB, 0, READ_SECOND);
	batch_wake(&b, &w, d, READ_FIRST);
	assert_int_equal(w.n_awake, 1);
	batch_wake(&b, &w, d, READ_SECOND);
	assert_int_equal(w.n_awake, 2);
	d->has_to_wait = false;
	batch_wake(&b, &w, d, READ_SECOND);
	assert_int_equal(w.n_awake, 2);
	/* No worker is woken when all of them are awake. */
	w.n_awake = 4;
	d->has_to_wait = true;
	batch_wake(&b, &w, d, READ_SECOND);
	assert_int_equal(w.n_awake, 4);
	process_mark_release(&w.here);
	pthread_cond_destroy(&w.wake);
	pthread_mutex_destroy(&w.lock);
	fake_free(d);
}

/* ---- Its validator ------------------------------------------------------- */

TEST(a_batch_that_is_not_as_it_should_be_is_found)
{
	struct batch b;

	batch_clear(&b, WINDOW);
	batch_add(&b, 4096, 0, READ_FIRST);
	batch_add(&b, 4096, WINDOW, 0);
	batch_validate(&b);
	ASSERT_ABORTS(b.n = BATCH_PIECES + 1; batch_validate(&b));
	ASSERT_ABORTS(b.pieces[0].len = 0; batch_validate(&b));
	ASSERT_ABORTS(b.pieces[0].reads = 4; batch_validate(&b));
	ASSERT_ABORTS(b.pieces[0].len = WINDOW + 1; batch_validate(&b));
	ASSERT_ABORTS(b.pieces[1].off = 0; batch_validate(&b));
	ASSERT_ABORTS(b.pieces[1].len = UINT64_MAX; batch_validate(&b));
	ASSERT_ABORTS(b.data_bytes++; batch_validate(&b));
	ASSERT_ABORTS(batch_add(&b, 0, 2 * WINDOW, READ_FIRST));
}
