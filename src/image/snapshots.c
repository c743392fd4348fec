/*
 * The table has entries of variable length and no length of its own, so it is
 * read through a window that moves along as entries are decoded.
 */
#include "image/snapshots.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "format/fault_error.h"
#include "store/store.h"

/* Twice the largest entry: every entry fits into a refilled window. */
enum { WINDOW_BYTES = 512 * 1024 };

struct image_snapshots_window {
	struct qcow2_store *file;
	uint64_t file_size;
	uint64_t host_off; /* of buf[0] */
	size_t len;        /* bytes in buf */
	size_t pos;        /* of the next entry */
	uint8_t *buf;
};

/* Moves the window so that it begins at the next entry. */
static int window_refill(struct image_snapshots_window *w,
			 struct qcow2_error *err)
{
	uint64_t left;

	w->host_off += w->pos;
	w->pos = 0;
	left = w->host_off < w->file_size ? w->file_size - w->host_off : 0;
	w->len = (size_t)min_u64(left, WINDOW_BYTES);
	if (w->len == 0)
		return 0;
	return store_pread(w->file, w->buf, w->len, w->host_off, 0, err);
}

/* Makes a whole entry available, as far as the file has it. */
static int window_entry(struct image_snapshots_window *w,
			struct qcow2_error *err)
{
	size_t left = w->len - w->pos;
	uint64_t need = SNAPSHOT_HEADER_BYTES;

	if (left >= need)
		need = snapshot_entry_bytes(w->buf + w->pos);
	if (left >= need)
		return 0;
	return window_refill(w, err);
}

int snapshot_info_init(struct snapshot_info *info, const struct snapshot *s,
		       struct qcow2_error *err)
{
	size_t names = (size_t)s->id_len + s->name_len + 2;
	size_t bytes = names + s->unknown_extra_len;

	*info = (struct snapshot_info){
		.unknown_extra_len = s->unknown_extra_len,
		.id_len = s->id_len,
		.name_len = s->name_len,
		.l1_off = s->l1_off,
		.l1_size = s->l1_size,
		.date_sec = s->date_sec,
		.date_nsec = s->date_nsec,
		.vm_clock_nsec = s->vm_clock_nsec,
		.vm_state_size = s->vm_state_size,
		.disk_size = s->disk_size,
		.icount = s->icount,
		.id = calloc(1, bytes),
	};
	if (!info->id)
		return error_nomem(err, "a snapshot's names", bytes);
	info->name = info->id + s->id_len + 1;
	info->unknown_extra = (uint8_t *)info->id + names;
	memcpy(info->id, s->id, s->id_len);
	memcpy(info->name, s->name, s->name_len);
	if (s->unknown_extra_len)
		memcpy(info->unknown_extra, s->unknown_extra,
		       s->unknown_extra_len);
	return 0;
}

void snapshot_info_validate(const struct snapshot_info *info)
{
	/* "One allocation that begins with the id": the name follows, and then
	 * what this version does not know. */
	assert(info->id && info->name == info->id + info->id_len + 1);
	assert(info->id[info->id_len] == '\0');
	assert(info->name[info->name_len] == '\0');
	assert(implies(info->unknown_extra_len,
		       info->unknown_extra ==
			       (uint8_t *)info->name + info->name_len + 1));
}

void snapshots_validate(const struct snapshots *s)
{
	assert(s->n <= SNAPSHOTS_MAX);
	assert(implies(s->n, s->list));
	assert(s->table_bytes <= SNAPSHOT_TABLE_BYTES_MAX);
	/* "The table cannot be read, and the list is empty". */
	assert(implies(s->why.code, s->n == 0));
	assert(s->why.code <= 0);
	for (uint32_t i = 0; i < s->n; i++)
		snapshot_info_validate(&s->list[i]);
}

void snapshot_info_release(struct snapshot_info *info)
{
	free(info->id);
	info->id = NULL;
}

static int read_entry(struct snapshots *s, struct image_snapshots_window *w,
		      uint64_t disk_size, struct qcow2_error *err)
{
	struct snapshot entry;
	struct fault fault;
	struct reader r;
	int rc = window_entry(w, err);

	if (rc < 0)
		return rc;
	r = reader_init(w->buf + w->pos, w->len - w->pos);
	if (snapshot_decode(&entry, &r, disk_size, &fault))
		return fault_error(err, -EINVAL, &fault, w->host_off + w->pos);
	w->pos = w->len - reader_left(&r);
	rc = snapshot_info_init(&s->list[s->n], &entry, err);
	if (rc == 0)
		s->n++;
	return rc;
}

static int image_snapshots_check_table(struct snapshots *s,
				       const struct header *h,
				       const struct image_snapshots_window *w,
				       uint64_t budget_bytes,
				       struct qcow2_error *err)
{
	uint64_t used = w->host_off + w->pos - h->snapshots_off;

	s->table_bytes = used;

	if (used > SNAPSHOT_TABLE_BYTES_MAX)
		return error_defect(
			err, -EINVAL, DEFECT_SNAPSHOT_TABLE, h->snapshots_off,
			"the snapshot table is larger than %" PRIu64 " bytes",
			SNAPSHOT_TABLE_BYTES_MAX);
	if (used > budget_bytes)
		return error_reason(err, -E2BIG, QCOW2_REASON_BUDGET,
				    "the snapshot table exceeds the metadata "
				    "budget of %" PRIu64 " bytes",
				    budget_bytes);
	return 0;
}

