/*
 * The refcounts of host clusters: the table in memory, block slices in a cache,
 * changes collected for commit.
 *
 * A refcount in memory is never lower than pointers need: increments happen
 * before a pointer can be written, decrements are asked for only when the
 * removal of the pointer is durable and nobody can still be using it.  So a
 * cluster whose refcount in memory is 0 is free, and every state in which a
 * slice is written is safe.
 *
 * The fields of struct refcounts belong to the files of counts/.  Others may
 * read `geo` and `file`, which stay the same, and call functions for the rest.
 *
 * Locks: grow_lock, then lock.  No I/O happens under `lock`; new blocks and a
 * new table are written under grow_lock, which only those who need one take.
 */
#ifndef COUNTS_REFCOUNTS_H
#define COUNTS_REFCOUNTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/validate.h"
#include "cache/dirty.h"
#include "format/geometry.h"
#include "format/header.h"

/* The place of the refcount table; the header must name it after it moved. */
struct reftable_place {
	uint64_t off;
	uint32_t clusters;
};

/* Clusters that the file held when it was opened: counts/inherited.h. */
struct inherited {
	uint64_t end;         /* cluster index: those before it */
	_Atomic bool doubted; /* their refcounts may be too low */
	bool freed;           /* one has lost its last reference since */
};

/* Entries of the refcount table that the disk may have otherwise: they go with
 * the refcounts of the next commit. */
struct table_range {
	uint64_t first;
	uint64_t end;
};

struct table_changes {
	struct table_range waiting;
	struct table_range writing;
};

/* Clusters whose refcount has become something, or 0, since
 * refcounts_open(). */
struct refcount_totals {
	uint64_t allocated;
	uint64_t freed;
};

/* Changes under refcounts.lock; read without it too. */
struct used_end {
	/* No cluster at or above it came into use since opening. */
	_Atomic uint64_t host_off;
	_Atomic bool is_known; /* nor was one in use then */
};

/* The owner of the header, which also guards metadata. */
struct refcounts_owner {
	/* Called with grow_lock held to point the header to a new table; must
	 * make it durable. */
	int (*move_table)(void *opaque, struct reftable_place to,
			  struct qcow2_error *err);
	/* Tells that [host_off, host_off + len) holds refcount metadata now. */
	int (*new_metadata)(void *opaque, uint64_t len, uint64_t host_off,
			    struct qcow2_error *err);
	/* Tells that it does not any more. */
	void (*old_metadata)(void *opaque, uint64_t len, uint64_t host_off);
	void *opaque;
};

struct refcounts {
	/* Both borrowed; others may read them. */
	const struct geometry *geo;
	struct qcow2_store *file;

	/* For the files of counts/ only. */
	struct cache blocks;
	pthread_mutex_t grow_lock; /* one new block or table at a time */
	struct reftable_place place;
	struct refcounts_owner owner;
	pthread_mutex_t lock; /* protects what follows */
	uint64_t *table;      /* host byte order */
	uint64_t n_table;     /* entries */
	struct table_changes changes;
	struct dirty dirty;
	uint64_t next_free; /* cluster index: all below are in use, or
				       * inherited and doubted */
	struct inherited inherited;
	struct refcount_totals totals;
	bool fell_low; /* one has become 1 or 0 since the watch
				       * began */
	uint64_t held; /* never claimed whatever its refcount;
				       * 0: none */
	struct used_end used_end;
	_Atomic uint64_t high_water; /* host offset: nothing at or above it was
				       * ever handed out, it reads as zeros */
	uint64_t file_size;          /* the file has been extended to here;
				       * under grow_lock */
	_Atomic int broken;          /* -errno: a barrier failed; 0 */
};

/* With `lock` held. */
VALIDATOR(refcounts);

int refcounts_open(struct refcounts *r, const struct geometry *g,
		   const struct header *h, struct qcow2_store *file,
		   uint64_t cache_bytes, struct qcow2_error *err);
void refcounts_release(struct refcounts *r);
/* Instead of an open that failed: none are known, nothing can be counted, and
 * all of it can be released. */
void refcounts_open_none(struct refcounts *r, const struct geometry *g,
			 struct qcow2_store *file, int code);

/* Before anything is claimed or moved. */
void refcounts_set_owner(struct refcounts *r, struct refcounts_owner owner);
/* cache_set_clean() for the cache of blocks. */
void refcounts_set_clean(struct refcounts *r, uint32_t sec);

/* -errno of a barrier that failed or of an open that did: no refcount of the
 * disk is known to be right any more; else 0. */
int refcounts_broken(const struct refcounts *r);

/* Host offset: nothing at or above it was ever claimed.  It moves as others
 * claim. */
