#include "model/state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"

#define MIB (UINT64_C(1) << 20)
/* The most bytes that may be preallocated, or covered with zeros over the
 * backing file. */
#define GROWTH_MAX (4 * MIB)

struct state state_new(const struct config *c)
{
	struct state s = { .now = *c, .backing = c->backing };

	if (c->backing)
		strcpy(s.backing_name, "backing");
	return s;
}

void kept_name(const struct kept *k, char name[16])
{
	snprintf(name, 16, "s%" PRIu32, k->number);
}

/* ---- Operations that make sense ------------------------------------------ */

static bool qemu_can(const struct config *now)
{
	return config_qemu_snapshots(now);
}

static void fit_size(const struct config *now, struct op *op)
{
	uint64_t below = now->backing ? now->backing_size : 0;

	if (min_u64(op->size, below) > now->size + GROWTH_MAX)
		op->size = align_down(now->size + GROWTH_MAX, 512);
	if (op->size > now->size + GROWTH_MAX)
		op->prealloc = QCOW2_PREALLOC_OFF;
}

static struct op fit_snapshot(const struct state *s, struct op op)
{
	if (s->n_kept == KEPT_MAX)
		op.kind = OP_NONE;
	if (!qemu_can(&s->now))
		op.by_qemu = false;
	if (op.by_qemu)
		op.len = 0;
	return op;
}

/* QEMU would have to give the disk another size, which it cannot always do. */
static struct op fit_kept(const struct state *s, struct op op)
{
	op.which = s->n_kept ? op.which % s->n_kept : SNAPSHOT_NOBODY;
	if (!s->n_kept || !qemu_can(&s->now) ||
	    s->kept[op.which].size != s->now.size)
		op.by_qemu = false;
	return op;
}

static int size_refusal(const struct state *s, const struct op *op,
			uint32_t version);

/* A header cluster that may be too small for both the old and the new header. */
static bool is_cramped(const struct state *s)
{
	return s->now.cluster < 4096 && strlen(s->backing_name) > 40;
}

/* An amendment that fails on the way would leave its other changes half
 * done. */
static struct op fit_amend(const struct state *s, struct op op)
{
	uint32_t version = s->now.version;

	if ((op.set & QCOW2_AMEND_VERSION) && is_cramped(s))
		op.set = QCOW2_AMEND_VERSION;
	if (!(op.set & QCOW2_AMEND_SIZE))
		return op;
	fit_size(&s->now, &op);
	if (op.set & QCOW2_AMEND_VERSION)
		version = version > op.version ? version : op.version;
	if (size_refusal(s, &op, version))
		op.set = QCOW2_AMEND_SIZE;
	return op;
}

static struct op fit_backing(const struct state *s, struct op op)
{
	bool there = s->now.backing;
	bool changes = op.which == BACKING_DETACH || op.which == BACKING_ATTACH;

	if (s->now.data == DATA_FILE_RAW && !changes)
		return op;
	/* Snapshots would change their contents. */
	if ((changes && s->n_kept) || (op.which == BACKING_ATTACH) == there ||
	    !s->backing)
		op.kind = OP_NONE;
	return op;
}

struct op state_fit(const struct state *s, struct op op)
{
	switch (op.kind) {
	case OP_SNAPSHOT:
		return fit_snapshot(s, op);
	case OP_APPLY:
	case OP_DELETE:
		return fit_kept(s, op);
	case OP_RESIZE:
		fit_size(&s->now, &op);
		return op;
	case OP_AMEND:
		return fit_amend(s, op);
	case OP_BACKING:
		return fit_backing(s, op);
	default:
		return op_clip(&s->now, op);
	}
}

/* ---- Refusals ------------------------------------------------------------ */

static int size_refusal(const struct state *s, const struct op *op,
			uint32_t version)
{
	bool shrinks = op->size < s->now.size;

	if (op->size % 512 || (shrinks && !(op->flags & QCOW2_RESIZE_SHRINK)) ||
	    (shrinks && op->prealloc))
		return -EINVAL;
	return version < 3 && s->n_kept ? -ENOTSUP : 0;
}

/* Version 2 knows one size for the disk and all snapshots (S1). */
static int downgrade_refusal(const struct state *s, uint64_t size)
{
	if (s->now.data || s->now.extended_l2 ||
	    s->now.compression != QCOW2_COMPRESSION_ZLIB)
		return -ENOTSUP;
	for (unsigned i = 0; i < s->n_kept; i++)
		if (s->kept[i].size != size)
			return -ENOTSUP;
	return 0;
}

