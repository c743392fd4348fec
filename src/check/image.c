#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/text.h"
#include "check/context.h"
#include "format/fault_error.h"
#include "store/store.h"

/* Holds every header with its extensions except in large clusters. */
#define WINDOW_BYTES (UINT64_C(64) << 10)
#define CLUSTER_BYTES_MAX (UINT64_C(1) << CLUSTER_BITS_MAX)

struct check_image_window {
	struct budget *budget;
	uint8_t *buf;
	size_t len; /* bytes of the file that are in it */
	size_t capacity;
};

static void window_release(struct check_image_window *w)
{
	budget_free(w->budget, w->buf, w->capacity);
}

static int window_read(struct check *c, struct check_image_window *w,
		       uint64_t want, struct qcow2_error *err)
{
	window_release(w);
	w->buf = NULL;
	w->capacity = (size_t)want;
	w->len = (size_t)min_u64(want, c->file_size);
	w->buf = budget_alloc(&c->budget, w->capacity);
	if (!w->buf)
		return budget_error(&c->budget, "the header", err);
	return store_pread(c->file, w->buf, w->len, 0, 0, err);
}

/* Decodes the header from as much of the file as that takes. */
static int check_image_decode_header(struct check *c,
				     struct check_image_window *w,
				     struct qcow2_error *err)
{
	struct fault fault;
	enum defect bad;
	int rc;

	rc = window_read(c, w, WINDOW_BYTES, err);
	if (rc < 0)
		return rc;
	bad = header_decode(&c->header, w->buf, w->len, &fault);
	if (bad == DEFECT_HEADER_TOO_SHORT || bad == DEFECT_HEADER_LENGTH ||
	    (!bad && UINT64_C(1) << c->header.cluster_bits > w->capacity)) {
		rc = window_read(c, w, CLUSTER_BYTES_MAX, err);
		if (rc < 0)
			return rc;
		bad = header_decode(&c->header, w->buf, w->len, &fault);
	}
	if (bad)
		return fault_error(err, -EINVAL, &fault, 0);
	w->len = (size_t)min_u64(w->len, UINT64_C(1) << c->header.cluster_bits);
	return 0;
}

/* The name that the image gives to an incompatible feature, or its number. */
static void feature_text(const struct extensions *x, unsigned bit, char *text,
			 size_t size)
{
	struct feature_name f;

	for (uint32_t i = 0; x->feature_names; i++) {
		if (!feature_name_get(x->feature_names, x->feature_names_len, i,
				      &f))
			break;
		if (f.type == FEATURE_INCOMPATIBLE && f.bit == bit && f.len) {
			text_escape(text, size, f.name, f.len);
			return;
		}
	}
	snprintf(text, size, "bit %u", bit);
}

/* All of them, as many as the message holds. */
static int refuse_features(const struct extensions *x, uint64_t unknown,
			   struct qcow2_error *err)
{
	char list[180] = "";
	size_t used = 0;

	for (unsigned bit = 0; bit < 64 && used + 1 < sizeof(list); bit++) {
		char text[64];
		int n;

		if (!(unknown >> bit & 1))
			continue;
		feature_text(x, bit, text, sizeof(text));
		n = snprintf(list + used, sizeof(list) - used, "%s%s",
			     used ? ", " : "", text);
		used = (size_t)min_u64(used + (size_t)n, sizeof(list) - 1);
	}
	return error_defect(err, -ENOTSUP, DEFECT_HEADER_UNKNOWN_FEATURE,
			    HEADER_OFF_INCOMPAT,
			    "unknown incompatible features: %s", list);
}

static void padded_names(struct check *c, const struct extensions *x)
{
	if (x->padded_backing)
		report_note(&c->report, DEFECT_HEADER_BACKING_TEXT,
			    c->header.backing_off,
			    "the name of the backing "
			    "file is filled up with NULs");
	if (x->padded_backing_format)
		report_note(&c->report, DEFECT_EXTENSION_BACKING_FORMAT,
			    NOWHERE,
			    "the name of the backing file's format is "
			    "empty or filled up with NULs");
	if (x->padded_data_file)
		report_note(&c->report, DEFECT_EXTENSION_DATA_FILE, NOWHERE,
			    "the name of the data file is empty or filled up "
			    "with NULs");
}

