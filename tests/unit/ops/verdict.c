#include "ops/verdict.h"

#include <errno.h>

#include "ops/workers.h"
#include "support/test.h"

TEST(knows_nothing_at_first)
{
	struct verdict v;

	verdict_init(&v);
	assert_int_equal(v.event.off, UINT64_MAX);
	assert_false(verdict_covers(&v, 0));
	assert_false(verdict_covers(&v, UINT64_MAX - 1));
	verdict_release(&v);
}

TEST(keeps_the_smallest_offset)
{
	struct verdict v;

	verdict_init(&v);
	verdict_add(&v, &(struct event){
				.off = 500, .rc = -EIO, .failed_image = 2 });
	verdict_add(&v, &(struct event){ .off = 900, .rc = -ENOENT });
	assert_int_equal(v.event.off, 500);
	assert_int_equal(v.event.failed_image, 2);
	verdict_add(&v,
		    &(struct event){ .off = 100,
				     .difference = QCOW2_DIFFERENT_CONTENT });
	assert_int_equal(v.event.off, 100);
	assert_int_equal(v.event.failed_image, 0);
	assert_int_equal(v.event.rc, 0);
	assert_true(verdict_covers(&v, 100));
	assert_false(verdict_covers(&v, 99));
	verdict_release(&v);
}

static int add_many(struct workers *w, unsigned index, void *opaque,
		    struct qcow2_error *err)
{
	(void)w;
	(void)err;
	for (uint64_t i = 0; i < 5000; i++)
		verdict_add(opaque,
			    &(struct event){ .off = 10000 - i * 2 + index });
	return 0;
}

TEST(keeps_the_smallest_of_many_threads)
{
	struct verdict v;

	verdict_init(&v);
	assert_int_equal(workers_run(4, true, add_many, &v, NULL), 0);
	assert_int_equal(v.event.off, 2);
	verdict_release(&v);
}

/* ---- Its validator ------------------------------------------------------- */

TEST(a_verdict_that_is_not_as_it_should_be_is_found)
{
	struct verdict v;

	verdict_init(&v);
	verdict_validate(&v);
	ASSERT_ABORTS(v.first_off = 0; verdict_validate(&v));
	ASSERT_ABORTS(v.event.failed_image = 1; verdict_validate(&v));
	ASSERT_ABORTS(v.event.failed_image = 3; verdict_validate(&v));
	ASSERT_ABORTS(v.event.rc = -5; verdict_validate(&v));
	verdict_release(&v);
}
