#include "meta/commit.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/mutant.h"
#include "meta/freed.h"
#include "meta/writes.h"
#include "store/store.h"

enum { L1_PER_SECTOR = SECTOR_BYTES / L1_ENTRY_BYTES };

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

	return c->n_started + 1;
}

bool commit_covers(struct commit *c, uint64_t generation)
{
	SCOPED_LOCK(&c->lock);

	return c->n_completed >= generation;
}

/* ---- Changes ---------------------------------------------------------------- */

static int poisoned(const struct commit *c, struct qcow2_error *err)
{
	return error_set(err, c->poison,
			 "the image takes no more changes until it is opened "
			 "again: writing metadata failed, or it is corrupt");
}

int commit_check(struct commit *c, struct qcow2_error *err)
{
	if (c->refs->broken)
		commit_poison(c, c->refs->broken);
	return c->poison ? poisoned(c, err) : 0;
}

int commit_begin(struct commit *c, size_t n_freed, struct qcow2_error *err)
{
	int rc;

	mutex_lock(&c->lock);
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
	if (MUTANT(no_quarantine))
		refcounts_decrement(c->refs, freed.n_clusters,
				    freed.host_off >> c->geo->cluster_bits,
				    NULL);
	if (MUTANT(early_punch))
		store_zero(c->file, freed.n_clusters << c->geo->cluster_bits,
			   freed.host_off, QCOW2_STORE_UNMAP, NULL);
	if (!MUTANT(no_quarantine))
		freed_add(&c->freed, c->geo->cluster_bits, freed);
}

void commit_order(struct commit *c)
{
	c->ordered = !MUTANT(never_ordered);
}

void commit_end(struct commit *c)
{
	mutex_unlock(&c->lock);
}

void commit_poison(struct commit *c, int code)
{
	int none = 0;

	atomic_compare_exchange_strong(&c->poison, &none, code);
}

int commit_rewrite_l2(struct commit *c, const uint8_t *bytes, uint64_t len,
		      uint64_t host_off, struct qcow2_error *err)
{
	int rc = commit_check(c, err);

	if (rc < 0)
		return rc;
	rc = store_pwrite(c->file, bytes, len, host_off, 0, err);
	if (rc < 0) {
		commit_poison(c, rc);
		return rc;
	}
	cache_update(c->l2.cache, bytes, len, host_off);
	return 0;
}

bool commit_wanted(struct commit *c)
{
	SCOPED_LOCK(&c->lock);

	return c->l2.waiting.n > cache_capacity(c->l2.cache) / 2;
}

/* ---- One commit ------------------------------------------------------------- */

/* What one commit writes, taken at one moment. */
struct epoch {
	struct writes refcounts;
	struct writes entries;
	struct freed_list freed;
	bool ordered;
	bool lagging;    /* entries may come before the refcounts they need */
};

static int collect_l1(struct commit *c, struct writes *out,
		      struct qcow2_error *err)
{
	uint8_t sector[SECTOR_BYTES];

	for (uint64_t s = 0; c->any_l1_dirty && s < c->l1_dirty.n_bits; s++) {
		uint64_t first = s * L1_PER_SECTOR;
		uint64_t n = min_u64(L1_PER_SECTOR, c->l1->n_entries - first);
		int rc;

		if (!bitset_test(&c->l1_dirty, s))
			continue;
		for (uint64_t i = 0; i < n; i++)
			put_be64(sector + i * L1_ENTRY_BYTES,
				 c->l1->entries[first + i]);
		rc = writes_add(out, sector, (uint32_t)(n * L1_ENTRY_BYTES),
				c->l1->host_off + first * L1_ENTRY_BYTES, err);
		if (rc < 0)
			return rc;
		bitset_clear(&c->l1_dirty, s);
	}
	c->any_l1_dirty = false;
	return 0;
}

static bool refcounts_can_lag(const struct commit *c)
{
	return c->mark_dirty && !c->n_settling && !refcounts_wanted(c->refs);
}

/* Refcounts last: what the entries need was changed before the entries were. */
static int collect(struct commit *c, struct epoch *e, struct qcow2_error *err)
{
	int rc = dirty_collect(&c->l2, &e->entries, err);

	if (rc == 0)
		rc = collect_l1(c, &e->entries, err);
	e->lagging = c->mark_dirty && e->entries.n &&
		     !refcounts_is_clean(c->refs);
	if (rc == 0 && !refcounts_can_lag(c))
		rc = refcounts_collect(c->refs, &e->refcounts, err);
	e->ordered = c->ordered && e->entries.n;
	c->ordered = false;
	e->freed = c->freed;
	c->freed = (struct freed_list){ 0 };
	return rc;
}

