/*
 * The new cluster is laid out as
 *
 *	header | backing format | filler | the other extensions | name
 *
 * and the part that is not in the first sector may only be where the old one
 * has the same bytes already or nothing at all.  The filler (EXT_FILLER) makes
 * the others stay where they are, or move to where there is room.
 */
#include "reshape/header_cluster.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/cursor.h"
#include "base/error.h"
#include "base/memory.h"
#include "format/extension.h"
#include "format/fault_error.h"
#include "image/image.h"
#include "reshape/header_layout.h"
#include "store/store.h"
#include "write/header_sector.h"
#include "write/writer.h"

#define EXT_HEAD_BYTES 8u
/* As create: smaller clusters keep their room for names. */
#define FEATURE_NAMES_CLUSTER_MIN 8192u
/* Offsets that are looked at, in larger clusters too. */
#define WINDOW_BYTES (UINT64_C(1) << 16)

struct header_cluster header_cluster_of(const struct image *img)
{
	return (struct header_cluster){ img->header, img->names.backing_file,
					img->names.backing_format, NULL };
}

/* ---- The old cluster ----------------------------------------------------- */

static bool is_kept(const struct layout *l, uint32_t type)
{
	if (type == EXT_BACKING_FORMAT || type == EXT_FILLER)
		return false;
	return type != EXT_FEATURE_NAMES || l->to->header.version >= 3;
}

static void put_feature_names(const struct layout *l, const struct header *old,
			      struct byte_writer *w)
{
	uint64_t cluster = UINT64_C(1) << old->cluster_bits;

	if (old->version < 3 && l->to->header.version >= 3 &&
	    cluster >= FEATURE_NAMES_CLUSTER_MIN)
		extension_encode_feature_names(w);
}

static int take_rest(struct layout *l, const struct header *old,
		     struct qcow2_error *err)
{
	/* Beside what is there, the table of names and an end mark. */
	size_t room = l->len + 1024;
	struct extension_iter it;
	struct extension x;
	struct fault fault;
	struct byte_writer w;

	l->rest = malloc(room);
	if (!l->rest)
		return error_nomem(err, "header extensions", room);
	w = byte_writer_init(l->rest, room);
	extension_iter_init(&it, old, l->old, l->len);
	l->lists = (struct used){ 0, old->header_length };
	while (extension_next(&it, &x, &fault)) {
		l->lists.end = (size_t)align_up(
			x.off + EXT_HEAD_BYTES + (uint64_t)x.len, 8);
		if (x.type == EXT_BITMAPS && l->to->bitmaps)
			extension_encode_bitmaps(&w, l->to->bitmaps);
		else if (is_kept(l, x.type))
			extension_encode(&w, x.type, x.data, x.len);
	}
	if (fault.defect)
		return fault_error(err, -EINVAL, &fault, 0);
	put_feature_names(l, old, &w);
	extension_encode_end(&w);
	assert(!w.failed);
	l->rest_len = byte_writer_len(&w);
	/* The end mark, which need not be there. */
	l->lists.end = (size_t)min_u64(l->lists.end + EXT_HEAD_BYTES, l->len);
	l->name = (struct used){ to_size(old->backing_off),
				 to_size(old->backing_off + old->backing_len) };
	return 0;
}

void layout_validate(const struct layout *l)
{
	assert(l->rest && l->rest_len && l->len >= l->to->header.header_length);
	/* All parts of the old cluster with a meaning lie in the window. */
	assert(l->lists.off <= l->lists.end && l->lists.end <= l->len);
	assert(l->name.off <= l->name.end && l->name.end <= l->len);
}

static int layout_init(struct layout *l, struct image *img,
		       const struct header_cluster *to, struct qcow2_error *err)
{
	int rc;

	*l = (struct layout){ .to = to };
	l->len = (size_t)min_u64(img->geo.cluster_size, WINDOW_BYTES);
	if (img->header.backing_off + img->header.backing_len > l->len)
		l->len = img->geo.cluster_size;
	l->old = calloc(1, l->len);
	l->new = calloc(1, l->len);
	if (!l->old || !l->new)
		return error_nomem(err, "the header cluster", 2 * l->len);
	rc = store_pread(img->file, l->old, l->len, 0, 0, err);
	if (rc == 0)
		rc = take_rest(l, &img->header, err);
	if (rc == 0)
		VALIDATE(layout, l);
	return rc;
}

static void layout_release(struct layout *l)
{
	free(l->old);
	free(l->new);
	free(l->rest);
}

/* ---- The new cluster ----------------------------------------------------- */

/* The bytes of the old cluster that have a meaning and are not in its first
 * sector are still there. */
static bool keeps(const struct layout *l, struct used u)
{
	size_t from = u.off < SECTOR_BYTES ? SECTOR_BYTES : u.off;
	size_t end = u.end < l->len ? u.end : l->len;

	return from >= end ||
	       memcmp(l->old + from, l->new + from, end - from) == 0;
}

/* Writes header, format, and a filler up to @rest_off; false when it does not
 * come out. */
static bool put_front(struct layout *l, size_t rest_off, size_t name_off)
{
	struct header h = l->to->header;
	const char *format = l->to->backing_format;
	struct byte_writer w = byte_writer_init(l->new, rest_off);
	size_t gap;

	h.backing_off = l->to->backing_file ? name_off : 0;
	h.backing_len =
		l->to->backing_file ? (uint32_t)strlen(l->to->backing_file) : 0;
	write_zeros(&w, h.header_length);
	if (format)
		extension_encode(&w, EXT_BACKING_FORMAT, format,
				 (uint32_t)strlen(format));
	if (w.failed || !header_encode(&h, l->new, h.header_length))
		return false;
	gap = rest_off - byte_writer_len(&w);
	if (gap == 0)
		return true;
	if (gap < EXT_HEAD_BYTES)
		return false;
	put_be32(l->new + byte_writer_len(&w), EXT_FILLER);
	put_be32(l->new + byte_writer_len(&w) + 4,
		 (uint32_t)(gap - EXT_HEAD_BYTES));
	return true;
}

