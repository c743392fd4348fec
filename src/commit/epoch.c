#include "commit/epoch.h"

#include <assert.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "commit/freed.h"
#include "store/store.h"

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

/* Refcounts are collected last and written first: a refcount that an entry
 * needs was changed before the entry was. */
int epoch_collect(struct commit *c, struct epoch *e, struct qcow2_error *err)
{
	int rc;

	/* "One epoch is under way at a time": nothing is being written. */
	assert(!c->l2.writing.n);
	e->ordered = c->ordered;
	c->ordered = false;
	e->freed = c->freed;
	c->turns.n_freed = e->freed.n_clusters;
	c->freed = (struct freed_list){ 0 };
	rc = dirty_collect(&c->l2, &e->entries, err);
	if (rc == 0)
		rc = collect_l1(c, &e->entries, err);
	e->lagging = c->mark_dirty && e->entries.n &&
		     !refcounts_is_clean(c->refs);
	if (rc == 0 && !refcounts_can_lag(c))
		rc = refcounts_collect(c->refs, &e->refcounts, err);
	return rc;
}

static int barrier(struct commit *c, struct qcow2_store *store,
		   struct qcow2_error *err)
{
	int rc = store_flush(store, err);

	if (rc < 0)
		commit_poison(c, rc);
	return rc;
}

int epoch_write(struct commit *c, struct epoch *e, struct qcow2_error *err)
{
	SCOPED_VALIDATE(epoch, e);
	int rc = c->settle_header ? c->settle_header(c->opaque, err) : 0;

	if (rc < 0)
		return rc;
	/* O28: the data file's bytes come before pointers to them. */
	if (c->data != c->file) {
		rc = barrier(c, c->data, err);
		if (rc < 0 || (!e->refcounts.n && !e->entries.n))
			return rc;
	}
	if (e->lagging)
		rc = c->mark_dirty(c->opaque, err);
	if (rc == 0)
		rc = writes_submit(&e->refcounts, c->file, err);
	if (rc == 0 && e->ordered && e->entries.n)
		rc = barrier(c, c->file, err);
	if (rc == 0)
		rc = writes_submit(&e->entries, c->file, err);
	if (rc == 0)
		rc = barrier(c, c->file, err);
	return rc;
}

/* Sectors of the L1 table that the epoch took are dirty again. */
static void restore_l1(struct commit *c, const struct writes *entries)
{
	uint64_t end = c->l1->host_off + c->l1->n_entries * L1_ENTRY_BYTES;

	for (size_t i = 0; i < entries->n; i++) {
		uint64_t off = entries->list[i].host_off;

		if (off < c->l1->host_off || off >= end)
			continue;
		bitset_set(&c->l1_dirty,
			   (off - c->l1->host_off) / SECTOR_BYTES);
		c->any_l1_dirty = true;
	}
}

/* Changes that were not written, or not wholly, wait for the next commit; freed
 * clusters wait too, since pointers to them may still be on the disk. */
static void restore(struct commit *c, struct epoch *e)
{
	refcounts_failed(c->refs);
	SCOPED_LOCK(&c->lock);
	dirty_failed(&c->l2);
	restore_l1(c, &e->entries);
	c->ordered |= e->ordered;
	freed_append(&c->freed, &e->freed);
	c->turns.n_freed = 0;
}

static void epoch_finish(struct commit *c, struct epoch *e)
{
	refcounts_written(c->refs);
	SCOPED_LOCK(&c->lock);
	dirty_written(&c->l2);
	if (e->freed.n)
		freed_enqueue(&c->batches, &e->freed, grace_ticket(c->grace));
	c->turns.n_freed = 0;
}

void epoch_end(struct commit *c, struct epoch *e, int rc)
{
	assert(rc <= 0);
	VALIDATE(epoch, e);
	if (rc < 0)
		restore(c, e);
	else
		epoch_finish(c, e);
	writes_release(&e->refcounts);
	writes_release(&e->entries);
	freed_list_release(&e->freed);
}
