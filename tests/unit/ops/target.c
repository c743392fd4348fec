#include "ops/target.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sink.h"
#include "support/test.h"

#define KIB 1024
#define MIB (1024 * 1024)

struct fixture {
	struct sink sink;
	struct qcow2_store *store;
	struct target target;
	uint8_t *buf;
};

/* A buffer of @len bytes that are not zero. */
static void fixture_init(struct fixture *f, size_t len, uint64_t sparse)
{
	sink_init(&f->sink, &f->store);
	f->buf = malloc(len);
	memset(f->buf, 1, len);
	assert_int_equal(
		target_init(&f->target, f->store, SINK_BYTES, sparse, NULL), 0);
}

static void fixture_release(struct fixture *f)
{
	sink_release(&f->sink, f->store);
	free(f->buf);
}

static void assert_sectors(const struct sink *s, uint64_t off, uint64_t end,
			   enum sink_state want)
{
	for (uint64_t i = off / 512; i < end / 512; i++)
		if (s->state[i] != want)
			fail_msg("sector %d is in state %d, not %d", (int)i,
				 s->state[i], want);
}

TEST(an_emptied_store_reads_zero)
{
	struct qcow2_store *store;
	struct target t;
	struct sink s;

	sink_init(&s, &store);
	s.size = MIB;
	memset(s.bytes, 7, MIB);
	assert_int_equal(target_init(&t, store, 2 * MIB, 4096, NULL), 0);
	assert_int_equal(s.size, 2 * MIB);
	assert_int_equal(s.bytes[0], 0);
	assert_true(t.reads_zero);
	assert_false(target_wants_zeros(&t));
	sink_release(&s, store);
}

/* ext4 would write the whole file to the disk when it is closed. */
TEST(an_empty_store_is_not_emptied_again)
{
	struct qcow2_store *store;
	struct target t;
	struct sink s;

	sink_init(&s, &store);
	assert_int_equal(target_init(&t, store, MIB, 4096, NULL), 0);
	assert_true(t.reads_zero);
	assert_int_equal(s.size, MIB);
	assert_int_equal(s.n_truncates, 1);
	sink_release(&s, store);
}

TEST(a_device_is_zeroed_at_once_where_that_is_cheap)
{
	struct qcow2_store *store;
	struct target t;
	struct sink s;

	sink_init_device(&s, 3 * MIB, &store);
	assert_int_equal(target_init(&t, store, 2 * MIB, 4096, NULL), 0);
	assert_true(t.reads_zero);
	assert_int_equal(s.n_zeros, 1);
	assert_int_equal(s.bytes[2 * MIB - 1], 0);
	assert_int_equal(s.bytes[2 * MIB], 0xa5);
	sink_release(&s, store);
}

TEST(a_device_that_answers_truncate_is_still_no_file)
{
	struct qcow2_store *store;
	struct target t;
	struct sink s;

	sink_init_device(&s, 3 * MIB, &store);
	s.keeps_quiet = true;
	s.cannot_zero_all = true;
	assert_int_equal(target_init(&t, store, 2 * MIB, 4096, NULL), 0);
	assert_false(t.reads_zero);
	assert_true(target_wants_zeros(&t));
	sink_release(&s, store);
}

TEST(a_device_too_small_is_refused_with_both_sizes)
{
	struct qcow2_error err = { 0 };
	struct qcow2_store *store;
	struct target t;
	struct sink s;

	sink_init_device(&s, MIB, &store);
	assert_int_equal(target_init(&t, store, MIB + 512, 4096, &err),
			 -ENOSPC);
	assert_non_null(strstr(err.message, "the sink"));
	assert_non_null(strstr(err.message, "1048576"));
	assert_non_null(strstr(err.message, "1049088"));
	assert_int_equal(s.bytes[0], 0xa5);
	sink_release(&s, store);
}

TEST(zeros_shorter_than_sparse_are_written)
{
	struct fixture f;

	fixture_init(&f, MIB, 64 * KIB);
	memset(f.buf + 100 * KIB, 0, 60 * KIB);
	memset(f.buf + 300 * KIB, 0, 64 * KIB);
	assert_int_equal(target_write(&f.target, f.buf, MIB, MIB, NULL), 0);
	assert_sectors(&f.sink, MIB, MIB + 300 * KIB, SINK_WRITTEN);
	assert_sectors(&f.sink, MIB + 300 * KIB, MIB + 364 * KIB,
		       SINK_UNTOUCHED);
	assert_sectors(&f.sink, MIB + 364 * KIB, 2 * MIB, SINK_WRITTEN);
	assert_int_equal(f.sink.n_writes, 2);
	fixture_release(&f);
}

