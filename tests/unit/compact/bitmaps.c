/*
 * Bitmaps that lie at the end of the file move to its start.  They keep their
 * bits through any failure and any crash on the way.
 */
#include "compact/compact.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cursor.h"
#include "stores/fault.h"
#include "stores/record.h"
#include "unit/check/rig.h"

enum { CLUSTER = 4096, N_GAP = 12, N_BITMAPS = 2 };

static const char *const names[N_BITMAPS] = { "first", "second" };

static void fill(uint8_t *buf, unsigned bitmap)
{
	for (unsigned i = 0; i < CLUSTER; i++)
		buf[i] = (uint8_t)(i * 7 + i / 256 + bitmap * 31);
}

/* Header, a gap, a disk with three clusters of data, two bitmaps. */
static struct rig *make(void)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	uint64_t gap = rig_alloc(r, N_GAP);
	struct rig_bitmap b;

	for (uint64_t i = 0; i < N_GAP; i++)
		rig_set_refcount(r, gap + i * CLUSTER, 0);
	rig_small(r);
	for (unsigned i = 0; i < N_BITMAPS; i++) {
		uint8_t buf[CLUSTER];

		b = rig_bitmap(r, names[i]);
		fill(buf, i);
		rig_put(r, b.data, buf, sizeof(buf));
	}
	rig_finish(r);
	return r;
}

/* ---- Judging ------------------------------------------------------------- */

static void read_extensions(struct qcow2_store *s, struct extensions *x)
{
	uint8_t buf[CLUSTER];
	struct header h;
	struct fault fault;
	uint64_t size;

	assert_int_equal(store_size(s, &size, NULL), 0);
	assert_int_equal(store_pread(s, buf, sizeof(buf), 0, 0, NULL), 0);
	assert_int_equal(header_decode(&h, buf, sizeof(buf), &fault), 0);
	assert_true(h.autoclear_features & AUTOCLEAR_BITMAPS);
	assert_int_equal(
		extensions_decode(x, &h, buf, sizeof(buf), size, &fault), 0);
	assert_true(x->has_bitmaps);
}

/* Returns the offset past all that belongs to it. */
static uint64_t expect_bitmap(struct qcow2_store *s, const struct bitmap *b,
			      unsigned i)
{
	uint8_t entry[8], data[CLUSTER], want[CLUSTER];

	assert_int_equal(b->name_len, strlen(names[i]));
	assert_memory_equal(b->name, names[i], b->name_len);
	assert_int_equal(store_pread(s, entry, 8, b->table_off, 0, NULL), 0);
	assert_int_equal(
		store_pread(s, data, CLUSTER, get_be64(entry), 0, NULL), 0);
	fill(want, i);
	assert_memory_equal(data, want, CLUSTER);
	return (b->table_off > get_be64(entry) ? b->table_off
					       : get_be64(entry)) +
	       CLUSTER;
}

/* Returns the offset past all that belongs to the bitmaps. */
static uint64_t expect_bitmaps(struct qcow2_store *s)
{
	uint8_t buf[CLUSTER];
	struct extensions x;
	struct reader r;
	uint64_t end;

	read_extensions(s, &x);
	end = x.bitmaps.directory_off + CLUSTER;
	assert_int_equal(store_pread(s, buf, x.bitmaps.directory_size,
				     x.bitmaps.directory_off, 0, NULL),
			 0);
	r = reader_init(buf, x.bitmaps.directory_size);
	for (unsigned i = 0; i < N_BITMAPS; i++) {
		struct bitmap b;
		struct fault fault;
		uint64_t reach;

		assert_int_equal(bitmap_decode(&b, &r, &fault), 0);
		reach = expect_bitmap(s, &b, i);
		end = reach > end ? reach : end;
	}
	return end;
}

static void expect_sound(struct qcow2_store *s, bool may_leak)
{
	struct outcome *o = check_any(s, NULL);

	assert_int_equal(o->rc, 0);
	assert_int_equal(o->result.corruptions, 0);
	assert_int_equal(o->result.check_errors, 0);
	assert_true(may_leak || o->result.leaks == 0);
	free(o);
	expect_bitmaps(s);
}

/* ---- Compaction ---------------------------------------------------------- */

static int compact(struct qcow2_store *s)
{
	struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_compact_result result = { .struct_size = sizeof(result) };
	struct qcow2_image *img;
	int rc, end;

	open.flags = QCOW2_OPEN_RDWR;
	rc = qcow2_open_store(s, &open, &img, NULL);
	if (rc < 0)
		return rc;
	rc = qcow2_compact(img, NULL, &result, NULL);
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

TEST(bitmaps_move_to_the_start)
{
	struct rig *r = make();
	uint64_t size, end = expect_bitmaps(r->store);

	assert_true(end > (N_GAP + 4) * CLUSTER);
	assert_int_equal(compact(r->store), 0);
	expect_sound(r->store, false);
	/* Nothing but used clusters is left. */
	assert_int_equal(store_size(r->store, &size, NULL), 0);
	assert_true(size <= (r->n_clusters - N_GAP) * CLUSTER);
	assert_true(expect_bitmaps(r->store) < end);
	rig_free(r);
}

TEST(a_failure_leaves_them_where_they_can_be_read)
{
	struct rig *r = make();
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
		compact(faulty);
		fired = fault_fired(&fault) > 0;
		n_fired += fired;
		store_unref(faulty);
		expect_sound(copy, true);
		assert_int_equal(compact(copy), 0);
		expect_sound(copy, true);
		store_unref(copy);
	}
	assert_true(n_fired > 30);
	rig_free(r);
}

/* Every prefix of the writes, and every one without one write that no barrier
 * had made durable. */
TEST(a_crash_leaves_them_whole)
{
	struct rig *r = make();
	struct qcow2_store *base = copy_of(r->store);
	struct record_log *log = record_log_new();
	struct qcow2_store *recorded;
	uint64_t n_states = 0;
	size_t n;
	bool *keep;

	assert_int_equal(record_store_new(log, r->store, NULL, &recorded), 0);
	assert_int_equal(compact(recorded), 0);
	store_unref(recorded);
	n = record_n_events(log);
	keep = calloc(n, sizeof(*keep));
	assert_non_null(keep);
	for (size_t end = 0; end <= n; end++) {
		uint64_t now = end ? record_event(log, end - 1)->ended : 0;

		for (size_t lost = 0; lost <= end; lost++) {
			struct qcow2_store *crashed;

			if (lost < end &&
			    (record_event(log, lost)->op == STORE_OP_FLUSH ||
			     record_is_durable(log, lost, now)))
				continue;
			for (size_t i = 0; i < end; i++)
				keep[i] = i != lost;
			assert_int_equal(record_rebuild(log, 0, base, keep, end,
							&crashed),
					 0);
			expect_sound(crashed, true);
			store_unref(crashed);
			n_states++;
		}
	}
	assert_true(n_states > 50);
	free(keep);
	record_log_free(log);
	store_unref(base);
	rig_free(r);
}
