#include "commit/commit.h"

#include "rig.h"

TEST(nothing_is_written_before_a_flush)
{
	struct slice *s;
	struct rig t;
	uint64_t off;
	size_t from;

	rig_init(&t);
	s = rig_new_table(&t, &off);
	from = record_n_events(t.log);
	rig_set_entry(&t, s, 3, 0x5000 | ENTRY_COPIED, false);
	assert_int_equal(record_n_events(t.log), from);
	assert_int_equal(get_be64(s->data + 24), 0x5000 | ENTRY_COPIED);
	rig_flush(&t);
	assert_int_equal(rig_read64(&t, off + 24), 0x5000 | ENTRY_COPIED);
	cache_put(&t.l2, s);
	rig_release(&t);
}

TEST(a_flush_is_one_barrier)
{
	struct slice *s;
	struct rig t;
	uint64_t off;
	size_t from;

	rig_init(&t);
	s = rig_new_table(&t, &off);
	rig_set_entry(&t, s, 0, 0x5000 | ENTRY_COPIED, false);
	from = record_n_events(t.log);
	rig_flush(&t);
	assert_int_equal(rig_events(&t, from, STORE_OP_FLUSH), 1);
	assert_int_equal(record_event(t.log, record_n_events(t.log) - 1)->op,
			 STORE_OP_FLUSH);
	cache_put(&t.l2, s);
	rig_release(&t);
}

/* A commit knows nothing of data that was overwritten in place. */
TEST(a_flush_with_nothing_to_write_is_a_barrier_too)
{
	struct rig t;
	size_t from;

	rig_init(&t);
	for (unsigned i = 0; i < 3; i++) {
		from = record_n_events(t.log);
		rig_flush(&t);
		assert_int_equal(record_n_events(t.log), from + 1);
		assert_int_equal(rig_events(&t, from, STORE_OP_FLUSH), 1);
	}
	rig_release(&t);
}

TEST(ordered_entries_come_after_refcounts_and_a_barrier)
{
	const struct record_event *first, *second;
	struct slice *s;
	struct rig t;
	uint64_t off;
	size_t from;

	rig_init(&t);
	s = rig_new_table(&t, &off);
	rig_set_entry(&t, s, 0, 0x5000 | ENTRY_COPIED, true);
	from = record_n_events(t.log);
	rig_flush(&t);
	assert_int_equal(record_n_events(t.log), from + 4);
	first = record_event(t.log, from);
	second = record_event(t.log, from + 2);
	assert_int_equal(first->op, STORE_OP_WRITE);
	assert_int_not_equal(first->off, off);
	assert_int_equal(record_event(t.log, from + 1)->op, STORE_OP_FLUSH);
	assert_int_equal(second->op, STORE_OP_WRITE);
	assert_int_equal(second->off, off);
	assert_int_equal(record_event(t.log, from + 3)->op, STORE_OP_FLUSH);
	/* It is forgotten afterwards. */
	from = record_n_events(t.log);
	rig_set_entry(&t, s, 1, 0x6000 | ENTRY_COPIED, false);
	rig_flush(&t);
	assert_int_equal(rig_events(&t, from, STORE_OP_FLUSH), 1);
	cache_put(&t.l2, s);
	rig_release(&t);
}

TEST(the_data_files_barrier_comes_first)
{
	CLEANUP_STORE struct qcow2_store *data = NULL;
	struct slice *s;
	struct rig t;
	uint64_t off;
	uint32_t number;
	size_t from;

	rig_init(&t);
	assert_int_equal(record_store_new(t.log, t.mem, &number, &data), 0);
	t.commit.data = data;
	s = rig_new_table(&t, &off);
	rig_set_entry(&t, s, 0, 0x5000 | ENTRY_COPIED, false);
	from = record_n_events(t.log);
	rig_flush(&t);
	assert_int_equal(record_event(t.log, from)->op, STORE_OP_FLUSH);
	assert_int_equal(record_event(t.log, from)->file, number);
	from = record_n_events(t.log);
	rig_flush(&t);
	assert_int_equal(record_n_events(t.log), from + 1);
	assert_int_equal(record_event(t.log, from)->file, number);
	cache_put(&t.l2, s);
	rig_release(&t);
}

