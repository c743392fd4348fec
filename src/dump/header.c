#include "base/bytes.h"
#include "base/checked.h"
#include "dump/context.h"

/* ---- Fields -------------------------------------------------------------- */

enum form {
	FORM_NUMBER,
	FORM_HEX,
};

struct field {
	const char *name; /* as the specification spells it */
	uint32_t off;
	uint32_t bytes;
	enum form form;
};

static const struct field fields[] = {
	{ "magic", HEADER_OFF_MAGIC, 4, FORM_HEX },
	{ "version", HEADER_OFF_VERSION, 4, FORM_NUMBER },
	{ "backing_file_offset", HEADER_OFF_BACKING_OFF, 8, FORM_HEX },
	{ "backing_file_size", HEADER_OFF_BACKING_LEN, 4, FORM_NUMBER },
	{ "cluster_bits", HEADER_OFF_CLUSTER_BITS, 4, FORM_NUMBER },
	{ "size", HEADER_OFF_SIZE, 8, FORM_NUMBER },
	{ "crypt_method", HEADER_OFF_CRYPT_METHOD, 4, FORM_NUMBER },
	{ "l1_size", HEADER_OFF_L1_SIZE, 4, FORM_NUMBER },
	{ "l1_table_offset", HEADER_OFF_L1_OFF, 8, FORM_HEX },
	{ "refcount_table_offset", HEADER_OFF_REFCOUNT_TABLE_OFF, 8, FORM_HEX },
	{ "refcount_table_clusters", HEADER_OFF_REFCOUNT_TABLE_CLUSTERS, 4,
	  FORM_NUMBER },
	{ "nb_snapshots", HEADER_OFF_SNAPSHOT_COUNT, 4, FORM_NUMBER },
	{ "snapshots_offset", HEADER_OFF_SNAPSHOTS_OFF, 8, FORM_HEX },
	{ "incompatible_features", HEADER_OFF_INCOMPAT, 8, FORM_HEX },
	{ "compatible_features", HEADER_OFF_COMPAT, 8, FORM_HEX },
	{ "autoclear_features", HEADER_OFF_AUTOCLEAR, 8, FORM_HEX },
	{ "refcount_order", HEADER_OFF_REFCOUNT_ORDER, 4, FORM_NUMBER },
	{ "header_length", HEADER_OFF_HEADER_LENGTH, 4, FORM_NUMBER },
	{ "compression_type", HEADER_OFF_COMPRESSION, 1, FORM_NUMBER },
};

#define N_FIELDS (sizeof(fields) / sizeof(fields[0]))

static uint64_t value_of(const struct dump *d, const struct field *f)
{
	const uint8_t *p = d->found + f->off;

	if (f->bytes == 1)
		return *p;
	return f->bytes == 4 ? get_be32(p) : get_be64(p);
}

/* The fields of a header depend on its version, and on its length. */
static bool dump_header_is_there(const struct dump *d, const struct field *f)
{
	uint64_t end = d->no_header ? d->head_len : d->header.header_length;

	return f->off + f->bytes <= min_u64(end, d->head_len);
}

static void feature_names(struct record *r, uint64_t bits)
{
	record_flag(r, "dirty", bits & INCOMPAT_DIRTY);
	record_flag(r, "corrupt", bits & INCOMPAT_CORRUPT);
	record_flag(r, "external-data-file", bits & INCOMPAT_DATA_FILE);
	record_flag(r, "has-compression-type", bits & INCOMPAT_COMPRESSION);
	record_flag(r, "extended-l2", bits & INCOMPAT_EXTENDED_L2);
}

static void feature_defects(struct record *r, uint64_t bits)
{
	if (bits & INCOMPAT_DIRTY)
		record_defect(r, DEFECT_HEADER_DIRTY_BIT);
	if (bits & INCOMPAT_CORRUPT)
		record_defect(r, DEFECT_HEADER_CORRUPT_BIT);
	if (bits & ~INCOMPAT_KNOWN)
		record_defect(r, DEFECT_HEADER_UNKNOWN_FEATURE);
}

