#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "lines.h"

static struct rig *fresh(uint32_t order)
{
	struct rig *r = rig_new(&(struct rig_opts){ .refcount_order = order,
						    .has_order = true });

	rig_small(r);
	rig_finish(r);
	return r;
}

TEST(tells_rows_of_equal_counts)
{
	struct rig *r = fresh(4);

	rig_poke_refcount(r, 0x2000, 3);
	expect_dump(r, QCOW2_DUMP_REFCOUNTS, 0,
		    "refcount-table@0x6000 clusters=1 bytes=4096"
		    " refcount-bits=16\n"
		    "refcount-block@0x6000 index=0 of-clusters-from=0x0"
		    " entry=0x7000 block=0x7000\n"
		    "refcounts@0x7000 index=0 count=2 of-clusters-from=0x0"
		    " refcount=1\n"
		    "refcounts@0x7004 index=2 of-clusters-from=0x2000"
		    " refcount=3\n"
		    "refcounts@0x7006 index=3 count=5"
		    " of-clusters-from=0x3000 refcount=1\n"
		    "refcounts@0x7010 index=8 count=2040"
		    " of-clusters-from=0x8000 refcount=0\n"
		    "refcount-empty@0x6008 index=1 count=511"
		    " of-clusters-from=0x800000\n");
	rig_free(r);
}

/* Several of them in a byte, and in several pieces of a block. */
TEST(tells_every_width)
{
	for (uint32_t order = 0; order <= REFCOUNT_ORDER_MAX; order++) {
		struct rig *r = fresh(order);
		struct lines *l = lines_of_what(r, QCOW2_DUMP_REFCOUNTS, 0);
		uint64_t n = r->n_clusters;
		char want[200];

		snprintf(want, sizeof(want),
			 "refcounts@0x%" PRIx64 " index=0 count=%" PRIu64
			 " of-clusters-from=0x0 refcount=1",
			 r->block_off, n);
		expect_line(l, want);
		expect_no_defect(l);
		lines_free(l);
		rig_free(r);
	}
}

TEST(blocks_with_defects_are_not_read)
{
	struct rig *r = fresh(4);
	struct lines *l;

	rig_put64(r, r->table_off, 0x7200);
	rig_put64(r, r->table_off + 8, 0x7000 | 1);
	rig_put64(r, r->table_off + 16, UINT64_C(1) << 40);
	l = lines_of_what(r, QCOW2_DUMP_REFCOUNTS, 0);
	expect_line(l, "refcount-block@0x6000 index=0 of-clusters-from=0x0"
		       " entry=0x7200 block=0x7200"
		       " !refcount-table-entry-unaligned");
	expect_line(l, "refcount-block@0x6008 index=1"
		       " of-clusters-from=0x800000 entry=0x7001 block=0x7000"
		       " reserved-bits=0x1 !refcount-table-entry-reserved");
	expect_line(l, "refcount-block@0x6010 index=2"
		       " of-clusters-from=0x1000000 entry=0x10000000000"
		       " block=0x10000000000 !refcount-block-beyond-eof");
	assert_int_equal(l->n, 5);
	lines_free(l);
	rig_free(r);
}

/* A whole table that names one block costs no more than that block. */
TEST(a_row_of_one_block_is_read_once)
{
	struct rig *r = fresh(4);
	struct lines *l;

	for (uint64_t i = 0; i < 512; i++)
		rig_put64(r, r->table_off + 8 * i, r->block_off);
	l = lines_of_what(r, QCOW2_DUMP_REFCOUNTS, 0);
	expect_line(l, "refcount-block@0x6000 index=0 count=512"
		       " of-clusters-from=0x0 entry=0x7000 block=0x7000"
		       " !refcount-block-shared");
	assert_int_equal(l->n, 4);
	lines_free(l);
	rig_free(r);
}

/* Nobody should wait for 2^20 blocks of 2 MiB in a sparse file. */
TEST(there_is_an_end_to_what_is_read)
{
	struct rig *r = rig_new(&(struct rig_opts){ .cluster_bits = 21 });
	uint64_t table = UINT64_C(1) << 40;
	struct qcow2_dump_opts opts = QCOW2_DUMP_OPTS_INIT;
	uint8_t *entries = malloc(8192);

	rig_finish(r);
	for (uint64_t i = 0; i < 1024; i++)
		put_be64(entries + 8 * i, table + ((i + 1) << 21));
	rig_put(r, table, entries, 8192);
	free(entries);
	rig_put64(r, HEADER_OFF_REFCOUNT_TABLE_OFF, table);
	assert_int_equal(store_truncate(r->store, UINT64_C(1) << 42, NULL), 0);
	opts.what = QCOW2_DUMP_REFCOUNTS;
	for (int i = 0; i < 2; i++) {
		struct lines *l;

		opts.index = i ? 900 : 0;
		l = lines_of(r->store, &opts);
		assert_int_equal(l->rc, i ? 0 : -E2BIG);
		if (!i)
			assert_int_equal(l->err.reason, QCOW2_REASON_BUDGET);
		lines_free(l);
	}
	rig_free(r);
}

TEST(a_table_that_is_too_long_is_not_read)
{
	struct rig *r = fresh(4);
	struct lines *l;

	rig_put32(r, HEADER_OFF_REFCOUNT_TABLE_CLUSTERS, UINT32_MAX);
	l = lines_of_what(r, QCOW2_DUMP_REFCOUNTS, 0);
	expect_line(l, "header@0x38 refcount_table_clusters=4294967295"
		       " !header-refcount-table-size");
	expect_line(l, "unread@0x6000 index=0 count=2199023255040");
	assert_int_equal(l->n, 3);
	lines_free(l);
	rig_free(r);
}

/* The table can be told without it, and so it is. */
TEST(without_a_width_blocks_are_not_read)
{
	struct rig *r = fresh(4);
	struct lines *l;

	rig_put32(r, HEADER_OFF_REFCOUNT_ORDER, 7);
	l = lines_of_what(r, QCOW2_DUMP_REFCOUNTS, 0);
	expect_line(l, "header@0x60 refcount_order=7"
		       " !header-refcount-order");
	expect_line(l, "refcount-table@0x6000 clusters=1 bytes=4096");
	assert_int_equal(l->n, 4);
	lines_free(l);
	rig_free(r);
}
