/*
 * Information about a disk and its layers, in the caller's structures.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "chain/disk_impl.h"
#include "chain/requests.h"
#include "format/limits.h"
#include "format/luks.h"
#include "store/store.h"

/* File systems keep holes and zeros by the page. */
enum { RAW_UNIT = 4096 };

static int check_depth(const struct disk *d, uint32_t depth,
		       struct qcow2_error *err)
{
	if (depth < d->n_layers)
		return 0;
	return error_set(err, -EINVAL,
			 "there is no layer %" PRIu32
			 ", the chain has %" PRIu32,
			 depth, d->n_layers);
}

int disk_get_info(struct disk *d, uint32_t depth, struct qcow2_info *out,
		  struct qcow2_error *err)
{
	size_t struct_size = out->struct_size;
	struct layer *l;
	int rc = check_depth(d, depth, err);

	if (rc < 0)
		return rc;
	l = &d->layers[depth];
	memset(out, 0, sizeof(*out));
	out->struct_size = struct_size;
	l->ops->get_info(l, out);
	return 0;
}

/* Discards free whole clusters; zeros can be told of subclusters. */
static void limit_to_clusters(const struct layer *l, struct qcow2_limits *out)
{
	out->cluster_bytes = l->cluster_size;
	out->subcluster_bytes = l->subcluster_size;
	out->request_best = l->subcluster_size;
	out->discard_align = l->cluster_size;
	out->zero_align = l->subcluster_size;
}

void disk_get_limits(const struct disk *d, struct qcow2_limits *out)
{
	const struct layer *top = &d->layers[0];

	out->request_align = top->data ? store_align(top->data) : 1;
	out->mem_align = out->request_align;
	out->request_best = (uint32_t)max_u64(RAW_UNIT, out->request_align);
	out->discard_align = out->request_best;
	out->zero_align = out->request_best;
	out->vector_max = INT32_MAX;
	if (top->subcluster_size)
		limit_to_clusters(top, out);
	out->read_only = !d->writable;
	out->open_flags = d->open_flags;
}

int disk_get_stats(struct disk *d, uint32_t depth, struct qcow2_stats *out,
		   struct qcow2_error *err)
{
	int rc = check_depth(d, depth, err);

	if (rc < 0)
		return rc;
	if (d->layers[depth].reads)
		requests_get(d->layers[depth].reads, &out->read);
	d->layers[depth].ops->watch->get_stats(&d->layers[depth], out);
	return 0;
}

const char *disk_layer_filename(const struct disk *d, uint32_t depth)
{
	return depth < d->n_layers ? store_name(d->layers[depth].store) : NULL;
}

const char *disk_layer_data_filename(const struct disk *d, uint32_t depth)
{
	const struct layer *l = depth < d->n_layers ? &d->layers[depth] : NULL;

	return l && l->has_data_file && l->data ? store_name(l->data) : NULL;
}

int disk_get_bitmap(struct disk *d, uint32_t index,
		    struct qcow2_bitmap_info *out, struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];

	if (top->ops->get_bitmap && top->ops->get_bitmap(top, index, out))
		return 0;
	return error_set(err, -EINVAL, "there is no bitmap number %" PRIu32,
			 index);
}

const char *disk_get_feature_name(const struct disk *d, unsigned type,
				  unsigned bit)
{
	const struct layer *top = &d->layers[0];

	return top->ops->feature_name ? top->ops->feature_name(top, type, bit)
				      : NULL;
}

/* ---- LUKS ---------------------------------------------------------------- */

/* The decoded header, read on first use and kept for its strings. */
static int get_luks_header(struct disk *d, const struct luks_header **out,
			   struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];
	struct luks_header *l;
	int rc;
	SCOPED_LOCK(&d->luks_lock);

	*out = d->luks;
	if (d->luks)
		return 0;
	if (!top->ops->read_luks)
		return error_set(err, -ENOENT, "a %s image has no LUKS header",
				 top->ops->name);
	l = malloc(sizeof(*l));
	if (!l)
		return error_nomem(err, "the LUKS header", sizeof(*l));
	rc = top->ops->read_luks(top, l, err);
	if (rc < 0) {
		free(l);
		return rc;
	}
	*out = d->luks = l;
	return 0;
}

static void fill_slots(struct qcow2_luks_info *out, const struct luks_header *l)
{
	for (unsigned i = 0; i < QCOW2_LUKS_SLOTS; i++) {
		const struct luks_slot *slot = &l->slots[i];

		out->slots[i] = (struct qcow2_luks_slot){
			.active = slot->state == LUKS_SLOT_ACTIVE,
			.iterations = slot->iterations,
			.stripes = slot->stripes,
			.key_off =
				(uint64_t)slot->key_off_sectors * SECTOR_BYTES,
		};
	}
}

int disk_get_luks(struct disk *d, struct qcow2_luks_info *out,
		  struct qcow2_error *err)
{
	const struct luks_header *l;
	int rc = get_luks_header(d, &l, err);

	if (rc < 0)
		return rc;
	out->cipher_name = l->cipher_name;
	out->cipher_mode = l->cipher_mode;
	out->hash = l->hash;
	out->uuid = l->uuid;
	out->payload_off = (uint64_t)l->payload_off_sectors * SECTOR_BYTES;
	out->key_bytes = l->key_bytes;
	out->iterations = l->digest_iterations;
	fill_slots(out, l);
	return 0;
}
