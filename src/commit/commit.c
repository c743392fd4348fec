#include "commit/commit.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "commit/epoch.h"
#include "commit/freed.h"
#include "store/store.h"

enum {
	QUARANTINE_BYTES = 64 * 1024 * 1024,
	QUARANTINE_SHARE = 8,
	QUARANTINE_RUNS = 16384,
};

int commit_init(struct commit *c, struct cache *l2, struct qcow2_error *err)
{
	uint64_t sectors = div_round_up(c->l1->n_entries, L1_PER_SECTOR);

	dirty_init(&c->l2, l2);
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->changed, NULL);
	if (!bitset_init(&c->l1_dirty, sectors))
		return error_nomem(err, "the marks of the L1 table",
				   sectors / 8);
	return 0;
}

void commit_release(struct commit *c)
{
	dirty_release(&c->l2);
	freed_list_release(&c->freed);
	freed_batches_release(&c->batches);
	bitset_release(&c->l1_dirty);
	pthread_cond_destroy(&c->changed);
	pthread_mutex_destroy(&c->lock);
}

/* A change that is visible now is collected by the next commit to start. */
uint64_t commit_generation(struct commit *c)
{
	SCOPED_LOCK(&c->lock);

	return c->turns.started + 1;
}

bool commit_covers(struct commit *c, uint64_t generation)
{
	SCOPED_LOCK(&c->lock);

	return c->turns.durable >= generation;
}

/* ---- Changes ------------------------------------------------------------- */

int commit_poisoned(const struct commit *c)
{
	int broken = refcounts_broken(c->refs);

	return broken ? broken : c->poison;
}

static int poisoned(const struct commit *c, struct qcow2_error *err)
{
	return error_set(
		err, c->poison,
		"the image takes no more changes until it is opened "
		"again: the file could not be flushed, or the image is "
		"corrupt");
}

int commit_check(struct commit *c, struct qcow2_error *err)
{
	int broken = refcounts_broken(c->refs);

	if (broken)
		commit_poison(c, broken);
	return c->poison ? poisoned(c, err) : 0;
}

int commit_begin(struct commit *c, uint64_t n_freed, struct qcow2_error *err)
{
	int rc;

	mutex_lock(&c->lock);
	VALIDATE(commit, c);
	rc = commit_check(c, err);
	if (rc == 0)
		rc = dirty_reserve(&c->l2, err);
	if (rc == 0)
		rc = freed_reserve(&c->freed, n_freed, err);
	if (rc < 0)
		mutex_unlock(&c->lock);
	return rc;
}

/* Readers look at entries without a lock: one word is stored whole, two words
 * under the slice's sequence number. */
void commit_set_l2(struct commit *c, struct slice *s, uint64_t index,
		   struct l2_entry e)
{
	_Atomic uint64_t *word =
		(_Atomic uint64_t *)(void *)(s->data +
					     index * c->geo->l2_entry_bytes);
	uint8_t raw[8];
	uint64_t v;

	assert((index + 1) * c->geo->l2_entry_bytes <=
	       c->l2.cache->slice_bytes);
	dirty_mark(&c->l2, s);
	if (c->geo->extended_l2)
		atomic_fetch_add(&s->seq, 1);
	put_be64(raw, e.desc);
	memcpy(&v, raw, sizeof(v));
	atomic_store_explicit(&word[0], v, memory_order_release);
	if (!c->geo->extended_l2)
		return;
	put_be64(raw, e.bitmap);
	memcpy(&v, raw, sizeof(v));
	atomic_store_explicit(&word[1], v, memory_order_release);
	atomic_fetch_add(&s->seq, 1);
}

void commit_set_l1(struct commit *c, uint64_t index, uint64_t entry)
{
	assert(index < c->l1->n_entries);
	atomic_store_explicit(&c->l1->entries[index], entry,
			      memory_order_release);
	bitset_set(&c->l1_dirty, index / L1_PER_SECTOR);
	c->any_l1_dirty = true;
}

void commit_free(struct commit *c, struct freed freed)
{
	freed_add(&c->freed, c->geo->cluster_bits, freed);
}