static int write_epoch(struct commit *c, struct epoch *e,
		       struct qcow2_error *err)
{
	int rc = MUTANT(entries_first)
			 ? writes_submit(&e->entries, c->file, err)
			 : 0;

	/* O28: what the data file holds comes before what points to it. */
	if (c->data != c->file && !MUTANT(no_data_barrier)) {
		rc = store_flush(c->data, err);
		if (rc < 0 || (!e->refcounts.n && !e->entries.n))
			return rc;
	}
	if (rc == 0 && e->lagging && !MUTANT(dirty_bit_missing))
		rc = c->mark_dirty(c->opaque, err);
	if (rc == 0)
		rc = writes_submit(&e->refcounts, c->file, err);
	if (rc == 0 && e->ordered && !MUTANT(no_ordered_barrier))
		rc = store_flush(c->file, err);
	if (rc == 0)
		rc = writes_submit(&e->entries, c->file, err);
	if (rc == 0 && !MUTANT(no_final_barrier))
		rc = store_flush(c->file, err);
	return rc;
}

static int begin_epoch(struct commit *c, struct epoch *e,
		       struct qcow2_error *err)
{
	SCOPED_LOCK(&c->lock);
	int rc = commit_check(c, err);

	if (rc == 0)
		rc = collect(c, e, err);
	/* A collection that failed half-way has lost marks. */
	if (rc < 0)
		commit_poison(c, rc);
	return rc;
}

static void end_epoch(struct commit *c, struct epoch *e, int rc)
{
	refcounts_written(c->refs);
	mutex_lock(&c->lock);
	dirty_written(&c->l2);
	if (rc < 0)
		commit_poison(c, rc);
	if (rc == 0 && e->freed.n)
		rc = freed_enqueue(&c->batches, &e->freed,
				   grace_ticket(c->grace));
	mutex_unlock(&c->lock);
	writes_release(&e->refcounts);
	writes_release(&e->entries);
	freed_list_release(&e->freed);
}

/* Takes the batches off the list whose grace period is over. */
static struct freed_batch *take_over(struct commit *c)
{
	SCOPED_LOCK(&c->lock);
	struct freed_batch *b = c->batches;

	if (!b || !grace_is_over(c->grace, b->ticket))
		return NULL;
	c->batches = b->next;
	return b;
}

/* What was asked for is durable by now.  Clusters that cannot be given back for
 * want of memory or of a refcount block leak; only damage is worth failing. */
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

static int commit_run(struct commit *c, struct qcow2_error *err)
{
	struct epoch e = { 0 };
	int rc = begin_epoch(c, &e, err);

	if (rc == 0 && e.freed.n && MUTANT(free_before_entries)) {
		freed_enqueue(&c->batches, &e.freed, 0);
		release_freed(c, NULL);
	}
	if (rc == 0)
		rc = write_epoch(c, &e, err);
	end_epoch(c, &e, rc);
	return rc < 0 ? rc : release_freed(c, err);
}

/* ---- Flush ------------------------------------------------------------------ */

/* Waits for the commit that covers this caller, or becomes the one to run it:
 * true then. */
static bool wait_or_start(struct commit *c, uint64_t goal)
{
	while (c->n_completed < goal) {
		if (c->n_started == c->n_completed) {
			c->n_started++;
			return true;
		}
		pthread_cond_wait(&c->changed, &c->lock);
	}
	return false;
}

static int flush(struct commit *c, bool settle, struct qcow2_error *err)
{
	bool run;
	int rc = 0;

	mutex_lock(&c->lock);
	c->n_settling += settle;
	run = wait_or_start(c, c->n_started + 1);
	if (!run)
		rc = commit_check(c, err);
	mutex_unlock(&c->lock);
	if (run)
		rc = commit_run(c, err);
	mutex_lock(&c->lock);
	c->n_settling -= settle;
	c->n_completed += run;
	if (run)
		pthread_cond_broadcast(&c->changed);
	mutex_unlock(&c->lock);
	return rc;
}

int commit_flush(struct commit *c, struct qcow2_error *err)
{
	return flush(c, true, err);
}

int commit_flush_guest(struct commit *c, struct qcow2_error *err)
{
	return flush(c, false, err);
}

static bool is_clean(struct commit *c)
{
	SCOPED_LOCK(&c->lock);

	return c->l2.waiting.n == 0 && !c->any_l1_dirty && c->freed.n == 0 &&
	       !c->batches && refcounts_is_clean(c->refs);
}

int commit_drain(struct commit *c, struct qcow2_error *err)
{
	int rc;

	do {
		rc = commit_flush(c, err);
	} while (rc == 0 && !is_clean(c));
	return rc;
}
