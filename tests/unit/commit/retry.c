/*
 * D5: a commit on a host that has no room, or fails.
 */
#include "commit/commit.h"

#include "rig.h"

static void expect_poisoned(struct rig *t, int code)
{
	struct qcow2_error err = { 0 };

	fault_arm(&t->fault, NULL);
	assert_int_equal(commit_flush(&t->commit, &err), code);
	assert_int_equal(err.code, code);
	assert_int_equal(commit_begin(&t->commit, 0, NULL), code);
	assert_int_equal(commit_check(&t->commit, NULL), code);
	assert_int_equal(commit_drain(&t->commit, NULL), code);
}

static void fail_with(struct rig *t, enum store_op op, uint64_t nth, int code)
{
	struct fault_plan p = { .ops = FAULT_ON(op), .nth = nth, .code = code };

	fault_arm(&t->fault, &p);
}

TEST(a_failed_rewrite_goes_with_the_next_commit)
{
	uint8_t bytes[1024] = { 0 };
	struct slice *s;
	struct rig t;
	uint64_t off;

	rig_init(&t);
	s = rig_new_table(&t, &off);
	put_be64(bytes + 24, 0x5000 | ENTRY_COPIED);
	put_be64(bytes + 1016, 0x6000);
	fail_with(&t, STORE_OP_WRITE, 1, -ENOSPC);
	assert_int_equal(
		commit_rewrite_l2(&t.commit, bytes, sizeof(bytes), off, NULL),
		-ENOSPC);
	assert_int_equal(get_be64(s->data + 24), 0x5000 | ENTRY_COPIED);
	rig_flush(&t);
	assert_int_equal(rig_read64(&t, off + 24), 0x5000 | ENTRY_COPIED);
	cache_put(&t.l2, s);
	rig_release(&t);
}

/* D5: everything that one commit writes: refcounts, an L2 slice, an L1
 * sector. */
static struct slice *change_all(struct rig *t, uint64_t *off)
{
	struct claim c = rig_claim(t, 1);
	struct slice *s = rig_new_table(t, off);

	rig_set_entry(t, s, 2, 0x5000 | ENTRY_COPIED, true);
	assert_int_equal(commit_begin(&t->commit, 1, NULL), 0);
	commit_set_l1(&t->commit, 1, *off | ENTRY_COPIED);
	commit_free(&t->commit, (struct freed){ c.host_off, 1, false });
	commit_end(&t->commit);
	return s;
}

/* Refcounts, a barrier, entries, a barrier: as if nothing had failed. */
static void expect_whole_commit(struct rig *t, size_t from, uint64_t off)
{
	unsigned writes = 0, behind = 0;

	assert_int_equal(rig_events(t, from, STORE_OP_FLUSH), 2);
	for (size_t i = from; i < record_n_events(t->log); i++) {
		const struct record_event *ev = record_event(t->log, i);
		bool entry = ev->off == off || ev->off == t->l1.host_off;

		behind += ev->op == STORE_OP_FLUSH;
		if (ev->op != STORE_OP_WRITE)
			continue;
		writes++;
		assert_int_equal(behind, entry);
	}
	assert_true(writes >= 3);
	assert_int_equal(rig_read64(t, off + 16), 0x5000 | ENTRY_COPIED);
	assert_int_equal(rig_read64(t, t->l1.host_off + 8), off | ENTRY_COPIED);
}

/* D5: the n-th write finds no room; all of it is written again, in order. */
TEST(a_failed_write_is_tried_again_by_the_next_flush)
{
	static const int codes[] = { -ENOSPC, -EDQUOT, -EFBIG, -EIO };

	for (unsigned i = 0; i < 16; i++) {
		struct qcow2_error err = { 0 };
		uint64_t off, nth = 1 + i / 4;
		int code = codes[i % 4];
		struct slice *s;
		struct rig t;
		size_t from;

		rig_init(&t);
		s = change_all(&t, &off);
		fail_with(&t, STORE_OP_WRITE, nth, code);
		if (commit_flush(&t.commit, &err) == 0) {
			assert_int_equal(fault_fired(&t.fault), 0);
			assert_true(nth > 3);
		} else {
			assert_int_equal(err.code, code);
			assert_non_null(strstr(err.message, "tries again"));
			assert_int_equal(commit_check(&t.commit, NULL), 0);
			from = record_n_events(t.log);
			rig_flush(&t);
			expect_whole_commit(&t, from, off);
		}
		cache_put(&t.l2, s);
		rig_release(&t);
	}
}