void commit_order(struct commit *c)
{
	c->ordered = true;
}

void commit_end(struct commit *c)
{
	VALIDATE(commit, c);
	mutex_unlock(&c->lock);
}

void commit_poison(struct commit *c, int code)
{
	int none = 0;

	assert(code < 0);
	atomic_compare_exchange_strong(&c->poison, &none, code);
}

static int mark_slice(struct commit *c, struct slice *s)
{
	SCOPED_LOCK(&c->lock);
	SCOPED_VALIDATE(commit, c);
	int rc = dirty_reserve(&c->l2, NULL);

	if (rc == 0)
		dirty_mark(&c->l2, s);
	return rc;
}

/* Sectors of the range may be old or new; from now on it is what is in the
 * cache.  A slice that is not there comes from the file, where nobody but the
 * failed write has been, so both are right. */
static void rewrite_later(struct commit *c, int code, uint64_t len,
			  uint64_t host_off)
{
	struct cache *l2 = c->l2.cache;

	for (uint64_t at = 0; at < len; at += l2->slice_bytes) {
		struct slice *s;
		int rc = cache_get(l2, host_off + at,
				   host_off + at + l2->slice_bytes, 0, &s,
				   NULL);

		if (rc == 0) {
			rc = mark_slice(c, s);
			cache_put(l2, s);
		}
		if (rc < 0)
			commit_poison(c, code);
	}
}

int commit_rewrite_l2(struct commit *c, const uint8_t *bytes, uint64_t len,
		      uint64_t host_off, struct qcow2_error *err)
{
	int rc = commit_check(c, err);

	if (rc < 0)
		return rc;
	rc = store_pwrite(c->file, bytes, to_size(len), host_off, 0, err);
	cache_update(c->l2.cache, bytes, len, host_off);
	if (rc < 0)
		rewrite_later(c, rc, len, host_off);
	return rc;
}

/* Clusters in quarantine take space in the file that nobody can use: no more
 * than a share of the file, or so much that a barrier is cheap beside it.  A
 * run can cost a slice of refcounts when it is given back. */
static bool quarantine_is_full(const struct commit *c)
{
	uint64_t bytes = c->freed.n_clusters << c->geo->cluster_bits;
	uint64_t file = refcounts_high_water(c->refs);

	return bytes >= max_u64(QUARANTINE_BYTES, file / QUARANTINE_SHARE) ||
	       c->freed.n >= QUARANTINE_RUNS;
}

bool commit_wanted(struct commit *c)
{
	SCOPED_LOCK(&c->lock);
	SCOPED_VALIDATE(commit, c);

	return c->l2.waiting.n > cache_capacity(c->l2.cache) / 2 ||
	       refcounts_wanted(c->refs) || quarantine_is_full(c);
}

int commit_make_room(struct commit *c, struct qcow2_error *err)
{
	return c->turns.failed && commit_wanted(c) ? commit_flush_guest(c, err)
						   : 0;
}

/* ---- One commit ---------------------------------------------------------- */

static int begin_epoch(struct commit *c, struct epoch *e,
		       struct qcow2_error *err)
{
	SCOPED_LOCK(&c->lock);
	int rc = commit_check(c, err);

	return rc < 0 ? rc : epoch_collect(c, e, err);
}

/* Takes the batches off the list whose grace period is over. */
static struct freed_batch *take_over(struct commit *c)
{
	SCOPED_LOCK(&c->lock);
	SCOPED_VALIDATE(commit, c);
	struct freed_batch *b = c->batches;

	if (!b || !grace_is_over(c->grace, b->ticket))
		return NULL;
	c->batches = b->next;
	return b;
}

/* The commit that was asked for is durable by now.  Clusters that cannot be
 * given back for want of memory or of a refcount block leak; only damage is
 * worth failing. */
static int release_freed(struct commit *c, struct qcow2_error *err)
{
	struct freed_batch *b;
	struct qcow2_error why = { 0 };

	while (!why.defect && (b = take_over(c))) {
		freed_batch_finish(b, c->refs, &why);
		freed_batch_free(b);
	}
	if (!why.defect)
		return 0;
	commit_poison(c, why.code);
	if (err)
		*err = why;
	return why.code;
}

