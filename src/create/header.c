/*
 * The first cluster of a new image.
 */
#include <string.h>

#include "base/checked.h"
#include "base/cursor.h"
#include "create/plan.h"
#include "format/extension.h"
#include "format/header.h"

/* Smaller clusters are left without the table of feature names, to have the
 * room for the names of files. */
#define FEATURE_NAMES_CLUSTER_MIN 8192

static uint64_t incompatible_features(const struct qcow2_create_opts *o)
{
	uint64_t bits = 0;

	if (o->data_file)
		bits |= INCOMPAT_DATA_FILE;
	if (o->compression != QCOW2_COMPRESSION_ZLIB)
		bits |= INCOMPAT_COMPRESSION;
	if (o->flags & QCOW2_CREATE_EXTENDED_L2)
		bits |= INCOMPAT_EXTENDED_L2;
	return bits;
}

static struct header make_header(const struct create_plan *plan)
{
	const struct create_layout *l = &plan->layout;
	const struct qcow2_create_opts *o = &plan->opts;
	struct header h = {
		.version = o->version,
		.cluster_bits = l->cluster_bits,
		.size = o->virtual_size,
		.l1_off = l->l1_off,
		.l1_size = (uint32_t)l->n_l1_entries,
		.refcount_table_off = l->refcount_table_off,
		.refcount_table_clusters =
			(uint32_t)l->n_refcount_table_clusters,
		.refcount_order = l->refcount_order,
		.header_length = o->version == 2 ? HEADER_LENGTH_V2
						 : HEADER_LENGTH_V3,
		.incompatible_features = incompatible_features(o),
		.compression_type = (uint8_t)o->compression,
	};

	if (o->flags & QCOW2_CREATE_LAZY_REFCOUNTS)
		h.compatible_features |= COMPAT_LAZY_REFCOUNTS;
	if (o->flags & QCOW2_CREATE_DATA_FILE_RAW)
		h.autoclear_features |= AUTOCLEAR_DATA_FILE_RAW;
	return h;
}

static void encode_text(struct byte_writer *w, uint32_t type, const char *text)
{
	if (text)
		extension_encode(w, type, text, (uint32_t)strlen(text));
}

size_t create_header_encode(const struct create_plan *plan, uint8_t *buf,
			    size_t len)
{
	const struct qcow2_create_opts *o = &plan->opts;
	struct header h = make_header(plan);
	struct byte_writer w;

	w = byte_writer_init(buf, (size_t)min_u64(len, o->cluster_size));
	write_zeros(&w, h.header_length);
	encode_text(&w, EXT_BACKING_FORMAT, o->backing_format);
	encode_text(&w, EXT_DATA_FILE, o->data_file);
	if (o->version == 3 && o->cluster_size >= FEATURE_NAMES_CLUSTER_MIN)
		extension_encode_feature_names(&w);
	extension_encode_end(&w);
	if (o->backing_file) {
		h.backing_off = byte_writer_len(&w);
		h.backing_len = (uint32_t)strlen(o->backing_file);
		write_bytes(&w, o->backing_file, h.backing_len);
	}
	if (w.failed || !header_encode(&h, buf, h.header_length))
		return 0;
	return byte_writer_len(&w);
}
