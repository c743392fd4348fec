#include "image/compressed.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "format/defect.h"
#include "store/store.h"

enum {
	/* Enough for a few interleaved sequential readers. */
	DECODED_BYTES_MAX = 4 * 1024 * 1024,
	DECODED_MIN = 2,
	DECODED_MAX = 16,
};

struct decoded_cluster {
	struct decoded_cluster *next;
	struct compressed where;
	uint32_t pins; /* readers copying out of it */
	bool listed;   /* still in the cache */
	uint8_t data[];
};

/* Holds compressed bytes during one decode: a cluster and its sector tail. */
struct spare_buffer {
	struct spare_buffer *next;
	uint8_t data[];
};

static size_t spare_bytes(const struct compressed_reader *cr)
{
	/* The size field counts additional sectors, twice a cluster at most. */
	return 2 * (size_t)cr->cluster_size + 2 * COMPRESSED_SECTOR_BYTES;
}

void compressed_reader_init(struct compressed_reader *cr,
			    struct qcow2_store *file, uint32_t cluster_size,
			    enum codec codec)
{
	uint64_t n = DECODED_BYTES_MAX / cluster_size;

	memset(cr, 0, sizeof(*cr));
	cr->file = file;
	cr->cluster_size = cluster_size;
	decoder_pool_init(&cr->decoders, codec);
	pthread_mutex_init(&cr->lock, NULL);
	cr->max_decoded =
		(uint32_t)max_u64(min_u64(n, DECODED_MAX), DECODED_MIN);
	cr->last_direct = UINT64_MAX;
}

void compressed_reader_validate(const struct compressed_reader *cr)
{
	uint32_t n = 0;

	assert(cr->max_decoded >= DECODED_MIN &&
	       cr->max_decoded <= DECODED_MAX);
	assert(cr->n_decoded <= cr->max_decoded);
	for (const struct decoded_cluster *d = cr->decoded; d; d = d->next) {
		/* A list that ends: no entry comes again. */
		assert(n++ < cr->n_decoded);
		assert(d->listed && d->where.len);
		assert(d->where.len <= spare_bytes(cr));
		for (const struct decoded_cluster *o = d->next; o; o = o->next)
			assert(o->where.host_off != d->where.host_off ||
			       o->where.len != d->where.len);
	}
	assert(n == cr->n_decoded);
}

void compressed_reader_release(struct compressed_reader *cr)
{
	VALIDATE(compressed_reader, cr);
	while (cr->decoded) {
		struct decoded_cluster *next = cr->decoded->next;

		assert(cr->decoded->pins == 0);
		free(cr->decoded);
		cr->decoded = next;
	}
	while (cr->spare) {
		struct spare_buffer *next = cr->spare->next;

		free(cr->spare);
		cr->spare = next;
	}
	pthread_mutex_destroy(&cr->lock);
	decoder_pool_release(&cr->decoders);
}

/* ---- The list, under the lock -------------------------------------------- */

static bool is_at(const struct decoded_cluster *d, struct compressed where)
{
	return d->where.host_off == where.host_off && d->where.len == where.len;
}

static struct decoded_cluster *list_take(struct compressed_reader *cr,
					 struct compressed where)
{
	struct decoded_cluster **p = &cr->decoded;
	struct decoded_cluster *d;

	while (*p && !is_at(*p, where))
		p = &(*p)->next;
	d = *p;
	if (d)
		*p = d->next;
	return d;
}

static void list_push(struct compressed_reader *cr, struct decoded_cluster *d)
{
	d->next = cr->decoded;
	cr->decoded = d;
}

static void list_drop_last(struct compressed_reader *cr)
{
	struct decoded_cluster **p = &cr->decoded;
	struct decoded_cluster *d;

	while ((*p)->next)
		p = &(*p)->next;
	d = *p;
	*p = NULL;
	cr->n_decoded--;
	d->listed = false;
	if (d->pins == 0)
		free(d);
}

static struct decoded_cluster *decoded_get(struct compressed_reader *cr,
					   struct compressed where)
{
	SCOPED_LOCK(&cr->lock);
	SCOPED_VALIDATE(compressed_reader, cr);
	struct decoded_cluster *d = list_take(cr, where);

	if (d) {
		list_push(cr, d);
		d->pins++;
	}
	return d;
}

static void decoded_put(struct compressed_reader *cr, struct decoded_cluster *d)
{
	SCOPED_LOCK(&cr->lock);

	assert(d->pins);
	d->pins--;
	if (d->pins == 0 && !d->listed)
		free(d);
}

/* Another thread may have decoded the same cluster meanwhile: then @d stays
 * its reader's own. */
static void decoded_insert(struct compressed_reader *cr,
			   struct decoded_cluster *d)
{
	SCOPED_LOCK(&cr->lock);
	SCOPED_VALIDATE(compressed_reader, cr);
	struct decoded_cluster *other = list_take(cr, d->where);