TEST(an_l1_entry_is_written_with_its_sector)
{
	struct rig t;
	size_t from;

	rig_init(&t);
	assert_int_equal(commit_begin(&t.commit, 0, NULL), 0);
	commit_set_l1(&t.commit, 1, 0x7000 | ENTRY_COPIED);
	commit_end(&t.commit);
	from = record_n_events(t.log);
	rig_flush(&t);
	assert_int_equal(rig_read64(&t, t.l1.host_off + 8),
			 0x7000 | ENTRY_COPIED);
	assert_int_equal(rig_events(&t, from, STORE_OP_WRITE), 1);
	from = record_n_events(t.log);
	rig_flush(&t);
	assert_int_equal(rig_events(&t, from, STORE_OP_WRITE), 0);
	rig_release(&t);
}

TEST(both_words_of_an_extended_entry_are_set)
{
	struct slice *s;
	struct rig t;
	uint64_t off;

	rig_init_with(&t, 16384, 16, QCOW2_CREATE_EXTENDED_L2);
	s = rig_new_table(&t, &off);
	assert_int_equal(commit_begin(&t.commit, 0, NULL), 0);
	commit_set_l2(&t.commit, s, 2,
		      (struct l2_entry){ 0x8000 | ENTRY_COPIED, 5 });
	commit_end(&t.commit);
	assert_int_equal(s->seq % 2, 0);
	assert_int_not_equal(s->seq, 0);
	rig_flush(&t);
	assert_int_equal(rig_read64(&t, off + 32), 0x8000 | ENTRY_COPIED);
	assert_int_equal(rig_read64(&t, off + 40), 5);
	cache_put(&t.l2, s);
	rig_release(&t);
}

TEST(what_is_freed_keeps_its_refcount_until_the_removal_is_durable)
{
	struct claim c;
	struct rig t;

	rig_init(&t);
	c = rig_claim(&t, 1);
	assert_int_equal(commit_begin(&t.commit, 1, NULL), 0);
	commit_free(&t.commit, (struct freed){ c.host_off, 1, false });
	commit_end(&t.commit);
	assert_int_equal(rig_count(&t, c.host_off), 1);
	rig_flush(&t);
	assert_int_equal(rig_count(&t, c.host_off), 0);
	rig_release(&t);
}

TEST(and_while_a_request_from_before_is_under_way)
{
	struct grace_ref ref;
	struct claim c;
	struct rig t;

	rig_init(&t);
	c = rig_claim(&t, 1);
	ref = grace_enter(&t.grace);
	assert_int_equal(commit_begin(&t.commit, 1, NULL), 0);
	commit_free(&t.commit, (struct freed){ c.host_off, 1, false });
	commit_end(&t.commit);
	rig_flush(&t);
	rig_flush(&t);
	assert_int_equal(rig_count(&t, c.host_off), 1);
	grace_leave(ref);
	rig_flush(&t);
	assert_int_equal(rig_count(&t, c.host_off), 0);
	rig_release(&t);
}

TEST(draining_leaves_nothing_dirty_or_waiting)
{
	struct claim c;
	struct rig t;

	rig_init(&t);
	c = rig_claim(&t, 1);
	assert_int_equal(commit_begin(&t.commit, 1, NULL), 0);
	commit_free(&t.commit, (struct freed){ c.host_off, 1, false });
	commit_end(&t.commit);
	assert_int_equal(commit_drain(&t.commit, NULL), 0);
	assert_true(refcounts_is_clean(&t.refs));
	assert_null(t.commit.batches);
	assert_int_equal(t.commit.freed.n, 0);
	rig_release(&t);
}

TEST(a_generation_is_covered_by_the_next_commit)
{
	uint64_t generation;
	struct rig t;

	rig_init(&t);
	generation = commit_generation(&t.commit);
	assert_false(commit_covers(&t.commit, generation));
	rig_flush(&t);
	assert_true(commit_covers(&t.commit, generation));
	assert_false(commit_covers(&t.commit, commit_generation(&t.commit)));
	rig_release(&t);
}

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

