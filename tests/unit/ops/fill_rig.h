/*
 * A fill of one fake disk from another, and the room of its worker.
 */
#ifndef UNIT_OPS_FILL_RIG_H
#define UNIT_OPS_FILL_RIG_H

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "fake_target.h"
#include "ops/fill_impl.h"

enum { UNIT = 8192, WINDOW = 64 * UNIT };

struct fill_rig {
	struct workers w;
	struct fill f;
	struct fill_room *r;
};

/* Both disks have @size bytes: data, and a hole. */
static inline void fill_init(struct fill_rig *t, uint64_t size)
{
	memset(t, 0, sizeof(*t));
	fake_target_init();
	t->f = (struct fill){ .src = fake_new(UNIT),
			      .dst = fake_new(UNIT),
			      .size = size,
			      .window_bytes = WINDOW,
			      .unit = UNIT,
			      .sparse_bytes = SPARSE_BYTES_DEFAULT,
			      .is_new = true };
	fake_add(t->f.src, size, FAKE_DATA);
	fake_add(t->f.dst, size, FAKE_HOLE);
	turns_init(&t->f.turns);
	t->r = calloc(1, sizeof(*t->r));
	assert_non_null(t->r);
	t->r->plain = alloc_aligned(BUFFER_ALIGN, WINDOW);
	t->r->encoded = calloc(1, WINDOW);
	t->r->runs = calloc(fill_runs_max(&t->f), sizeof(*t->r->runs));
	assert_true(t->r->plain && t->r->encoded && t->r->runs);
	batch_clear(&t->r->batch, WINDOW);
}

static inline void fill_release(struct fill_rig *t)
{
	fill_room_validate(&t->f, t->r);
	fill_validate(&t->f);
	free(t->r->plain);
	free(t->r->encoded);
	free(t->r->runs);
	free(t->r);
	turns_release(&t->f.turns);
	fake_free(t->f.src);
	fake_free(t->f.dst);
}

/* The target has what the source has, in [off, off + len). */
static inline void fill_expect(const struct fill_rig *t, uint64_t len,
			       uint64_t off)
{
	assert_memory_equal(t->f.dst->bytes + off, t->f.src->bytes + off, len);
}

#endif