uint64_t refcounts_high_water(const struct refcounts *r);
/* The number itself, for those who read it for every request; it is there as
 * long as @r. */
const _Atomic uint64_t *refcounts_high_water_mark(const struct refcounts *r);

/* Host offset, a multiple of the cluster size: nothing was claimed at or above
 * it, and the file does not reach beyond it. */
uint64_t refcounts_end(struct refcounts *r);

/* Host offset: no cluster at or above it is in use, or was since opening.  The
 * first call reads refcounts; if it cannot, the end is that of the file. */
uint64_t refcounts_allocated_end(struct refcounts *r);
/* The number itself, which does not count what was in use at opening before
 * that call; it is there as long as @r. */
const _Atomic uint64_t *refcounts_used_end_mark(const struct refcounts *r);

int refcounts_get(struct refcounts *r, uint64_t cluster_idx, uint64_t *value,
		  struct qcow2_error *err);

/* Whether any cluster of [first, end), which lie in one block, has a refcount.
 * @but is not looked at. */
int refcounts_find_used(struct refcounts *r, uint64_t first, uint64_t end,
			uint64_t but, bool *used, struct qcow2_error *err);

/* The refcounts of @n clusters from @first on. */
int refcounts_read(struct refcounts *r, uint64_t n, uint64_t first,
		   uint64_t *values, struct qcow2_error *err);

/* A run of clusters that was free and now has refcount 1. */
struct claim {
	uint64_t host_off;
	uint64_t n_clusters;
	bool reads_zero; /* never used before: the file has zeros there */
};

/* Also of one that found nothing. */
VALIDATOR(claim);

/*
 * Claims the first free clusters, at most @want of them, in a row.  The file
 * is extended over them.  -ENOSPC, -EFBIG at the end of what the format can
 * address, -EIO for damaged refcount metadata.
 */
int refcounts_claim(struct refcounts *r, uint64_t want, struct claim *out,
		    struct qcow2_error *err);

/* The same for @n clusters in a row, which tables need: the first gap that has
 * room for them, else the end of the file, with the refcount blocks that
 * describe them. */
int refcounts_claim_row(struct refcounts *r, uint64_t n, struct claim *out,
			struct qcow2_error *err);

/* The first @n free clusters in a row that lie below cluster @end; 1 when there
 * are none. */
int refcounts_find_row(struct refcounts *r, uint64_t n, uint64_t end,
		       uint64_t *first, struct qcow2_error *err);

/* Claims exactly [first, first + @n), which have refcount blocks; 1, and
 * nothing is claimed, when one of them is in use. */
int refcounts_take(struct refcounts *r, uint64_t n, uint64_t first,
		   struct qcow2_error *err);

/* Gives back what was claimed and never pointed to. */
void refcounts_unclaim(struct refcounts *r, const struct claim *c);

/* Others have written up to @end: free clusters before it do not read as
 * zeros. */
void refcounts_skip(struct refcounts *r, uint64_t end);

/* Adds one to each of @n clusters from @first: all or none.  -ERANGE when one
 * is at its maximum. */
int refcounts_increment(struct refcounts *r, uint64_t n, uint64_t first,
			struct qcow2_error *err);

/* Takes one from each of @n clusters from @first.  A cluster without refcount
 * is corruption: -EIO with a defect, and nothing is changed for it. */
int refcounts_decrement(struct refcounts *r, uint64_t n, uint64_t first,
			struct qcow2_error *err);

/* Sets the references of the cluster to @value.  The cluster must have a
 * refcount block, and the caller exclusive access to the image. */
int refcounts_set(struct refcounts *r, uint64_t value, uint64_t cluster_idx,
		  struct qcow2_error *err);

/* Whether any refcount has become 1 or 0 since the watch began; if none has,
 * nobody became the only owner of a cluster. */
void refcounts_watch(struct refcounts *r);
bool refcounts_fell_low(struct refcounts *r);

/* Keeps one cluster from being claimed, instead of the one held before; 0 for
 * none. */
void refcounts_hold(struct refcounts *r, uint64_t cluster_idx);
uint64_t refcounts_held(struct refcounts *r);

struct refcount_totals refcounts_totals(struct refcounts *r);

/* Of slices that changed and are not on the disk. */
uint64_t refcounts_dirty_bytes(struct refcounts *r);

/* For commit: copies what is dirty; then says that it was written, or that not
 * all of it was. */
int refcounts_collect(struct refcounts *r, struct writes *out,
		      struct qcow2_error *err);
void refcounts_written(struct refcounts *r);
void refcounts_failed(struct refcounts *r);
bool refcounts_is_clean(struct refcounts *r);
/* True when so much is dirty that it should be collected. */
bool refcounts_wanted(struct refcounts *r);

#endif