TEST(rewritten_tables_are_in_the_file_and_in_the_cache)
{
	uint8_t bytes[1024] = { 0 };
	struct slice *s;
	struct rig t;
	uint64_t off;

	rig_init(&t);
	s = rig_new_table(&t, &off);
	put_be64(bytes + 24, 0x5000 | ENTRY_COPIED);
	put_be64(bytes + 1016, 0x6000);
	assert_int_equal(
		commit_rewrite_l2(&t.commit, bytes, sizeof(bytes), off, NULL),
		0);
	assert_int_equal(rig_read64(&t, off + 24), 0x5000 | ENTRY_COPIED);
	assert_int_equal(rig_read64(&t, off + 1016), 0x6000);
	assert_int_equal(get_be64(s->data + 24), 0x5000 | ENTRY_COPIED);
	cache_put(&t.l2, s);
	rig_release(&t);
}

TEST(the_first_poison_stays)
{
	struct rig t;

	rig_init(&t);
	commit_poison(&t.commit, -ENOSPC);
	commit_poison(&t.commit, -EIO);
	expect_poisoned(&t, -ENOSPC);
	rig_release(&t);
}

TEST(refcounts_that_cannot_grow_poison_too)
{
	struct rig t;

	rig_init(&t);
	t.refs.broken = -EIO;
	expect_poisoned(&t, -EIO);
	rig_release(&t);
}

TEST(clusters_that_cannot_be_given_back_leak)
{
	struct claim c;
	struct rig t;

	rig_init(&t);
	c = rig_claim(&t, 1);
	rig_flush(&t);
	cache_release(&t.refs.blocks);
	assert_int_equal(
		cache_init(&t.refs.blocks, t.file, 1 << 20, 4096, NULL), 0);
	assert_int_equal(commit_begin(&t.commit, 1, NULL), 0);
	commit_free(&t.commit, (struct freed){ c.host_off, 1, false });
	commit_end(&t.commit);
	rig_fail(&t, STORE_OP_READ, 1);
	rig_flush(&t);
	assert_int_equal(fault_fired(&t.fault), 1);
	rig_flush(&t);
	assert_int_equal(rig_count(&t, c.host_off), 1);
	rig_release(&t);
}

TEST(damage_found_while_freeing_is_told)
{
	struct qcow2_error err = { 0 };
	struct rig t;

	rig_init(&t);
	assert_int_equal(commit_begin(&t.commit, 1, NULL), 0);
	commit_free(&t.commit, (struct freed){ 40 * RIG_CLUSTER, 1, false });
	commit_end(&t.commit);
	assert_int_equal(commit_flush(&t.commit, &err), -EIO);
	assert_int_not_equal(err.defect, 0);
	expect_poisoned(&t, -EIO);
	rig_release(&t);
}

/* Flushes of many threads: each must be covered by a barrier that began after
 * it was asked for. */
enum { FLUSHERS = 4, FLUSHES = 300 };

struct flusher {
	struct rig *t;
	_Atomic unsigned *failures;
};

static void *flush_often(void *opaque)
{
	const struct flusher *f = opaque;

	for (unsigned i = 0; i < FLUSHES; i++) {
		uint64_t before = record_now(f->t->log);
		size_t from = record_n_events(f->t->log);
		bool covered = false;

		if (commit_flush(&f->t->commit, NULL) < 0)
			++*f->failures;
		for (size_t k = from; k < record_n_events(f->t->log); k++) {
			struct record_event ev = record_copy(f->t->log, k);

			covered |= ev.op == STORE_OP_FLUSH &&
				   ev.began >= before && ev.rc == 0;
		}
		*f->failures += !covered;
	}
	return NULL;
}

TEST(concurrent_flushes_share_barriers_that_cover_them)
{
	_Atomic unsigned failures = 0;
	pthread_t threads[FLUSHERS];
	struct rig t;
	struct flusher f = { &t, &failures };

	rig_init(&t);
	for (unsigned i = 0; i < FLUSHERS; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, flush_often, &f), 0);
	for (unsigned i = 0; i < FLUSHERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(failures, 0);
	assert_true(rig_events(&t, 0, STORE_OP_FLUSH) <= FLUSHERS * FLUSHES);
	rig_release(&t);
}
