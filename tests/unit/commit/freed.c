#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "commit/freed.h"
#include "format/header.h"
#include "store/mem.h"
#include "store/store.h"
#include "stores/hook.h"
#include "support/test.h"

/* 64 KiB clusters; the refcount table is cluster 1, its block cluster 2. */
enum { CLUSTER = 65536, CLUSTER_BITS = 16, N_ZEROED_MAX = 16 };

/* A file whose punched ranges are noted. */
struct rig {
	struct qcow2_store *file;
	struct geometry g;
	struct refcounts refs;
	struct freed_list list;
	struct {
		uint64_t off, len;
	} zeroed[N_ZEROED_MAX];
	unsigned n_zeroed;
	bool reads_fail;
};

static struct hook_answer on_call(void *opaque, const struct store_call *call)
{
	struct hook_answer fail = { .what = HOOK_FAIL, .code = -EIO };
	struct hook_answer pass = { .what = HOOK_PASS };
	struct rig *t = opaque;

	if (call->op == STORE_OP_ZERO) {
		assert_true(t->n_zeroed < N_ZEROED_MAX);
		t->zeroed[t->n_zeroed].off = call->off;
		t->zeroed[t->n_zeroed++].len = call->len;
	}
	return call->op == STORE_OP_READ && t->reads_fail ? fail : pass;
}

static void rig_init(struct rig *t)
{
	struct header h = {
		.version = 3,
		.cluster_bits = CLUSTER_BITS,
		.refcount_order = 4,
		.size = 1 << 20,
		.header_length = HEADER_LENGTH_V3,
		.refcount_table_off = CLUSTER,
		.refcount_table_clusters = 1,
	};
	struct hook hook = { .enter = on_call, .opaque = t };
	struct qcow2_store *mem;
	uint8_t entry[8];

	memset(t, 0, sizeof(*t));
	geometry_init(&t->g, &h);
	assert_int_equal(store_mem_new(&mem, NULL), 0);
	assert_int_equal(hook_store_new(mem, &hook, &t->file), 0);
	store_unref(mem);
	assert_int_equal(store_truncate(t->file, 100 * CLUSTER, NULL), 0);
	put_be64(entry, 2 * CLUSTER);
	assert_int_equal(store_pwrite(t->file, entry, 8, CLUSTER, 0, NULL), 0);
	assert_int_equal(
		refcounts_open(&t->refs, &t->g, &h, t->file, 1 << 20, NULL), 0);
	assert_int_equal(freed_reserve(&t->list, 16, NULL), 0);
}

static void rig_release(struct rig *t)
{
	freed_list_release(&t->list);
	refcounts_release(&t->refs);
	store_unref(t->file);
}

static void add(struct rig *t, uint64_t cluster, uint64_t n, bool punch)
{
	freed_add(&t->list, CLUSTER_BITS,
		  (struct freed){ cluster * CLUSTER, n, punch });
}

static int finish(struct rig *t)
{
	struct freed_batch *queue = NULL;
	int rc;

	assert_int_equal(freed_enqueue(&queue, &t->list, 0), 0);
	rc = freed_batch_finish(queue, &t->refs, NULL);
	freed_batches_release(&queue);
	return rc;
}

static uint64_t count(struct rig *t, uint64_t cluster)
{
	uint64_t value;

	assert_int_equal(refcounts_get(&t->refs, cluster, &value, NULL), 0);
	return value;
}

TEST(runs_that_continue_each_other_are_one)
{
	struct rig t;

	rig_init(&t);
	add(&t, 10, 1, false);
	add(&t, 11, 2, false);
	add(&t, 13, 1, false);
	assert_int_equal(t.list.n, 1);
	assert_int_equal(t.list.list[0].n_clusters, 4);
	add(&t, 15, 1, false); /* a gap */
	add(&t, 16, 1, true);  /* another policy */
	add(&t, 16, 1, true);  /* the same again */
	add(&t, 15, 1, true);  /* backwards */
	assert_int_equal(t.list.n, 5);
	rig_release(&t);
}