TEST(holes_begin_and_end_at_whole_blocks)
{
	struct fixture f;

	fixture_init(&f, 64 * KIB, 4096);
	memset(f.buf + 512, 0, 4096);             /* no block of its own */
	memset(f.buf + 16384 + 512, 0, 2 * 4096); /* has one inside */
	assert_int_equal(target_write(&f.target, f.buf, 64 * KIB, 0, NULL), 0);
	assert_sectors(&f.sink, 0, 20480, SINK_WRITTEN);
	assert_sectors(&f.sink, 20480, 24576, SINK_UNTOUCHED);
	assert_sectors(&f.sink, 24576, 65536, SINK_WRITTEN);
	fixture_release(&f);
}

TEST(sectors_become_holes_when_asked)
{
	struct fixture f;

	fixture_init(&f, 64 * KIB, 512);
	memset(f.buf + 1024, 0, 512);
	assert_int_equal(target_write(&f.target, f.buf, 64 * KIB, 0, NULL), 0);
	assert_sectors(&f.sink, 1024, 1536, SINK_UNTOUCHED);
	assert_int_equal(f.sink.n_writes, 2);
	fixture_release(&f);
}

TEST(zeros_at_the_ends_of_a_buffer_are_left_out)
{
	struct fixture f;

	fixture_init(&f, MIB, 512 * KIB);
	memset(f.buf, 0, 8 * KIB);
	memset(f.buf + MIB - 8 * KIB, 0, 8 * KIB);
	assert_int_equal(target_write(&f.target, f.buf, MIB, 0, NULL), 0);
	assert_sectors(&f.sink, 0, 8 * KIB, SINK_UNTOUCHED);
	assert_sectors(&f.sink, 8 * KIB, MIB - 8 * KIB, SINK_WRITTEN);
	assert_sectors(&f.sink, MIB - 8 * KIB, MIB, SINK_UNTOUCHED);
	fixture_release(&f);
}

TEST(not_sparse_writes_every_byte)
{
	struct fixture f;

	fixture_init(&f, MIB, QCOW2_CONVERT_NOT_SPARSE);
	memset(f.buf, 0, MIB);
	assert_true(target_wants_zeros(&f.target));
	assert_int_equal(target_write(&f.target, f.buf, MIB, 0, NULL), 0);
	assert_int_equal(target_zero(&f.target, MIB, MIB, NULL), 0);
	assert_sectors(&f.sink, 0, MIB, SINK_WRITTEN);
	assert_sectors(&f.sink, MIB, 2 * MIB, SINK_ZEROED);
	fixture_release(&f);
}

TEST(on_a_device_only_long_zeros_are_unmapped)
{
	struct fixture f;

	fixture_init(&f, MIB, 4096);
	sink_release(&f.sink, f.store);
	sink_init_device(&f.sink, 2 * MIB, &f.store);
	f.sink.cannot_zero_all = true;
	assert_int_equal(target_init(&f.target, f.store, MIB, 4096, NULL), 0);
	memset(f.buf, 0, 4096);
	memset(f.buf + 100 * KIB, 0, 8 * KIB);
	memset(f.buf + 200 * KIB, 0, 64 * KIB);
	assert_int_equal(target_write(&f.target, f.buf, MIB, 0, NULL), 0);
	assert_memory_equal(f.sink.bytes, f.buf, MIB);
	assert_sectors(&f.sink, 0, 200 * KIB, SINK_WRITTEN);
	assert_sectors(&f.sink, 200 * KIB, 264 * KIB, SINK_UNMAPPED);
	assert_sectors(&f.sink, 264 * KIB, MIB, SINK_WRITTEN);
	fixture_release(&f);
}

/* Any bytes, any place, any granularity: the target reads as the source, and
 * no run of zeros that is long enough was written. */
TEST(random_buffers_arrive_whole)
{
	struct test_rng r = test_rng_init(test_seed());
	const size_t len = 256 * KIB;

	for (unsigned i = 0; i < 200; i++) {
		uint64_t sparse = 512 * (1 + test_rng_below(&r, 40));
		uint64_t off = 512 * test_rng_below(&r, 100);
		struct fixture f;

		fixture_init(&f, len, sparse);
		for (unsigned k = 0; k < 20; k++) {
			size_t at = test_rng_below(&r, len);
			size_t n = test_rng_below(&r, 20000);

			memset(f.buf + at, 0, n < len - at ? n : len - at);
		}
		assert_int_equal(target_write(&f.target, f.buf, len, off, NULL),
				 0);
		assert_memory_equal(f.sink.bytes + off, f.buf, len);
		fixture_release(&f);
	}
}

TEST(a_full_store_is_told_with_name_and_offset)
{
	struct qcow2_error err = { 0 };
	struct fixture f;

	fixture_init(&f, MIB, 4096);
	f.sink.full_off = 5 * MIB;
	assert_int_equal(target_write(&f.target, f.buf, MIB, 5 * MIB, &err),
			 -ENOSPC);
	assert_non_null(strstr(err.message, "the sink"));
	assert_non_null(strstr(err.message, "5242880"));
	fixture_release(&f);
}
