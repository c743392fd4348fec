#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "crash/cowstore.h"
#include "crash/enumerate.h"
#include "store/store.h"

void pending_init(struct pending *p,
		  struct qcow2_store *const files[BASE_FILES])
{
	memset(p, 0, sizeof(*p));
	for (unsigned f = 0; f < BASE_FILES; f++)
		if (files[f])
			p->durable[f] = cow_clone(files[f]);
}

void pending_release(struct pending *p)
{
	for (unsigned f = 0; f < BASE_FILES; f++)
		store_unref(p->durable[f]);
	free(p->events);
	free(p->fates);
}

static void flush(struct pending *p, const struct record_event *flush)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n; i++) {
		const struct record_event *ev = p->events[i];

		if (ev->file == flush->file && ev->ended < flush->began)
			record_apply(p->durable[ev->file], ev);
		else
			p->events[n++] = ev;
	}
	p->n = n;
}

void pending_add(struct pending *p, const struct record_event *ev)
{
	if (ev->op == STORE_OP_FLUSH) {
		if (ev->rc == 0)
			flush(p, ev);
		return;
	}
	if (p->n == p->room) {
		p->room = p->room ? 2 * p->room : 64;
		p->events = realloc(p->events, p->room * sizeof(*p->events));
		p->fates = realloc(p->fates, p->room);
		assert(p->events && p->fates);
	}
	p->events[p->n++] = ev;
}

static bool keeps_sector(const struct choice *c, uint64_t i, uint64_t n)
{
	uint64_t half = n / 2;

	switch (c->tear) {
	case TEAR_FIRST:
		return i == 0;
	case TEAR_LAST:
		return i == n - 1;
	case TEAR_MIDDLE:
		return i == half;
	case TEAR_NOT_FIRST:
		return i != 0;
	case TEAR_NOT_LAST:
		return i != n - 1;
	case TEAR_RANDOM:
	case N_TEARS:
		break;
	}
	return hash_mix(c->tear_seed, i) & 1;
}

/* Sectors of the disk, not of the buffer: a write may begin inside one. */
static void apply_torn(struct qcow2_store *file, const struct record_event *ev,
		       const struct choice *c)
{
	uint64_t first = ev->off / MODEL_SECTOR;
	uint64_t n = div_round_up(ev->off + ev->len, MODEL_SECTOR) - first;

	for (uint64_t i = 0; i < n; i++) {
		uint64_t at = (first + i) * MODEL_SECTOR;
		uint64_t from = at > ev->off ? at - ev->off : 0;

		if (keeps_sector(c, i, n))
			record_apply_part(file, ev, from,
					  at + MODEL_SECTOR - ev->off);
	}
}

void pending_build(const struct pending *p, const struct choice *c,
		   struct qcow2_store *files[BASE_FILES])
{
	for (unsigned f = 0; f < BASE_FILES; f++)
		files[f] = p->durable[f] ? cow_clone(p->durable[f]) : NULL;
	for (size_t i = 0; i < p->n; i++)
		if (c->fate[i] == FATE_EARLY)
			record_apply(files[p->events[i]->file], p->events[i]);
	for (size_t i = 0; i < p->n; i++) {
		const struct record_event *ev = p->events[i];

		if (c->fate[i] == FATE_KEPT)
			record_apply(files[ev->file], ev);
		else if (c->fate[i] == FATE_TORN)
			apply_torn(files[ev->file], ev, c);
	}
}

void pending_describe(const struct pending *p, const struct choice *c,
		      char *text, size_t size)
{
	static const char *const fates[] = { "lost", "kept", "torn", "early" };
	static const char *const tears[] = {
		"first sector",      "last sector",      "middle sector",
		"all but the first", "all but the last", "random sectors",
	};
	size_t at = 0;

	text[0] = '\0';
	for (size_t i = 0; i < p->n && at + 120 < size; i++) {
		const struct record_event *ev = p->events[i];

		at += (size_t)snprintf(
			text + at, size - at,
			"    %s  file %" PRIu32 " %s 0x%" PRIx64 " +%" PRIu64
			"%s%s\n",
			fates[c->fate[i]], ev->file, store_op_name(ev->op),
			ev->off, ev->len, c->fate[i] == FATE_TORN ? ": " : "",
			c->fate[i] == FATE_TORN ? tears[c->tear] : "");
	}
}
