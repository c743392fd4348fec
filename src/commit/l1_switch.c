#include "commit/l1_switch.h"

#include <assert.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "commit/freed.h"
#include "store/store.h"

int l1_switch_init(struct l1_switch *s, uint64_t n_entries, uint64_t host_off,
		   struct qcow2_error *err)
{
	s->to = (struct l1_table){ alloc_zeroed(max_u64(n_entries, 1),
						L1_ENTRY_BYTES),
				   n_entries, host_off };
	s->dirty = (struct bitset){ NULL, 0 };
	s->keep = calloc(1, sizeof(*s->keep));
	if (s->to.entries && s->keep &&
	    bitset_init(&s->dirty, div_round_up(n_entries, L1_PER_SECTOR)))
		return 0;
	l1_switch_release(s);
	return error_nomem(err, "an L1 table", n_entries * L1_ENTRY_BYTES);
}

void l1_switch_release(struct l1_switch *s)
{
	free(s->to.entries);
	s->to.entries = NULL;
	bitset_release(&s->dirty);
	free(s->keep);
	s->keep = NULL;
}

static void exchange_tables(struct l1_table *a, struct l1_table *b)
{
	_Atomic uint64_t *entries = a->entries;
	uint64_t n_entries = a->n_entries;
	uint64_t host_off = a->host_off;

	a->entries = b->entries;
	a->n_entries = b->n_entries;
	a->host_off = b->host_off;
	b->entries = entries;
	b->n_entries = n_entries;
	b->host_off = host_off;
}

void l1_switch_use(struct l1_switch *s, struct commit *c)
{
	SCOPED_LOCK(&c->lock);
	SCOPED_VALIDATE(commit, c);
	SCOPED_VALIDATE(l1_switch, s);
	struct bitset dirty = c->l1_dirty;

	assert(!c->any_l1_dirty);
	exchange_tables(c->l1, &s->to);
	c->l1_dirty = s->dirty;
	s->dirty = dirty;
}

void l1_switch_retire(struct l1_switch *s, struct commit *c)
{
	SCOPED_LOCK(&c->lock);
	SCOPED_VALIDATE(commit, c);

	assert(s->keep && s->to.entries);
	s->keep->l1 = s->to.entries;
	s->keep->ticket = grace_ticket(c->grace);
	freed_batch_append(&c->batches, s->keep);
	s->keep = NULL;
	s->to.entries = NULL;
	bitset_release(&s->dirty);
}

int l1_switch_write(const struct l1_switch *s, const struct commit *c,
		    struct qcow2_error *err)
{
	SCOPED_VALIDATE(l1_switch, s);
	uint64_t n = s->to.n_entries;
	uint64_t bytes = align_up(n * L1_ENTRY_BYTES, c->geo->cluster_size);
	CLEANUP_FREE uint8_t *raw = alloc_zeroed(1, bytes);

	if (!raw)
		return error_nomem(err, "an L1 table", bytes);
	for (uint64_t i = 0; i < n; i++)
		put_be64(raw + i * L1_ENTRY_BYTES, s->to.entries[i]);
	return store_pwrite(c->file, raw, to_size(bytes), s->to.host_off, 0,
			    err);
}
