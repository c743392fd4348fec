/*
 * The tables of a new image, written in large pieces.
 *
 * Each table is a sequence that one line of arithmetic describes, and all that
 * follows its last entry is zero already.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "create/plan.h"
#include "format/l2.h"
#include "format/refcount.h"
#include "store/store.h"

#define BUFFER_BYTES ((size_t)1 << 20)

/* Big-endian numbers first, first + step, ..., one every entry_bytes bytes. */
struct sequence {
	uint64_t host_off;
	uint64_t n;
	uint64_t first;
	uint64_t step;
	uint32_t entry_bytes;
};

/* Entries wider than a number keep their other half zero: in an extended L2
 * entry, no subcluster is allocated. */
static void create_tables_fill(uint8_t *buf, size_t n, const struct sequence *s,
			       uint64_t from)
{
	uint64_t value = s->first + from * s->step;

	for (size_t i = 0; i < n; i++, value += s->step)
		put_be64(buf + i * s->entry_bytes, value);
}

static int write_sequence(struct qcow2_store *file, uint8_t *buf,
			  const struct sequence *s, struct qcow2_error *err)
{
	uint64_t per_write = BUFFER_BYTES / s->entry_bytes;

	memset(buf, 0, (size_t)min_u64(s->n * s->entry_bytes, BUFFER_BYTES));
	for (uint64_t i = 0; i < s->n; i += per_write) {
		size_t n = (size_t)min_u64(per_write, s->n - i);
		int rc;

		create_tables_fill(buf, n, s, i);
		rc = store_pwrite(file, buf, n * s->entry_bytes,
				  s->host_off + i * s->entry_bytes, 0, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Fills @len bytes, a multiple of 8 << order, with refcounts of one. */
static void fill_ones(uint8_t *buf, size_t len, unsigned order)
{
	size_t done = (size_t)8 << order;

	memset(buf, 0, done);
	for (unsigned i = 0; i < 64; i++)
		refcount_put(buf, i, order, 1);
	for (; done < len; done *= 2)
		memcpy(buf + done, buf, (size_t)min_u64(done, len - done));
}

/* Blocks lie one after the other and are full of refcounts, so together they
 * are one array. */
static int write_refcounts(struct qcow2_store *file, uint8_t *buf,
			   const struct create_layout *l,
			   struct qcow2_error *err)
{
	unsigned order = l->refcount_order;
	uint64_t group = UINT64_C(8) << order; /* bytes of 64 refcounts */
	uint64_t len = l->n_clusters / 64 * group;
	uint64_t rest = l->n_clusters % 64;
	int rc;

	fill_ones(buf, (size_t)min_u64(max_u64(len, group), BUFFER_BYTES),
		  order);
	for (uint64_t off = 0; off < len; off += BUFFER_BYTES) {
		rc = store_pwrite(file, buf,
				  (size_t)min_u64(BUFFER_BYTES, len - off),
				  l->refcount_blocks_off + off, 0, err);
		if (rc < 0)
			return rc;
	}
	if (!rest)
		return 0;
	memset(buf, 0, (size_t)group);
	for (uint64_t i = 0; i < rest; i++)
		refcount_put(buf, i, order, 1);
	return store_pwrite(file, buf, (size_t)group,
			    l->refcount_blocks_off + len, 0, err);
}

int create_tables_write(struct qcow2_store *file, const struct create_layout *l,
			struct qcow2_error *err)
{
	uint64_t cluster_size = UINT64_C(1) << l->cluster_bits;
	struct sequence refcount_table = { l->refcount_table_off,
					   l->n_refcount_blocks,
					   l->refcount_blocks_off, cluster_size,
					   REFCOUNT_TABLE_ENTRY_BYTES };
	struct sequence l2 = { l->l2_off, l->n_l2_entries,
			       l->data_off | ENTRY_COPIED, cluster_size,
			       l->l2_entry_bytes };
	struct sequence l1 = { l->l1_off, l->n_l2_tables,
			       l->l2_off | ENTRY_COPIED, cluster_size,
			       L1_ENTRY_BYTES };
	CLEANUP_FREE uint8_t *buf = malloc(BUFFER_BYTES);
	int rc;

	if (!buf)
		return error_nomem(err, "the table buffer", BUFFER_BYTES);
	rc = write_sequence(file, buf, &refcount_table, err);
	if (!rc)
		rc = write_refcounts(file, buf, l, err);
	if (!rc)
		rc = write_sequence(file, buf, &l1, err);
	if (!rc)
		rc = write_sequence(file, buf, &l2, err);
	return rc;
}
