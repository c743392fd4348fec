/*
 * Commit: the only code that writes L1 and L2 entries, and with commit/epoch.c
 * the only place that knows in which order metadata reaches the disk.
 *
 * Writers change metadata in memory, under commit.lock, and go on.  A commit
 * takes what has changed so far and writes it:
 *
 *   1. the external data file's barrier; increments of refcounts
 *      -> barrier, unless every entry below may come first (see `ordered`)
 *   2. L2 slices and L1 sectors
 *      -> barrier; the flush that asked for the commit is done
 *   3. freed space waits for its grace period, is punched if the policy
 *      says so, and loses its refcount; that reaches the disk with a later
 *      commit
 *
 * One commit runs at a time; flushes that come meanwhile share the next one.
 *
 * When a write fails, everything that the commit took is as dirty as before,
 * and the next commit writes all of it again, in the same order: the disk
 * meanwhile has one of the states that a crash could have left, since nothing
 * that comes behind a barrier was begun before the barrier was complete.  When
 * a barrier fails, or damage is found, the image is poisoned: the contents of
 * the disk are no longer known, and every later commit fails with the same
 * error.
 *
 * Lock order: commit.lock, then refcounts.lock, then cache shards.
 */
#ifndef COMMIT_COMMIT_H
#define COMMIT_COMMIT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/bitset.h"
#include "base/validate.h"
#include "cache/dirty.h"
#include "commit/grace.h"
#include "counts/refcounts.h"
#include "format/geometry.h"
#include "format/l2.h"

/* Host clusters that lost a reference. */
struct freed {
	uint64_t host_off; /* cluster aligned */
	uint64_t n_clusters;
	bool punch; /* give the space back once nobody needs it */
};

struct freed_list {
	struct freed *list;
	size_t n;
	size_t capacity;
	uint64_t n_clusters; /* of all of them */
};

VALIDATOR(freed_list);

/* The clusters that one commit freed, or the memory of an L1 table that was
 * replaced, until their grace period is over. */
struct freed_batch {
	struct freed_batch *next;
	uint64_t ticket;
	struct freed_list freed;
	_Atomic uint64_t *l1; /* NULL: none */
};

/*
 * The L1 table in memory, as entries that may be read without a lock.  A longer
 * one can take its place meanwhile: its entries come first, so a reader that
 * sees how many there are sees that many.  The old ones stay for a grace
 * period.
 */
struct l1_table {
	_Atomic uint64_t *_Atomic entries;
	_Atomic uint64_t n_entries;
	uint64_t host_off;
};

/* Entries of one sector of it, the unit in which it is written. */
enum { L1_PER_SECTOR = SECTOR_BYTES / L1_ENTRY_BYTES };

/* Commits are numbered in the order in which they run. */
struct commit_turns {
	uint64_t started;
	uint64_t completed;
	uint64_t durable;   /* the last of them that succeeded */
	uint64_t n_freed;   /* clusters whose removal the one that runs makes
				       * durable */
	_Atomic int failed; /* -errno of the last one, 0; read without
				       * the lock too */
};

struct commit {
	const struct geometry *geo;
	struct qcow2_store *file; /* all borrowed */
	struct qcow2_store *data; /* == file without external data file */
	struct refcounts *refs;
	struct grace *grace;
	struct l1_table *l1;
	/* NULL or: makes sure, before anything else, that the disk has the
	 * header that memory has. */
	int (*settle_header)(void *opaque, struct qcow2_error *err);
	/* Lazy refcounts (O26), where it is set: makes the dirty bit
	 * durable. */
	int (*mark_dirty)(void *opaque, struct qcow2_error *err);
	void *opaque;

	pthread_mutex_t lock;   /* protects what follows */
	pthread_cond_t changed; /* a commit has ended */
	struct commit_turns turns;
	_Atomic int poison; /* -errno of the failure, 0; read without
				       * the lock too */
	struct dirty l2;
	struct bitset l1_dirty; /* by sector of the L1 table */
	bool any_l1_dirty;
	unsigned n_settling; /* flushes that want refcounts written */
	bool ordered;        /* some entry must come after what phase
				       * 1 makes durable */
	struct freed_list freed;
	struct freed_batch *batches; /* oldest first */
};

/* With commit.lock held. */
VALIDATOR(commit);

int commit_init(struct commit *c, struct cache *l2, struct qcow2_error *err);
void commit_release(struct commit *c);

/* A number that tells whether refcounts that were changed before the call are
 * durable: they are once commit_covers() says so. */
uint64_t commit_generation(struct commit *c);
bool commit_covers(struct commit *c, uint64_t generation);

/*
 * Changes of metadata: everything between begin and end belongs to the same
 * commit.  commit_begin() makes room for one L2 slice and @n_freed freed runs,
 * so that nothing can fail in between; -ENOMEM, or the poison.
 */
int commit_begin(struct commit *c, uint64_t n_freed, struct qcow2_error *err);
void commit_set_l2(struct commit *c, struct slice *s, uint64_t index,
		   struct l2_entry e);
void commit_set_l1(struct commit *c, uint64_t index, uint64_t entry);
void commit_free(struct commit *c, struct freed freed);
/* The entries set must not reach the disk before the data written so far and
 * the refcounts changed so far. */
void commit_order(struct commit *c);
void commit_end(struct commit *c);

/*
 * Writes whole slices of L2 tables, past what is collected for a commit: for
 * changes of very many entries.  The caller must keep writers out, leave
 * nothing of the tables dirty, and have flushed all that must be durable
 * before; the next commit_flush() makes these durable.  If writing fails the
 * slices become dirty, and the next commit writes them.
 */
int commit_rewrite_l2(struct commit *c, const uint8_t *bytes, uint64_t len,
		      uint64_t host_off, struct qcow2_error *err);

/* Refuses all changes from now on, with @code. */
void commit_poison(struct commit *c, int code);

/* The poison: -errno, or 0 while changes are taken. */
int commit_poisoned(const struct commit *c);

/* The poison, for changes that need no commit_begin(): those of bytes that
 * metadata shows already. */
int commit_check(struct commit *c, struct qcow2_error *err);

/* True when so much is dirty, or so much space is in quarantine, that somebody
 * should commit; the caller must hold no grace period, or it would wait in vain
 * for the space. */
bool commit_wanted(struct commit *c);

/* Before more changes: if the last commit failed and much has been waiting
 * since, another one is tried first.  So the amount that cannot be written
 * stays bounded. */
int commit_make_room(struct commit *c, struct qcow2_error *err);

/* Makes everything that completed before the call durable.  After a write that
 * failed, which -ENOSPC, -EDQUOT and the like tell, nothing is lost and the
 * next call tries again; a failed barrier is final. */
int commit_flush(struct commit *c, struct qcow2_error *err);

/* The same, as the guest needs it: lazy refcounts may lag behind, under the
 * dirty bit. */
int commit_flush_guest(struct commit *c, struct qcow2_error *err);

/* Fills the fields of *out that the commit counts. */
void commit_get_stats(struct commit *c, struct qcow2_stats *out);

/* Commits until nothing is dirty and nothing freed is waiting; no request may
 * be under way. */
int commit_drain(struct commit *c, struct qcow2_error *err);

#endif
