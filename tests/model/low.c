/*
 * F01: refcounts that are too low.  After any operation the disk and its
 * snapshots have the bytes that they must have.
 */
#include "api/handle.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "chain/disk_impl.h"
#include "format/geometry.h"
#include "format/header.h"
#include "format/refcount.h"
#include "image/image.h"
#include "model/run_impl.h"
#include "store/store.h"
#include "write/proof.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct low {
	struct qcow2_store *store;
	struct geometry geo;
	struct header header;
	struct test_rng rng;
	unsigned of_a_hundred; /* refcounts that become lower */
	bool to_zero;
};

static int read_header(struct low *l)
{
	uint8_t buf[512];
	int rc = store_pread(l->store, buf, sizeof(buf), 0, 0, NULL);

	if (rc == 0 && header_decode(&l->header, buf, sizeof(buf), NULL))
		rc = -EINVAL;
	if (rc == 0)
		geometry_init(&l->geo, &l->header);
	return rc;
}

static int lower_block(struct low *l, uint64_t block)
{
	CLEANUP_FREE uint8_t *bytes = malloc(l->geo.cluster_size);
	unsigned order = l->geo.refcount_order;
	int rc;

	assert(bytes);
	rc = store_pread(l->store, bytes, l->geo.cluster_size, block, 0, NULL);
	for (uint64_t i = 0; i < UINT64_C(1) << l->geo.refcount_block_bits;
	     i++) {
		uint64_t value = refcount_get(bytes, i, order);

		if (!value || test_rng_below(&l->rng, 100) >= l->of_a_hundred)
			continue;
		value = l->to_zero ? 0 : test_rng_below(&l->rng, value);
		refcount_put(bytes, i, order, value);
	}
	return rc < 0 ? rc
		      : store_pwrite(l->store, bytes, l->geo.cluster_size,
				     block, 0, NULL);
}

static int read_entry(struct low *l, uint64_t index, uint64_t *block)
{
	uint8_t raw[8];
	int rc = store_pread(l->store, raw, 8,
			     l->header.refcount_table_off + 8 * index, 0, NULL);

	*block = get_be64(raw);
	return rc;
}

/* Another block may count the cluster of a block that was taken away.  Its
 * refcount becomes 0, or the cluster would be a leak that only this test has
 * made. */
static int forget_cluster(struct low *l, uint64_t cluster)
{
	CLEANUP_FREE uint8_t *bytes = malloc(l->geo.cluster_size);
	uint64_t index = cluster >> l->geo.refcount_block_bits;
	uint64_t mask = (UINT64_C(1) << l->geo.refcount_block_bits) - 1;
	uint64_t block;
	int rc;

	assert(bytes);
	rc = read_entry(l, index, &block);
	if (rc < 0 || !block)
		return rc;
	rc = store_pread(l->store, bytes, l->geo.cluster_size, block, 0, NULL);
	refcount_put(bytes, cluster & mask, l->geo.refcount_order, 0);
	return rc < 0 ? rc
		      : store_pwrite(l->store, bytes, l->geo.cluster_size,
				     block, 0, NULL);
}

static int lower_entry(struct low *l, uint64_t index)
{
	static const uint8_t none[8];
	uint64_t block;
	int rc = read_entry(l, index, &block);

	if (rc < 0 || !block)
		return rc;
	if (test_rng_below(&l->rng, 6))
		return lower_block(l, block);
	rc = store_pwrite(l->store, none, 8,
			  l->header.refcount_table_off + 8 * index, 0, NULL);
	return rc < 0 ? rc : forget_cluster(l, block >> l->geo.cluster_bits);
}

bool low_lower(struct run *r)
{
	static const unsigned shares[] = { 2, 30, 100 };
	struct qcow2_error err = { 0 };
	struct low l = { .store = r->files.stores[FILE_TOP] };
	uint64_t n;
	int rc;

	if (!r->trial->config.low)
		return true;
	l.rng = test_rng_init(r->trial->config.seed + r->n_opened++);
	l.of_a_hundred = shares[test_rng_below(&l.rng, 3)];
	l.to_zero = test_rng_below(&l.rng, 2);
	rc = read_header(&l);
	n = ((uint64_t)l.header.refcount_table_clusters << l.geo.cluster_bits) /
	    8;
	for (uint64_t i = 0; rc == 0 && i < n; i++)
		rc = lower_entry(&l, i);
	return run_succeeds(r, rc, "lower", &err);
}

bool low_settle(struct run *r)
{
	struct qcow2_error err = { 0 };
	int rc;

	if (!r->trial->config.low)
		return true;
	rc = proof_require(r->img->disk->layers[0].image, &err);
	return run_succeeds(r, rc, "prove", &err);
}
