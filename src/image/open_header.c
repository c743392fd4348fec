/*
 * The first cluster: the header, and what is named behind it.
 *
 * When only the metadata is asked for, the first bytes of the image may be all
 * there is.  The header is then held against its rules as if the file went on,
 * and the missing parts are noted.
 */
#include "image/open_header.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/text.h"
#include "format/fault_error.h"
#include "image/image.h"
#include "store/store.h"

enum { FIRST_READ_BYTES = 4096 };

/* ---- Its bytes ----------------------------------------------------------- */

static uint64_t open_header_cluster_bytes(const uint8_t *first)
{
	uint32_t bits = get_be32(first + HEADER_OFF_CLUSTER_BITS);

	if (bits < CLUSTER_BITS_MIN || bits > CLUSTER_BITS_MAX)
		bits = CLUSTER_BITS_MIN;
	return UINT64_C(1) << bits;
}

/* For a metadata-only open, the missing rest of a header that is cut off after
 * the fixed fields reads as zeros. */
static uint64_t bytes_to_decode(const struct image *img, const uint8_t *first)
{
	bool is_v2 = get_be32(first + HEADER_OFF_VERSION) == 2;
	uint64_t fixed = is_v2 ? HEADER_LENGTH_V2 : HEADER_LENGTH_V3_MIN;
	uint64_t size = open_header_cluster_bytes(first);

	if (img->metadata_only && img->sizes.file >= fixed)
		return size;
	return min_u64(img->sizes.file, size);
}

static int read_cluster0(struct image *img, struct qcow2_error *err)
{
	size_t first = (size_t)min_u64(img->sizes.file, FIRST_READ_BYTES);
	uint8_t *buf = calloc(1, FIRST_READ_BYTES);
	size_t len, there;
	int rc;

	img->names.cluster0 = buf;
	if (!buf)
		return error_nomem(err, "the header", FIRST_READ_BYTES);
	rc = store_pread(img->file, buf, first, 0, 0, err);
	if (rc < 0)
		return rc;
	len = (size_t)bytes_to_decode(img, buf);
	img->names.cluster0_len = len;
	if (len <= FIRST_READ_BYTES)
		return 0;
	buf = realloc(buf, len);
	if (!buf)
		return error_nomem(err, "the header cluster", len);
	img->names.cluster0 = buf;
	there = (size_t)min_u64(img->sizes.file, len);
	memset(buf + there, 0, len - there);
	return there > first ? store_pread(img->file, buf + first,
					   there - first, first, 0, err)
			     : 0;
}

/* ---- Decoding ------------------------------------------------------------ */

static bool open_header_is_there(const struct image *img, uint64_t off,
				 uint64_t bytes)
{
	uint64_t end;

	return !bytes ||
	       (checked_align_up(img->sizes.file,
				 UINT64_C(1) << img->header.cluster_bits,
				 &end) &&
		bytes <= end && off <= end - bytes);
}

static void note_tables(struct image *img)
{
	const struct header *h = &img->header;
	uint64_t refcounts = (uint64_t)h->refcount_table_clusters
			     << h->cluster_bits;

	if (!open_header_is_there(img, h->l1_off,
				  (uint64_t)h->l1_size * L1_ENTRY_BYTES))
		img->lacks |= QCOW2_LACKS_L1_TABLE;
	if (!open_header_is_there(img, h->refcount_table_off, refcounts))
		img->lacks |= QCOW2_LACKS_REFCOUNT_TABLE;
}

/* A bad offset of the snapshot table matters only to requests for snapshots.
 * Returns 0 when it is all that keeps the header from being good. */
static enum defect set_snapshots_apart(struct image *img, uint64_t file_size,
				       struct fault *fault)
{
	const struct header *h = &img->header;
	struct header without = *h;
	struct fault other;

	without.n_snapshots = 0;
	without.snapshots_off = 0;
	if (fault->defect != DEFECT_HEADER_SNAPSHOT_OFFSET ||
	    !is_aligned(h->snapshots_off, UINT64_C(1) << h->cluster_bits) ||
	    h->snapshots_off > HOST_OFF_MAX || header_has_data_file(h) ||
	    header_validate(&without, file_size, &other))
		return fault->defect;
	return DEFECT_NONE;
}

static int open_header_decode_header(struct image *img, struct qcow2_error *err)
{
	struct header *h = &img->header;
	uint64_t size = img->metadata_only ? FILE_SIZE_UNKNOWN
					   : img->sizes.file;
	struct fault fault;
	enum defect bad = header_decode(h, img->names.cluster0,
					img->names.cluster0_len, &fault);

	if (!bad) {
		bad = header_validate(h, size, &fault);
		if (bad)
			bad = set_snapshots_apart(img, size, &fault);
	}
	if (bad)
		return fault_error(err, -EINVAL, &fault, 0);
	note_tables(img);
	return 0;
}

static int refuse_unknown_features(const struct image *img,
				   struct qcow2_error *err)
{
	uint64_t bits = img->header.incompatible_features & ~INCOMPAT_KNOWN;
	unsigned bit = (unsigned)__builtin_ctzll(bits);
	const char *name =
		names_feature(&img->names, FEATURE_INCOMPATIBLE, bit);

	if (!name)
		name = "no name in the image";
	return error_defect(err, -ENOTSUP, DEFECT_HEADER_UNKNOWN_FEATURE,
			    HEADER_OFF_INCOMPAT,
			    "the image uses incompatible feature bit %u (%s), "
			    "which this version does not know (bits 0x%" PRIx64
			    ")",
			    bit, TEXT(name, strlen(name)), bits);
}

/* A name that lies past the end of the file counts as missing. */
static void note_names(struct image *img, const struct extensions *x)
{
	struct header *h = &img->header;

	if (!img->metadata_only)
		return;
	if (x->cut_off || h->header_length > img->sizes.file ||
	    h->backing_off + h->backing_len > img->sizes.file)
		img->lacks |= QCOW2_LACKS_NAMES;
	if (h->backing_off + h->backing_len > img->sizes.file)
		h->backing_len = 0;
}

/* An unknown feature explains whatever else looks wrong, so it comes first. */
static int open_header_decode_extensions(struct image *img,
					 struct extensions *x,
					 struct qcow2_error *err)
{
	const struct header *h = &img->header;
	size_t there =
		(size_t)min_u64(img->names.cluster0_len, img->sizes.file);
	struct fault fault;
	enum defect bad = extensions_decode(
		x, h, img->names.cluster0, there,
		img->metadata_only ? FILE_SIZE_UNKNOWN : img->sizes.file,
		&fault);
	int rc = 0;

	if (!bad) {
		note_names(img, x);
		rc = names_open(&img->names, h, x, err);
	}
	if (h->incompatible_features & ~INCOMPAT_KNOWN)
		return refuse_unknown_features(img, err);
	if (bad)
		return fault_error(err, -EINVAL, &fault, 0);
	return rc;
}

int open_header(struct image *img, struct extensions *x,
		struct qcow2_error *err)
{
	int rc = read_cluster0(img, err);

	if (rc == 0)
		rc = open_header_decode_header(img, err);
	return rc < 0 ? rc : open_header_decode_extensions(img, x, err);
}
