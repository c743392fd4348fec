#include <string.h>

#include "lines.h"

/* Directory at 0x1000, table at 0x2000 of one entry for 16 MiB at 64 KiB. */
static struct rig *fresh(void)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });

	rig_bitmap(r, "first");
	rig_bitmap(r, "second");
	rig_finish(r);
	return r;
}

#define FIRST                                                           \
	"bitmap@0x1000 index=0 type=1 flags=0x0 granularity-bits=16"    \
	" table=0x2000 table-entries=1 name-length=5 extra-data-size=0" \
	" name='first'"

TEST(tells_the_directory)
{
	struct rig *r = fresh();

	expect_dump(r, QCOW2_DUMP_BITMAPS, 0,
		    "bitmap-directory@0x1000 bitmaps=2 bytes=64\n" FIRST "\n"
		    "bitmap@0x1020 index=1 type=1 flags=0x0"
		    " granularity-bits=16 table=0x4000 table-entries=1"
		    " name-length=6 extra-data-size=0 name='second'\n");
	rig_free(r);
}

TEST(tells_what_an_entry_breaks)
{
	struct rig *r = fresh();
	struct lines *l;

	rig_put32(r, 0x1000 + 12, BITMAP_FLAG_IN_USE | 0x80);
	l = lines_of_what(r, QCOW2_DUMP_BITMAPS, 0);
	expect_line(l, "bitmap@0x1000 index=0 type=1 flags=0x81 in-use"
		       " granularity-bits=16 table=0x2000 table-entries=1"
		       " name-length=5 extra-data-size=0 name='first'"
		       " !bitmap-entry");
	lines_free(l);
	/* The length of its extra data. */
	rig_put32(r, 0x1000 + 20, UINT32_MAX);
	l = lines_of_what(r, QCOW2_DUMP_BITMAPS, 0);
	expect_line(l, "bitmap@0x1000 index=0 type=1 flags=0x81 in-use"
		       " granularity-bits=16 table=0x2000 table-entries=1"
		       " name-length=5 extra-data-size=4294967295"
		       " !bitmap-directory");
	expect_line(l, "unread@0x100001020 index=1 count=1 past-end-of-file"
		       " !bitmap-directory");
	lines_free(l);
	rig_free(r);
}

TEST(a_directory_out_of_place_is_not_read)
{
	static const uint64_t places[] = { 1 << 20, UINT64_MAX };
	struct rig *r = fresh();

	for (int i = 0; i < 2; i++) {
		struct lines *l;

		/* The extension follows the header. */
		rig_put64(r, 0x70 + 24, places[i]);
		l = lines_of_what(r, QCOW2_DUMP_BITMAPS, 0);
		assert_int_equal(l->rc, 0);
		assert_int_equal(l->n, 2);
		assert_non_null(strstr(l->text, "count=2 past-end-of-file"));
		lines_free(l);
	}
	rig_free(r);
}

TEST(a_stale_directory_is_told_as_one)
{
	struct rig *r = fresh();
	struct lines *l;

	rig_put64(r, HEADER_OFF_AUTOCLEAR, 0);
	l = lines_of_what(r, QCOW2_DUMP_BITMAPS, 0);
	expect_line(l, "bitmap-directory@0x1000 bitmaps=2 bytes=64 stale");
	expect_line(l, FIRST);
	lines_free(l);
	rig_free(r);
}
