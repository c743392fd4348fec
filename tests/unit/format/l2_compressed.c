/*
 * The compressed part of l2.c.
 */
#include "format/l2.h"
#include "generate.h"

#define FILE_SIZE (UINT64_C(1) << 20)

static uint64_t descriptor(const struct geometry *g, uint64_t off,
			   uint64_t extra_sectors)
{
	return L2_COMPRESSED | extra_sectors << g->csize_shift | off;
}

TEST(compressed_entries_lie_in_the_image)
{
	struct geometry g = gen_geometry(3, 12, 4, 0, 0);
	const struct {
		uint64_t desc;
		enum defect want;
	} rows[] = {
		{ descriptor(&g, 0x1000, 0), DEFECT_NONE },
		{ descriptor(&g, 0x5001, 7) | ENTRY_COPIED, DEFECT_NONE },
		{ descriptor(&g, 0xfff, 0), DEFECT_COMPRESSED_OFFSET },
		{ descriptor(&g, 0, 7), DEFECT_COMPRESSED_OFFSET },
		{ descriptor(&g, FILE_SIZE - 1, 0), DEFECT_NONE },
		{ descriptor(&g, FILE_SIZE - 1, 7), DEFECT_NONE },
		{ descriptor(&g, FILE_SIZE, 0), DEFECT_COMPRESSED_BEYOND_EOF },
		{ descriptor(&g, UINT64_C(1) << 55, 0),
		  DEFECT_COMPRESSED_BEYOND_EOF },
		{ descriptor(&g, HOST_OFF_MAX, 0),
		  DEFECT_COMPRESSED_BEYOND_EOF },
		{ descriptor(&g, UINT64_C(1) << 56, 0),
		  DEFECT_COMPRESSED_OFFSET },
		{ descriptor(&g, UINT64_C(1) << 57, 0),
		  DEFECT_COMPRESSED_OFFSET },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct l2_entry e = { rows[i].desc, 0 };

		assert_int_equal(
			l2_entry_unreadable(&g, e, 0, FILE_SIZE, FILE_SIZE),
			rows[i].want);
		assert_int_equal(
			l2_entry_defect(&g, e, 0, FILE_SIZE, FILE_SIZE),
			rows[i].want);
	}
}

/* S8: data that begins in the file is read, however many sectors it claims; if
 * a whole cluster of them or more is missing, the check says so. */
TEST(sectors_that_the_file_lacks_are_no_reason_to_refuse)
{
	struct geometry g = gen_geometry(3, 12, 4, 0, 0);

	for (uint64_t n = 1; n < 16; n++) {
		struct l2_entry e = { descriptor(&g, FILE_SIZE - 1, n), 0 };

		assert_int_equal(
			l2_entry_unreadable(&g, e, 0, FILE_SIZE, FILE_SIZE),
			DEFECT_NONE);
		assert_int_equal(
			l2_entry_defect(&g, e, 0, FILE_SIZE, FILE_SIZE),
			n < 8 ? DEFECT_NONE : DEFECT_COMPRESSED_BEYOND_EOF);
	}
}

TEST(the_size_counts_sectors_to_the_end_of_the_last)
{
	struct geometry g = gen_geometry(3, 16, 4, 0, 0);
	struct compressed c;

	c = compressed_decode(&g, descriptor(&g, 0x50000, 0));
	assert_int_equal(c.host_off, 0x50000);
	assert_int_equal(c.len, 512);
	c = compressed_decode(&g, descriptor(&g, 0x501ff, 0));
	assert_int_equal(c.host_off, 0x501ff);
	assert_int_equal(c.len, 1);
	c = compressed_decode(&g, descriptor(&g, 0x50001, 127));
	assert_int_equal(c.len, 65535);
	c = compressed_decode(&g, UINT64_MAX);
	assert_true(c.host_off == (UINT64_C(1) << 54) - 1);
	assert_int_equal(c.len, 256 * 512 - 511);
	assert_true((descriptor(&g, 1, 1) & L2_COMPRESSED_MASK) ==
		    (UINT64_C(1) << 54 | 1));
}

/* At every cluster size the encoded descriptor covers the data, and less than a
 * sector more. */
TEST(descriptors_hold_what_they_were_made_of)
{
	struct test_rng rng = test_rng_init(test_seed());

	for (int i = 0; i < 50000; i++) {
		uint32_t bits = 9 + (uint32_t)(i % 13);
		struct geometry g = gen_geometry(3, bits, 4, 0, 0);
		uint64_t max = min_u64(g.coffset_mask, HOST_OFF_MAX);
		uint64_t off = gen_number(&rng) & max;
		uint32_t len =
			1 + (uint32_t)test_rng_below(&rng, g.cluster_size);
		uint64_t desc, again;
		struct compressed c;

		assert_true(compressed_encode(&g, off, len, &desc));
		assert_true((desc & L2_COMPRESSED) && !(desc & ENTRY_COPIED));
		c = compressed_decode(&g, desc);
		assert_true(c.host_off == off);
		assert_true(c.len >= len && c.len < len + 512);
		assert_true((c.host_off + c.len) % 512 == 0);
		assert_true(compressed_encode(&g, c.host_off, c.len, &again));
		assert_true(again == desc);
	}
}

TEST(what_a_descriptor_cannot_hold_is_refused)
{
	uint64_t desc = 7;

	for (uint32_t bits = 9; bits <= 21; bits++) {
		struct geometry g = gen_geometry(3, bits, 4, 0, 0);
		uint64_t max = min_u64(g.coffset_mask, HOST_OFF_MAX);
		uint32_t sectors = (uint32_t)g.csize_mask + 1;

		assert_false(compressed_encode(&g, 0, 0, &desc));
		assert_false(compressed_encode(&g, max + 1, 1, &desc));
		assert_false(
			compressed_encode(&g, 0, sectors * 512 + 1, &desc));
		assert_false(compressed_encode(&g, 511, sectors * 512, &desc));
		assert_int_equal(desc, 7);
		assert_true(compressed_encode(&g, max, 1, &desc));
		assert_true(compressed_encode(&g, 0, sectors * 512, &desc));
		desc = 7;
	}
}