/* Said once, where it can be acted on. */
static int explain(const struct commit *c, int rc, struct qcow2_error *err)
{
	if (rc == 0 || c->poison)
		return rc;
	return error_prefix(err, rc,
			    "metadata could not be written; nothing is lost, "
			    "and the next flush tries again");
}

static int commit_run(struct commit *c, struct qcow2_error *err)
{
	struct epoch e = { 0 };
	int rc = begin_epoch(c, &e, err);

	if (rc == 0)
		rc = epoch_write(c, &e, err);
	epoch_end(c, &e, rc);
	return rc < 0 ? explain(c, rc, err) : release_freed(c, err);
}

/* ---- Flush --------------------------------------------------------------- */

/* Waits for the commit that covers this caller, or becomes the one to run it:
 * true then. */
static bool wait_or_start(struct commit *c, uint64_t goal)
{
	while (c->turns.completed < goal) {
		if (c->turns.started == c->turns.completed) {
			c->turns.started++;
			return true;
		}
		pthread_cond_wait(&c->changed, &c->lock);
	}
	return false;
}

/* Somebody else's commit covered this caller, or failed to. */
static int result_of(struct commit *c, uint64_t goal, struct qcow2_error *err)
{
	int rc = commit_check(c, err);

	if (rc < 0 || c->turns.durable >= goal)
		return rc;
	return error_set(err, c->turns.failed,
			 "metadata could not be written; nothing is lost, and "
			 "the next flush tries again");
}

static void commit_end_run(struct commit *c, int rc)
{
	assert(c->turns.started == c->turns.completed + 1);
	c->turns.completed++;
	c->turns.failed = rc;
	if (rc == 0)
		c->turns.durable = c->turns.completed;
	pthread_cond_broadcast(&c->changed);
}

static int commit_flush_locked(struct commit *c, bool settle,
			       struct qcow2_error *err)
{
	uint64_t goal;
	bool run;
	int rc = 0;

	mutex_lock(&c->lock);
	VALIDATE(commit, c);
	c->n_settling += settle;
	goal = c->turns.started + 1;
	run = wait_or_start(c, goal);
	if (!run)
		rc = result_of(c, goal, err);
	mutex_unlock(&c->lock);
	if (run)
		rc = commit_run(c, err);
	mutex_lock(&c->lock);
	assert(c->n_settling >= settle);
	c->n_settling -= settle;
	if (run)
		commit_end_run(c, rc);
	VALIDATE(commit, c);
	mutex_unlock(&c->lock);
	return rc;
}

int commit_flush(struct commit *c, struct qcow2_error *err)
{
	return commit_flush_locked(c, true, err);
}

int commit_flush_guest(struct commit *c, struct qcow2_error *err)
{
	return commit_flush_locked(c, false, err);
}

static bool is_clean(struct commit *c)
{
	SCOPED_LOCK(&c->lock);
	SCOPED_VALIDATE(commit, c);

	return c->l2.waiting.n == 0 && !c->any_l1_dirty && c->freed.n == 0 &&
	       !c->batches && refcounts_is_clean(c->refs);
}

/* With the lock held: waiting for a commit, in one, or for readers. */
static uint64_t count_waiting(const struct commit *c)
{
	uint64_t n = c->freed.n_clusters + c->turns.n_freed;

	for (const struct freed_batch *b = c->batches; b; b = b->next)
		n += b->freed.n_clusters;
	return n;
}

void commit_get_stats(struct commit *c, struct qcow2_stats *out)
{
	SCOPED_LOCK(&c->lock);

	out->commits = c->turns.completed;
	out->waiting_bytes = count_waiting(c) << c->geo->cluster_bits;
	out->dirty_bytes = dirty_bytes(&c->l2) +
			   bitset_count(&c->l1_dirty) * SECTOR_BYTES +
			   refcounts_dirty_bytes(c->refs);
}

int commit_drain(struct commit *c, struct qcow2_error *err)
{
	int rc;

	do {
		rc = commit_flush(c, err);
	} while (rc == 0 && !is_clean(c));
	return rc;
}
