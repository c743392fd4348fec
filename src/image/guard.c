#include "image/guard.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"

/* A removed number; no cluster has it. */
#define REMOVED UINT64_MAX

static uint64_t hash(uint64_t cluster_idx)
{
	return cluster_idx * UINT64_C(0x9e3779b97f4a7c15) >> 17;
}

static struct guard_table *table_new(uint64_t n_clusters)
{
	uint64_t n = 64;
	struct guard_table *t;

	while (n < 2 * n_clusters)
		n *= 2;
	t = calloc(1, sizeof(*t) + n * sizeof(t->slots[0]));
	if (t)
		t->mask = n - 1;
	return t;
}

int guard_init(struct guard *g, uint32_t cluster_bits, uint64_t n_clusters,
	       struct qcow2_error *err)
{
	struct guard_table *t = table_new(n_clusters);

	memset(g, 0, sizeof(*g));
	g->cluster_bits = cluster_bits;
	pthread_mutex_init(&g->lock, NULL);
	atomic_init(&g->table, t);
	return t ? 0 : error_nomem(err, "the overlap guard", n_clusters * 16);
}

void guard_release(struct guard *g)
{
	struct guard_table *t = atomic_load(&g->table);

	while (t) {
		struct guard_table *older = t->older;

		free(t);
		t = older;
	}
	pthread_mutex_destroy(&g->lock);
}

/* The slot with the number, or the empty slot where the search ends. */
static _Atomic uint64_t *find(struct guard_table *t, uint64_t cluster_idx)
{
	uint64_t i = hash(cluster_idx) & t->mask;

	for (;; i = (i + 1) & t->mask) {
		uint64_t v = atomic_load_explicit(&t->slots[i],
						  memory_order_acquire);

		if (v == cluster_idx || v == 0)
			return &t->slots[i];
	}
}

/* ---- Under the lock ---------------------------------------------------------- */

static int grow(struct guard *g, struct qcow2_error *err)
{
	struct guard_table *old = atomic_load(&g->table);
	struct guard_table *t = table_new(old->mask + 1);

	if (!t)
		return error_nomem(err, "the overlap guard",
				   (old->mask + 1) * 16);
	t->older = old;
	g->n_used = 0;
	for (uint64_t i = 0; i <= old->mask; i++) {
		uint64_t v = old->slots[i];

		if (v == 0 || v == REMOVED)
			continue;
		*find(t, v) = v;
		g->n_used++;
	}
	atomic_store(&g->table, t);
	return 0;
}

static int add_one(struct guard *g, uint64_t cluster_idx,
		   struct qcow2_error *err)
{
	struct guard_table *t = atomic_load(&g->table);
	_Atomic uint64_t *slot;
	int rc = 0;

	if (2 * (g->n_used + 1) > t->mask)
		rc = grow(g, err);
	if (rc < 0 || cluster_idx == 0)
		return rc;
	slot = find(atomic_load(&g->table), cluster_idx);
	g->n_used += *slot == 0;
	atomic_store(slot, cluster_idx);
	return 0;
}

int guard_add(struct guard *g, uint64_t len, uint64_t host_off,
	      struct qcow2_error *err)
{
	uint64_t first = host_off >> g->cluster_bits;
	uint64_t last = len ? (host_off + len - 1) >> g->cluster_bits : first;
	SCOPED_LOCK(&g->lock);
	int rc = 0;

	for (uint64_t i = first; len && rc == 0 && i <= last; i++)
		rc = add_one(g, i, err);
	return rc;
}

void guard_remove(struct guard *g, uint64_t len, uint64_t host_off)
{
	uint64_t first = host_off >> g->cluster_bits;
	uint64_t last = len ? (host_off + len - 1) >> g->cluster_bits : first;
	SCOPED_LOCK(&g->lock);

	for (uint64_t i = first; len && i <= last; i++) {
		_Atomic uint64_t *slot = find(atomic_load(&g->table), i);

		if (*slot)
			atomic_store(slot, REMOVED);
	}
}

bool guard_hits(struct guard *g, uint64_t len, uint64_t host_off)
{
	struct guard_table *t = atomic_load_explicit(&g->table,
						     memory_order_acquire);
	uint64_t last = (host_off + len - 1) >> g->cluster_bits;

	for (uint64_t i = host_off >> g->cluster_bits; i <= last; i++)
		if (i == 0 || *find(t, i) != 0)
			return true;
	return false;
}
