/*
 * The number of barriers that a guest's flush costs, once an image has been in
 * use for a while.
 */
#include <stdlib.h>
#include <string.h>

#include <qcow2.h>

#include "store/mem.h"
#include "store/store.h"
#include "stores/record.h"
#include "support/test.h"

enum { CLUSTER = 65536, DISK = 64 << 20, ROUNDS = 12, WARM_UP = 3 };

struct rig {
	struct qcow2_store *mem;
	struct qcow2_store *backing;
	struct qcow2_store *file;
	struct record_log *log;
	struct qcow2_image *img;
};

static int open_backing(void *opaque, const struct qcow2_reference *ref,
			struct qcow2_store **out, struct qcow2_error *err)
{
	struct rig *t = opaque;

	(void)ref, (void)err;
	*out = store_ref(t->backing);
	return 0;
}

static void rig_init(struct rig *t, bool backing)
{
	struct qcow2_create_opts o = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_gate gate = QCOW2_GATE_INIT;

	memset(t, 0, sizeof(*t));
	o.virtual_size = DISK;
	if (backing) {
		o.backing_file = "below";
		o.backing_format = "raw";
		assert_int_equal(store_mem_new(&t->backing, NULL), 0);
		assert_int_equal(store_truncate(t->backing, DISK, NULL), 0);
	}
	assert_int_equal(store_mem_new(&t->mem, NULL), 0);
	assert_int_equal(qcow2_create_store(t->mem, NULL, &o, NULL), 0);
	t->log = record_log_new();
	assert_int_equal(record_store_new(t->log, t->mem, NULL, &t->file), 0);
	gate.open = open_backing;
	gate.opaque = t;
	opts.gate = &gate;
	opts.flags = QCOW2_OPEN_RDWR;
	assert_int_equal(qcow2_open_store(t->file, &opts, &t->img, NULL), 0);
}

static void rig_release(struct rig *t)
{
	assert_int_equal(qcow2_close(t->img, NULL), 0);
	store_unref(t->file);
	store_unref(t->mem);
	store_unref(t->backing);
	record_log_free(t->log);
}

static void write_at(struct rig *t, size_t len, uint64_t off)
{
	static const uint8_t bytes[2 * CLUSTER] = { 1, 2, 3 };

	assert_int_equal(qcow2_pwrite(t->img, bytes, len, off, 0, NULL), 0);
}

static unsigned barriers_since(struct rig *t, size_t from)
{
	unsigned n = 0;

	for (size_t i = from; i < record_n_events(t->log); i++)
		n += record_event(t->log, i)->op == STORE_OP_FLUSH;
	return n;
}

static unsigned flush(struct rig *t)
{
	size_t from = record_n_events(t->log);

	assert_int_equal(qcow2_flush(t->img, NULL), 0);
	return barriers_since(t, from);
}

TEST(overwriting_costs_one)
{
	struct rig t;

	rig_init(&t, false);
	write_at(&t, CLUSTER, 0);
	flush(&t);
	flush(&t);
	for (unsigned i = 0; i < ROUNDS; i++) {
		size_t from = record_n_events(t.log);

		write_at(&t, 4096, i * 4096);
		assert_int_equal(flush(&t), 1);
		/* The data and the barrier, nothing else. */
		assert_int_equal(record_n_events(t.log), from + 2);
		assert_int_equal(record_event(t.log, from)->op, STORE_OP_WRITE);
		assert_int_equal(record_event(t.log, from + 1)->op,
				 STORE_OP_FLUSH);
	}
	rig_release(&t);
}

TEST(allocating_over_zeros_costs_one)
{
	struct rig t;

	rig_init(&t, false);
	for (unsigned i = 0; i < ROUNDS; i++) {
		size_t from = record_n_events(t.log);
		unsigned n;

		write_at(&t, 4096, (uint64_t)i * CLUSTER);
		n = flush(&t);
		if (i < WARM_UP)
			continue;
		assert_int_equal(n, 1);
		assert_int_equal(barriers_since(&t, from), 1);
	}
	rig_release(&t);
}