static bool try_layout(struct layout *l, size_t rest_off, size_t name_off)
{
	const char *name = l->to->backing_file;
	size_t name_len = name ? strlen(name) : 0;

	if (rest_off + l->rest_len > l->len || name_off + name_len > l->len)
		return false;
	memcpy(l->new, l->old, l->len);
	if (!put_front(l, rest_off, name_off))
		return false;
	memcpy(l->new + rest_off, l->rest, l->rest_len);
	if (name)
		memcpy(l->new + name_off, name, name_len);
	return keeps(l, l->lists) && keeps(l, l->name);
}

/* The name comes behind all extensions: at once, or behind the old name. */
static bool try_names(struct layout *l, size_t rest_off)
{
	size_t behind = rest_off + l->rest_len;
	size_t other = l->name.end > l->lists.end ? l->name.end : l->lists.end;

	return try_layout(l, rest_off, behind) ||
	       (other > behind && try_layout(l, rest_off, other));
}

static bool find_layout(struct layout *l)
{
	size_t front = l->to->header.header_length;

	for (size_t off = to_size(align_up(front, 8));
	     off + l->rest_len <= l->len; off += 8)
		if (try_names(l, off))
			return true;
	return false;
}

/* ---- Writing it ---------------------------------------------------------- */

/* The sectors behind the first one that differ, with those between them. */
static int write_behind(struct image *img, const struct layout *l,
			struct qcow2_error *err)
{
	size_t from = SECTOR_BYTES, end = l->len;
	int rc;

	while (from < end &&
	       !memcmp(l->old + from, l->new + from, SECTOR_BYTES))
		from += SECTOR_BYTES;
	while (end > from && !memcmp(l->old + end - SECTOR_BYTES,
				     l->new + end - SECTOR_BYTES, SECTOR_BYTES))
		end -= SECTOR_BYTES;
	if (from >= end)
		return 0;
	rc = store_pwrite(img->file, l->new + from, end - from, from, 0, err);
	if (rc < 0)
		return rc;
	rc = store_flush(img->file, err);
	if (rc < 0)
		commit_poison(&img->writer->commit, rc);
	return rc;
}

/* Decodes the new bytes, as if they had been read, into the state that the
 * image keeps in memory: so nothing is written that could not be opened. */
static int header_cluster_decode(const struct image *img, struct layout *l,
				 struct header *h, struct names *names,
				 struct qcow2_error *err)
{
	struct extensions x;
	struct fault fault;
	int rc;

	*names = (struct names){ .cluster0 = l->new, .cluster0_len = l->len };
	if (header_decode(h, l->new, l->len, &fault) ||
	    header_validate(h, image_file_end(img), &fault) ||
	    extensions_decode(&x, h, l->new, l->len, image_file_end(img),
			      &fault))
		return fault_error(err, -EINVAL, &fault, 0);
	rc = names_open(names, h, &x, err);
	if (rc < 0) {
		names->cluster0 = NULL;
		names_release(names);
	}
	return rc;
}

/* Texts that are the same stay: callers have them. */
static void use_names(struct image *img, struct names *names)
{
	struct names old = img->names;

	if (names_same_texts(&old, names)) {
		img->names.cluster0 = names->cluster0;
		img->names.cluster0_len = names->cluster0_len;
		names->cluster0 = old.cluster0;
		names_release(names);
	} else {
		img->names = *names;
		names_release(&old);
	}
}

static int write_cluster(struct image *img, struct layout *l,
			 struct qcow2_error *err)
{
	struct names names;
	struct header h;
	int rc = header_cluster_decode(img, l, &h, &names, err);

	if (rc < 0)
		return rc;
	rc = write_behind(img, l, err);
	if (rc == 0)
		rc = header_sector_write(img, l->new, err);
	if (rc < 0) {
		names.cluster0 = NULL;
		names_release(&names);
		return rc;
	}
	img->header = h;
	use_names(img, &names);
	l->new = NULL;
	return 0;
}

static int write_locked(struct image *img, const struct header_cluster *to,
			struct qcow2_error *err)
{
	struct layout l;
	int rc = header_sector_settle_locked(img, err);

	if (rc < 0)
		return rc;
	rc = layout_init(&l, img, to, err);
	if (rc == 0 && !find_layout(&l))
		rc = error_set(err, -ENOSPC,
			       "the first cluster of %" PRIu32 " bytes has no "
			       "room to change the header safely",
			       img->geo.cluster_size);
	if (rc == 0)
		rc = write_cluster(img, &l, err);
	layout_release(&l);
	return rc;
}

int header_cluster_write(struct image *img, const struct header_cluster *to,
			 struct qcow2_error *err)
{
	SCOPED_LOCK(&img->header_lock);

	return write_locked(img, to, err);
}

int header_cluster_update(struct image *img, header_cluster_fn *change,
			  void *opaque, struct qcow2_error *err)
{
	SCOPED_LOCK(&img->header_lock);
	struct header_cluster to = header_cluster_of(img);

	change(&to, opaque);
	return write_locked(img, &to, err);
}