int snapshots_open(struct snapshots *s, const struct header *h,
		   struct qcow2_store *file, uint64_t file_size,
		   uint64_t budget_bytes, struct qcow2_error *err)
{
	CLEANUP_FREE uint8_t *buf = NULL;
	struct image_snapshots_window w = { .file = file,
					    .file_size = file_size,
					    .host_off = h->snapshots_off };
	int rc = 0;

	if (h->n_snapshots == 0)
		return 0;
	/* Every entry has 40 bytes at least: the file bounds the list. */
	if (h->snapshots_off < UINT64_C(1) << h->cluster_bits ||
	    h->snapshots_off >= file_size ||
	    h->n_snapshots >
		    (file_size - h->snapshots_off) / SNAPSHOT_HEADER_BYTES)
		return error_defect(
			err, -EINVAL, DEFECT_SNAPSHOT_TABLE, h->snapshots_off,
			"a table of %" PRIu32 " snapshots at %" PRIu64
			" does not fit into the file",
			h->n_snapshots, h->snapshots_off);
	w.buf = buf = malloc(
		to_size(min_u64(WINDOW_BYTES, file_size - h->snapshots_off)));
	s->list = calloc(h->n_snapshots, sizeof(*s->list));
	if (!buf || !s->list)
		return error_nomem(err, "the snapshot list",
				   h->n_snapshots * sizeof(*s->list));
	while (rc == 0 && s->n < h->n_snapshots) {
		rc = read_entry(s, &w, h->size, err);
		if (rc == 0)
			rc = image_snapshots_check_table(s, h, &w, budget_bytes,
							 err);
	}
	return rc;
}

void snapshots_release(struct snapshots *s)
{
	for (uint32_t i = 0; i < s->n; i++)
		snapshot_info_release(&s->list[i]);
	free(s->list);
	memset(s, 0, sizeof(*s));
}

static bool copy_names(struct snapshot_info *to, const struct snapshot_info *s)
{
	size_t id_bytes = (size_t)s->id_len + 1;
	size_t bytes = id_bytes + s->name_len + 1;

	*to = *s;
	to->unknown_extra = NULL;
	to->unknown_extra_len = 0;
	to->id = malloc(bytes);
	if (!to->id)
		return false;
	memcpy(to->id, s->id, bytes);
	to->name = to->id + id_bytes;
	return true;
}

int snapshots_copy(struct snapshots *dst, const struct snapshots *src,
		   struct qcow2_error *err)
{
	VALIDATE(snapshots, src);
	*dst = (struct snapshots){ .table_bytes = src->table_bytes };
	if (src->n)
		dst->list = calloc(src->n, sizeof(*dst->list));
	if (src->n && !dst->list)
		return error_nomem(err, "a list of snapshots",
				   src->n * sizeof(*dst->list));
	for (; dst->n < src->n; dst->n++) {
		if (copy_names(&dst->list[dst->n], &src->list[dst->n]))
			continue;
		snapshots_release(dst);
		return error_nomem(err, "a list of snapshots",
				   src->n * sizeof(*dst->list));
	}
	return 0;
}

int snapshots_unreadable(const struct snapshots *s, struct qcow2_error *err)
{
	if (err)
		*err = s->why;
	return s->why.code;
}

/* ---- The table ----------------------------------------------------------- */

static struct snapshot
image_snapshots_entry_of(const struct snapshot_info *info)
{
	return (struct snapshot){
		.l1_off = info->l1_off,
		.l1_size = info->l1_size,
		.date_sec = info->date_sec,
		.date_nsec = info->date_nsec,
		.id_len = info->id_len,
		.name_len = info->name_len,
		.vm_clock_nsec = info->vm_clock_nsec,
		.vm_state_size = info->vm_state_size,
		.disk_size = info->disk_size,
		.icount = info->icount,
		.unknown_extra_len = info->unknown_extra_len,
		.unknown_extra = info->unknown_extra,
		.id = info->id,
		.name = info->name,
	};
}

uint64_t snapshots_bytes(const struct snapshots *s)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < s->n; i++) {
		struct snapshot entry = image_snapshots_entry_of(&s->list[i]);

		bytes += snapshot_encoded_bytes(&entry);
	}
	return bytes;
}

void snapshots_encode(const struct snapshots *s, uint8_t *buf, uint64_t bytes)
{
	struct byte_writer w = byte_writer_init(buf, to_size(bytes));

	VALIDATE(snapshots, s);
	for (uint32_t i = 0; i < s->n; i++) {
		struct snapshot entry = image_snapshots_entry_of(&s->list[i]);

		snapshot_encode(&w, &entry);
	}
	assert(!w.failed && byte_writer_len(&w) == bytes);
}

/* ---- Looking ------------------------------------------------------------- */

const struct snapshot_info *snapshots_find(const struct snapshots *s,
					   const char *id_or_name)
{
	for (uint32_t i = 0; i < s->n; i++)
		if (strcmp(s->list[i].id, id_or_name) == 0)
			return &s->list[i];
	for (uint32_t i = 0; i < s->n; i++)
		if (strcmp(s->list[i].name, id_or_name) == 0)
			return &s->list[i];
	return NULL;
}

int snapshot_check_view(const struct geometry *g, const struct snapshot_info *s,
			uint64_t file_size, struct qcow2_error *err)
{
	struct snapshot probe = { .l1_off = s->l1_off,
				  .l1_size = s->l1_size,
				  .disk_size = s->disk_size };
	enum defect bad = snapshot_l1_defect(g, &probe, file_size);

	if (bad == DEFECT_NONE)
		return 0;
	return error_defect(err, -EINVAL, (int)bad, s->l1_off,
			    "snapshot \"%s\": %s (L1 table of %" PRIu32
			    " entries at %" PRIu64 ", disk size %" PRIu64 ")",
			    TEXT(s->name, strlen(s->name)),
			    defect_info((int)bad)->text, s->l1_size, s->l1_off,
			    s->disk_size);
}
