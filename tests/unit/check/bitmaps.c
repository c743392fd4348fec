#include <stdlib.h>

#include "format/defect.h"
#include "rig.h"

struct with_bitmap {
	struct rig *r;
	struct rig_bitmap b;
};

static struct with_bitmap fresh(void)
{
	struct with_bitmap t = { .r = rig_new(&(struct rig_opts){ 0 }) };

	rig_small(t.r);
	t.b = rig_bitmap(t.r, "first");
	rig_finish(t.r);
	return t;
}

TEST(bitmaps_are_in_use)
{
	struct with_bitmap t = fresh();

	EXPECT_CLEAN(t.r);
	rig_poke_refcount(t.r, t.b.directory, 0);
	rig_poke_refcount(t.r, t.b.table, 0);
	rig_poke_refcount(t.r, t.b.data, 0);
	EXPECT(t.r, { DEFECT_REFCOUNT_TOO_LOW, t.b.directory },
	       { DEFECT_REFCOUNT_TOO_LOW, t.b.table },
	       { DEFECT_REFCOUNT_TOO_LOW, t.b.data });
	rig_free(t.r);
}

TEST(bitmaps_that_others_made_stale_are_leaks)
{
	struct with_bitmap t = fresh();

	rig_put64(t.r, HEADER_OFF_AUTOCLEAR, 0);
	EXPECT(t.r, { DEFECT_REFCOUNT_LEAK, t.b.directory });
	rig_free(t.r);
}

TEST(a_malformed_extension_hides_what_it_refers_to)
{
	struct with_bitmap t = fresh();

	rig_put32(t.r, HEADER_LENGTH_V3 + 8, 0); /* no bitmaps */
	EXPECT(t.r, { DEFECT_EXTENSION_BITMAPS, ANYWHERE });
	rig_free(t.r);
}

TEST(broken_entries_are_found)
{
	static const struct {
		uint64_t off;
		uint32_t value;
		int32_t defect;
	} cases[] = {
		{ 12, 0x100, DEFECT_BITMAP_ENTRY },      /* flags */
		{ 16, 0x02100005, DEFECT_BITMAP_ENTRY }, /* type 2 */
		{ 16, 0x01080005, DEFECT_BITMAP_ENTRY }, /* granularity 8 */
		{ 16, 0x01200005, DEFECT_BITMAP_ENTRY }, /* granularity 32 */
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct with_bitmap t = fresh();

		rig_put32(t.r, t.b.directory + cases[i].off, cases[i].value);
		EXPECT(t.r, { cases[i].defect, ANYWHERE });
		rig_free(t.r);
	}
}

TEST(broken_tables_are_found_and_not_followed)
{
	struct with_bitmap t = fresh();

	rig_put64(t.r, t.b.directory, t.b.table + 512);
	EXPECT(t.r, { DEFECT_BITMAP_TABLE, t.b.directory });
	rig_put64(t.r, t.b.directory, UINT64_C(1) << 50);
	EXPECT(t.r, { DEFECT_BITMAP_TABLE, t.b.directory });
	rig_put64(t.r, t.b.directory, t.b.table);
	rig_put32(t.r, t.b.directory + 8, 2);
	EXPECT(t.r, { DEFECT_BITMAP_TABLE, t.b.directory + 8 });
	rig_put32(t.r, t.b.directory + 8, UINT32_MAX);
	EXPECT(t.r, { DEFECT_BITMAP_TABLE, t.b.directory + 8 });
	rig_free(t.r);
}

TEST(a_table_in_other_metadata_is_not_followed)
{
	struct with_bitmap t = fresh();

	rig_put64(t.r, t.b.directory, t.r->table_off);
	EXPECT(t.r, { DEFECT_CLUSTER_OVERLAP, t.r->table_off });
	rig_put64(t.r, t.b.directory, t.b.directory);
	EXPECT(t.r, { DEFECT_CLUSTER_OVERLAP, t.b.directory });
	rig_free(t.r);
}

TEST(broken_table_entries_are_found)
{
	struct with_bitmap t = fresh();
	static const uint64_t bad[] = { 2, 512, UINT64_C(1) << 60,
					UINT64_C(1) << 50 };

	for (size_t i = 0; i < 4; i++) {
		rig_put64(t.r, t.b.table, t.b.data | bad[i]);
		EXPECT(t.r, { DEFECT_BITMAP_TABLE_ENTRY, t.b.table },
		       { DEFECT_REFCOUNT_LEAK, t.b.data });
	}
	rig_put64(t.r, t.b.table, 1);
	EXPECT(t.r, { DEFECT_REFCOUNT_LEAK, t.b.data });
	rig_free(t.r);
}

TEST(a_directory_of_the_wrong_size_is_found)
{
	struct with_bitmap t = fresh();

	rig_put64(t.r, HEADER_LENGTH_V3 + 16, 40);
	EXPECT(t.r, { DEFECT_BITMAP_DIRECTORY, t.b.directory + 32 });
	rig_put64(t.r, HEADER_LENGTH_V3 + 16, 24);
	EXPECT(t.r, { DEFECT_BITMAP_DIRECTORY, t.b.directory });
	rig_free(t.r);
}

TEST(two_bitmaps_need_two_names)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	struct rig_bitmap a;

	a = rig_bitmap(r, "one");
	rig_bitmap(r, "two");
	rig_bitmap(r, "thr");
	rig_finish(r);
	EXPECT_CLEAN(r);
	rig_put(r, a.directory + 24, "thr", 3);
	EXPECT(r, { DEFECT_BITMAP_ENTRY, a.directory });
	rig_free(r);
}