TEST(what_is_shared_is_not_punched)
{
	struct rig t;

	rig_init(&t);
	assert_int_equal(refcounts_increment(&t.refs, 8, 10, NULL), 0);
	assert_int_equal(refcounts_increment(&t.refs, 1, 13, NULL), 0);
	add(&t, 10, 8, true);
	assert_int_equal(finish(&t), 0);
	assert_int_equal(t.n_zeroed, 2);
	assert_int_equal(t.zeroed[0].off, 10 * CLUSTER);
	assert_int_equal(t.zeroed[0].len, 3 * CLUSTER);
	assert_int_equal(t.zeroed[1].off, 14 * CLUSTER);
	assert_int_equal(t.zeroed[1].len, 4 * CLUSTER);
	for (uint64_t i = 10; i < 18; i++)
		assert_int_equal(count(&t, i), i == 13);
	rig_release(&t);
}

TEST(scattered_clusters_are_punched_in_order_and_together)
{
	static const uint64_t order[] = { 14, 11, 20, 10, 13, 12, 21 };
	struct rig t;

	rig_init(&t);
	assert_int_equal(refcounts_increment(&t.refs, 5, 10, NULL), 0);
	assert_int_equal(refcounts_increment(&t.refs, 2, 20, NULL), 0);
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		add(&t, order[i], 1, true);
	assert_int_equal(finish(&t), 0);
	assert_int_equal(t.n_zeroed, 2);
	assert_int_equal(t.zeroed[0].off, 10 * CLUSTER);
	assert_int_equal(t.zeroed[0].len, 5 * CLUSTER);
	assert_int_equal(t.zeroed[1].off, 20 * CLUSTER);
	assert_int_equal(t.zeroed[1].len, 2 * CLUSTER);
	for (uint64_t i = 10; i < 22; i++)
		assert_int_equal(count(&t, i), 0);
	rig_release(&t);
}

TEST(a_cluster_freed_twice_is_punched_the_second_time)
{
	struct rig t;

	rig_init(&t);
	assert_int_equal(refcounts_increment(&t.refs, 1, 10, NULL), 0);
	assert_int_equal(refcounts_increment(&t.refs, 1, 10, NULL), 0);
	add(&t, 10, 1, true);
	add(&t, 10, 1, true);
	assert_int_equal(finish(&t), 0);
	assert_int_equal(t.n_zeroed, 1);
	assert_int_equal(count(&t, 10), 0);
	rig_release(&t);
}

/* The open cluster of compressed data may get another piece before the hole is
 * made: that data was lost. */
TEST(what_may_get_references_is_not_punched)
{
	struct rig t;

	rig_init(&t);
	assert_int_equal(refcounts_increment(&t.refs, 3, 10, NULL), 0);
	refcounts_hold(&t.refs, 11);
	add(&t, 10, 3, true);
	assert_int_equal(finish(&t), 0);
	assert_int_equal(t.n_zeroed, 2);
	assert_int_equal(t.zeroed[0].off, 10 * CLUSTER);
	assert_int_equal(t.zeroed[0].len, CLUSTER);
	assert_int_equal(t.zeroed[1].off, 12 * CLUSTER);
	assert_int_equal(t.zeroed[1].len, CLUSTER);
	assert_int_equal(count(&t, 11), 0);
	rig_release(&t);
}

TEST(unreadable_refcounts_punch_nothing)
{
	struct rig t;

	rig_init(&t);
	t.reads_fail = true;
	add(&t, 10, 8, true);
	assert_int_equal(finish(&t), -EIO);
	assert_int_equal(t.n_zeroed, 0);
	rig_release(&t);
}

/* An empty list may have no memory at all. */
TEST(nothing_can_be_appended)
{
	struct freed_list l = { 0 };
	struct freed_list none = { 0 };

	freed_append(&l, &none);
	assert_int_equal(l.n, 0);
	assert_int_equal(freed_reserve(&l, 1, NULL), 0);
	freed_add(&l, 16, (struct freed){ 65536, 3, true });
	freed_append(&l, &none);
	assert_int_equal(l.n, 1);
	assert_int_equal(l.n_clusters, 3);
	assert_int_equal(none.n, 0);
	freed_list_release(&l);
}
