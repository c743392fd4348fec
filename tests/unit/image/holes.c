#include "support/test.h"

#include "image/holes.h"
#include "store/mem.h"
#include "store/store.h"

/* The answer about a hole must not outlive the hole: a map of an image that is
 * being written would show zeros where there is data. */
TEST(sees_data_that_was_written_after_it_saw_a_hole)
{
	struct holes p = { 0 };
	struct qcow2_store *file;
	uint64_t len = 65536;
	bool is_data = true;

	holes_init(&p);
	assert_int_equal(store_mem_new(&file, NULL), 0);
	assert_int_equal(store_truncate(file, 1 << 20, NULL), 0);
	assert_int_equal(holes_extent(&p, file, &len, 65536, &is_data, NULL),
			 0);
	assert_false(is_data);
	assert_int_equal(store_pwrite(file, "data", 4, 65536, 0, NULL), 0);
	assert_int_equal(holes_extent(&p, file, &len, 65536, &is_data, NULL),
			 0);
	assert_true(is_data);
	store_unref(file);
	holes_release(&p);
}

/* ---- Its validator ------------------------------------------------------- */

TEST(an_extent_that_is_not_as_it_should_be_is_found)
{
	struct holes p = { 0 };

	holes_init(&p);
	holes_validate(&p);
	ASSERT_ABORTS(p.state = PREALLOC_YES + 1; holes_validate(&p));
	ASSERT_ABORTS(p.off = 1; holes_validate(&p));
	ASSERT_ABORTS(p.end = UINT64_MAX; holes_validate(&p));
	holes_release(&p);
}
