#include <string.h>

#include "lines.h"

/* 8 entries of 512 * 4096 bytes; see rig.h for where things are. */
#define PLACE                                                   \
	"l1-table@0x5000 entries=8 bytes=64 disk-size=16777216" \
	" entries-needed=8 bytes-per-entry=2097152\n"

static struct rig *fresh(struct small *s)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });

	*s = rig_small(r);
	rig_finish(r);
	assert_int_equal(r->l1_off, 0x5000);
	return r;
}

TEST(tells_entries_and_rows_of_empty_ones)
{
	struct small s;
	struct rig *r = fresh(&s);

	expect_dump(r, QCOW2_DUMP_L1, 0,
		    PLACE "l1-entry@0x5000 index=0 guest-offset=0x0"
			  " entry=0x8000000000001000 l2-table=0x1000 copied\n"
			  "l1-empty@0x5008 index=1 count=7"
			  " guest-offset=0x200000\n");
	rig_free(r);
}

TEST(begins_where_it_is_told_to)
{
	struct small s;
	struct rig *r = fresh(&s);

	expect_dump(r, QCOW2_DUMP_L1, 7,
		    PLACE "l1-empty@0x5038 index=7 guest-offset=0xe00000\n");
	expect_dump(r, QCOW2_DUMP_L1, 8, PLACE);
	expect_dump(r, QCOW2_DUMP_L1, UINT64_MAX, PLACE);
	rig_free(r);
}

TEST(tells_what_an_entry_breaks)
{
	struct small s;
	struct rig *r = fresh(&s);
	struct lines *l;

	rig_put64(r, r->l1_off, s.l2 + 512);
	rig_put64(r, r->l1_off + 8, UINT64_C(1) << 40);
	rig_put64(r, r->l1_off + 16, s.l2 | 1);
	l = lines_of_what(r, QCOW2_DUMP_L1, 0);
	expect_line(l, "l1-entry@0x5000 index=0 guest-offset=0x0 entry=0x1200"
		       " l2-table=0x1200 !l1-entry-unaligned");
	expect_line(l, "l1-entry@0x5008 index=1 guest-offset=0x200000"
		       " entry=0x10000000000 l2-table=0x10000000000"
		       " !l1-entry-beyond-eof");
	expect_line(l, "l1-entry@0x5010 index=2 guest-offset=0x400000"
		       " entry=0x1001 l2-table=0x1000 reserved-bits=0x1"
		       " !l1-entry-reserved");
	lines_free(l);
	rig_free(r);
}

/* The end of an image is lost first. */
TEST(tells_what_a_cut_file_has)
{
	struct rig *r = rig_new(&(struct rig_opts){ .size = 600u << 21 });
	struct lines *l;

	rig_small(r);
	/* 600 entries: two clusters. */
	r->header.l1_size = 500;
	rig_finish(r);
	rig_put32(r, HEADER_OFF_L1_SIZE, 1000);
	assert_int_equal(store_truncate(r->store, r->l1_off + 4096, NULL), 0);
	l = lines_of_what(r, QCOW2_DUMP_L1, 0);
	expect_line(l, "header@0x28 l1_table_offset=0x5000"
		       " !header-l1-offset");
	expect_line(l, "l1-empty@0x5008 index=1 count=511"
		       " guest-offset=0x200000");
	expect_line(l, "unread@0x6000 index=512 count=488 past-end-of-file");
	lines_free(l);
	rig_free(r);
}

TEST(does_not_read_what_is_too_long)
{
	struct small s;
	struct rig *r = fresh(&s);
	struct lines *l;

	rig_put32(r, HEADER_OFF_L1_SIZE, UINT32_MAX);
	l = lines_of_what(r, QCOW2_DUMP_L1, 0);
	expect_line(l, "header@0x24 l1_size=4294967295 !header-l1-size");
	expect_line(l, "unread@0x5000 index=0 count=4294967295");
	assert_int_equal(l->n, 3);
	lines_free(l);
	rig_free(r);
}

TEST(a_table_past_the_end_is_not_read)
{
	static const uint64_t places[] = { 0x9000, UINT64_MAX - 4095 };
	struct small s;
	struct rig *r = fresh(&s);

	for (int i = 0; i < 2; i++) {
		struct lines *l;

		rig_put64(r, HEADER_OFF_L1_OFF, places[i]);
		l = lines_of_what(r, QCOW2_DUMP_L1, 0);
		assert_int_equal(l->rc, 0);
		assert_int_equal(l->n, 3);
		assert_non_null(strstr(l->text, "past-end-of-file"));
		lines_free(l);
	}
	rig_free(r);
}
