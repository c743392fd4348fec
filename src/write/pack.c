#include "write/pack.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"

void pack_init(struct pack *p, struct alloc *alloc, uint64_t apart)
{
	memset(p, 0, sizeof(*p));
	p->alloc = alloc;
	p->apart = apart;
	pthread_mutex_init(&p->lock, NULL);
}

static uint32_t cluster_bits(const struct pack *p)
{
	return p->alloc->refs->geo->cluster_bits;
}

static uint64_t pack_cluster_size(const struct pack *p)
{
	return p->alloc->refs->geo->cluster_size;
}

void pack_validate(const struct pack *p)
{
	uint64_t size = pack_cluster_size(p);

	assert(is_aligned(p->apart, size));
	assert(is_aligned(p->end, size));
	/* The next piece begins in the open cluster, or right behind it. */
	assert((p->next == 0) == (p->end == 0));
	assert(p->next <= p->end && p->end - p->next < size);
	assert(p->end <= refcounts_high_water(p->alloc->refs));
	assert(p->generation <= commit_generation(p->alloc->commit));
}

void pack_release(struct pack *p)
{
	VALIDATE(pack, p);
	refcounts_hold(p->alloc->refs, 0);
	pthread_mutex_destroy(&p->lock);
}

/* One more reference for the open cluster; false when it cannot have one. */
static bool share_open(struct pack *p)
{
	uint64_t open = (p->end >> cluster_bits(p)) - 1;

	return refcounts_increment(p->alloc->refs, 1, open, NULL) == 0;
}

static void pack_use(struct pack *p, uint64_t next, uint64_t end)
{
	p->next = next;
	p->end = end;
	refcounts_hold(p->alloc->refs, (end >> cluster_bits(p)) - 1);
}

/* The piece fits into the open cluster. */
static bool reserve_inside(struct pack *p, uint32_t len, uint64_t *host_off)
{
	if (!p->next || p->next + len > p->end || !share_open(p))
		return false;
	*host_off = p->next;
	p->next += len;
	return true;
}

/* The piece begins in the open cluster and goes on in a new one right behind
 * it, or else begins in the new one. */
static int reserve_new(struct pack *p, uint32_t len, uint64_t *host_off,
		       struct qcow2_error *err)
{
	struct allocation a;
	int rc = alloc_clusters(p->alloc, 1, &a, err);

	if (rc < 0)
		return rc;
	*host_off = a.claim.host_off;
	/* A piece that would end in the open cluster is here because that could
	 * not be shared; another try might succeed, and leave it open. */
	if (p->next && p->next < p->end && p->next + len > p->end &&
	    p->end == a.claim.host_off && p->end != p->apart && share_open(p))
		*host_off = p->next;
	pack_use(p, *host_off + len, a.claim.host_off + pack_cluster_size(p));
	return 0;
}

/* No sector is shared with pieces that are durable already, or may be soon. */
static void leave_durable_sector(struct pack *p)
{
	uint64_t generation = commit_generation(p->alloc->commit);

	if (generation != p->generation)
		p->next = align_up(p->next, SECTOR_BYTES);
	p->generation = generation;
}

int pack_reserve(struct pack *p, uint32_t len, uint64_t *host_off,
		 struct qcow2_error *err)
{
	SCOPED_LOCK(&p->lock);
	SCOPED_VALIDATE(pack, p);

	assert(len && len <= pack_cluster_size(p));
	leave_durable_sector(p);
	if (reserve_inside(p, len, host_off))
		return 0;
	return reserve_new(p, len, host_off, err);
}

void pack_cancel(struct pack *p, uint32_t len, uint64_t host_off)
{
	uint64_t first = host_off >> cluster_bits(p);
	uint64_t last = (host_off + len - 1) >> cluster_bits(p);

	refcounts_decrement(p->alloc->refs, last - first + 1, first, NULL);
}
