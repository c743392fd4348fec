/*
 * Images that were not closed are repaired when they are opened for writing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "check/check.h"
#include "format/defect.h"
#include "mend.h"
#include "stores/fault.h"

#define SIZE (UINT64_C(4) << 20)
#define CLUSTER 4096u

static void put(struct qcow2_store *s, uint64_t off, uint64_t value)
{
	uint8_t raw[8];

	put_be64(raw, value);
	assert_int_equal(store_pwrite(s, raw, sizeof(raw), off, 0, NULL), 0);
}

static uint64_t get(struct qcow2_store *s, uint64_t off)
{
	uint8_t raw[8];

	assert_int_equal(store_pread(s, raw, sizeof(raw), off, 0, NULL), 0);
	return get_be64(raw);
}

static int open_image(struct qcow2_store *s, uint32_t flags,
		      struct qcow2_image **img, struct qcow2_error *err)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;

	opts.flags = flags;
	return qcow2_open_store(s, &opts, img, err);
}

static void write_some(struct qcow2_image *img, uint64_t off, uint8_t value)
{
	uint8_t buf[3 * CLUSTER];

	memset(buf, value, sizeof(buf));
	assert_int_equal(qcow2_pwrite(img, buf, sizeof(buf), off, 0, NULL), 0);
}

static void expect_some(struct qcow2_store *s, uint64_t off, uint8_t value)
{
	uint8_t buf[3 * CLUSTER];
	struct qcow2_image *img;

	assert_int_equal(open_image(s, 0, &img, NULL), 0);
	assert_int_equal(qcow2_pread(img, buf, sizeof(buf), off, 0, NULL), 0);
	for (size_t i = 0; i < sizeof(buf); i++)
		assert_int_equal(buf[i], value);
	assert_int_equal(qcow2_close(img, NULL), 0);
}

static struct qcow2_store *fresh(void)
{
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_image *img;
	struct qcow2_store *s;

	create.virtual_size = SIZE;
	create.cluster_size = CLUSTER;
	assert_int_equal(qcow2_store_new_memory(&s, NULL), 0);
	assert_int_equal(qcow2_create_store(s, NULL, &create, NULL), 0);
	assert_int_equal(open_image(s, QCOW2_OPEN_RDWR, &img, NULL), 0);
	write_some(img, 0, 0x11);
	write_some(img, 1 << 20, 0x22);
	assert_int_equal(qcow2_close(img, NULL), 0);
	return s;
}

static uint64_t first_block(struct qcow2_store *s)
{
	return get(s, get(s, HEADER_OFF_REFCOUNT_TABLE_OFF));
}

static void make_dirty(struct qcow2_store *s)
{
	put(s, HEADER_OFF_INCOMPAT, INCOMPAT_DIRTY);
	put(s, first_block(s), 0);
	put(s, first_block(s) + 8, UINT64_C(0x0003000000000001));
}

static void expect_clean(struct qcow2_store *s)
{
	struct qcow2_check_result r = { .struct_size = sizeof(r) };

	assert_int_equal(check_store(s, NULL, &r, NULL), 0);
	assert_int_equal(r.corruptions, 0);
	assert_int_equal(r.leaks, 0);
	assert_int_equal(get(s, HEADER_OFF_INCOMPAT), 0);
}

/* H18 */
TEST(a_dirty_image_is_repaired_before_it_is_written)
{
	struct qcow2_store *s = fresh();
	struct qcow2_image *img;

	make_dirty(s);
	assert_int_equal(open_image(s, QCOW2_OPEN_RDWR, &img, NULL), 0);
	expect_clean(s);
	write_some(img, 2 << 20, 0x33);
	assert_int_equal(qcow2_close(img, NULL), 0);
	expect_clean(s);
	expect_some(s, 0, 0x11);
	expect_some(s, 1 << 20, 0x22);
	expect_some(s, 2 << 20, 0x33);
	store_unref(s);
}

struct stop {
	unsigned n;
	unsigned at; /* the call that stops it */
};

static int stop_at(void *opaque, uint64_t done, uint64_t total)
{
	struct stop *p = opaque;

	assert_true(done <= total);
	return ++p->n == p->at;
}

/* Wherever that is; the next opening does the rest. */
TEST(the_repair_can_be_stopped)
{
	struct stop p = { .at = 1 };

	do {
		struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
		struct qcow2_store *s = fresh();
		struct qcow2_image *img;
		int rc;

		make_dirty(s);
		p.n = 0;
		opts.flags = QCOW2_OPEN_RDWR;
		opts.progress = stop_at;
		opts.opaque = &p;
		rc = qcow2_open_store(s, &opts, &img, NULL);
		assert_int_equal(rc, p.n == p.at ? -ECANCELED : 0);
		if (rc == 0)
			assert_int_equal(qcow2_close(img, NULL), 0);
		expect_some(s, 0, 0x11);
		assert_int_equal(open_image(s, QCOW2_OPEN_RDWR, &img, NULL), 0);
		assert_int_equal(qcow2_close(img, NULL), 0);
		expect_clean(s);
		store_unref(s);
	} while (p.n == p.at++);
	assert_true(p.at > 2);
}

