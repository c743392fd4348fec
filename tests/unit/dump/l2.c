#include "lines.h"

TEST(tells_every_kind_of_entry)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	struct small s = rig_small(r);

	rig_finish(r);
	rig_entry(r, s.l2, 1, L2_ZERO, 0);
	rig_entry(r, s.l2, 2, 0x4000 | L2_ZERO | ENTRY_COPIED, 0);
	rig_entry(r, s.l2, 3, L2_COMPRESSED | 0x3000, 0);
	rig_entry(r, s.l2, 4, 0x3200, 0);
	rig_entry(r, s.l2, 5, UINT64_C(1) << 50, 0);
	expect_dump(r, QCOW2_DUMP_L2, 0,
		    "l1-entry@0x5000 index=0 guest-offset=0x0"
		    " entry=0x8000000000001000 l2-table=0x1000 copied\n"
		    "l2-entry@0x1000 index=0 guest-offset=0x0"
		    " entry=0x8000000000002000 kind='normal'"
		    " host-offset=0x2000 copied\n"
		    "l2-entry@0x1008 index=1 guest-offset=0x1000 entry=0x1"
		    " kind='zero'\n"
		    "l2-entry@0x1010 index=2 guest-offset=0x2000"
		    " entry=0x8000000000004001 kind='zero-allocated'"
		    " host-offset=0x4000 copied\n"
		    "l2-entry@0x1018 index=3 guest-offset=0x3000"
		    " entry=0x4000000000003000 kind='compressed'"
		    " host-offset=0x3000 compressed-length=512\n"
		    "l2-entry@0x1020 index=4 guest-offset=0x4000 entry=0x3200"
		    " kind='invalid' host-offset=0x3200 !l2-entry-unaligned\n"
		    "l2-entry@0x1028 index=5 guest-offset=0x5000"
		    " entry=0x4000000000000 kind='normal'"
		    " host-offset=0x4000000000000 !l2-entry-beyond-eof\n"
		    "l2-empty@0x1030 index=6 count=506"
		    " guest-offset=0x6000\n");
	rig_free(r);
}

TEST(tells_subclusters)
{
	struct rig *r = rig_new(&(struct rig_opts){
		.cluster_bits = 16,
		.incompatible_features = INCOMPAT_EXTENDED_L2 });
	struct small s = rig_small(r);
	struct lines *l;

	rig_finish(r);
	rig_entry(r, s.l2, 0, s.data[0] | ENTRY_COPIED,
		  SUB_ALLOC(0) | SUB_ZERO(31));
	rig_entry(r, s.l2, 1, s.data[1] | ENTRY_COPIED,
		  SUB_ALLOC(1) | SUB_ZERO(1));
	rig_entry(r, s.l2, 5, 0, SUB_ALL_ZERO);
	rig_entry(r, s.l2, 6, 0, SUB_ALL_ZERO);
	l = lines_of_what(r, QCOW2_DUMP_L2, 0);
	expect_line(l, "l2-entry@0x10000 index=0 guest-offset=0x0"
		       " entry=0x8000000000020000 kind='normal'"
		       " host-offset=0x20000 copied"
		       " subclusters-allocated=0x1"
		       " subclusters-zero=0x80000000");
	expect_line(l, "l2-entry@0x10010 index=1 guest-offset=0x10000"
		       " entry=0x8000000000030000 kind='normal'"
		       " host-offset=0x30000 copied"
		       " subclusters-allocated=0x2 subclusters-zero=0x2"
		       " !l2-bitmap-conflict");
	/* Equal entries are a row, whatever they say. */
	expect_line(l, "l2-entry@0x10050 index=5 count=2"
		       " guest-offset=0x50000 entry=0x0 kind='unallocated'"
		       " subclusters-allocated=0x0"
		       " subclusters-zero=0xffffffff");
	lines_free(l);
	rig_free(r);
}

TEST(without_a_table_there_is_the_entry_alone)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });

	rig_small(r);
	rig_finish(r);
	expect_dump(r, QCOW2_DUMP_L2, 1,
		    "l1-empty@0x5008 index=1 guest-offset=0x200000\n");
	expect_dump(r, QCOW2_DUMP_L2, 8,
		    "unread@- index=8 past-end-of-table\n");
	expect_dump(r, QCOW2_DUMP_L2, UINT64_MAX,
		    "unread@- index=18446744073709551615 past-end-of-table\n");
	rig_free(r);
}

TEST(a_table_past_the_end_is_not_read)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });

	rig_small(r);
	rig_finish(r);
	rig_put64(r, r->l1_off, 0x10000);
	expect_dump(r, QCOW2_DUMP_L2, 0,
		    "l1-entry@0x5000 index=0 guest-offset=0x0 entry=0x10000"
		    " l2-table=0x10000 !l1-entry-beyond-eof\n"
		    "unread@0x10000 index=0 count=512 past-end-of-file\n");
	rig_free(r);
}
