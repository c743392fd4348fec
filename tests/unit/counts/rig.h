/*
 * The common part of the tests of counts/: the parts that a commit ties
 * together, over a new image whose every store call can be looked at and made
 * to fail.
 */
#ifndef UNIT_COUNTS_RIG_H
#define UNIT_COUNTS_RIG_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "commit/commit.h"
#include "commit/freed.h"
#include "counts/grow.h"
#include "store/mem.h"
#include "store/store.h"
#include "stores/fault.h"
#include "stores/record.h"
#include "support/test.h"

enum { RIG_CLUSTER = 4096, RIG_DISK = 8 << 20 };

struct rig {
	struct qcow2_store *mem;
	struct qcow2_store *file; /* over it: recorded, may fail */
	struct record_log *log;
	struct fault_injector fault;
	struct header header;
	struct geometry geo;
	struct refcounts refs;
	struct grace grace;
	struct cache l2;
	struct l1_table l1;
	struct commit commit;
	/* The messages of the refcounts. */
	unsigned n_new;
	unsigned n_old;
	uint64_t new_off;
	uint64_t old_off;
	struct reftable_place moved;
	int new_rc;
};

static inline int rig_new(void *opaque, uint64_t len, uint64_t host_off,
			  struct qcow2_error *err)
{
	struct rig *t = opaque;

	(void)len, (void)err;
	t->n_new++;
	t->new_off = host_off;
	return t->new_rc;
}

static inline void rig_old(void *opaque, uint64_t len, uint64_t host_off)
{
	struct rig *t = opaque;

	(void)len;
	t->n_old++;
	t->old_off = host_off;
}

static inline int rig_move(void *opaque, struct reftable_place to,
			   struct qcow2_error *err)
{
	struct rig *t = opaque;

	t->moved = to;
	return store_flush(t->file, err);
}

static inline void rig_create(struct rig *t, uint32_t cluster,
			      uint32_t refcount_bits, uint32_t flags)
{
	struct qcow2_create_opts o = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_store *inner;
	uint8_t buf[512];

	o.virtual_size = RIG_DISK;
	o.cluster_size = cluster;
	o.refcount_bits = refcount_bits;
	o.flags = flags;
	assert_int_equal(store_mem_new(&t->mem, NULL), 0);
	assert_int_equal(qcow2_create_store(t->mem, NULL, &o, NULL), 0);
	assert_int_equal(store_pread(t->mem, buf, 512, 0, 0, NULL), 0);
	assert_int_equal(header_decode(&t->header, buf, 512, NULL), 0);
	t->header.tail = NULL;
	geometry_init(&t->geo, &t->header);
	t->log = record_log_new();
	pthread_mutex_init(&t->fault.lock, NULL);
	fault_arm(&t->fault, NULL);
	assert_int_equal(fault_store_new(&t->fault, t->mem, &inner), 0);
	assert_int_equal(record_store_new(t->log, inner, NULL, &t->file), 0);
	store_unref(inner);
}

static inline void rig_init_with(struct rig *t, uint32_t cluster,
				 uint32_t refcount_bits, uint32_t flags)
{
	memset(t, 0, sizeof(*t));
	rig_create(t, cluster, refcount_bits, flags);
	assert_int_equal(refcounts_open(&t->refs, &t->geo, &t->header, t->file,
					1 << 20, NULL),
			 0);
	t->refs.owner.new_metadata = rig_new;
	t->refs.owner.old_metadata = rig_old;
	t->refs.owner.move_table = rig_move;
	t->refs.owner.opaque = t;
	grace_init(&t->grace);
	assert_int_equal(cache_init(&t->l2, t->file, 1 << 20, 512, NULL), 0);
	t->l1.n_entries = t->header.l1_size;
	t->l1.host_off = t->header.l1_off;
	t->l1.entries = calloc(t->l1.n_entries, sizeof(*t->l1.entries));
	assert_non_null(t->l1.entries);
	t->commit.geo = &t->geo;
	t->commit.file = t->file;
	t->commit.data = t->file;
	t->commit.refs = &t->refs;
	t->commit.grace = &t->grace;
	t->commit.l1 = &t->l1;
	assert_int_equal(commit_init(&t->commit, &t->l2, NULL), 0);
}

static inline void rig_init(struct rig *t)
{
	rig_init_with(t, RIG_CLUSTER, 16, 0);
}

static inline void rig_release(struct rig *t)
{
	commit_validate(&t->commit);
	cache_validate(&t->l2);
	grace_validate(&t->grace);
	refcounts_validate(&t->refs);
	commit_release(&t->commit);
	cache_release(&t->l2);
	free((void *)(uintptr_t)t->l1.entries);
	grace_release(&t->grace);
	refcounts_release(&t->refs);
	store_unref(t->file);
	store_unref(t->mem);
	record_log_free(t->log);
}

static inline struct claim rig_claim(struct rig *t, uint64_t n)
{
	struct claim c;

	assert_int_equal(refcounts_claim(&t->refs, n, &c, NULL), 0);
	assert_int_equal(c.n_clusters, n);
	return c;
}

static inline uint64_t rig_count(struct rig *t, uint64_t host_off)
{
	uint64_t value;

	assert_int_equal(refcounts_get(&t->refs,
				       host_off >> t->geo.cluster_bits, &value,
				       NULL),
			 0);
	return value;
}

/* The only fault: call number @nth of one kind. */
static inline void rig_fail(struct rig *t, enum store_op op, uint64_t nth)
{
	struct fault_plan p = { .ops = FAULT_ON(op), .nth = nth, .code = -EIO };

	fault_arm(&t->fault, &p);
}

static inline uint64_t rig_read64(struct rig *t, uint64_t off)
{
	uint8_t raw[8];

	assert_int_equal(store_pread(t->mem, raw, 8, off, 0, NULL), 0);
	return get_be64(raw);
}

/* Events of one kind from number @from of the log on. */
static inline unsigned rig_events(struct rig *t, size_t from, enum store_op op)
{
	unsigned n = 0;

	for (size_t i = from; i < record_n_events(t->log); i++)
		n += record_event(t->log, i)->op == op;
	return n;
}

#endif
