#include "counts/refbuild.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "format/refcount.h"
#include "store/store.h"

/* Blocks are smaller than this in most images, and written together. */
#define BATCH_BYTES (UINT64_C(256) << 10)

struct build {
	struct qcow2_store *file;
	const struct geometry *geo;
	const struct refbuild_source *source;
	uint64_t first;    /* cluster index of the table */
	uint64_t n_table;  /* clusters */
	uint64_t n_blocks; /* right behind the table */
	uint8_t *table;
	uint64_t block_off; /* where the next block goes */
	uint8_t *batch;     /* blocks that are not written yet */
	size_t batch_len;
	size_t batch_size;
};

static uint64_t own_end(const struct build *b)
{
	return b->first + b->n_table + b->n_blocks;
}

/* The block that counts a cluster, and the first cluster of a block. */
static uint64_t block_of(const struct build *b, uint64_t cluster_idx)
{
	return cluster_idx >> b->geo->refcount_block_bits;
}

static uint64_t block_first(const struct build *b, uint64_t block_idx)
{
	return block_idx << b->geo->refcount_block_bits;
}

/* *found: the first block from @block_idx on that counts something below our
 * own clusters and does not count those; UINT64_MAX when there is none. */
static int next_block(const struct build *b, uint64_t block_idx,
		      uint64_t *found, struct qcow2_error *err)
{
	uint64_t own = block_of(b, b->first);
	uint64_t cluster_idx;
	int rc;

	*found = UINT64_MAX;
	if (block_idx >= own)
		return 0;
	rc = b->source->next(b->source->opaque, block_first(b, block_idx),
			     &cluster_idx, err);
	if (rc == 0 && cluster_idx < block_first(b, own))
		*found = block_of(b, cluster_idx);
	return rc;
}

/* ---- The plan ------------------------------------------------------------ */

static int count_blocks(const struct build *b, uint64_t *n,
			struct qcow2_error *err)
{
	uint64_t i = 0;

	for (*n = 0;; i++) {
		int rc = next_block(b, i, &i, err);

		if (rc < 0 || i == UINT64_MAX)
			return rc;
		++*n;
	}
}

/* Table and blocks count themselves, so their number depends on itself; it only
 * grows from round to round, and is soon enough. */
static int refbuild_plan(struct build *b, struct qcow2_error *err)
{
	uint64_t per_cluster =
		b->geo->cluster_size / REFCOUNT_TABLE_ENTRY_BYTES;
	uint64_t before;
	uint64_t n_low;
	int rc = count_blocks(b, &n_low, err);

	if (rc < 0)
		return rc;
	b->n_table = 1;
	do {
		uint64_t last;

		before = own_end(b);
		last = block_of(b, before - 1);
		b->n_blocks = n_low + last - block_of(b, b->first) + 1;
		b->n_table = div_round_up(last + 1, per_cluster);
	} while (own_end(b) != before);
	if (b->n_table * b->geo->cluster_size > REFCOUNT_TABLE_BYTES_MAX)
		return error_set(
			err, -EFBIG,
			"a refcount table for clusters up to 0x%" PRIx64
			" exceeds %" PRIu64 " bytes; larger clusters "
			"are needed",
			b->first << b->geo->cluster_bits,
			REFCOUNT_TABLE_BYTES_MAX);
	if (own_end(b) > (HOST_OFF_MAX >> b->geo->cluster_bits))
		return error_set(err, -EFBIG,
				 "new refcount blocks do not fit into the 2^56 "
				 "bytes that the format can address");
	return 0;
}

/* ---- Blocks -------------------------------------------------------------- */

static int write_batch(struct build *b, struct qcow2_error *err)
{
	int rc = 0;

	if (b->batch_len)
		rc = store_pwrite(b->file, b->batch, b->batch_len,
				  b->block_off - b->batch_len, 0, err);
	b->batch_len = 0;
	return rc;
}

static int too_large(const struct build *b, uint64_t cluster_idx,
		     uint64_t value, struct qcow2_error *err)
{
	return error_set(err, -ERANGE,
			 "the cluster at 0x%" PRIx64 " has %" PRIu64
			 " references; refcounts of %" PRIu32
			 " bits end at %" PRIu64,
			 cluster_idx << b->geo->cluster_bits, value,
			 b->geo->refcount_bits, b->geo->refcount_max);
}