/* Adds the flags and defects of numbers that decode. */
static void add_meaning(struct dump *d, const struct field *f, uint64_t value)
{
	struct record *r = &d->record;

	if (f->off == HEADER_OFF_INCOMPAT) {
		feature_names(r, value);
		feature_defects(r, value);
	} else if (f->off == HEADER_OFF_COMPAT) {
		record_flag(r, "lazy-refcounts", value & COMPAT_LAZY_REFCOUNTS);
	} else if (f->off == HEADER_OFF_AUTOCLEAR) {
		record_flag(r, "bitmaps", value & AUTOCLEAR_BITMAPS);
		record_flag(r, "data-file-raw",
			    value & AUTOCLEAR_DATA_FILE_RAW);
		if ((value & AUTOCLEAR_DATA_FILE_RAW) &&
		    !header_has_data_file(&d->header))
			record_defect(r, DEFECT_HEADER_DATA_FILE_RAW);
	} else if (f->off == HEADER_OFF_REFCOUNT_TABLE_CLUSTERS && !value) {
		record_defect(r, DEFECT_HEADER_REFCOUNT_TABLE_EMPTY);
	} else if (f->off == HEADER_OFF_BACKING_LEN && !value &&
		   get_be64(d->found + HEADER_OFF_BACKING_OFF)) {
		record_defect(r, DEFECT_HEADER_BACKING_TEXT);
	}
}

static void make_field(struct dump *d, const struct field *f)
{
	struct record *r = &d->record;
	uint64_t value = value_of(d, f);

	record_begin(r, "header", f->off);
	if (f->form == FORM_HEX)
		record_hex(r, f->name, value);
	else
		record_number(r, f->name, value);
	record_defect(r, d->bad[f->off / 4]);
	add_meaning(d, f, value);
}

int dump_fields(struct dump *d, bool all, struct qcow2_error *err)
{
	for (unsigned i = 0; i < N_FIELDS; i++) {
		int rc = 0;

		if (!dump_header_is_there(d, &fields[i]))
			continue;
		make_field(d, &fields[i]);
		if (all || d->record.n_defects)
			rc = dump_tell(d, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* ---- Everything else ----------------------------------------------------- */

static int dump_file(struct dump *d, struct qcow2_error *err)
{
	struct record *r = &d->record;

	record_begin(r, "file", NOWHERE);
	record_number(r, "bytes", d->file_size);
	if (d->no_header)
		record_defect(r, DEFECT_HEADER_TOO_SHORT);
	else if (!d->no_cluster_bits) {
		record_number(r, "cluster-size", d->geo.cluster_size);
		record_number(r, "clusters",
			      geometry_clusters(&d->geo, d->file_size));
	}
	return dump_tell(d, err);
}

/* Fields of later versions, and padding that has something in it. */
static int dump_tail(struct dump *d, struct qcow2_error *err)
{
	const struct header *h = &d->header;
	uint32_t padding = HEADER_LENGTH_V3 - HEADER_OFF_COMPRESSION - 1;
	bool zero = true;

	for (uint32_t i = 0; i < h->tail_len; i++)
		zero = zero && !h->tail[i];
	if (zero && h->tail_len <= padding)
		return 0;
	record_begin(&d->record, "header-tail", HEADER_OFF_COMPRESSION + 1);
	record_number(&d->record, "length", h->tail_len);
	record_bytes(&d->record, "bytes", h->tail, h->tail_len);
	return dump_tell(d, err);
}

int dump_header(struct dump *d, struct qcow2_error *err)
{
	static int (*const steps[])(struct dump *, struct qcow2_error *) = {
		dump_tail,
		dump_extensions,
		dump_l1_place,
		dump_refcounts_place,
		dump_snapshots_place,
		dump_bitmaps_place,
	};
	int rc = dump_file(d, err);

	if (rc == 0)
		rc = dump_fields(d, true, err);
	if (d->no_header)
		return rc;
	for (unsigned i = 0; rc == 0 && i < sizeof(steps) / sizeof(steps[0]);
	     i++)
		rc = steps[i](d, err);
	return rc;
}
