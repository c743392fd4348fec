#include "model/oracle.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

/* Every third KiB is zeros. */
void oracle_base(const struct config *c, uint8_t *buf, uint64_t len,
		 uint64_t off)
{
	struct op op = { .fill = FILL_STAMP, .pattern = BASE_PATTERN };

	if (c->plain_base)
		op.fill = FILL_BYTE;
	op_fill(&op, buf, len, off);
	if (c->plain_base)
		return;
	for (uint64_t i = 0; i < len; i++)
		if ((off + i) / 1024 % 3 == 1)
			buf[i] = 0;
}

/* The contents before the first operation. */
static uint64_t base_end(const struct config *c)
{
	if (c->maker == MAKER_CONVERT)
		return c->size;
	return c->backing ? c->backing_size : 0;
}

struct oracle oracle_new(const struct config *c)
{
	struct oracle o = { .config = c, .size = c->size };

	for (unsigned i = 0; i < c->n_windows; i++) {
		const struct window *w = &c->windows[i];
		uint64_t end =
			min_u64(min_u64(base_end(c), c->size), w->off + w->len);

		o.bytes[i] = calloc(1, w->len);
		assert(o.bytes[i]);
		if (end > w->off)
			oracle_base(c, o.bytes[i], end - w->off, w->off);
	}
	return o;
}

struct oracle oracle_copy(const struct oracle *o)
{
	struct oracle copy = { .config = o->config, .size = o->size };

	for (unsigned i = 0; i < o->config->n_windows; i++) {
		uint64_t len = o->config->windows[i].len;

		copy.bytes[i] = malloc(len);
		assert(copy.bytes[i]);
		memcpy(copy.bytes[i], o->bytes[i], len);
	}
	return copy;
}

void oracle_free(struct oracle *o)
{
	for (unsigned i = 0; i < WINDOWS_MAX; i++)
		free(o->bytes[i]);
	memset(o, 0, sizeof(*o));
}

uint64_t oracle_window(const struct oracle *o, const struct window *w)
{
	return w->off < o->size ? min_u64(w->len, o->size - w->off) : 0;
}

void oracle_resize(struct oracle *o, uint64_t size)
{
	const struct config *c = o->config;

	for (unsigned i = 0; i < c->n_windows; i++) {
		uint64_t before = oracle_window(o, &c->windows[i]);
		uint64_t kept =
			size > c->windows[i].off ? size - c->windows[i].off : 0;

		if (kept < before)
			memset(o->bytes[i] + kept, 0, before - kept);
	}
	o->size = size;
}

uint64_t oracle_run(const struct oracle *o, uint64_t len, uint64_t off,
		    const uint8_t **bytes)
{
	const struct config *c = o->config;

	*bytes = NULL;
	for (unsigned i = 0; i < c->n_windows; i++) {
		const struct window *w = &c->windows[i];

		if (off < w->off)
			len = min_u64(len, w->off - off);
		if (off < w->off || off >= w->off + w->len)
			continue;
		*bytes = o->bytes[i] + (off - w->off);
		return min_u64(len, w->off + w->len - off);
	}
	return len;
}

const uint8_t *oracle_at(const struct oracle *o, uint64_t len, uint64_t off)
{
	const uint8_t *bytes;
	uint64_t run = oracle_run(o, len, off, &bytes);

	assert(bytes && run == len);
	(void)run;
	return bytes;
}

static uint8_t *bytes_at(struct oracle *o, const struct op *op)
{
	return (uint8_t *)(uintptr_t)oracle_at(o, op->len, op->off);
}

/* Only whole clusters change; without a zero flag (version 2) only those
 * through which nothing shines. */
static void apply_discard(struct oracle *o, const struct op *op)
{
	const struct config *c = o->config;
	uint64_t end = op->off + op->len;
	uint64_t at = align_up(op->off, c->cluster);

	if (end < o->size)
		end = align_down(end, c->cluster);
	if (c->version == 2 && c->backing)
		at = max_u64(at, align_up(c->backing_size, c->cluster));
	if (at < end)
		memset(bytes_at(o, op) + (at - op->off), 0, end - at);
}

void oracle_apply(struct oracle *o, const struct op *op)
{
	if (op_writes(op))
		op_fill(op, bytes_at(o, op), op->len, op->off);
	else if (op->kind == OP_ZERO)
		memset(bytes_at(o, op), 0, op->len);
	else if (op->kind == OP_DISCARD)
		apply_discard(o, op);
}