TEST(reading_does_not_repair)
{
	struct qcow2_store *s = fresh();
	struct bytes before;

	make_dirty(s);
	before = bytes_of(s);
	expect_some(s, 0, 0x11);
	assert_true(bytes_equal(before, bytes_of(s)));
	store_unref(s);
}

/* Somebody else may be writing: then the bit is theirs. */
TEST(without_the_lock_it_is_refused)
{
	struct qcow2_store *s = fresh();
	struct qcow2_error err;
	struct qcow2_image *img;
	struct bytes before;

	make_dirty(s);
	before = bytes_of(s);
	assert_int_equal(
		open_image(s, QCOW2_OPEN_RDWR | QCOW2_OPEN_NO_LOCK, &img, &err),
		-EROFS);
	assert_int_equal(err.defect, DEFECT_HEADER_DIRTY_BIT);
	assert_true(bytes_equal(before, bytes_of(s)));
	store_unref(s);
}

/* H19 */
TEST(a_corrupt_image_is_refused_as_it_is)
{
	struct qcow2_store *s = fresh();
	struct qcow2_error err;
	struct qcow2_image *img;
	struct bytes before;

	make_dirty(s);
	put(s, HEADER_OFF_INCOMPAT, INCOMPAT_DIRTY | INCOMPAT_CORRUPT);
	before = bytes_of(s);
	assert_int_equal(open_image(s, QCOW2_OPEN_RDWR, &img, &err), -EROFS);
	assert_int_equal(err.defect, DEFECT_HEADER_CORRUPT_BIT);
	assert_true(bytes_equal(before, bytes_of(s)));
	store_unref(s);
}

/* H18: an image with damage besides its refcounts is not written to. */
TEST(damage_besides_keeps_the_bit)
{
	struct qcow2_store *s = fresh();
	struct qcow2_error err;
	struct qcow2_image *img;

	make_dirty(s);
	put(s, get(s, HEADER_OFF_L1_OFF) + 8, UINT64_C(1) << 45);
	assert_int_equal(open_image(s, QCOW2_OPEN_RDWR, &img, &err), -EROFS);
	assert_int_equal(err.defect, DEFECT_HEADER_DIRTY_BIT);
	assert_int_equal(get(s, HEADER_OFF_INCOMPAT), INCOMPAT_DIRTY);
	expect_some(s, 0, 0x11);
	store_unref(s);
}

/* H18 */
TEST(destroyed_refcounts_are_written_anew)
{
	struct qcow2_store *s = fresh();
	struct qcow2_image *img;

	make_dirty(s);
	put(s, get(s, HEADER_OFF_REFCOUNT_TABLE_OFF), UINT64_MAX);
	assert_int_equal(open_image(s, QCOW2_OPEN_RDWR, &img, NULL), 0);
	assert_int_equal(qcow2_close(img, NULL), 0);
	expect_clean(s);
	expect_some(s, 0, 0x11);
	expect_some(s, 1 << 20, 0x22);
	store_unref(s);
}

TEST(lazy_refcounts_are_counted_after_a_crash)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_store *s = fresh();
	struct qcow2_store *crashed;
	struct qcow2_image *img;

	opts.flags = QCOW2_OPEN_RDWR;
	opts.lazy_refcounts = QCOW2_LAZY_ON;
	assert_int_equal(qcow2_open_store(s, &opts, &img, NULL), 0);
	write_some(img, 3 << 20, 0x44);
	assert_int_equal(qcow2_flush(img, NULL), 0);
	crashed = copy_store(s);
	assert_int_equal(qcow2_close(img, NULL), 0);
	assert_int_equal(get(crashed, HEADER_OFF_INCOMPAT), INCOMPAT_DIRTY);
	assert_int_equal(open_image(crashed, QCOW2_OPEN_RDWR, &img, NULL), 0);
	expect_clean(crashed);
	assert_int_equal(qcow2_close(img, NULL), 0);
	expect_some(crashed, 0, 0x11);
	expect_some(crashed, 3 << 20, 0x44);
	store_unref(crashed);
	store_unref(s);
}

/* Every call that fails is an error of opening, and nothing is lost. */
TEST(a_repair_that_fails_refuses_the_image)
{
	struct fault_plan plan = { .ops = FAULT_ON_CHANGES,
				   .nth = 1,
				   .persistent = true,
				   .code = -EIO };
	struct fault_injector fault = FAULT_INIT;

	for (;; plan.nth++) {
		struct qcow2_store *s = fresh();
		struct qcow2_store *f;
		struct qcow2_image *img;
		int rc;

		make_dirty(s);
		fault_arm(&fault, &plan);
		assert_int_equal(fault_store_new(&fault, s, &f), 0);
		rc = open_image(f, QCOW2_OPEN_RDWR, &img, NULL);
		if (rc == 0) {
			assert_int_equal(fault_fired(&fault), 0);
			qcow2_close(img, NULL);
		}
		store_unref(f);
		expect_some(s, 0, 0x11);
		assert_int_equal(open_image(s, QCOW2_OPEN_RDWR, &img, NULL), 0);
		expect_clean(s);
		assert_int_equal(qcow2_close(img, NULL), 0);
		store_unref(s);
		if (rc == 0)
			break;
	}
	assert_true(plan.nth > 3);
}
