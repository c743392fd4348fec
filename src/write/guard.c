#include "write/guard.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"

/* Cluster numbers are below 2^47: 56 bits of offset, clusters of 512 bytes. */
enum { SECTION_SHIFT = 48 };
#define CLUSTER_MASK ((UINT64_C(1) << SECTION_SHIFT) - 1)

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
	t = alloc_zeroed(1, sizeof(*t) + n * sizeof(t->slots[0]));
	if (t)
		t->mask = n - 1;
	return t;
}

int guard_init(struct guard *g, uint32_t sections, uint32_t cluster_bits,
	       uint64_t n_clusters, struct qcow2_error *err)
{
	struct guard_table *t = table_new(n_clusters);

	memset(g, 0, sizeof(*g));
	g->cluster_bits = cluster_bits;
	g->sections = sections;
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
static _Atomic uint64_t *guard_find(struct guard_table *t, uint64_t cluster_idx)
{
	uint64_t i = hash(cluster_idx) & t->mask;

	for (;; i = (i + 1) & t->mask) {
		uint64_t v = atomic_load_explicit(&t->slots[i],
						  memory_order_acquire);

		if ((v & CLUSTER_MASK) == cluster_idx || v == 0)
			return &t->slots[i];
	}
}

enum { SLOTS_VALIDATED_MAX = 1024 };

void guard_validate(const struct guard *g)
{
	struct guard_table *t = atomic_load(&g->table);
	uint64_t n = 0;

	assert(t && (t->mask & (t->mask + 1)) == 0);
	/* Half of the slots are empty, so that every search ends. */
	assert(2 * g->n_used <= t->mask + 1);
	if (t->older)
		assert(t->older->mask < t->mask);
	for (uint64_t i = 0; i <= t->mask && i < SLOTS_VALIDATED_MAX; i++) {
		uint64_t v = t->slots[i];

		n += v != 0;
		if (v)
			assert(v & CLUSTER_MASK &&
			       guard_find(t, v & CLUSTER_MASK) == &t->slots[i]);
	}
	if (t->mask < SLOTS_VALIDATED_MAX)
		assert(n == g->n_used);
	else
		assert(n <= g->n_used);
}

/* ---- Under the lock ------------------------------------------------------ */

static int guard_grow(struct guard *g, struct qcow2_error *err)
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

		if (v >> SECTION_SHIFT == 0)
			continue;
		*guard_find(t, v & CLUSTER_MASK) = v;
		g->n_used++;
	}
	atomic_store(&g->table, t);
	return 0;
}

static int add_one(struct guard *g, uint32_t sections, uint64_t cluster_idx,
		   struct qcow2_error *err)
{
	struct guard_table *t = atomic_load(&g->table);
	_Atomic uint64_t *slot;
	int rc = 0;

	if (2 * (g->n_used + 1) > t->mask)
		rc = guard_grow(g, err);
	if (rc < 0 || cluster_idx == 0)
		return rc;
	slot = guard_find(atomic_load(&g->table), cluster_idx);
	g->n_used += *slot == 0;
	atomic_store(slot,
		     *slot | cluster_idx | (uint64_t)sections << SECTION_SHIFT);
	return 0;
}

int guard_add(struct guard *g, uint32_t sections, uint64_t len,
	      uint64_t host_off, struct qcow2_error *err)
{
	uint64_t first = host_off >> g->cluster_bits;
	uint64_t last = len ? (host_off + len - 1) >> g->cluster_bits : first;
	SCOPED_LOCK(&g->lock);
	SCOPED_VALIDATE(guard, g);
	int rc = 0;

	for (uint64_t i = first; len && rc == 0 && i <= last; i++)
		rc = add_one(g, sections, i, err);
	return rc;
}

/* The number stays, so that searches go on past it. */
static uint64_t without(uint64_t slot, uint32_t sections)
{
	return slot & ~((uint64_t)sections << SECTION_SHIFT);
}

void guard_remove(struct guard *g, uint32_t sections, uint64_t len,
		  uint64_t host_off)
{
	uint64_t first = host_off >> g->cluster_bits;
	uint64_t last = len ? (host_off + len - 1) >> g->cluster_bits : first;
	SCOPED_LOCK(&g->lock);
	SCOPED_VALIDATE(guard, g);

	for (uint64_t i = first; len && i <= last; i++) {
		_Atomic uint64_t *slot = guard_find(atomic_load(&g->table), i);

		if (*slot)
			atomic_store(slot, without(*slot, sections));
	}
}

void guard_clear(struct guard *g, uint32_t sections)
{
	SCOPED_LOCK(&g->lock);
	SCOPED_VALIDATE(guard, g);
	struct guard_table *t = atomic_load(&g->table);

	for (uint64_t i = 0; i <= t->mask; i++)
		if (t->slots[i])
			atomic_store(&t->slots[i],
				     without(t->slots[i], sections));
}

bool guard_hits(struct guard *g, uint64_t len, uint64_t host_off)
{
	struct guard_table *t =
		atomic_load_explicit(&g->table, memory_order_acquire);
	uint64_t last = (host_off + len - 1) >> g->cluster_bits;

	tally_add(&g->asked, 0, 1);
	for (uint64_t i = host_off >> g->cluster_bits; i <= last; i++) {
		uint64_t in = i ? *guard_find(t, i) >> SECTION_SHIFT
				: QCOW2_OVERLAP_MAIN_HEADER;

		if (in & g->sections)
			return true;
	}
	return false;
}

uint64_t guard_count_asked(const struct guard *g)
{
	return tally_sum(&g->asked, 0);
}
