#include "check/prefetch.h"

#include <assert.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/thread.h"
#include "check/bulk.h"
#include "store/store.h"

/* Tables with no more than this between them are read together. */
#define GAP_BYTES (UINT64_C(4) << 10)

uint64_t l2set_stretch(const struct l2set *set, size_t table_bytes, size_t i,
		       size_t *n)
{
	const struct l2_table *tables = set->tables;
	uint64_t start = tables[i].host_off;
	uint64_t len = table_bytes;

	*n = 1;
	while (++i < set->n_tables) {
		uint64_t next = tables[i].host_off - start;

		if (next - len > GAP_BYTES || next + table_bytes > BULK_BYTES)
			break;
		len = next + table_bytes;
		++*n;
	}
	return len;
}

void prefetch_validate(const struct prefetch *p)
{
	assert(p->slot_bytes >= p->table_bytes);
	assert(p->n_done <= p->n_read);
	assert(p->n_read - p->n_done <= PREFETCH_SLOTS);
	/* A slot has a table at least. */
	assert(p->n_read <= p->set->n_tables);
}

/* ---- The thread ---------------------------------------------------------- */

/* Waits for a slot; NULL when no more is wanted. */
static struct prefetch_slot *slot_to_fill(struct prefetch *p)
{
	SCOPED_LOCK(&p->lock);
	SCOPED_VALIDATE(prefetch, p);

	while (p->n_read - p->n_done == PREFETCH_SLOTS && !p->stopped)
		pthread_cond_wait(&p->changed, &p->lock);
	return p->stopped ? NULL : &p->slots[p->n_read % PREFETCH_SLOTS];
}

static void publish(struct prefetch *p, bool finished)
{
	SCOPED_LOCK(&p->lock);
	SCOPED_VALIDATE(prefetch, p);

	p->n_read += !finished;
	p->finished = finished;
	pthread_cond_broadcast(&p->changed);
}

static void *prefetch_main(void *arg)
{
	struct prefetch *p = arg;
	size_t n;

	for (size_t i = 0; i < p->set->n_tables; i += n) {
		struct prefetch_slot *s = slot_to_fill(p);

		if (!s)
			break;
		s->off = p->set->tables[i].host_off;
		s->len = (size_t)l2set_stretch(p->set, p->table_bytes, i, &n);
		s->failed = store_pread(p->file, s->buf, s->len, s->off, 0,
					NULL) < 0;
		publish(p, false);
	}
	publish(p, true);
	return NULL;
}

/* ---- Who looks ----------------------------------------------------------- */

static void free_slots(struct prefetch *p)
{
	for (unsigned i = 0; i < PREFETCH_SLOTS; i++)
		budget_free(p->budget, p->slots[i].buf, p->slot_bytes);
}

static bool make_slots(struct prefetch *p)
{
	for (unsigned i = 0; i < PREFETCH_SLOTS; i++) {
		p->slots[i].buf = budget_alloc(p->budget, p->slot_bytes);
		if (!p->slots[i].buf) {
			for (; i > 0; i--)
				budget_free(p->budget, p->slots[i - 1].buf,
					    p->slot_bytes);
			return false;
		}
	}
	return true;
}

void prefetch_start(struct prefetch *p, struct qcow2_store *file,
		    const struct l2set *set, size_t table_bytes,
		    struct budget *budget)
{
	memset(p, 0, sizeof(*p));
	p->file = file;
	p->set = set;
	p->budget = budget;
	p->table_bytes = table_bytes;
	p->slot_bytes = (size_t)max_u64(table_bytes, BULK_BYTES);
	if (set->n_tables < PREFETCH_TABLES_MIN || !make_slots(p))
		return;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->changed, NULL);
	p->running = thread_start(&p->thread, prefetch_main, p);
	if (!p->running)
		free_slots(p);
}

void prefetch_stop(struct prefetch *p)
{
	/* A child, forked by a function of the caller, has no threads. */
	if (!p->running || !store_is_here(p->file))
		return;
	mutex_lock(&p->lock);
	p->stopped = true;
	pthread_cond_broadcast(&p->changed);
	mutex_unlock(&p->lock);
	pthread_join(p->thread, NULL);
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->lock);
	free_slots(p);
	p->running = false;
}

/* Returns the slot that is looked at; NULL behind the last one. */
static const struct prefetch_slot *slot_to_look_at(struct prefetch *p)
{
	while (p->n_read == p->n_done && !p->finished)
		pthread_cond_wait(&p->changed, &p->lock);
	return p->n_read == p->n_done ? NULL
				      : &p->slots[p->n_done % PREFETCH_SLOTS];
}

static const struct prefetch_slot *slot_with(struct prefetch *p, uint64_t off)
{
	SCOPED_LOCK(&p->lock);
	SCOPED_VALIDATE(prefetch, p);
	const struct prefetch_slot *s;

	while ((s = slot_to_look_at(p)) && s->off + s->len <= off) {
		p->n_done++;
		pthread_cond_broadcast(&p->changed);
	}
	return s && s->off <= off ? s : NULL;
}

const uint8_t *prefetch_get(struct prefetch *p, uint64_t off)
{
	const struct prefetch_slot *s = p->running ? slot_with(p, off) : NULL;

	return s && !s->failed ? s->buf + (off - s->off) : NULL;
}
