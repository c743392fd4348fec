#include "image/bitmaps.h"

#include <errno.h>
#include <string.h>

#include "stores/fault.h"
#include "unit/check/rig.h"

/* Opens what the rig's header and extension say. */
static int open_within(struct rig *r, struct qcow2_store *file,
		       struct bitmaps *b, struct metadata_budget *budget)
{
	struct extensions x = { .has_bitmaps = r->has_bitmaps,
				.bitmaps = r->bitmaps };
	uint64_t size;

	*b = (struct bitmaps){ 0 };
	assert_int_equal(store_size(r->store, &size, NULL), 0);
	return bitmaps_open(b, &r->geo, &r->header, &x, file, size, budget,
			    NULL);
}

static int open_all(struct rig *r, struct qcow2_store *file, struct bitmaps *b)
{
	struct metadata_budget budget = { .limit = UINT64_MAX };

	return open_within(r, file, b, &budget);
}

static struct rig *make(void)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });

	rig_bitmap(r, "first");
	rig_bitmap(r, "the second");
	rig_finish(r);
	return r;
}

TEST(each_is_listed_with_what_it_says)
{
	struct rig *r = make();
	struct bitmaps b;

	rig_put32(r, r->bitmaps.directory_off + 12,
		  BITMAP_FLAG_IN_USE | BITMAP_FLAG_AUTO);
	assert_int_equal(open_all(r, r->store, &b), 0);
	assert_int_equal(b.defect, DEFECT_NONE);
	assert_int_equal(b.n, 2);
	assert_string_equal(b.list[0].name, "first");
	assert_int_equal(b.list[0].flags,
			 QCOW2_BITMAP_IN_USE | QCOW2_BITMAP_AUTO);
	assert_int_equal(b.list[0].granularity_bits, 16);
	assert_string_equal(b.list[1].name, "the second");
	assert_int_equal(b.list[1].flags, 0);
	assert_int_equal(b.directory_off, r->bitmaps.directory_off);
	assert_int_equal(b.directory_bytes, r->bitmaps.directory_size);
	bitmaps_release(&b);
	rig_free(r);
}

TEST(without_the_bit_there_are_none)
{
	struct rig *r = make();
	struct bitmaps b;

	r->header.autoclear_features = 0;
	assert_int_equal(open_all(r, r->store, &b), 0);
	assert_int_equal(b.n, 0);
	assert_int_equal(b.defect, DEFECT_NONE);
	assert_int_equal(b.directory_bytes, 0);
	bitmaps_release(&b);
	rig_free(r);
}

/* Damage is told, and hides the bitmaps, not the disk. */
static void expect_none(struct rig *r, enum defect want)
{
	struct bitmaps b;

	assert_int_equal(open_all(r, r->store, &b), 0);
	assert_int_equal(b.defect, want);
	assert_int_equal(b.n, 0);
	assert_null(b.list);
	bitmaps_release(&b);
	rig_free(r);
}

TEST(a_directory_out_of_place_counts_as_none)
{
	struct rig *r = make();

	r->bitmaps.directory_off = UINT64_C(1) << 62;
	expect_none(r, DEFECT_BITMAP_DIRECTORY);
	r = make();
	r->bitmaps.directory_size = UINT64_MAX - 4096;
	expect_none(r, DEFECT_BITMAP_DIRECTORY);
	r = make();
	r->bitmaps.n_bitmaps = 1000;
	expect_none(r, DEFECT_BITMAP_DIRECTORY);
}

TEST(entries_must_fill_the_directory)
{
	struct rig *r = make();

	r->bitmaps.n_bitmaps = 1;
	expect_none(r, DEFECT_BITMAP_DIRECTORY);
	r = make();
	r->bitmaps.directory_size -= 8;
	expect_none(r, DEFECT_BITMAP_DIRECTORY);
}

TEST(one_bad_entry_hides_them_all)
{
	const struct {
		unsigned off;
		uint8_t value;
		enum defect want;
	} bad[] = {
		{ 16, 2, DEFECT_BITMAP_ENTRY }, /* type */
		{ 17, 8, DEFECT_BITMAP_ENTRY }, /* granularity */
		{ 17, 32, DEFECT_BITMAP_ENTRY },
		{ 12, 0x80, DEFECT_BITMAP_ENTRY },     /* flags */
		{ 7, 1, DEFECT_BITMAP_TABLE },         /* table offset */
		{ 11, 200, DEFECT_BITMAP_TABLE },      /* table size */
		{ 20, 0x7f, DEFECT_BITMAP_DIRECTORY }, /* extra data */
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct rig *r = make();

		rig_put(r, r->bitmaps.directory_off + bad[i].off, &bad[i].value,
			1);
		expect_none(r, bad[i].want);
	}
}

TEST(only_a_failed_read_is_an_error)
{
	const struct fault_plan plan = { .ops = FAULT_ON(STORE_OP_READ),
					 .nth = 1,
					 .code = -EIO };
	struct fault_injector fault = FAULT_INIT;
	struct rig *r = make();
	struct qcow2_store *faulty;
	struct bitmaps b;

	assert_int_equal(fault_store_new(&fault, r->store, &faulty), 0);
	fault_arm(&fault, &plan);
	assert_int_equal(open_all(r, faulty, &b), -EIO);
	bitmaps_release(&b);
	store_unref(faulty);
	rig_free(r);
}

/* An image that asks for too much costs neither memory nor a read. */
TEST(the_budget_is_asked_before_anything_is_read)
{
	const struct fault_plan plan = { .ops = FAULT_ON(STORE_OP_READ),
					 .nth = 1,
					 .code = -EIO };
	struct fault_injector fault = FAULT_INIT;
	struct rig *r = make();
	uint64_t bytes =
		r->bitmaps.directory_size + 2 * sizeof(struct bitmap_entry);
	struct metadata_budget budget = { .limit = bytes - 1 };
	struct qcow2_store *faulty;
	struct bitmaps b;

	assert_int_equal(fault_store_new(&fault, r->store, &faulty), 0);
	fault_arm(&fault, &plan);
	assert_int_equal(open_within(r, faulty, &b, &budget), -E2BIG);
	assert_null(b.list);
	assert_int_equal(budget.taken, 0);
	budget.limit = bytes;
	assert_int_equal(open_within(r, r->store, &b, &budget), 0);
	assert_int_equal(budget.taken, bytes);
	bitmaps_release(&b);
	store_unref(faulty);
	rig_free(r);
}

/* ---- Its validator ------------------------------------------------------- */

TEST(a_list_that_is_not_as_it_should_be_is_found)
{
	struct rig *r = make();
	struct bitmaps b;

	assert_int_equal(open_all(r, r->store, &b), 0);
	bitmaps_validate(&b);
	ASSERT_ABORTS(b.defect = DEFECT_BITMAP_ENTRY; bitmaps_validate(&b));
	ASSERT_ABORTS(b.list = NULL; bitmaps_validate(&b));
	ASSERT_ABORTS(b.directory_bytes = 47; bitmaps_validate(&b));
	ASSERT_ABORTS(b.directory_off = 0; bitmaps_validate(&b));
	ASSERT_ABORTS(b.list[1].name = NULL; bitmaps_validate(&b));
	ASSERT_ABORTS(b.list[1].flags = 1U << 31; bitmaps_validate(&b));
	ASSERT_ABORTS(b.list[1].granularity_bits = 8; bitmaps_validate(&b));
	bitmaps_release(&b);
	rig_free(r);
}