	if (other) {
		list_push(cr, other);
		return;
	}
	d->listed = true;
	list_push(cr, d);
	cr->n_decoded++;
	if (cr->n_decoded > cr->max_decoded)
		list_drop_last(cr);
}

static struct spare_buffer *spare_get(struct compressed_reader *cr)
{
	struct spare_buffer *b;

	mutex_lock(&cr->lock);
	b = cr->spare;
	if (b)
		cr->spare = b->next;
	mutex_unlock(&cr->lock);
	return b ? b : malloc(sizeof(*b) + spare_bytes(cr));
}

static void spare_put(struct compressed_reader *cr, struct spare_buffer *b)
{
	SCOPED_LOCK(&cr->lock);

	b->next = cr->spare;
	cr->spare = b;
}

void compressed_forget(struct compressed_reader *cr, uint64_t len,
		       uint64_t host_off)
{
	struct decoded_cluster **p = &cr->decoded;
	SCOPED_LOCK(&cr->lock);
	SCOPED_VALIDATE(compressed_reader, cr);

	while (*p) {
		struct decoded_cluster *d = *p;

		if (d->where.host_off >= host_off + len ||
		    host_off >= d->where.host_off + d->where.len) {
			p = &d->next;
			continue;
		}
		*p = d->next;
		cr->n_decoded--;
		d->listed = false;
		if (d->pins == 0)
			free(d);
	}
	cr->last_direct = UINT64_MAX;
}

/* ---- Decoding ------------------------------------------------------------ */

static int decode_failed(int rc, struct compressed where,
			 struct qcow2_error *err)
{
	if (rc != -EIO)
		return error_set(err, rc, "no memory for a decoder");
	return error_defect(err, rc, DEFECT_COMPRESSED_DATA, where.host_off,
			    "%s", defect_info(DEFECT_COMPRESSED_DATA)->text);
}

static int decode_into(struct compressed_reader *cr, struct compressed where,
		       void *dst, unsigned flags, struct qcow2_error *err)
{
	struct spare_buffer *b = spare_get(cr);
	int rc;

	if (!b)
		return error_nomem(err, "compressed data", spare_bytes(cr));
	assert(where.len <= spare_bytes(cr));
	rc = store_pread(cr->file, b->data, where.len, where.host_off,
			 store_nowait(flags), err);
	if (rc == 0) {
		rc = decoder_pool_decode(&cr->decoders, dst, cr->cluster_size,
					 b->data, where.len);
		if (rc < 0)
			decode_failed(rc, where, err);
		atomic_fetch_add_explicit(&cr->n_decodes, 1,
					  memory_order_relaxed);
	}
	spare_put(cr, b);
	return rc;
}

/* A new cache entry, pinned; inserted only once it holds good data. */
static int decode_cached(struct compressed_reader *cr, struct compressed where,
			 unsigned flags, struct decoded_cluster **out,
			 struct qcow2_error *err)
{
	struct decoded_cluster *d = malloc(sizeof(*d) + cr->cluster_size);
	int rc;

	if (!d)
		return error_nomem(err, "a decoded cluster", cr->cluster_size);
	d->where = where;
	d->pins = 1;
	d->listed = false;
	rc = decode_into(cr, where, d->data, flags, err);
	if (rc < 0) {
		free(d);
		return rc;
	}
	decoded_insert(cr, d);
	*out = d;
	return 0;
}

/* True when a whole cluster goes to one contiguous place and was not the last
 * one to do so. */
static bool wants_direct(struct compressed_reader *cr, struct compressed where,
			 const struct iov_cursor *dst, uint64_t len)
{
	SCOPED_LOCK(&cr->lock);
	bool again = cr->last_direct == where.host_off;

	if (len != cr->cluster_size || !dst->iovcnt ||
	    dst->iov->iov_len - dst->seg_off < len || again)
		return false;
	cr->last_direct = where.host_off;
	return true;
}

int compressed_read(struct compressed_reader *cr, struct compressed where,
		    struct iov_cursor *dst, uint64_t len, uint64_t in_cluster,
		    unsigned flags, struct qcow2_error *err)
{
	struct decoded_cluster *d;
	int rc;

	assert(in_cluster <= cr->cluster_size &&
	       len <= cr->cluster_size - in_cluster);
	d = decoded_get(cr, where);
	if (!d && wants_direct(cr, where, dst, len)) {
		struct iovec piece = iov_next(dst, len);

		return decode_into(cr, where, piece.iov_base, flags, err);
	}
	rc = d ? 0 : decode_cached(cr, where, flags, &d, err);
	if (rc < 0)
		return rc;
	iov_copy_in(dst, d->data + in_cluster, len);
	decoded_put(cr, d);
	return 0;
}
