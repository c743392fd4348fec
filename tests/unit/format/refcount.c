#include "format/refcount.h"

#include "generate.h"

TEST(narrow_refcounts_fill_bytes_from_the_lowest_bit)
{
	uint8_t block[2] = { 0 };

	refcount_put(block, 0, 0, 1);
	refcount_put(block, 9, 0, 1);
	assert_int_equal(block[0], 0x01);
	assert_int_equal(block[1], 0x02);
	memset(block, 0, 2);
	refcount_put(block, 1, 1, 3);
	refcount_put(block, 4, 1, 2);
	assert_int_equal(block[0], 0x0c);
	assert_int_equal(block[1], 0x02);
	memset(block, 0, 2);
	refcount_put(block, 1, 2, 0xa);
	refcount_put(block, 2, 2, 0x5);
	assert_int_equal(block[0], 0xa0);
	assert_int_equal(block[1], 0x05);
}

TEST(wide_refcounts_are_big_endian)
{
	static const uint8_t bytes[] = { 1, 2, 3, 4, 5, 6, 7, 8 };

	assert_int_equal(refcount_get(bytes, 2, 3), 3);
	assert_int_equal(refcount_get(bytes, 1, 4), 0x0304);
	assert_int_equal(refcount_get(bytes, 1, 5), 0x05060708);
	assert_true(refcount_get(bytes, 0, 6) == 0x0102030405060708);
}

/* A whole block at every cluster size and width, in random order, against an
 * array; the block ends at a guard page. */
TEST(blocks_hold_what_was_put)
{
	struct test_rng rng = test_rng_init(test_seed());

	for (uint32_t bits = 9; bits <= 13; bits++)
		for (uint32_t order = 0; order <= 6; order++) {
			struct geometry g = gen_geometry(3, bits, order, 0, 0);
			uint64_t n = UINT64_C(1) << g.refcount_block_bits;
			uint64_t *want = calloc(n, sizeof(*want));
			uint8_t *block = guard_alloc(g.cluster_size);

			memset(block, 0, g.cluster_size);
			for (uint64_t k = 0; k < 2 * n; k++) {
				uint64_t i = test_rng_below(&rng, n);

				want[i] = test_rng_next(&rng) & g.refcount_max;
				refcount_put(block, i, order, want[i]);
			}
			for (uint64_t i = 0; i < n; i++)
				assert_true(refcount_get(block, i, order) ==
					    want[i]);
			guard_free(block, g.cluster_size);
			free(want);
		}
}

TEST(the_largest_value_fits_and_disturbs_nobody)
{
	for (uint32_t order = 0; order <= 6; order++) {
		struct geometry g = gen_geometry(3, 9, order, 0, 0);
		uint8_t block[512];

		memset(block, 0, sizeof(block));
		refcount_put(block, 5, order, g.refcount_max);
		assert_true(refcount_get(block, 5, order) == g.refcount_max);
		assert_true(refcount_get(block, 4, order) == 0);
		assert_true(refcount_get(block, 6, order) == 0);
		memset(block, 0xff, sizeof(block));
		refcount_put(block, 5, order, 0);
		assert_true(refcount_get(block, 5, order) == 0);
		assert_true(refcount_get(block, 4, order) == g.refcount_max);
		assert_true(refcount_get(block, 6, order) == g.refcount_max);
	}
}

TEST(table_entries_are_aligned_clean_and_in_the_file)
{
	struct geometry g = gen_geometry(3, 12, 4, 0, 0);
	static const struct {
		uint64_t entry;
		enum defect want;
	} rows[] = {
		{ 0, DEFECT_NONE },
		{ 0x1000, DEFECT_NONE },
		{ 0xff000, DEFECT_NONE },
		{ 0x1200, DEFECT_REFCOUNT_TABLE_ENTRY_UNALIGNED },
		{ 0x1001, DEFECT_REFCOUNT_TABLE_ENTRY_RESERVED },
		{ 0x100, DEFECT_REFCOUNT_TABLE_ENTRY_RESERVED },
		{ 0x100000, DEFECT_REFCOUNT_BLOCK_BEYOND_EOF },
		{ UINT64_C(1) << 56, DEFECT_REFCOUNT_BLOCK_BEYOND_EOF },
		{ UINT64_C(1) << 63, DEFECT_REFCOUNT_BLOCK_BEYOND_EOF },
		{ UINT64_MAX & ~4095ull, DEFECT_REFCOUNT_BLOCK_BEYOND_EOF },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(
			refcount_table_entry_defect(&g, rows[i].entry, 1 << 20),
			rows[i].want);
	assert_int_equal(refcount_table_entry_defect(&g, 0x1000, 0x1001),
			 DEFECT_NONE);
	assert_int_equal(
		refcount_table_entry_defect(&g, UINT64_C(1) << 56, UINT64_MAX),
		DEFECT_REFCOUNT_BLOCK_BEYOND_EOF);
}

/* T1: an entry without an offset may still not be empty. */
TEST(decodes_where_a_block_lies)
{
	struct geometry g = { .cluster_bits = 12, .cluster_size = 4096 };
	uint64_t off = 1;

	assert_int_equal(refcount_table_entry_decode(&g, 0, 1 << 20, &off), 0);
	assert_int_equal(off, 0);
	assert_int_equal(refcount_table_entry_decode(&g, 0x3000, 1 << 20, &off),
			 0);
	assert_int_equal(off, 0x3000);
	assert_int_equal(refcount_table_entry_decode(&g, 1, 1 << 20, &off),
			 DEFECT_REFCOUNT_TABLE_ENTRY_RESERVED);
	assert_int_equal(off, 0);
	assert_int_equal(refcount_table_entry_decode(&g, 0x3001, 1 << 20, &off),
			 DEFECT_REFCOUNT_TABLE_ENTRY_RESERVED);
	assert_int_equal(off, 0);
}
