/*
 * The disk changes its size, and a bitmap with it.  Size and bitmap belong
 * together after any failure and any crash on the way.
 */
#include "reshape/bitmaps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/cursor.h"
#include "image/image.h"
#include "stores/fault.h"
#include "stores/record.h"
#include "unit/check/rig.h"

/* A cluster of a bitmap covers 2 MiB of the disk. */
enum { CLUSTER = 512, GRANULE_BITS = 9 };

#define OF_CLUSTER ((uint64_t)CLUSTER * 8 << GRANULE_BITS)
#define SMALL (OF_CLUSTER / 4 + 3 * 512)
#define LARGE (2 * OF_CLUSTER + OF_CLUSTER / 2)

/* All bits set, the ones behind the end of the disk too. */
static struct rig *make(uint64_t size)
{
	struct rig *r =
		rig_new(&(struct rig_opts){ .cluster_bits = 9, .size = size });
	uint8_t ones[CLUSTER];
	struct rig_bitmap b;

	memset(ones, 0xff, sizeof(ones));
	b = rig_bitmap(r, "all");
	rig_put(r, b.data, ones, sizeof(ones));
	rig_put32(r, b.directory + 8, (uint32_t)div_round_up(size, OF_CLUSTER));
	rig_put(r, b.directory + 17, &(uint8_t){ GRANULE_BITS }, 1);
	for (unsigned i = 1; i < div_round_up(size, OF_CLUSTER); i++)
		rig_put64(r, b.table + 8 * i, 1);
	rig_finish(r);
	return r;
}

/* ---- Judging ------------------------------------------------------------- */

struct found {
	uint64_t size;
	struct bitmap bitmap;
	uint8_t directory[CLUSTER];
	uint8_t bits[4 * CLUSTER];
	uint64_t n_clusters;
};

static void read_bits(struct qcow2_store *s, struct found *f)
{
	f->n_clusters = f->bitmap.table_size;
	assert_true(f->n_clusters * CLUSTER <= sizeof(f->bits));
	for (uint64_t i = 0; i < f->n_clusters; i++) {
		uint8_t raw[8], *to = f->bits + i * CLUSTER;
		uint64_t entry;

		assert_int_equal(store_pread(s, raw, 8,
					     f->bitmap.table_off + 8 * i, 0,
					     NULL),
				 0);
		entry = get_be64(raw);
		memset(to, entry == 1 ? 0xff : 0, CLUSTER);
		if (entry > 1)
			assert_int_equal(
				store_pread(s, to, CLUSTER, entry, 0, NULL), 0);
	}
}

static void look(struct qcow2_store *s, struct found *f)
{
	uint8_t buf[CLUSTER];
	struct header h;
	struct extensions x;
	struct fault fault;
	struct reader r;
	uint64_t end;

	assert_int_equal(store_size(s, &end, NULL), 0);
	assert_int_equal(store_pread(s, buf, sizeof(buf), 0, 0, NULL), 0);
	assert_int_equal(header_decode(&h, buf, sizeof(buf), &fault), 0);
	assert_true(h.autoclear_features & AUTOCLEAR_BITMAPS);
	assert_int_equal(
		extensions_decode(&x, &h, buf, sizeof(buf), end, &fault), 0);
	assert_int_equal(x.bitmaps.n_bitmaps, 1);
	f->size = h.size;
	assert_int_equal(store_pread(s, f->directory, x.bitmaps.directory_size,
				     x.bitmaps.directory_off, 0, NULL),
			 0);
	r = reader_init(f->directory, x.bitmaps.directory_size);
	assert_int_equal(bitmap_decode(&f->bitmap, &r, &fault), 0);
	read_bits(s, f);
}

