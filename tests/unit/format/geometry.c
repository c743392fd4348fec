#include "format/geometry.h"

#include "format/l2.h"
#include "generate.h"

TEST(default_images_have_known_numbers)
{
	struct geometry g = gen_geometry(3, 16, 4, 0, 0);

	assert_int_equal(g.cluster_size, 65536);
	assert_int_equal(g.subclusters, 1);
	assert_int_equal(g.subcluster_bits, 16);
	assert_int_equal(g.l2_entry_bytes, 8);
	assert_int_equal(geometry_l2_entries(&g), 8192);
	assert_int_equal(geometry_l2_reach(&g), 512 << 20);
	assert_int_equal(g.refcount_bits, 16);
	assert_int_equal(1 << g.refcount_block_bits, 32768);
	assert_int_equal(g.refcount_max, 65535);
	assert_int_equal(g.csize_shift, 54);
	assert_int_equal(g.csize_mask, 255);
	assert_true(g.coffset_mask == (UINT64_C(1) << 54) - 1);
}

TEST(extended_entries_are_half_as_many)
{
	struct geometry g = gen_geometry(3, 16, 4, INCOMPAT_EXTENDED_L2, 0);

	assert_true(g.extended_l2);
	assert_int_equal(g.subclusters, 32);
	assert_int_equal(g.subcluster_bits, 11);
	assert_int_equal(g.l2_entry_bytes, 16);
	assert_int_equal(geometry_l2_entries(&g), 4096);
	assert_int_equal(geometry_l2_reach(&g), 256 << 20);
}

/* A whole table or block is one cluster, at every size and width. */
TEST(tables_and_blocks_fill_a_cluster)
{
	for (uint32_t bits = 9; bits <= 21; bits++)
		for (uint32_t order = 0; order <= 6; order++) {
			struct geometry g = gen_geometry(3, bits, order, 0, 0);

			assert_int_equal(geometry_l2_entries(&g) *
						 g.l2_entry_bytes,
					 g.cluster_size);
			assert_int_equal((UINT64_C(1) << g.refcount_block_bits)
						 << order,
					 g.cluster_size * UINT64_C(8));
			assert_true(g.refcount_max ==
				    UINT64_MAX >> (64 - g.refcount_bits));
		}
}

TEST(compressed_fields_fill_62_bits)
{
	for (uint32_t bits = 9; bits <= 21; bits++) {
		struct geometry g = gen_geometry(2, bits, 4, 0, 0);

		assert_true((g.coffset_mask | g.csize_mask << g.csize_shift) ==
			    (UINT64_C(1) << 62) - 1);
		assert_true((g.coffset_mask & g.csize_mask << g.csize_shift) ==
			    0);
		/* A whole cluster and the sector before it must be
		 * expressible. */
		assert_true((g.csize_mask + 1) * 512 >= g.cluster_size);
	}
}

TEST(a_data_file_is_raw_only_if_there_is_one)
{
	struct geometry g = gen_geometry(3, 16, 4, 0, AUTOCLEAR_DATA_FILE_RAW);

	assert_false(g.has_data_file);
	assert_false(g.data_file_raw);
	g = gen_geometry(3, 16, 4, INCOMPAT_DATA_FILE, 0);
	assert_true(g.has_data_file);
	assert_false(g.data_file_raw);
	g = gen_geometry(3, 16, 4, INCOMPAT_DATA_FILE, AUTOCLEAR_DATA_FILE_RAW);
	assert_true(g.data_file_raw);
}

/* The indices are the digits of the guest offset. */
TEST(indices_put_together_give_the_offset)
{
	struct test_rng rng = test_rng_init(test_seed());

	for (int i = 0; i < 20000; i++) {
		uint32_t bits = 14 + (uint32_t)test_rng_below(&rng, 8);
		struct geometry g = gen_geometry(
			3, bits, 4, i & 1 ? INCOMPAT_EXTENDED_L2 : 0, 0);
		uint64_t off = gen_number(&rng);
		uint64_t in_sub = off &
				  ((UINT64_C(1) << g.subcluster_bits) - 1);

		assert_true(
			geometry_l1_index(&g, off) * geometry_l2_reach(&g) +
				(geometry_l2_index(&g, off) << g.cluster_bits) +
				geometry_in_cluster(&g, off) ==
			off);
		assert_true(geometry_in_cluster(&g, off) ==
			    ((uint64_t)geometry_subcluster_index(&g, off)
			     << g.subcluster_bits) +
				    in_sub);
	}
}

TEST(counts_round_up_without_overflow)
{
	struct geometry g = gen_geometry(3, 9, 4, 0, 0);

	assert_int_equal(geometry_clusters(&g, 0), 0);
	assert_int_equal(geometry_clusters(&g, 1), 1);
	assert_int_equal(geometry_clusters(&g, 512), 1);
	assert_int_equal(geometry_clusters(&g, 513), 2);
	assert_true(geometry_clusters(&g, UINT64_MAX) == UINT64_C(1) << 55);
	assert_int_equal(geometry_l1_entries(&g, 0), 0);
	assert_int_equal(geometry_l1_entries(&g, 1), 1);
	assert_int_equal(geometry_l1_entries(&g, 32768), 1);
	assert_int_equal(geometry_l1_entries(&g, 32769), 2);
	assert_true(geometry_l1_entries(&g, UINT64_MAX) == UINT64_C(1) << 49);
}

TEST(tables_fit_behind_the_header_up_to_the_last_cluster)
{
	struct geometry g = gen_geometry(3, 12, 4, 0, 0);

	assert_true(geometry_table_fits(&g, 4096, 4096, 8192));
	assert_true(geometry_table_fits(&g, 4096, 4096, 4097));
	assert_false(geometry_table_fits(&g, 4096, 4096, 4096));
	assert_false(geometry_table_fits(&g, 4096, 4097, 8192));
	assert_false(geometry_table_fits(&g, 0, 8, 8192));
	assert_false(geometry_table_fits(&g, 4104, 8, 8192));
	assert_false(geometry_table_fits(&g, 4096, UINT64_MAX, 8192));
	assert_false(geometry_table_fits(&g, UINT64_MAX - 4095, 8192, 8192));
	assert_true(
		geometry_table_fits(&g, HOST_OFF_MAX - 4095, 8, UINT64_MAX));
	assert_false(geometry_table_fits(&g, HOST_OFF_MAX + 1, 8, UINT64_MAX));
}
