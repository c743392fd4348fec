/*
 * D13: metadata_bytes is a ceiling.  An open image holds less than that in
 * memory, measured on the heap, or it is refused.
 */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <qcow2.h>

#include "format/limits.h"
#include "image/budget.h"
#include "support/test.h"

#define GIB (UINT64_C(1) << 30)
#define N_PLACES 200
#define PLACE(i) ((uint64_t)(i)*2 * GIB)

#define ok(expression) assert_int_equal((expression), 0)

static char path[64];

static size_t heap(void)
{
	return mallinfo2().uordblks;
}

/* 512 GiB, with an L2 table for each of many places. */
static int make_image(void **state)
{
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_image *img;

	(void)state;
	snprintf(path, sizeof(path), "./image-budget-%d.qcow2", (int)getpid());
	create.virtual_size = 512 * GIB;
	ok(qcow2_create_path(path, &create, NULL));
	opts.flags = QCOW2_OPEN_RDWR | QCOW2_OPEN_NO_FLUSH;
	ok(qcow2_open_path(path, &opts, &img, NULL));
	for (unsigned i = 0; i < N_PLACES; i++)
		ok(qcow2_pwrite(img, "data", 4, PLACE(i), 0, NULL));
	return qcow2_close(img, NULL);
}

static int remove_image(void **state)
{
	(void)state;
	return unlink(path);
}

static int open_with(uint64_t metadata_bytes, uint32_t flags,
		     struct qcow2_image **img, struct qcow2_error *err)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;

	opts.flags = flags;
	opts.budget.metadata_bytes = metadata_bytes;
	return qcow2_open_path(path, &opts, img, err);
}

TEST(reading_stays_below_the_budget)
{
	static const uint64_t budgets[] = { 128 << 10, 256 << 10, 1 << 20 };

	for (size_t b = 0; b < sizeof(budgets) / sizeof(*budgets); b++) {
		struct qcow2_image *img;
		size_t before = heap();
		char buf[4];

		ok(open_with(budgets[b], 0, &img, NULL));
		for (unsigned i = 0; i < N_PLACES; i++) {
			ok(qcow2_pread(img, buf, 4, PLACE(i), 0, NULL));
			assert_memory_equal(buf, "data", 4);
		}
		assert_in_range(heap() - before, 0, budgets[b]);
		ok(qcow2_close(img, NULL));
	}
}

/* The table of refcounts alone has a cluster, and so has the header. */
TEST(writing_stays_below_the_budget_or_is_refused)
{
	struct qcow2_error err = { 0 };
	struct qcow2_image *img;
	size_t before;

	assert_int_equal(open_with(128 << 10, QCOW2_OPEN_RDWR, &img, &err),
			 -E2BIG);
	assert_int_equal(err.reason, QCOW2_REASON_BUDGET);
	assert_non_null(strstr(err.message, "131072"));
	before = heap();
	ok(open_with(512 << 10, QCOW2_OPEN_RDWR | QCOW2_OPEN_NO_FLUSH, &img,
		     NULL));
	for (unsigned i = 0; i < N_PLACES; i++) {
		ok(qcow2_pwrite(img, "data", 4, PLACE(i), 0, NULL));
		ok(qcow2_flush(img, NULL));
	}
	assert_in_range(heap() - before, 0, 512 << 10);
	ok(qcow2_close(img, NULL));
}

TEST(a_chain_shares_its_total_equally)
{
	struct qcow2_budget b = QCOW2_BUDGET_INIT;

	assert_int_equal(metadata_budget_of(&b).limit, METADATA_BYTES_DEFAULT);
	b.total_bytes = 64 << 20;
	assert_int_equal(metadata_budget_of(&b).limit, 1 << 20);
	b.chain_depth = 4;
	assert_int_equal(metadata_budget_of(&b).limit, 16 << 20);
	b.metadata_bytes = 1000;
	assert_int_equal(metadata_budget_of(&b).limit, 1000);
}

TEST(what_is_taken_adds_up)
{
	struct metadata_budget b = { .limit = 100 };
	struct qcow2_error err;

	ok(metadata_budget_take(&b, 60, "one", NULL));
	assert_int_equal(metadata_budget_take(&b, 41, "two", &err), -E2BIG);
	assert_string_equal(err.message,
			    "two: 41 bytes, with 60 that other metadata "
			    "takes, are more than the budget (metadata_bytes, "
			    "or the share of total_bytes) of 100");
	ok(metadata_budget_take(&b, 40, "two", NULL));
	assert_int_equal(metadata_budget_left(&b), 0);
}

/* D12 */
TEST(the_size_of_the_file_is_what_it_is_now)
{
	struct qcow2_info info = QCOW2_INFO_INIT;
	struct qcow2_image *img;
	uint64_t before;

	ok(open_with(0, QCOW2_OPEN_RDWR | QCOW2_OPEN_NO_FLUSH, &img, NULL));
	ok(qcow2_get_info(img, 0, &info, NULL));
	before = info.file_size;
	ok(qcow2_pwrite(img, "more", 4, PLACE(N_PLACES), 0, NULL));
	ok(qcow2_flush(img, NULL));
	ok(qcow2_get_info(img, 0, &info, NULL));
	assert_true(info.file_size > before);
	ok(qcow2_close(img, NULL));
}

TEST_GROUP(make_image, remove_image)

/* ---- Its validator ------------------------------------------------------- */

TEST(a_budget_that_is_overdrawn_is_found)
{
	struct metadata_budget b = { .limit = 4096, .taken = 4096 };

	metadata_budget_validate(&b);
	ASSERT_ABORTS(b.taken++; metadata_budget_validate(&b));
	ASSERT_ABORTS(b.limit--; metadata_budget_validate(&b));
}
