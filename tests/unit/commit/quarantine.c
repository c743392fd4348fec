#include "commit/freed.h"

#include "unit/counts/rig.h"

static struct freed_batch *batch_of(struct freed_batch **queue,
				    const struct freed *runs, size_t n)
{
	struct freed_list l = { 0 };

	assert_int_equal(freed_reserve(&l, n, NULL), 0);
	for (size_t i = 0; i < n; i++)
		freed_add(&l, 12, runs[i]);
	assert_int_equal(freed_enqueue(queue, &l, 0), 0);
	assert_null(l.list);
	return *queue;
}

TEST(a_finished_batch_loses_its_refcounts)
{
	struct freed_batch *queue = NULL;
	struct claim c;
	struct rig t;

	rig_init(&t);
	c = rig_claim(&t, 3);
	batch_of(&queue, &(struct freed){ c.host_off, 3, false }, 1);
	assert_int_equal(rig_count(&t, c.host_off), 1);
	assert_int_equal(freed_batch_finish(queue, &t.refs, NULL), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(rig_count(&t, c.host_off + i * RIG_CLUSTER),
				 0);
	freed_batches_release(&queue);
	assert_null(queue);
	rig_release(&t);
}

TEST(only_the_last_reference_gives_space_back)
{
	struct freed_batch *queue = NULL;
	struct claim c;
	struct rig t;
	size_t from;

	rig_init(&t);
	c = rig_claim(&t, 2);
	assert_int_equal(
		refcounts_increment(&t.refs, 1, c.host_off / RIG_CLUSTER, NULL),
		0);
	batch_of(&queue, &(struct freed){ c.host_off, 2, true }, 1);
	from = record_n_events(t.log);
	assert_int_equal(freed_batch_finish(queue, &t.refs, NULL), 0);
	assert_int_equal(rig_events(&t, from, STORE_OP_ZERO), 1);
	assert_int_equal(record_event(t.log, from)->off,
			 c.host_off + RIG_CLUSTER);
	assert_int_equal(rig_count(&t, c.host_off), 1);
	assert_int_equal(rig_count(&t, c.host_off + RIG_CLUSTER), 0);
	freed_batches_release(&queue);
	rig_release(&t);
}

TEST(a_run_that_cannot_be_freed_does_not_keep_the_others)
{
	struct freed_batch *queue = NULL;
	struct qcow2_error err = { 0 };
	struct freed runs[2] = { { 0 } };
	struct claim c;
	struct rig t;

	rig_init(&t);
	c = rig_claim(&t, 1);
	runs[0] = (struct freed){ c.host_off + 7 * RIG_CLUSTER, 1, false };
	runs[1] = (struct freed){ c.host_off, 1, false };
	batch_of(&queue, runs, 2);
	assert_int_equal(freed_batch_finish(queue, &t.refs, &err), -EIO);
	assert_int_not_equal(err.defect, 0);
	assert_int_equal(rig_count(&t, c.host_off), 0);
	freed_batches_release(&queue);
	rig_release(&t);
}

TEST(a_hole_that_cannot_be_made_costs_space_only)
{
	struct freed_batch *queue = NULL;
	struct claim c;
	struct rig t;

	rig_init(&t);
	c = rig_claim(&t, 1);
	batch_of(&queue, &(struct freed){ c.host_off, 1, true }, 1);
	rig_fail(&t, STORE_OP_ZERO, 1);
	assert_int_equal(freed_batch_finish(queue, &t.refs, NULL), 0);
	assert_int_equal(fault_fired(&t.fault), 1);
	assert_int_equal(rig_count(&t, c.host_off), 0);
	freed_batches_release(&queue);
	rig_release(&t);
}

TEST(batches_keep_their_order)
{
	struct freed_batch *queue = NULL;

	batch_of(&queue, &(struct freed){ 4096, 1, false }, 1);
	batch_of(&queue, &(struct freed){ 8192, 1, false }, 1);
	assert_int_equal(queue->freed.list[0].host_off, 4096);
	assert_int_equal(queue->next->freed.list[0].host_off, 8192);
	freed_batches_release(&queue);
}

TEST(reserving_makes_room_for_as_many_as_asked)
{
	struct freed_list l = { 0 };

	assert_int_equal(freed_reserve(&l, 1000, NULL), 0);
	for (uint64_t i = 0; i < 1000; i++)
		freed_add(&l, 12, (struct freed){ i << 20, 1, false });
	assert_int_equal(l.n, 1000);
	assert_int_equal(l.list[999].host_off, UINT64_C(999) << 20);
	freed_list_release(&l);
	assert_int_equal(l.n, 0);
}

static void free_runs(struct rig *t, uint64_t n_runs, uint64_t n_clusters)
{
	assert_int_equal(commit_begin(&t->commit, n_runs, NULL), 0);
	for (uint64_t i = 0; i < n_runs; i++)
		commit_free(&t->commit,
			    (struct freed){ (2 + i * (n_clusters + 1)) << 12,
					    n_clusters, false });
	commit_end(&t->commit);
}

/* S5: 64 MiB, or an eighth of the file. */
TEST(much_space_in_quarantine_asks_for_a_commit)
{
	for (uint64_t file = 1; file <= 1024; file *= 1024) {
		uint64_t n = file > 1 ? 128 << 8 : 64 << 8;
		struct rig t;

		rig_init(&t);
		t.refs.high_water = file << 20;
		free_runs(&t, 1, n - 1);
		assert_false(commit_wanted(&t.commit));
		free_runs(&t, 1, 1);
		assert_true(commit_wanted(&t.commit));
		rig_release(&t);
	}
}

/* They are listed in memory, and each may cost a slice of refcounts. */
TEST(many_runs_in_quarantine_ask_for_one_too)
{
	struct rig t;

	rig_init(&t);
	t.refs.high_water = UINT64_C(1) << 50;
	free_runs(&t, 16383, 1);
	assert_false(commit_wanted(&t.commit));
	free_runs(&t, 1, 1);
	assert_true(commit_wanted(&t.commit));
	rig_release(&t);
}

TEST(many_dirty_refcounts_ask_for_one_too)
{
	struct rig t;

	rig_init(&t);
	cache_release(&t.refs.blocks);
	assert_int_equal(cache_init(&t.refs.blocks, t.file, 1, 512, NULL), 0);
	for (uint64_t i = 0; i < 2; i++) {
		assert_false(commit_wanted(&t.commit));
		assert_int_equal(
			refcounts_increment(&t.refs, 1, 100 + i * 256, NULL),
			0);
	}
	assert_true(commit_wanted(&t.commit));
	rig_release(&t);
}
