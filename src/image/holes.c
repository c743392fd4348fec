#include "image/holes.h"

#include <assert.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "format/refcount.h"
#include "store/store.h"

void holes_validate(const struct holes *p)
{
	int state = atomic_load(&p->state);

	assert(state >= PREALLOC_UNKNOWN && state <= PREALLOC_YES);
	assert(p->off <= p->end && p->end <= INT64_MAX);
}

void holes_init(struct holes *p)
{
	pthread_mutex_init(&p->lock, NULL);
}

void holes_release(struct holes *p)
{
	pthread_mutex_destroy(&p->lock);
}

static bool recall(struct holes *p, uint64_t *len, uint64_t host_off,
		   bool *is_data)
{
	SCOPED_LOCK(&p->lock);
	VALIDATE(holes, p);

	if (host_off < p->off || host_off >= p->end)
		return false;
	*len = min_u64(*len, p->end - host_off);
	*is_data = p->is_data;
	return true;
}

static void holes_remember(struct holes *p, uint64_t len, uint64_t host_off,
			   bool is_data)
{
	SCOPED_LOCK(&p->lock);
	SCOPED_VALIDATE(holes, p);

	p->off = host_off;
	p->end = host_off + len;
	p->is_data = is_data;
}

int holes_extent(struct holes *p, struct qcow2_store *data, uint64_t *len,
		 uint64_t host_off, bool *is_data, struct qcow2_error *err)
{
	/* The answer can change if the store can be written to. */
	bool lasting = store_is_read_only(data);
	uint64_t ask = INT64_MAX - host_off;
	int rc;

	assert(host_off <= INT64_MAX && *len);
	if (lasting && recall(p, len, host_off, is_data))
		return 0;
	rc = store_extent(data, &ask, host_off, is_data, err);
	if (rc < 0)
		return rc;
	if (lasting)
		holes_remember(p, ask, host_off, *is_data);
	*len = min_u64(*len, ask);
	return 0;
}

/* The state of a count, which reads one refcount block at a time. */
struct holes_count {
	const struct geometry *g;
	struct qcow2_store *file;
	uint64_t file_size;
	uint64_t end_cluster; /* clusters of the host file */
	uint64_t threshold;   /* enough: stop counting */
	uint64_t n_used;
	uint8_t *block;
};

static void count_block(struct holes_count *c, uint64_t first_cluster)
{
	uint64_t n = UINT64_C(1) << c->g->refcount_block_bits;

	n = min_u64(n, c->end_cluster - first_cluster);
	for (uint64_t i = 0; i < n && c->n_used < c->threshold; i++)
		c->n_used += refcount_get(c->block, i, c->g->refcount_order) !=
			     0;
}

static int holes_count_entry(struct holes_count *c, uint64_t index,
			     uint64_t entry, struct qcow2_error *err)
{
	uint64_t off;
	int rc;

	if (refcount_table_entry_decode(c->g, entry, c->file_size, &off) ||
	    !off)
		return 0;
	rc = store_pread(c->file, c->block, c->g->cluster_size, off, 0, err);
	if (rc == 0)
		count_block(c, index << c->g->refcount_block_bits);
	return rc;
}

static int holes_count_used(struct holes_count *c, const struct header *h,
			    struct qcow2_error *err)
{
	uint64_t n_blocks = min_u64(
		((uint64_t)h->refcount_table_clusters << c->g->cluster_bits) /
			REFCOUNT_TABLE_ENTRY_BYTES,
		div_round_up(c->end_cluster,
			     UINT64_C(1) << c->g->refcount_block_bits));
	CLEANUP_FREE uint8_t *table =
		alloc_zeroed(n_blocks + 1, REFCOUNT_TABLE_ENTRY_BYTES);
	CLEANUP_FREE uint8_t *block = malloc(c->g->cluster_size);
	int rc;

	if (!table || !block)
		return error_nomem(err, "the refcount table",
				   n_blocks * REFCOUNT_TABLE_ENTRY_BYTES);
	c->block = block;
	rc = store_pread(c->file, table,
			 to_size(n_blocks * REFCOUNT_TABLE_ENTRY_BYTES),
			 h->refcount_table_off, 0, err);
	for (uint64_t i = 0;
	     rc == 0 && i < n_blocks && c->n_used < c->threshold; i++)
		rc = holes_count_entry(c, i, get_be64(table + 8 * i), err);
	return rc;
}

static int detect(const struct geometry *g, const struct header *h,
		  struct qcow2_store *file, bool *yes, struct qcow2_error *err)
{
	struct holes_count c = { .g = g, .file = file };
	uint64_t allocated, n_real;
	int rc = store_size(file, &c.file_size, err);

	if (rc == 0)
		rc = store_allocated(file, &allocated, err);
	if (rc < 0)
		return rc;
	n_real = allocated >> g->cluster_bits;
	c.end_cluster = geometry_clusters(g, c.file_size);
	c.threshold = max_u64(n_real + n_real / 9, n_real + 2);
	*yes = false;
	if (c.end_cluster < c.threshold)
		return 0;
	rc = holes_count_used(&c, h, err);
	*yes = c.n_used >= c.threshold;
	return rc;
}

int holes_detect(struct holes *p, const struct geometry *g,
		 const struct header *h, struct qcow2_store *file, bool *yes,
		 struct qcow2_error *err)
{
	int state = atomic_load_explicit(&p->state, memory_order_acquire);
	int rc;

	*yes = state == PREALLOC_YES;
	if (state != PREALLOC_UNKNOWN)
		return 0;
	/* Two threads may both work it out; they come to the same result. */
	rc = detect(g, h, file, yes, err);
	if (rc == 0)
		atomic_store_explicit(&p->state,
				      *yes ? PREALLOC_YES : PREALLOC_NO,
				      memory_order_release);
	return rc;
}