TEST(a_commit_that_failed_makes_nothing_durable)
{
	uint64_t generation, off;
	struct slice *s;
	struct rig t;

	rig_init(&t);
	s = change_all(&t, &off);
	generation = commit_generation(&t.commit);
	for (unsigned i = 0; i < 3; i++) {
		fail_with(&t, STORE_OP_WRITE, 1, -ENOSPC);
		assert_int_equal(commit_flush(&t.commit, NULL), -ENOSPC);
		assert_false(commit_covers(&t.commit, generation));
	}
	rig_flush(&t);
	assert_true(commit_covers(&t.commit, generation));
	cache_put(&t.l2, s);
	rig_release(&t);
}

/* Its pointers may still be on the disk. */
TEST(what_was_freed_waits_until_a_commit_succeeds)
{
	struct claim c;
	struct slice *s;
	struct rig t;
	uint64_t off;

	rig_init(&t);
	c = rig_claim(&t, 2);
	s = rig_new_table(&t, &off);
	for (unsigned i = 0; i < 2; i++) {
		uint64_t host_off = c.host_off + i * RIG_CLUSTER;

		rig_set_entry(&t, s, i, 0, false);
		assert_int_equal(commit_begin(&t.commit, 1, NULL), 0);
		commit_free(&t.commit, (struct freed){ host_off, 1, false });
		commit_end(&t.commit);
		fail_with(&t, STORE_OP_WRITE, 1, -ENOSPC);
		assert_int_equal(commit_flush(&t.commit, NULL), -ENOSPC);
		assert_int_equal(rig_count(&t, host_off), 1);
	}
	rig_flush(&t);
	assert_int_equal(rig_count(&t, c.host_off), 0);
	assert_int_equal(rig_count(&t, c.host_off + RIG_CLUSTER), 0);
	cache_put(&t.l2, s);
	rig_release(&t);
}

/* All changes arrive that come while nothing can be written. */
TEST(changes_after_a_failed_write_arrive_too)
{
	struct slice *s;
	struct rig t;
	uint64_t off;

	rig_init(&t);
	s = change_all(&t, &off);
	fail_with(&t, STORE_OP_WRITE, 2, -ENOSPC);
	assert_int_equal(commit_flush(&t.commit, NULL), -ENOSPC);
	rig_set_entry(&t, s, 2, 0x9000 | ENTRY_COPIED, false);
	rig_set_entry(&t, s, 7, 0x7000 | ENTRY_COPIED, false);
	rig_flush(&t);
	assert_int_equal(rig_read64(&t, off + 16), 0x9000 | ENTRY_COPIED);
	assert_int_equal(rig_read64(&t, off + 56), 0x7000 | ENTRY_COPIED);
	assert_int_equal(rig_read64(&t, t.l1.host_off + 8), off | ENTRY_COPIED);
	cache_put(&t.l2, s);
	rig_release(&t);
}

/* Changes that could not be written must not grow without limit. */
TEST(room_is_made_before_more_becomes_dirty)
{
	struct slice *s;
	struct rig t;
	uint64_t off;

	rig_init(&t);
	cache_release(&t.l2);
	assert_int_equal(cache_init(&t.l2, t.file, 2 * 512, 512, NULL), 0);
	s = rig_new_table(&t, &off);
	rig_set_entry(&t, s, 0, 0x5000, false);
	cache_put(&t.l2, s);
	assert_int_equal(cache_get(&t.l2, off + 512, off + 1024, 0, &s, NULL),
			 0);
	rig_set_entry(&t, s, 0, 0x6000, false);
	cache_put(&t.l2, s);
	assert_true(commit_wanted(&t.commit));
	assert_int_equal(commit_make_room(&t.commit, NULL), 0);
	assert_true(commit_wanted(&t.commit));
	fail_with(&t, STORE_OP_WRITE, 1, -ENOSPC);
	assert_int_equal(commit_flush(&t.commit, NULL), -ENOSPC);
	fail_with(&t, STORE_OP_WRITE, 1, -ENOSPC);
	assert_int_equal(commit_make_room(&t.commit, NULL), -ENOSPC);
	assert_int_equal(commit_make_room(&t.commit, NULL), 0);
	assert_false(commit_wanted(&t.commit));
	rig_release(&t);
}

TEST(a_failed_barrier_is_final)
{
	for (unsigned nth = 1; nth <= 2; nth++) {
		struct slice *s;
		struct rig t;
		uint64_t off;

		rig_init(&t);
		s = change_all(&t, &off);
		rig_fail(&t, STORE_OP_FLUSH, nth);
		assert_int_equal(commit_flush(&t.commit, NULL), -EIO);
		expect_poisoned(&t, -EIO);
		cache_put(&t.l2, s);
		rig_release(&t);
	}
}
