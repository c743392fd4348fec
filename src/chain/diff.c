/*
 * Where two disks may differ, by metadata alone.
 *
 * Two things say that they do not: both read as zeros, or both have the bytes
 * from the same place in the same file.  The second holds as long as nobody
 * writes to that place, which is so for all but the top layer of a disk that
 * is open for writing.  What that overwrites in place is its alone; a snapshot's
 * view has no such clusters, so its places count there too.
 *
 * The windows are as in map.c, and for the same reason.
 */
#include "base/checked.h"
#include "base/error.h"
#include "chain/disk_impl.h"
#include "store/store.h"

#define DIFF_WINDOW_BYTES_FIRST (UINT64_C(1) << 20)

enum diff_kind {
	DIFF_UNKNOWN,
	DIFF_PLAIN,  /* `at` is a host offset in layer->data */
	DIFF_PACKED, /* `at` is the descriptor of a compressed cluster */
};

/* The state of one disk at the offset that is looked at. */
struct diff_side {
	struct disk *disk;
	uint64_t left; /* so many bytes are all in this state */
	bool is_zero;
	enum diff_kind kind;
	const struct layer *layer;
	uint64_t at;
};

static void diff_take(struct diff_side *s, const struct qcow2_extent *x)
{
	uint32_t plain = QCOW2_EXTENT_DATA | QCOW2_EXTENT_HOST_OFF;
	struct layer *l = &s->disk->layers[x->depth];

	s->left = x->len;
	s->is_zero = x->flags & QCOW2_EXTENT_ZERO;
	s->kind = DIFF_UNKNOWN;
	s->layer = l;
	s->at = x->host_off;
	if ((x->flags & plain) == plain && l->data)
		s->kind = DIFF_PLAIN;
	else if ((x->flags & QCOW2_EXTENT_COMPRESSED) &&
		 l->ops->encode->packed(l, x->off, &s->at))
		s->kind = DIFF_PACKED;
}

/* Past the end of a disk there are zeros. */
static int diff_look(struct diff_side *s, uint64_t len, uint64_t off,
		     struct qcow2_error *err)
{
	uint64_t size = disk_size(s->disk);
	struct qcow2_extent x = { .off = off,
				  .len = len,
				  .flags = QCOW2_EXTENT_ZERO };
	int rc = 0;

	if (off < size)
		rc = layer_map(&s->disk->layers[0], min_u64(len, size - off),
			       off, 0, &x, err);
	if (rc == 0)
		diff_take(s, &x);
	return rc;
}

static void diff_advance(struct diff_side *s, uint64_t n)
{
	s->left -= n;
	if (s->kind == DIFF_PLAIN)
		s->at += n;
}

static bool is_written(const struct diff_side *s)
{
	return s->disk->writable && s->layer->depth == 0;
}

/* Neither disk overwrites what the other has there. */
static bool lasts(const struct diff_side *a, const struct diff_side *b)
{
	return (!is_written(a) || b->layer->is_snapshot) &&
	       (!is_written(b) || a->layer->is_snapshot);
}

static bool has_same_place(const struct diff_side *a, const struct diff_side *b)
{
	if (a->kind != b->kind || a->kind == DIFF_UNKNOWN || a->at != b->at)
		return false;
	/* Compressed data is never in a data file. */
	return a->kind == DIFF_PLAIN
		       ? store_same_file(a->layer->data, b->layer->data)
		       : store_same_file(a->layer->store, b->layer->store);
}

static bool is_same(const struct diff_side *a, const struct diff_side *b)
{
	return (a->is_zero && b->is_zero) ||
	       (has_same_place(a, b) && lasts(a, b));
}

/* How many bytes at @off, at most @len, are all the same or all may differ. */
static int diff_step(struct diff_side *a, struct diff_side *b, uint64_t len,
		     uint64_t off, uint64_t *n, bool *same,
		     struct qcow2_error *err)
{
	int rc = a->left ? 0 : diff_look(a, len, off, err);

	if (rc == 0 && !b->left)
		rc = diff_look(b, len, off, err);
	if (rc < 0)
		return rc;
	*n = min_u64(a->left, b->left);
	*same = is_same(a, b);
	diff_advance(a, *n);
	diff_advance(b, *n);
	return 0;
}

int disk_diff(struct disk *older, struct disk *newer, uint64_t len,
	      uint64_t off, struct qcow2_diff_extent *out,
	      struct qcow2_error *err)
{
	struct diff_side a = { .disk = older };
	struct diff_side b = { .disk = newer };
	uint64_t window = DIFF_WINDOW_BYTES_FIRST;
	uint64_t n;
	bool same;
	int rc = diff_step(&a, &b, min_u64(window, len), off, &n, &same, err);

	if (rc < 0)
		return rc;
	out->off = off;
	out->len = 0;
	out->flags = same ? 0 : QCOW2_DIFF_MAY_DIFFER;
	do {
		uint64_t left;

		out->len += n;
		left = len - out->len;
		if (left == 0)
			break;
		window = window > left / 2 ? left : window * 2;
		/* Damage further on is the next call's to report. */
		rc = diff_step(&a, &b, window, off + out->len, &n, &same, NULL);
	} while (rc == 0 && same == !(out->flags & QCOW2_DIFF_MAY_DIFFER));
	return 0;
}