/* Reports faults of the extensions that do not keep the disk from being
 * read. */
static void extension_findings(struct check *c, const struct extensions *x)
{
	bool in_use = c->mode.with_bitmaps ||
		      (c->header.autoclear_features & AUTOCLEAR_BITMAPS);

	if (x->bad_feature_names)
		report_note(&c->report, DEFECT_EXTENSION_FEATURE_TABLE, NOWHERE,
			    "the feature name table is malformed");
	if (x->repeated_off)
		report_note(&c->report, DEFECT_EXTENSION_DUPLICATE,
			    x->repeated_off,
			    "a known header extension occurs "
			    "twice: the last one counts");
	padded_names(c, x);
	if (x->odd_bitmaps_off)
		report_defect(&c->report, DEFECT_EXTENSION_BITMAPS,
			      x->odd_bitmaps_off,
			      "a bitmaps extension has "
			      "another length than %u: other software does not "
			      "open the image",
			      BITMAPS_EXT_BYTES);
	else if (x->bad_bitmaps && in_use)
		report_defect(&c->report, DEFECT_EXTENSION_BITMAPS, NOWHERE,
			      "the bitmaps extension is malformed: what it "
			      "refers to is not counted");
	if (x->long_end_off)
		report_defect(
			&c->report, DEFECT_EXTENSION_END, x->long_end_off,
			"the end mark of the header "
			"extensions has a length that does not fit: other "
			"software does not open the image");
	c->report.incomplete |= x->bad_bitmaps && in_use;
	c->has_bitmaps = x->has_bitmaps && !x->bad_bitmaps && in_use;
	c->has_crypto = x->has_crypto;
	c->bitmaps = x->bitmaps;
	c->crypto = x->crypto;
}

static void header_findings(struct check *c)
{
	const struct header *h = &c->header;

	if (h->incompatible_features & INCOMPAT_DIRTY)
		report_note(&c->report, DEFECT_HEADER_DIRTY_BIT,
			    HEADER_OFF_INCOMPAT,
			    "the image is marked dirty: "
			    "refcounts may be stale");
	if (h->incompatible_features & INCOMPAT_CORRUPT)
		report_note(&c->report, DEFECT_HEADER_CORRUPT_BIT,
			    HEADER_OFF_INCOMPAT, "the image is marked corrupt");
	if ((h->autoclear_features & AUTOCLEAR_DATA_FILE_RAW) &&
	    !header_has_data_file(h))
		report_defect(&c->report, DEFECT_HEADER_DATA_FILE_RAW,
			      HEADER_OFF_AUTOCLEAR,
			      "the raw data file bit is "
			      "set and there is no data file: other software "
			      "does not open the image");
	if (h->backing_off && !h->backing_len)
		report_note(&c->report, DEFECT_HEADER_BACKING_TEXT,
			    HEADER_OFF_BACKING_LEN,
			    "there is a place for the "
			    "name of a backing file, and no name: there is no "
			    "backing file");
	if (!h->refcount_table_clusters && !c->refcounts_dropped)
		report_defect(
			&c->report, DEFECT_HEADER_REFCOUNT_TABLE_EMPTY,
			HEADER_OFF_REFCOUNT_TABLE_CLUSTERS,
			"there is no refcount table: all refcounts are 0");
}

static void forget_refcounts(struct header *h)
{
	h->refcount_table_off = 0;
	h->refcount_table_clusters = 0;
}

/* As many snapshots as there may be and the file has room for, if the table
 * begins in a sane place. */