static int fill_piece(struct build *b, uint8_t *block, uint64_t cluster_idx,
		      uint32_t n, struct qcow2_error *err)
{
	uint64_t mask = block_first(b, 1) - 1;
	uint64_t values[REFBUILD_PIECE_CLUSTERS];
	int rc = b->source->get(b->source->opaque, cluster_idx, n, values, err);

	if (rc < 0)
		return rc;
	for (uint32_t k = 0; k < n; k++) {
		if (values[k] > b->geo->refcount_max)
			return too_large(b, cluster_idx + k, values[k], err);
		if (values[k])
			refcount_put(block, (cluster_idx + k) & mask,
				     b->geo->refcount_order, values[k]);
	}
	return 0;
}

/* Fills in the source's refcounts of the clusters [i, end). */
static int fill_source(struct build *b, uint8_t *block, uint64_t i,
		       uint64_t end, struct qcow2_error *err)
{
	while (i < end) {
		uint64_t n;
		int rc = b->source->next(b->source->opaque, i, &i, err);

		if (rc < 0 || i >= end)
			return rc;
		n = min_u64(end - i, REFBUILD_PIECE_CLUSTERS);
		rc = fill_piece(b, block, i, (uint32_t)n, err);
		if (rc < 0)
			return rc;
		i += n;
	}
	return 0;
}

static int add_block(struct build *b, uint64_t block_idx,
		     struct qcow2_error *err)
{
	uint64_t begin = block_first(b, block_idx);
	uint64_t end = block_first(b, block_idx + 1);
	uint8_t *block;
	int rc = 0;

	if (b->batch_len == b->batch_size)
		rc = write_batch(b, err);
	if (rc < 0)
		return rc;
	block = b->batch + b->batch_len;
	memset(block, 0, b->geo->cluster_size);
	rc = fill_source(b, block, begin, min_u64(end, b->first), err);
	if (rc < 0)
		return rc;
	for (uint64_t i = max_u64(begin, b->first);
	     i < min_u64(end, own_end(b)); i++)
		refcount_put(block, i - begin, b->geo->refcount_order, 1);
	put_be64(b->table + block_idx * REFCOUNT_TABLE_ENTRY_BYTES,
		 b->block_off);
	b->batch_len += b->geo->cluster_size;
	b->block_off += b->geo->cluster_size;
	return 0;
}

static int write_blocks(struct build *b, struct qcow2_error *err)
{
	uint64_t last = block_of(b, own_end(b) - 1);
	uint64_t i = 0;
	int rc = 0;

	for (;; i++) {
		rc = next_block(b, i, &i, err);
		if (rc < 0 || i == UINT64_MAX)
			break;
		rc = add_block(b, i, err);
		if (rc < 0)
			break;
	}
	for (i = block_of(b, b->first); rc == 0 && i <= last; i++)
		rc = add_block(b, i, err);
	return rc < 0 ? rc : write_batch(b, err);
}

/* -------------------------------------------------------------------------- */

static int write_all(struct build *b, struct qcow2_error *err)
{
	size_t table_len = (size_t)(b->n_table * b->geo->cluster_size);
	uint64_t table_off = b->first << b->geo->cluster_bits;
	int rc;

	b->batch_size = (size_t)max_u64(BATCH_BYTES, b->geo->cluster_size);
	b->table = calloc(1, table_len);
	b->batch = malloc(b->batch_size);
	if (!b->table || !b->batch)
		return error_nomem(err, "new refcounts",
				   table_len + b->batch_size);
	b->block_off = table_off + table_len;
	rc = write_blocks(b, err);
	if (rc == 0)
		rc = store_pwrite(b->file, b->table, table_len, table_off, 0,
				  err);
	if (rc == 0)
		rc = store_flush(b->file, err);
	return rc;
}

int refbuild_write(struct qcow2_store *file, const struct geometry *geo,
		   const struct refbuild_source *source, uint64_t start_off,
		   struct refbuild *out, struct qcow2_error *err)
{
	struct build b = {
		.file = file,
		.geo = geo,
		.source = source,
		.first = start_off >> geo->cluster_bits,
	};
	int rc;

	assert(start_off && is_aligned(start_off, geo->cluster_size));
	if (start_off > HOST_OFF_MAX)
		return error_set(err, -EFBIG,
				 "there is no room for refcounts "
				 "at 0x%" PRIx64,
				 start_off);
	rc = refbuild_plan(&b, err);
	if (rc == 0)
		rc = write_all(&b, err);
	free(b.table);
	free(b.batch);
	if (rc < 0)
		return rc;
	/* "Table and blocks lie together and count themselves." */
	assert(b.n_table && b.n_table <= UINT32_MAX);
	assert(own_end(&b) == b.first + b.n_table + b.n_blocks);
	*out = (struct refbuild){
		.table_off = start_off,
		.table_clusters = (uint32_t)b.n_table,
		.n_blocks = b.n_blocks,
		.end_off = own_end(&b) << geo->cluster_bits,
	};
	return 0;
}
