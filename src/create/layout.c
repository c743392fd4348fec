/*
 * The place of everything in a new image.
 */
#include <errno.h>
#include <inttypes.h>

#include "base/checked.h"
#include "base/error.h"
#include "create/plan.h"
#include "format/geometry.h"

static uint32_t log2_u32(uint32_t v)
{
	return 31 - (uint32_t)__builtin_clz(v);
}

static uint64_t layout_cluster_bytes(const struct create_layout *l)
{
	return UINT64_C(1) << l->cluster_bits;
}

static uint64_t layout_clusters_of(const struct create_layout *l,
				   uint64_t bytes)
{
	return div_round_up(bytes, layout_cluster_bytes(l));
}

static uint64_t l2_table_entries(const struct create_layout *l)
{
	return layout_cluster_bytes(l) / l->l2_entry_bytes;
}

static int layout_check_size(const struct create_layout *l, uint64_t size,
			     struct qcow2_error *err)
{
	uint64_t max = geometry_size_max(l->cluster_bits, l->l2_entry_bytes);

	if (size <= max)
		return 0;
	return error_set(
		err, -EFBIG,
		"size is %" PRIu64 " bytes, the limit "
		"with cluster_size %" PRIu64 "%s is %" PRIu64
		"; use a larger cluster_size",
		size, layout_cluster_bytes(l),
		l->l2_entry_bytes == L2_ENTRY_BYTES ? "" : " and extended_l2",
		max);
}

/*
 * Refcount blocks describe themselves and the table that points to them, so
 * their number is a fixed point.  Growing from the smallest values, it is the
 * least one; each round adds at most 1/64 of what the last one added.
 */
static void solve_refcounts(struct create_layout *l, uint64_t n_others)
{
	uint64_t per_block = layout_cluster_bytes(l) * 8 >> l->refcount_order;
	uint64_t per_table =
		layout_cluster_bytes(l) / REFCOUNT_TABLE_ENTRY_BYTES;
	uint64_t n_blocks = 1;
	uint64_t n_table = 1;

	do {
		l->n_refcount_blocks = n_blocks;
		l->n_refcount_table_clusters = n_table;
		l->n_clusters = n_others + n_blocks + n_table;
		n_blocks = div_round_up(l->n_clusters, per_block);
		n_table = div_round_up(n_blocks, per_table);
	} while (n_blocks != l->n_refcount_blocks ||
		 n_table != l->n_refcount_table_clusters);
}

static int check_limits(const struct create_layout *l, uint64_t data_end,
			struct qcow2_error *err)
{
	uint64_t table = l->n_refcount_table_clusters << l->cluster_bits;
	uint64_t end = max_u64(create_file_bytes(l), data_end);

	if (table > REFCOUNT_TABLE_BYTES_MAX)
		return error_set(err, -EFBIG,
				 "preallocation needs a refcount "
				 "table of %" PRIu64
				 " bytes, the limit is %" PRIu64
				 "; use a larger cluster_size or fewer "
				 "refcount_bits",
				 table, (uint64_t)REFCOUNT_TABLE_BYTES_MAX);
	if (end > HOST_OFF_MAX)
		return error_set(err, -EFBIG,
				 "preallocation needs host "
				 "offsets up to %" PRIu64
				 ", the limit is %" PRIu64,
				 end, HOST_OFF_MAX);
	return 0;
}

static void layout_place(struct create_layout *l, uint64_t n_l1_clusters,
			 bool external_data)
{
	uint64_t next = 1;

	l->refcount_table_off = next << l->cluster_bits;
	next += l->n_refcount_table_clusters;
	l->refcount_blocks_off = next << l->cluster_bits;
	next += l->n_refcount_blocks;
	l->l1_off = n_l1_clusters ? next << l->cluster_bits : 0;
	next += n_l1_clusters;
	l->l2_off = next << l->cluster_bits;
	next += l->n_l2_tables;
	l->data_off = external_data ? 0 : next << l->cluster_bits;
}

int create_layout_solve(struct create_layout *l,
			const struct qcow2_create_opts *opts,
			struct qcow2_error *err)
{
	bool external_data = opts->data_file != NULL;
	bool mapped = opts->preallocation != QCOW2_PREALLOC_OFF;
	uint64_t n_guest;
	uint64_t n_l1_clusters;
	uint64_t n_others;
	int rc;

	*l = (struct create_layout){
		.cluster_bits = log2_u32(opts->cluster_size),
		.refcount_order = log2_u32(opts->refcount_bits),
		.l2_entry_bytes = opts->flags & QCOW2_CREATE_EXTENDED_L2
					  ? L2_ENTRY_BYTES_EXTENDED
					  : L2_ENTRY_BYTES,
	};
	rc = layout_check_size(l, opts->virtual_size, err);
	if (rc < 0)
		return rc;
	n_guest = layout_clusters_of(l, opts->virtual_size);
	l->n_l1_entries = div_round_up(n_guest, l2_table_entries(l));
	n_l1_clusters = layout_clusters_of(l, l->n_l1_entries * L1_ENTRY_BYTES);
	l->n_l2_entries = mapped ? n_guest : 0;
	l->n_l2_tables = mapped ? l->n_l1_entries : 0;
	n_others = 1 + n_l1_clusters + l->n_l2_tables +
		   (external_data ? 0 : l->n_l2_entries);
	solve_refcounts(l, n_others);
	rc = check_limits(l, l->n_l2_entries << l->cluster_bits, err);
	if (rc < 0)
		return rc;
	layout_place(l, n_l1_clusters, external_data);
	return 0;
}
