/*
 * An open image as a whole: its parts agree with its header.
 */
#include "image/image.h"

#include <assert.h>

#include "base/checked.h"

static void header_fits(const struct image *img)
{
	const struct header *h = &img->header;
	const struct geometry *g = &img->geo;

	assert(h->version == g->version && h->cluster_bits == g->cluster_bits);
	assert(h->refcount_order == g->refcount_order);
	assert(g->cluster_size == UINT32_C(1) << g->cluster_bits);
	assert(implies(h->version < 3, !h->incompatible_features &&
					       !h->compatible_features &&
					       !h->autoclear_features));
	/* "Tail points into names.cluster0". */
	assert(implies(h->tail,
		       h->tail >= img->names.cluster0 &&
			       h->tail + h->tail_len <=
				       img->names.cluster0 +
					       img->names.cluster0_len));
}

static void snapshots_fit(const struct image *img)
{
	const struct snapshots *s = &img->snapshots;

	snapshots_validate(s);
	assert(implies(!s->why.code, s->n == img->header.n_snapshots));
	assert(!s->why.code == !(img->lacks & QCOW2_LACKS_SNAPSHOT_TABLE));
	assert((uint64_t)s->n * SNAPSHOT_HEADER_BYTES <= s->table_bytes);
}

static void map_fits(const struct image *img)
{
	const struct map *m = &img->map;

	map_validate(m);
	assert(m->geo == &img->geo && m->sizes == &img->sizes);
	assert(is_aligned(m->l1.host_off, m->geo->cluster_size));
	/* Every byte of the disk has a place in the L1 table. */
	assert(img->lacks & QCOW2_LACKS_L1_TABLE ||
	       m->l1.n_entries >=
		       geometry_l1_entries(&img->geo, img->virtual_size));
}

void image_validate(const struct image *img)
{
	assert(img->file);
	/* Without an external data file the image file has the data. */
	assert(img->geo.has_data_file || img->data == img->file);
	/* A writer tells the end that it has reached. */
	assert(!img->writer == !img->sizes.file_end);
	/* Files end at INT64_MAX at most, and clusters with them. */
	assert(image_file_end(img) <= UINT64_C(1) << 63);
	header_fits(img);
	map_fits(img);
	snapshots_fit(img);
	metadata_budget_validate(&img->budget);
	names_validate(&img->names);
	bitmaps_validate(&img->bitmaps);
	holes_validate(&img->holes);
	compressed_reader_validate(&img->compressed);
}