static int amend_refusal(const struct state *s, const struct op *op)
{
	const struct config *now = &s->now;
	uint32_t version = op->set & QCOW2_AMEND_VERSION ? op->version
							 : now->version;
	uint32_t bits = op->set & QCOW2_AMEND_REFCOUNT_BITS
				? op->refcount_bits
				: now->refcount_bits;
	bool lazy = (op->set & QCOW2_AMEND_LAZY_REFCOUNTS) && op->on;
	int rc = 0;

	if (version == 2 && (bits != 16 || lazy))
		return -EINVAL;
	if (version == 2 && now->version == 3)
		rc = downgrade_refusal(
			s, op->set & QCOW2_AMEND_SIZE ? op->size : now->size);
	if (rc < 0)
		return rc;
	if ((op->set & QCOW2_AMEND_DATA_FILE_RAW) && op->on &&
	    now->data != DATA_FILE_RAW)
		return -EINVAL;
	if (op->set & QCOW2_AMEND_SIZE)
		return size_refusal(
			s, op, version > now->version ? version : now->version);
	return 0;
}

int state_refusal(const struct state *s, const struct op *op)
{
	bool data = s->now.data != DATA_INSIDE;

	switch (op->kind) {
	case OP_SNAPSHOT:
	case OP_VMSTATE:
		return data ? -ENOTSUP : 0;
	case OP_APPLY:
	case OP_DELETE:
		if (data)
			return -ENOTSUP;
		return op->which == SNAPSHOT_NOBODY ? -ENOENT : 0;
	case OP_RESIZE:
		return size_refusal(s, op, s->now.version);
	case OP_AMEND:
		return amend_refusal(s, op);
	case OP_BACKING:
		return op->which == BACKING_NO_FORMAT ||
				       s->now.data == DATA_FILE_RAW
			       ? -EINVAL
			       : 0;
	case OP_COMPACT:
		return data && (op->flags & QCOW2_COMPACT_COMPRESS) ? -ENOTSUP
								    : 0;
	default:
		return 0;
	}
}

/* ---- Changes of the state ------------------------------------------------ */

static uint32_t next_id(const struct state *s)
{
	uint32_t id = 0;

	for (unsigned i = 0; i < s->n_kept; i++)
		id = s->kept[i].id > id ? s->kept[i].id : id;
	return id + 1;
}

static void keep(struct state *s, const struct op *op)
{
	struct kept k = { .number = s->next++,
			  .id = next_id(s),
			  .size = s->now.size,
			  .made_by = *op };

	s->kept[s->n_kept++] = k;
}

static void forget(struct state *s, unsigned which)
{
	s->n_kept--;
	memmove(&s->kept[which], &s->kept[which + 1],
		(s->n_kept - which) * sizeof(*s->kept));
}

static void amended(struct config *now, const struct op *op, bool refused)
{
	uint32_t set = op->set;

	if (refused && set == QCOW2_AMEND_VERSION)
		return;
	if ((set & QCOW2_AMEND_VERSION) && op->version > now->version)
		now->version = op->version;
	if ((set & QCOW2_AMEND_DATA_FILE_RAW) && !op->on && now->data)
		now->data = DATA_FILE;
	if (set & QCOW2_AMEND_SIZE)
		now->size = op->size;
	if (refused)
		return;
	if (set & QCOW2_AMEND_REFCOUNT_BITS)
		now->refcount_bits = op->refcount_bits;
	if ((set & QCOW2_AMEND_LAZY_REFCOUNTS) && now->version >= 3)
		now->lazy = op->on;
	if (set & QCOW2_AMEND_VERSION)
		now->version = op->version;
	if (now->version < 3)
		now->lazy = false;
}

const char *state_backing_name(const struct op *op,
			       char name[BACKING_NAME_BYTES])
{
	unsigned dots = op->which == BACKING_RENAME_LONG
				? 150 + (unsigned)(op->cuts % 300)
				: (unsigned)(op->cuts % 3);

	name[0] = '\0';
	if (op->which == BACKING_DETACH)
		return NULL;
	for (unsigned i = 0; i < dots; i++)
		strcat(name, "./");
	return strcat(name, "backing");
}

static void rebacked(struct state *s, const struct op *op)
{
	state_backing_name(op, s->backing_name);
	if (op->which == BACKING_DETACH)
		s->now.backing = BACKING_NONE;
	else
		s->now.backing = s->backing;
}

void state_done(struct state *s, const struct op *op, bool refused)
{
	if (op->kind == OP_AMEND && !(refused && state_refusal(s, op)))
		amended(&s->now, op, refused);
	/* A snapshot that is refused leaves the VM state that was written for
	 * it. */
	s->had_vmstate |= (op->kind == OP_VMSTATE || op->kind == OP_SNAPSHOT) &&
			  op->len;
	if (refused || op->which == SNAPSHOT_NOBODY)
		return;
	if (op->kind == OP_SNAPSHOT)
		keep(s, op);
	else if (op->kind == OP_APPLY)
		s->now.size = s->kept[op->which].size;
	else if (op->kind == OP_DELETE)
		forget(s, op->which);
	else if (op->kind == OP_RESIZE)
		s->now.size = op->size;
	else if (op->kind == OP_BACKING)
		rebacked(s, op);
}
