#include "format/geometry.h"

#include "base/checked.h"
#include "format/header.h"
#include "format/l2.h"

/*
 * A plain entry of a plain image consists of the COPIED flag and an aligned
 * offset.  Subclusters and data files have rules beyond single bits, so there
 * no bit is plain.
 */
static uint64_t l2_odd_mask(const struct geometry *g)
{
	uint64_t in_cluster = g->cluster_size - UINT64_C(1);

	if (g->extended_l2 || g->has_data_file)
		return UINT64_MAX;
	return ~(ENTRY_COPIED | (ENTRY_OFFSET_MASK & ~in_cluster));
}

void geometry_init(struct geometry *g, const struct header *h)
{
	g->version = h->version;
	g->cluster_bits = h->cluster_bits;
	g->cluster_size = UINT32_C(1) << h->cluster_bits;
	g->extended_l2 = (h->incompatible_features & INCOMPAT_EXTENDED_L2) != 0;
	g->has_data_file = header_has_data_file(h);
	g->data_file_raw = g->has_data_file && (h->autoclear_features &
						AUTOCLEAR_DATA_FILE_RAW) != 0;
	g->subclusters = g->extended_l2 ? SUBCLUSTERS_PER_CLUSTER : 1;
	g->subcluster_bits = h->cluster_bits - (g->extended_l2 ? 5 : 0);
	g->l2_entry_bytes = g->extended_l2 ? L2_ENTRY_BYTES_EXTENDED
					   : L2_ENTRY_BYTES;
	g->l2_bits = h->cluster_bits - (g->extended_l2 ? 4 : 3);
	g->refcount_order = h->refcount_order;
	g->refcount_bits = UINT32_C(1) << h->refcount_order;
	g->refcount_block_bits = h->cluster_bits + 3 - h->refcount_order;
	g->refcount_max = h->refcount_order == REFCOUNT_ORDER_MAX
				  ? UINT64_MAX
				  : (UINT64_C(1) << g->refcount_bits) - 1;
	g->csize_shift = 62 - (h->cluster_bits - 8);
	g->csize_mask = (UINT64_C(1) << (h->cluster_bits - 8)) - 1;
	g->coffset_mask = (UINT64_C(1) << g->csize_shift) - 1;
	g->l2_odd_mask = l2_odd_mask(g);
}

uint64_t geometry_l1_entries(const struct geometry *g, uint64_t size)
{
	uint32_t bits = g->l2_bits + g->cluster_bits;
	uint64_t reach = UINT64_C(1) << bits;

	return (size >> bits) + ((size & (reach - 1)) != 0);
}

bool geometry_table_fits(const struct geometry *g, uint64_t off, uint64_t bytes,
			 uint64_t file_size)
{
	uint64_t end;

	if (!checked_align_up(file_size, g->cluster_size, &end))
		end = UINT64_MAX;
	return is_aligned(off, g->cluster_size) && off >= g->cluster_size &&
	       off <= HOST_OFF_MAX && bytes <= end && off <= end - bytes;
}
