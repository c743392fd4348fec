#include "base/cursor.h"
#include "support/test.h"

enum { LEN = 23 };

TEST(reads_big_endian_numbers_in_order)
{
	static const uint8_t bytes[] = { 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc,
					 0xde, 0xf0, 1,    2,    3,    4,
					 5,    6,    7,    8,    9,    10 };
	struct reader r = reader_init(bytes, 17);

	assert_int_equal(read_u8(&r), 0x12);
	assert_int_equal(read_be16(&r), 0x3456);
	assert_int_equal(read_be32(&r), 0x789abcde);
	assert_int_equal(read_be64(&r), 0xf001020304050607);
	assert_int_equal(reader_left(&r), 2);
	assert_ptr_equal(read_bytes(&r, 2), bytes + 15);
	assert_int_equal(reader_left(&r), 0);
	assert_false(r.failed);
}

TEST(reading_past_the_end_fails_for_good_and_moves_nothing)
{
	uint8_t *p = guard_alloc(3);
	struct reader r = reader_init(p, 3);

	memset(p, 0xff, 3);
	assert_int_equal(read_be16(&r), 0xffff);
	assert_int_equal(read_be16(&r), 0);
	assert_true(r.failed);
	assert_int_equal(reader_left(&r), 1);
	assert_int_equal(read_u8(&r), 0);
	assert_null(read_bytes(&r, 0));
	assert_int_equal(read_be32(&r), 0);
	assert_int_equal(read_be64(&r), 0);
	assert_int_equal(reader_left(&r), 1);
	guard_free(p, 3);
}

TEST(every_width_fails_one_byte_short)
{
	uint8_t *p = guard_alloc(8);
	struct reader r;

	memset(p, 0xff, 8);
	for (size_t len = 0; len <= 8; len++) {
		const uint8_t *start = p + 8 - len;

		r = reader_init(start, len);
		assert_int_equal(read_u8(&r), len >= 1 ? 0xff : 0);
		assert_int_equal(r.failed, len < 1);
		r = reader_init(start, len);
		assert_int_equal(read_be16(&r), len >= 2 ? 0xffff : 0);
		assert_int_equal(r.failed, len < 2);
		r = reader_init(start, len);
		assert_int_equal(read_be32(&r), len >= 4 ? 0xffffffff : 0);
		assert_int_equal(r.failed, len < 4);
		r = reader_init(start, len);
		assert_int_equal(read_be64(&r), len >= 8 ? UINT64_MAX : 0);
		assert_int_equal(r.failed, len < 8);
	}
	guard_free(p, 8);
}

TEST(a_length_near_the_top_does_not_wrap)
{
	uint8_t bytes[4] = { 0 };
	struct reader r = reader_init(bytes, sizeof(bytes));
	struct byte_writer w = byte_writer_init(bytes, sizeof(bytes));

	assert_null(read_bytes(&r, SIZE_MAX));
	assert_true(r.failed);
	assert_null(write_reserve(&w, SIZE_MAX));
	assert_true(w.failed);
}

TEST(a_reader_of_nothing_is_at_its_end)
{
	struct reader r = reader_init(NULL, 0);

	assert_int_equal(reader_left(&r), 0);
	assert_non_null(read_bytes(&r, 0));
	assert_false(r.failed);
	assert_int_equal(read_u8(&r), 0);
	assert_true(r.failed);
}

TEST(writes_what_the_reader_reads)
{
	uint8_t p[LEN];
	struct byte_writer w = byte_writer_init(p, LEN);
	struct reader r;

	write_be64(&w, 0x1122334455667788);
	write_be32(&w, 0xd4e5f607);
	write_be16(&w, 0xb2c3);
	write_u8(&w, 0xa1);
	write_bytes(&w, "abcdef", 6);
	write_zeros(&w, 2);
	assert_int_equal(byte_writer_len(&w), LEN);
	assert_false(w.failed);
	r = reader_init(p, LEN);
	assert_int_equal(read_be64(&r), 0x1122334455667788);
	assert_int_equal(read_be32(&r), 0xd4e5f607);
	assert_int_equal(read_be16(&r), 0xb2c3);
	assert_int_equal(read_u8(&r), 0xa1);
	assert_memory_equal(read_bytes(&r, 6), "abcdef", 6);
	assert_int_equal(read_be16(&r), 0);
	assert_false(r.failed);
}

TEST(writing_past_the_end_fails_for_good_and_writes_nothing)
{
	uint8_t *p = guard_alloc(3);
	struct byte_writer w = byte_writer_init(p, 3);

	memset(p, 0x55, 3);
	write_be16(&w, 0);
	write_be64(&w, 0);
	assert_true(w.failed);
	write_u8(&w, 0);
	write_zeros(&w, 1);
	write_bytes(&w, "x", 1);
	write_bytes(&w, NULL, 0);
	assert_int_equal(byte_writer_len(&w), 2);
	assert_int_equal(p[2], 0x55);
	guard_free(p, 3);
}

TEST(padding_reaches_the_next_multiple_and_no_further)
{
	for (size_t len = 0; len <= 17; len++) {
		uint8_t bytes[24];
		struct byte_writer w = byte_writer_init(bytes, sizeof(bytes));

		memset(bytes, 0xff, sizeof(bytes));
		write_reserve(&w, len);
		write_pad(&w, 8);
		assert_int_equal(byte_writer_len(&w), (len + 7) / 8 * 8);
		for (size_t i = 0; i < sizeof(bytes); i++)
			assert_int_equal(
				bytes[i],
				i >= len && i < byte_writer_len(&w) ? 0 : 0xff);
	}
}

TEST(any_number_survives_any_alignment)
{
	struct test_rng rng = test_rng_init(test_seed());

	for (int i = 0; i < 10000; i++) {
		uint8_t bytes[16];
		uint8_t *p = bytes + test_rng_below(&rng, 8);
		uint64_t v = test_rng_next(&rng);

		put_be64(p, v);
		assert_true(get_be64(p) == v);
		put_be32(p, (uint32_t)v);
		assert_true(get_be32(p) == (uint32_t)v);
		put_be16(p, (uint16_t)v);
		assert_true(get_be16(p) == (uint16_t)v);
	}
}

TEST(a_cursor_outside_its_window_is_noticed)
{
	uint8_t bytes[4] = { 0 };
	struct reader r = reader_init(bytes, 2);
	struct byte_writer w = byte_writer_init(bytes, 2);

	reader_validate(&r);
	byte_writer_validate(&w);
	ASSERT_ABORTS(r.pos = r.end + 1; reader_left(&r));
	ASSERT_ABORTS(w.pos = w.end + 1; write_u8(&w, 0));
	ASSERT_ABORTS(w.start = w.pos + 1; byte_writer_len(&w));
}