static bool cap_snapshots(struct check *c)
{
	struct header *h = &c->header;
	struct header capped = *h;
	struct fault fault;
	uint64_t room;

	if (c->snapshots_count != COUNT_GOOD)
		return false;
	c->snapshots_count = COUNT_MADE_UP;
	/* No table can be there. */
	if (h->snapshots_off >= c->file_size ||
	    h->snapshots_off < UINT64_C(1) << h->cluster_bits) {
		h->n_snapshots = 0;
		c->report.incomplete |= !c->mode.no_snapshot_table;
		return true;
	}
	room = (c->file_size - h->snapshots_off) / SNAPSHOT_HEADER_BYTES;
	if (h->n_snapshots <= room)
		c->snapshots_count = COUNT_CAPPED;
	capped.n_snapshots = (uint32_t)min_u64(room, SNAPSHOTS_MAX);
	if (header_validate(&capped, c->file_size, &fault) ==
	    DEFECT_HEADER_SNAPSHOT_OFFSET)
		return false;
	h->n_snapshots = capped.n_snapshots;
	return true;
}

/* Takes out of the header what a repair puts right, if that is what keeps the
 * image from being opened. */
static bool tolerate(struct check *c, const struct fault *fault)
{
	struct header *h = &c->header;
	struct header without = *h;
	struct fault other;

	forget_refcounts(&without);
	if (fault->defect == DEFECT_HEADER_SNAPSHOT_COUNT ||
	    fault->defect == DEFECT_HEADER_SNAPSHOT_OFFSET) {
		if (!cap_snapshots(c))
			return false;
	} else if (h->refcount_table_clusters &&
		   header_validate(&without, c->file_size, &other) !=
			   fault->defect) {
		forget_refcounts(h);
	} else {
		return false;
	}
	report_fault(&c->report, fault, 0, "header");
	c->refcounts_dropped = !h->refcount_table_clusters;
	c->l1_doubted |= fault->defect == DEFECT_HEADER_L1_OFFSET;
	return true;
}

/* Faults that other software tolerates are findings; the rest is the reason
 * why the image cannot be opened. */
static int check_image_validate(struct check *c, struct qcow2_error *err)
{
	for (;;) {
		struct fault fault;
		enum defect bad =
			header_validate(&c->header, c->file_size, &fault);

		if (bad && c->mode.tolerant && tolerate(c, &fault))
			continue;
		if (bad &&
		    defect_info((int)bad)->severity == DEFECT_SEVERITY_FATAL)
			return fault_error(err, -EINVAL, &fault, 0);
		if (bad)
			report_fault(&c->report, &fault, 0, "header");
		return 0;
	}
}

static int check_image_decode_extensions(struct check *c,
					 const struct check_image_window *w,
					 struct qcow2_error *err)
{
	uint64_t unknown = c->header.incompatible_features & ~INCOMPAT_KNOWN;
	struct extensions x = { 0 };
	struct fault fault;
	enum defect bad;
	int rc;

	bad = extensions_decode(&x, &c->header, w->buf, w->len, c->file_size,
				&fault);
	if (unknown)
		return refuse_features(&x, unknown, err);
	if (c->mode.no_refcounts)
		forget_refcounts(&c->header);
	rc = check_image_validate(c, err);
	if (rc < 0)
		return rc;
	if (bad)
		return fault_error(err, -EINVAL, &fault, 0);
	extension_findings(c, &x);
	return 0;
}

int check_open(struct check *c, uint64_t virtual_bytes_max,
	       struct qcow2_error *err)
{
	CLEANUP(window_release)
	struct check_image_window w = { .budget = &c->budget };
	int rc;

	rc = store_size(c->file, &c->file_size, err);
	if (rc >= 0)
		rc = check_image_decode_header(c, &w, err);
	if (rc >= 0)
		rc = check_image_decode_extensions(c, &w, err);
	if (rc < 0)
		return rc;
	if (virtual_bytes_max && c->header.size > virtual_bytes_max)
		return error_reason(
			err, -E2BIG, QCOW2_REASON_BUDGET,
			"the virtual size is %" PRIu64
			" bytes, the budget (virtual_bytes) %" PRIu64,
			c->header.size, virtual_bytes_max);
	c->header.tail = NULL;
	c->header.tail_len = 0;
	geometry_init(&c->geo, &c->header);
	c->report.result->total_clusters =
		geometry_clusters(&c->geo, c->header.size);
	header_findings(c);
	return 0;
}
