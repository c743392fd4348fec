#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "dump/context.h"
#include "store/store.h"

/* ---- Decode -------------------------------------------------------------- */

static void dump_open_mark(struct dump *d, uint64_t off, enum defect bad)
{
	if (off / 4 < HEADER_WORDS && !d->bad[off / 4])
		d->bad[off / 4] = bad;
}

/* A header longer than the file, or a file with less than any header. */
static uint64_t place_of(const struct fault *f)
{
	if (f->defect == DEFECT_HEADER_TOO_SHORT &&
	    f->limit > HEADER_LENGTH_V3_MIN)
		return HEADER_OFF_HEADER_LENGTH;
	return f->off;
}

/* Puts a possible number in the place of one that keeps the rest from being
 * decoded.  False when there is no rest. */
static bool make_possible(struct dump *d, uint64_t off)
{
	switch (off) {
	case HEADER_OFF_MAGIC:
		put_be32(d->head + off, HEADER_MAGIC);
		return true;
	case HEADER_OFF_VERSION:
		put_be32(d->head + off, 3);
		return true;
	case HEADER_OFF_CLUSTER_BITS:
		put_be32(d->head + off, CLUSTER_BITS_DEFAULT);
		d->no_cluster_bits = true;
		return true;
	case HEADER_OFF_HEADER_LENGTH:
		put_be32(d->head + off, HEADER_LENGTH_V3_MIN);
		return true;
	case HEADER_OFF_REFCOUNT_ORDER:
		put_be32(d->head + off, REFCOUNT_ORDER_V2);
		d->no_refcount_order = true;
		return true;
	default:
		return false;
	}
}

static void dump_open_decode(struct dump *d)
{
	struct fault f;

	while (header_decode(&d->header, d->head, d->head_len, &f)) {
		uint64_t off = place_of(&f);

		dump_open_mark(d, off, f.defect);
		d->no_header = f.defect == DEFECT_HEADER_TOO_SHORT &&
			       off != HEADER_OFF_HEADER_LENGTH;
		if (d->no_header || !make_possible(d, off))
			return;
	}
}

/* ---- Validate ------------------------------------------------------------ */

/* Takes what is at @off out of @h, so that the next fault shows.  False where
 * that is not possible. */
static bool take_out(struct header *h, uint64_t off)
{
	switch (off) {
	case HEADER_OFF_SIZE:
		h->size = 0;
		return true;
	case HEADER_OFF_CRYPT_METHOD:
		h->crypt_method = CRYPT_NONE;
		return true;
	case HEADER_OFF_COMPRESSION:
		h->compression_type = COMPRESSION_ZLIB;
		h->incompatible_features &= ~INCOMPAT_COMPRESSION;
		return true;
	case HEADER_OFF_CLUSTER_BITS:
		h->incompatible_features &= ~INCOMPAT_EXTENDED_L2;
		return true;
	case HEADER_OFF_L1_SIZE:
	case HEADER_OFF_L1_OFF:
		h->size = 0;
		h->l1_size = 0;
		h->l1_off = 0;
		return true;
	case HEADER_OFF_REFCOUNT_TABLE_OFF:
	case HEADER_OFF_REFCOUNT_TABLE_CLUSTERS:
		h->refcount_table_clusters = 0;
		h->refcount_table_off = 0;
		return true;
	case HEADER_OFF_SNAPSHOT_COUNT:
	case HEADER_OFF_SNAPSHOTS_OFF:
		h->n_snapshots = 0;
		h->snapshots_off = 0;
		return true;
	case HEADER_OFF_BACKING_OFF:
	case HEADER_OFF_BACKING_LEN:
		h->backing_off = 0;
		h->backing_len = 0;
		return true;
	default:
		return false;
	}
}

/* Each fault that is taken out leaves the ones behind it. */
static void dump_open_validate(struct dump *d)
{
	struct header h = d->header;
	struct fault f;

	for (unsigned i = 0; i < HEADER_WORDS; i++) {
		if (!header_validate(&h, d->file_size, &f))
			return;
		dump_open_mark(d, f.off, f.defect);
		if (!take_out(&h, f.off))
			return;
	}
}

/* Extensions are held against some fields of the header. */
static void dump_open_decode_extensions(struct dump *d)
{
	struct fault *f = &d->extensions_fault;

	if (!extensions_decode(&d->extensions, &d->header, d->head, d->head_len,
			       d->file_size, f))
		*f = (struct fault){ 0 };
	if (f->defect == DEFECT_HEADER_CRYPT_METHOD ||
	    (f->defect == DEFECT_EXTENSION_DATA_FILE &&
	     f->off == HEADER_OFF_INCOMPAT))
		dump_open_mark(d, f->off, f->defect);
}

/* ------------------------------------------------------------------------- */

int dump_open(struct dump *d, struct qcow2_error *err)
{
	int rc = store_size(d->file, &d->file_size, err);

	if (rc < 0)
		return rc;
	d->head_len = (size_t)min_u64(d->file_size, CLUSTER_BYTES_MAX);
	d->head = malloc(d->head_len + 1); /* of an empty file too */
	if (!d->head)
		return error_nomem(err, "the first cluster", d->head_len);
	rc = store_pread(d->file, d->head, d->head_len, 0, 0, err);
	if (rc < 0)
		return rc;
	memcpy(d->found, d->head,
	       (size_t)min_u64(d->head_len, sizeof(d->found)));
	dump_open_decode(d);
	if (d->no_header)
		return 0;
	geometry_init(&d->geo, &d->header);
	d->head_len = (size_t)min_u64(d->head_len, d->geo.cluster_size);
	d->l1 = (struct dump_l1_place){ d->header.l1_off, d->header.l1_size,
					d->header.size };
	if (d->no_cluster_bits)
		return 0;
	dump_open_validate(d);
	dump_open_decode_extensions(d);
	return 0;
}
