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

static void bitmaps_are_in_use(void **state)
{
	struct with_bitmap t = fresh();

	(void)state;
	EXPECT_CLEAN(t.r);
	rig_poke_refcount(t.r, t.b.directory, 0);
	rig_poke_refcount(t.r, t.b.table, 0);
	rig_poke_refcount(t.r, t.b.data, 0);
	EXPECT(t.r, { DEFECT_REFCOUNT_TOO_LOW, t.b.directory },
	       { DEFECT_REFCOUNT_TOO_LOW, t.b.table },
	       { DEFECT_REFCOUNT_TOO_LOW, t.b.data });
	rig_free(t.r);
}

static void bitmaps_that_others_made_stale_are_leaks(void **state)
{
	struct with_bitmap t = fresh();

	(void)state;
	rig_put64(t.r, HEADER_OFF_AUTOCLEAR, 0);
	EXPECT(t.r, { DEFECT_REFCOUNT_LEAK, t.b.directory });
	rig_free(t.r);
}

static void a_malformed_extension_hides_what_it_refers_to(void **state)
{
	struct with_bitmap t = fresh();

	(void)state;
	rig_put32(t.r, HEADER_LENGTH_V3 + 8, 0); /* no bitmaps */
	EXPECT(t.r, { DEFECT_EXTENSION_BITMAPS, ANYWHERE });
	rig_free(t.r);
}

static void broken_entries_are_found(void **state)
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

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct with_bitmap t = fresh();

		rig_put32(t.r, t.b.directory + cases[i].off, cases[i].value);
		EXPECT(t.r, { cases[i].defect, ANYWHERE });
		rig_free(t.r);
	}
}

static void broken_tables_are_found_and_not_followed(void **state)
{
	struct with_bitmap t = fresh();

	(void)state;
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

static void a_table_in_other_metadata_is_not_followed(void **state)
{
	struct with_bitmap t = fresh();

	(void)state;
	rig_put64(t.r, t.b.directory, t.r->table_off);
	EXPECT(t.r, { DEFECT_CLUSTER_OVERLAP, t.r->table_off });
	rig_put64(t.r, t.b.directory, t.b.directory);
	EXPECT(t.r, { DEFECT_CLUSTER_OVERLAP, t.b.directory });
	rig_free(t.r);
}

static void broken_table_entries_are_found(void **state)
{
	struct with_bitmap t = fresh();
	static const uint64_t bad[] = { 2, 512, UINT64_C(1) << 60,
					UINT64_C(1) << 50 };

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		rig_put64(t.r, t.b.table, t.b.data | bad[i]);
		EXPECT(t.r, { DEFECT_BITMAP_TABLE_ENTRY, t.b.table },
		       { DEFECT_REFCOUNT_LEAK, t.b.data });
	}
	rig_put64(t.r, t.b.table, 1);
	EXPECT(t.r, { DEFECT_REFCOUNT_LEAK, t.b.data });
	rig_free(t.r);
}

static void a_directory_of_the_wrong_size_is_found(void **state)
{
	struct with_bitmap t = fresh();

	(void)state;
	rig_put64(t.r, HEADER_LENGTH_V3 + 16, 40);
	EXPECT(t.r, { DEFECT_BITMAP_DIRECTORY, t.b.directory + 32 });
	rig_put64(t.r, HEADER_LENGTH_V3 + 16, 24);
	EXPECT(t.r, { DEFECT_BITMAP_DIRECTORY, t.b.directory });
	rig_free(t.r);
}

static void two_bitmaps_need_two_names(void **state)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	struct rig_bitmap a;

	(void)state;
	a = rig_bitmap(r, "one");
	rig_bitmap(r, "two");
	rig_bitmap(r, "thr");
	rig_finish(r);
	EXPECT_CLEAN(r);
	rig_put(r, a.directory + 24, "thr", 3);
	EXPECT(r, { DEFECT_BITMAP_ENTRY, a.directory });
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bitmaps_are_in_use),
		cmocka_unit_test(bitmaps_that_others_made_stale_are_leaks),
		cmocka_unit_test(a_malformed_extension_hides_what_it_refers_to),
		cmocka_unit_test(broken_entries_are_found),
		cmocka_unit_test(broken_tables_are_found_and_not_followed),
		cmocka_unit_test(a_table_in_other_metadata_is_not_followed),
		cmocka_unit_test(broken_table_entries_are_found),
		cmocka_unit_test(a_directory_of_the_wrong_size_is_found),
		cmocka_unit_test(two_bitmaps_need_two_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