/* The bits of the smaller disk are set, and no other. */
static void expect_bits(const struct found *f, uint64_t smaller)
{
	uint64_t n = div_round_up(smaller, UINT64_C(1) << GRANULE_BITS);

	assert_int_equal(f->n_clusters, div_round_up(f->size, OF_CLUSTER));
	for (uint64_t i = 0; i < f->n_clusters * CLUSTER * 8; i++)
		assert_int_equal(f->bits[i / 8] >> i % 8 & 1, i < n);
}

/* One size or the other, with the bitmap that belongs to it. */
static void expect_sound(struct qcow2_store *s, uint64_t from, uint64_t to,
			 bool may_leak)
{
	struct outcome *o = check_any(s, NULL);
	struct found f;

	assert_int_equal(o->rc, 0);
	assert_int_equal(o->result.corruptions, 0);
	assert_int_equal(o->result.check_errors, 0);
	assert_true(may_leak || o->result.leaks == 0);
	free(o);
	look(s, &f);
	assert_true(f.size == from || f.size == to);
	if (f.size == to)
		expect_bits(&f, min_u64(from, to));
	else
		assert_int_equal(f.n_clusters, div_round_up(from, OF_CLUSTER));
}

/* ---- Resizing ------------------------------------------------------------ */

static int resize(struct qcow2_store *s, uint64_t size)
{
	struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_resize_opts opts = QCOW2_RESIZE_OPTS_INIT;
	struct qcow2_image *img;
	int rc, end;

	open.flags = QCOW2_OPEN_RDWR;
	opts.flags = QCOW2_RESIZE_SHRINK;
	rc = qcow2_open_store(s, &open, &img, NULL);
	if (rc < 0)
		return rc;
	rc = qcow2_resize(img, size, &opts, NULL);
	end = qcow2_close(img, NULL);
	return rc < 0 ? rc : end;
}

static struct qcow2_store *copy_of(struct qcow2_store *s)
{
	struct record_log *log = record_log_new();
	struct qcow2_store *copy;

	assert_int_equal(record_rebuild(log, 0, s, NULL, 0, &copy), 0);
	record_log_free(log);
	return copy;
}

static void expect_resized(uint64_t from, uint64_t to)
{
	struct rig *r = make(from);
	struct found f;

	assert_int_equal(resize(r->store, to), 0);
	expect_sound(r->store, from, to, false);
	look(r->store, &f);
	assert_int_equal(f.size, to);
	rig_free(r);
}

TEST(bits_of_the_disk_stay_and_no_others)
{
	expect_resized(SMALL, LARGE);
	expect_resized(LARGE, SMALL);
	expect_resized(SMALL, SMALL + 512);
	expect_resized(SMALL, SMALL - 512);
	expect_resized(OF_CLUSTER, 2 * OF_CLUSTER);
	expect_resized(2 * OF_CLUSTER, OF_CLUSTER);
	expect_resized(LARGE, 512);
}

TEST(a_bitmap_that_fits_stays_where_it_is)
{
	struct rig *r = make(SMALL);
	struct found before, after;

	/* The first time cuts off the bits that are set behind the end. */
	assert_int_equal(resize(r->store, SMALL + 512), 0);
	look(r->store, &before);
	assert_int_equal(resize(r->store, SMALL + 65536), 0);
	look(r->store, &after);
	assert_int_equal(after.size, SMALL + 65536);
	assert_int_equal(after.bitmap.table_off, before.bitmap.table_off);
	assert_memory_equal(after.bits, before.bits, CLUSTER);
	rig_free(r);
}

TEST(a_disk_without_bytes_has_no_bitmap)
{
	struct rig *r = make(SMALL);

	assert_int_equal(resize(r->store, 0), -ENOTSUP);
	expect_sound(r->store, SMALL, LARGE, false);
	rig_free(r);
}