TEST(copying_costs_two)
{
	struct rig t;

	rig_init(&t, true);
	for (unsigned i = 0; i < ROUNDS; i++) {
		size_t from = record_n_events(t.log);

		write_at(&t, 4096, (uint64_t)i * CLUSTER + 8192);
		flush(&t);
		if (i >= WARM_UP)
			assert_int_equal(barriers_since(&t, from), 2);
	}
	rig_release(&t);
}

TEST(writing_alone_costs_none)
{
	struct rig t;
	size_t from;

	rig_init(&t, false);
	write_at(&t, CLUSTER, 0);
	flush(&t);
	from = record_n_events(t.log);
	for (unsigned i = 0; i < ROUNDS; i++) {
		write_at(&t, 4096, i * 4096);
		write_at(&t, CLUSTER, (uint64_t)(i + 1) * CLUSTER);
	}
	assert_int_equal(barriers_since(&t, from), 0);
	rig_release(&t);
}

/* Every write that has ended is covered by a barrier that began later. */
TEST(a_flush_covers_everything_before_it)
{
	struct rig t;

	rig_init(&t, true);
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t now;

		write_at(&t, 4096, (i % 4) * (uint64_t)CLUSTER);
		write_at(&t, CLUSTER + 512, (uint64_t)i * CLUSTER + 512);
		flush(&t);
		now = record_now(t.log);
		for (size_t k = 0; k < record_n_events(t.log); k++)
			if (record_event(t.log, k)->op == STORE_OP_WRITE)
				assert_true(record_is_durable(t.log, k, now));
	}
	rig_release(&t);
}

/* ---- FUA ----------------------------------------------------------------- */

enum request { WRITE, ZERO, UNMAP, DISCARD, COMPRESS, N_REQUESTS };

static int request(struct rig *t, enum request what, unsigned flags)
{
	static uint8_t buf[CLUSTER];

	memset(buf, 7, sizeof(buf));
	switch (what) {
	case WRITE:
		return qcow2_pwrite(t->img, buf, CLUSTER, 0, flags, NULL);
	case ZERO:
		return qcow2_zero(t->img, CLUSTER, 0, flags, NULL);
	case UNMAP:
		return qcow2_zero(t->img, CLUSTER, 0,
				  flags | QCOW2_ZERO_MAY_UNMAP, NULL);
	case DISCARD:
		return qcow2_discard(t->img, CLUSTER, 0, flags, NULL);
	default:
		return qcow2_write_compressed(t->img, buf, CLUSTER, 0, flags,
					      NULL);
	}
}

/* The disk reads as it did if all power is lost now. */
static void expect_durable(struct rig *t, struct qcow2_store *base)
{
	size_t n = record_n_events(t->log);
	bool *keep = calloc(n + 1, sizeof(*keep));
	uint64_t now = record_now(t->log);
	uint8_t want[CLUSTER], got[CLUSTER];
	struct qcow2_store *after;
	struct qcow2_image *img;

	assert_non_null(keep);
	for (size_t i = 0; i < n; i++)
		keep[i] = record_is_durable(t->log, i, now);
	assert_int_equal(record_rebuild(t->log, 0, base, keep, n, &after), 0);
	assert_int_equal(qcow2_pread(t->img, want, CLUSTER, 0, 0, NULL), 0);
	assert_int_equal(qcow2_open_store(after, NULL, &img, NULL), 0);
	assert_int_equal(qcow2_pread(img, got, CLUSTER, 0, 0, NULL), 0);
	assert_memory_equal(got, want, CLUSTER);
	qcow2_close(img, NULL);
	store_unref(after);
	free(keep);
}

TEST(what_fua_returned_for_survives)
{
	for (int what = 0; what < N_REQUESTS; what++) {
		struct record_log *none = record_log_new();
		struct qcow2_store *base;
		struct rig t;

		rig_init(&t, false);
		assert_int_equal(record_rebuild(none, 0, t.mem, NULL, 0, &base),
				 0);
		write_at(&t, CLUSTER, 0);
		flush(&t);
		assert_int_equal(request(&t, (enum request)what, QCOW2_FUA), 0);
		expect_durable(&t, base);
		rig_release(&t);
		store_unref(base);
		record_log_free(none);
	}
}
