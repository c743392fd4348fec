/*
 * A commit that breaks a promise of its headers is noticed.
 */
#include "commit/epoch.h"
#include "commit/l1_switch.h"
#include "unit/counts/rig.h"

#define INVALID(...) ASSERT_ABORTS(__VA_ARGS__; commit_validate(&t.commit))

static void add_freed(struct rig *t, uint64_t host_off)
{
	struct freed f = { host_off, 1, false };

	assert_int_equal(freed_reserve(&t->commit.freed, 1, NULL), 0);
	freed_add(&t->commit.freed, 12, f);
}

TEST(turns_that_are_out_of_order_are_noticed)
{
	struct rig t;

	rig_init(&t);
	assert_int_equal(commit_flush(&t.commit, NULL), 0);
	commit_validate(&t.commit);
	INVALID(t.commit.turns.started += 2);
	INVALID(t.commit.turns.completed++);
	INVALID(t.commit.turns.durable++);
	INVALID(t.commit.turns.durable--);
	INVALID(t.commit.turns.failed = -EIO);
	INVALID(t.commit.turns.failed = 1);
	INVALID(t.commit.poison = 1);
	INVALID(t.commit.n_settling--);
	rig_release(&t);
}

TEST(marks_that_do_not_fit_the_l1_table_are_noticed)
{
	struct rig t;

	rig_init(&t);
	INVALID(t.commit.l1_dirty.n_bits++);
	INVALID(t.commit.l1_dirty.words = NULL);
	INVALID(t.l1.entries = NULL);
	INVALID(t.commit.l1_dirty.words[0] = 1);
	INVALID(t.commit.l1_dirty.words[0] = UINT64_C(1) << 63);
	INVALID(t.commit.refs = NULL);
	INVALID(t.commit.file = NULL);
	rig_release(&t);
}

TEST(freed_runs_that_are_miscounted_are_noticed)
{
	struct rig t;

	rig_init(&t);
	add_freed(&t, 1 << 20);
	commit_validate(&t.commit);
	INVALID(t.commit.freed.n_clusters++);
	INVALID(t.commit.freed.n++);
	INVALID(t.commit.freed.n = t.commit.freed.capacity + 1);
	INVALID(t.commit.freed.list[0].n_clusters = 0);
	INVALID(t.commit.freed.list[0].host_off++);
	INVALID(t.commit.freed.list = NULL);
	rig_release(&t);
}

TEST(batches_that_are_out_of_order_are_noticed)
{
	struct rig t;

	rig_init(&t);
	for (uint64_t i = 1; i < 3; i++) {
		add_freed(&t, i << 20);
		assert_int_equal(
			freed_enqueue(&t.commit.batches, &t.commit.freed, i),
			0);
	}
	commit_validate(&t.commit);
	INVALID(t.commit.batches->ticket = 3);
	INVALID(t.commit.batches->next->ticket = 100);
	INVALID(t.commit.batches->freed.n = 0);
	ASSERT_ABORTS(freed_enqueue(&t.commit.batches, &t.commit.freed, 3));
	rig_release(&t);
}

TEST(an_epoch_that_lags_behind_nothing_is_noticed)
{
	struct epoch e = { 0 };

	epoch_validate(&e);
	ASSERT_ABORTS(e.lagging = true; epoch_validate(&e));
	ASSERT_ABORTS(e.entries.n = 1; epoch_validate(&e));
	ASSERT_ABORTS(e.refcounts.n = 1; epoch_validate(&e));
	ASSERT_ABORTS(e.freed.n_clusters = 1; epoch_validate(&e));
}

TEST(a_switch_whose_marks_are_set_is_noticed)
{
	struct l1_switch s;

	assert_int_equal(l1_switch_init(&s, 100, 1 << 20, NULL), 0);
	l1_switch_validate(&s);
	ASSERT_ABORTS(bitset_set(&s.dirty, 1); l1_switch_validate(&s));
	ASSERT_ABORTS(s.to.n_entries *= 2; l1_switch_validate(&s));
	ASSERT_ABORTS(s.to.entries = NULL; l1_switch_validate(&s));
	l1_switch_release(&s);
	l1_switch_validate(&s);
}

TEST(a_request_that_leaves_twice_is_noticed)
{
	struct grace g;
	struct grace_ref ref;

	grace_init(&g);
	ref = grace_enter(&g);
	grace_leave(ref);
	grace_validate(&g);
	ASSERT_ABORTS(ref.slot->left++; grace_validate(&g));
	ASSERT_ABORTS(grace_leave(ref));
	grace_release(&g);
}