static void fail_all_the_way(uint64_t from, uint64_t to)
{
	struct rig *r = make(from);
	uint64_t n_fired = 0;
	bool fired = true;

	for (uint64_t nth = 1; fired; nth++) {
		const struct fault_plan plan = { .ops = FAULT_ON_ALL,
						 .nth = nth,
						 .code = -EIO,
						 .persistent = nth & 1 };
		struct fault_injector fault = FAULT_INIT;
		struct qcow2_store *copy = copy_of(r->store);
		struct qcow2_store *faulty;

		assert_int_equal(fault_store_new(&fault, copy, &faulty), 0);
		fault_arm(&fault, &plan);
		resize(faulty, to);
		fired = fault_fired(&fault) > 0;
		n_fired += fired;
		store_unref(faulty);
		expect_sound(copy, from, to, true);
		assert_int_equal(resize(copy, to), 0);
		expect_sound(copy, from, to, true);
		store_unref(copy);
	}
	assert_true(n_fired > 20);
	rig_free(r);
}

TEST(a_failure_leaves_size_and_bitmap_together)
{
	fail_all_the_way(SMALL, LARGE);
	fail_all_the_way(LARGE, SMALL);
}

/* ---- Crashes ------------------------------------------------------------- */

struct crash {
	struct record_log *log;
	struct qcow2_store *base;
	uint64_t from;
	uint64_t to;
	bool *keep;
	uint64_t n_states;
};

/* The file holds all writes up to @end but one, @lost, that no barrier had made
 * durable; @lost is @end for all of them. */
static void judge(struct crash *c, size_t end, size_t lost)
{
	uint64_t now = end ? record_event(c->log, end - 1)->ended : 0;
	struct qcow2_store *crashed;

	if (lost < end && (record_event(c->log, lost)->op == STORE_OP_FLUSH ||
			   record_is_durable(c->log, lost, now)))
		return;
	for (size_t i = 0; i < end; i++)
		c->keep[i] = i != lost;
	assert_int_equal(
		record_rebuild(c->log, 0, c->base, c->keep, end, &crashed), 0);
	expect_sound(crashed, c->from, c->to, true);
	store_unref(crashed);
	c->n_states++;
}

static void crash_all_the_way(uint64_t from, uint64_t to)
{
	struct rig *r = make(from);
	struct crash c = {
		record_log_new(), copy_of(r->store), from, to, NULL, 0
	};
	struct qcow2_store *recorded;
	size_t n;

	assert_int_equal(record_store_new(c.log, r->store, NULL, &recorded), 0);
	assert_int_equal(resize(recorded, to), 0);
	store_unref(recorded);
	n = record_n_events(c.log);
	c.keep = calloc(n, sizeof(*c.keep));
	assert_non_null(c.keep);
	for (size_t end = 0; end <= n; end++)
		for (size_t lost = 0; lost <= end; lost++)
			judge(&c, end, lost);
	assert_true(c.n_states > 20);
	free(c.keep);
	record_log_free(c.log);
	store_unref(c.base);
	rig_free(r);
}

TEST(a_crash_leaves_size_and_bitmap_together)
{
	crash_all_the_way(SMALL, LARGE);
	crash_all_the_way(LARGE, SMALL);
}

/* ---- Its validator ------------------------------------------------------- */

TEST(a_resize_of_bitmaps_that_is_not_as_it_should_be_is_found)
{
	struct image img = { .geo = { .cluster_size = 4096 } };
	struct claim fresh = { .host_off = 4096, .n_clusters = 1 };
	struct bitmaps_resize r = {
		.img = &img, .changes = true, .fresh = &fresh, .n_fresh = 1
	};

	bitmaps_resize_validate(&r);
	ASSERT_ABORTS(r.changes = false; bitmaps_resize_validate(&r));
	ASSERT_ABORTS(r.fresh = NULL; bitmaps_resize_validate(&r));
	ASSERT_ABORTS(r.place.directory_off = 1; bitmaps_resize_validate(&r));
	ASSERT_ABORTS(fresh.n_clusters = 0; bitmaps_resize_validate(&r));
	ASSERT_ABORTS(fresh.host_off++; bitmaps_resize_validate(&r));
}
