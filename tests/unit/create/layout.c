#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/checked.h"
#include "create/plan.h"
#include "support/test.h"

static struct qcow2_create_opts options(uint64_t size, uint32_t cluster_size,
					uint32_t refcount_bits)
{
	return (struct qcow2_create_opts){
		.struct_size = sizeof(struct qcow2_create_opts),
		.virtual_size = size,
		.version = 3,
		.cluster_size = cluster_size,
		.refcount_bits = refcount_bits,
	};
}

TEST(a_plain_image_has_header_table_block_and_l1)
{
	struct qcow2_create_opts o = options(4 * GIB, 65536, 16);
	struct create_layout l;

	assert_int_equal(create_layout_solve(&l, &o, NULL), 0);
	assert_int_equal(l.refcount_table_off, 0x10000);
	assert_int_equal(l.refcount_blocks_off, 0x20000);
	assert_int_equal(l.l1_off, 0x30000);
	assert_int_equal(l.n_clusters, 4);
	assert_int_equal(l.n_l1_entries, 8);
	assert_int_equal(l.n_l2_tables, 0);
}

TEST(an_empty_disk_has_no_l1_table)
{
	struct qcow2_create_opts o = options(0, 65536, 16);
	struct create_layout l;

	o.preallocation = QCOW2_PREALLOC_FULL;
	assert_int_equal(create_layout_solve(&l, &o, NULL), 0);
	assert_int_equal(l.l1_off, 0);
	assert_int_equal(l.n_l1_entries, 0);
	assert_int_equal(l.n_clusters, 3);
}

TEST(the_last_size_of_one_block_needs_one_block)
{
	/* 64 refcounts in a block: header, table, block, 2 L1, 1 + 58 more. */
	struct qcow2_create_opts o = options(58 * 512, 512, 64);
	struct create_layout l;

	o.preallocation = QCOW2_PREALLOC_METADATA;
	assert_int_equal(create_layout_solve(&l, &o, NULL), 0);
	assert_int_equal(l.n_clusters, 63);
	assert_int_equal(l.n_refcount_blocks, 1);
	o.virtual_size += 512;
	assert_int_equal(create_layout_solve(&l, &o, NULL), 0);
	assert_int_equal(l.n_clusters, 64);
	assert_int_equal(l.n_refcount_blocks, 1);
	o.virtual_size += 512;
	assert_int_equal(create_layout_solve(&l, &o, NULL), 0);
	assert_int_equal(l.n_clusters, 66);
	assert_int_equal(l.n_refcount_blocks, 2);
}

/* Enough to describe every cluster, and one less would not be. */
static void assert_refcounts_fit(const struct create_layout *l)
{
	uint64_t cluster = UINT64_C(1) << l->cluster_bits;
	uint64_t per_block = cluster * 8 >> l->refcount_order;
	uint64_t per_table = cluster / 8;

	assert_int_equal(l->n_refcount_blocks,
			 div_round_up(l->n_clusters, per_block));
	assert_int_equal(l->n_refcount_table_clusters,
			 div_round_up(l->n_refcount_blocks, per_table));
	if (l->n_refcount_blocks > 1)
		assert_true(div_round_up(l->n_clusters - 1, per_block) >
			    l->n_refcount_blocks - 1);
}

static void assert_areas_follow(const struct create_layout *l)
{
	unsigned bits = l->cluster_bits;
	uint64_t l1_clusters =
		div_round_up(l->n_l1_entries * 8, UINT64_C(1) << bits);
	uint64_t l1_off =
		l->refcount_blocks_off + (l->n_refcount_blocks << bits);

	assert_int_equal(l->refcount_table_off, UINT64_C(1) << bits);
	assert_int_equal(l->refcount_blocks_off,
			 l->refcount_table_off +
				 (l->n_refcount_table_clusters << bits));
	if (l->l1_off)
		assert_int_equal(l->l1_off, l1_off);
	assert_int_equal(l->l2_off, l1_off + (l1_clusters << bits));
	if (l->data_off)
		assert_int_equal(l->data_off,
				 l->l2_off + (l->n_l2_tables << bits));
	assert_int_equal(l->n_clusters << bits,
			 (l->data_off ? l->data_off + (l->n_l2_entries << bits)
				      : l->l2_off + (l->n_l2_tables << bits)));
}

TEST(every_layout_is_exact)
{
	const char *seed = getenv("TEST_SEED");
	unsigned value = seed ? (unsigned)strtoul(seed, NULL, 0)
			      : (unsigned)time(NULL);
	unsigned n_solved = 0;

	printf("TEST_SEED=%u\n", value);
	srandom(value);
	for (int i = 0; i < 20000; i++) {
		unsigned cluster_bits = 9 + (unsigned)random() % 13;
		uint64_t size =
			((uint64_t)random() << 31 ^ (uint64_t)random()) >>
			random() % 62;
		struct qcow2_create_opts o =
			options(size, UINT32_C(1) << cluster_bits,
				UINT32_C(1) << random() % 7);
		struct create_layout l;

		o.preallocation = (enum qcow2_preallocation)(random() % 2);
		o.data_file = random() % 2 ? "d" : NULL;
		if (cluster_bits >= 14 && random() % 2)
			o.flags = QCOW2_CREATE_EXTENDED_L2;
		if (create_layout_solve(&l, &o, NULL))
			continue;
		n_solved++;
		assert_refcounts_fit(&l);
		assert_areas_follow(&l);
	}
	assert_true(n_solved > 1000);
}
