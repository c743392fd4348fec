#include "write/alloc.h"

#include <assert.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"

enum {
	AHEAD_BYTES = 4 * 1024 * 1024,
	AHEAD_CLUSTERS_MIN = 2,
	AHEAD_CLUSTERS_MAX = 256,
};

static void run_validate(const struct alloc *a, const struct alloc_run *run)
{
	uint32_t bits = a->refs->geo->cluster_bits;

	if (run->claim.n_clusters == 0)
		return;
	assert(is_aligned(run->claim.host_off, UINT64_C(1) << bits));
	assert(run->claim.n_clusters <= a->ahead);
	assert(run->claim.host_off + (run->claim.n_clusters << bits) <=
	       refcounts_high_water(a->refs));
	assert(run->generation <= commit_generation(a->commit));
}

void alloc_validate(const struct alloc *a)
{
	const struct claim *one = &a->runs[0].claim;
	const struct claim *two = &a->runs[1].claim;
	uint32_t bits = a->refs->geo->cluster_bits;

	assert(a->ahead >= 1 && a->ahead <= AHEAD_CLUSTERS_MAX);
	assert(a->window <= a->ahead);
	for (unsigned i = 0; i < ALLOC_RUNS; i++)
		run_validate(a, &a->runs[i]);
	/* No cluster is given to two writers. */
	assert(one->n_clusters == 0 || two->n_clusters == 0 ||
	       one->host_off + (one->n_clusters << bits) <= two->host_off ||
	       two->host_off + (two->n_clusters << bits) <= one->host_off);
}

void alloc_init(struct alloc *a, struct refcounts *refs, struct commit *commit)
{
	uint64_t n = AHEAD_BYTES >> refs->geo->cluster_bits;

	memset(a, 0, sizeof(*a));
	a->refs = refs;
	a->commit = commit;
	a->ahead = max_u64(min_u64(n, AHEAD_CLUSTERS_MAX), AHEAD_CLUSTERS_MIN);
	pthread_mutex_init(&a->lock, NULL);
}

void alloc_give_back(struct alloc *a)
{
	struct alloc_run runs[ALLOC_RUNS];

	mutex_lock(&a->lock);
	VALIDATE(alloc, a);
	memcpy(runs, a->runs, sizeof(runs));
	memset(a->runs, 0, sizeof(a->runs));
	mutex_unlock(&a->lock);
	for (unsigned i = 0; i < ALLOC_RUNS; i++)
		if (runs[i].claim.n_clusters)
			refcounts_unclaim(a->refs, &runs[i].claim);
}

void alloc_release(struct alloc *a)
{
	alloc_give_back(a);
	pthread_mutex_destroy(&a->lock);
}

static int claim_run(struct alloc *a, uint64_t want, struct alloc_run *out,
		     struct qcow2_error *err)
{
	int rc = refcounts_claim(a->refs, want, &out->claim, err);

	if (rc == 0)
		out->generation = commit_generation(a->commit);
	return rc;
}

/* The first @n clusters of a run. */
static struct claim alloc_cut(struct alloc *a, struct claim *from, uint64_t n)
{
	struct claim c = *from;

	c.n_clusters = min_u64(n, from->n_clusters);
	from->n_clusters -= c.n_clusters;
	from->host_off += c.n_clusters << a->refs->geo->cluster_bits;
	return c;
}

/* As much is claimed ahead as was used so far: a program that writes little
 * leaves little behind when it is killed. */
static uint64_t grow_window(struct alloc *a, uint64_t want)
{
	SCOPED_LOCK(&a->lock);

	a->window = min_u64(a->window + want, a->ahead);
	return a->window;
}

/* With the lock held: the first run is the one to take from. */
static struct alloc_run *first_run(struct alloc *a)
{
	if (a->runs[0].claim.n_clusters == 0) {
		a->runs[0] = a->runs[1];
		a->runs[1].claim.n_clusters = 0;
	}
	return &a->runs[0];
}

/* Takes from the runs that are there.  *low says that another run is due. */
static bool alloc_take(struct alloc *a, uint64_t want, struct alloc_run *out,
		       bool *low)
{
	SCOPED_LOCK(&a->lock);
	SCOPED_VALIDATE(alloc, a);
	struct alloc_run *first = first_run(a);

	out->generation = first->generation;
	out->claim = alloc_cut(a, &first->claim, want);
	*low = a->runs[1].claim.n_clusters == 0 &&
	       first->claim.n_clusters <= a->window / 2;
	return out->claim.n_clusters != 0;
}

static bool take_exactly(struct alloc *a, uint64_t want, struct alloc_run *out)
{
	SCOPED_LOCK(&a->lock);
	SCOPED_VALIDATE(alloc, a);
	struct alloc_run *first = first_run(a);

	if (first->claim.n_clusters < want)
		return false;
	a->window = min_u64(a->window + want, a->ahead);
	out->generation = first->generation;
	out->claim = alloc_cut(a, &first->claim, want);
	return true;
}

static bool put(struct alloc *a, const struct alloc_run *run)
{
	SCOPED_LOCK(&a->lock);
	SCOPED_VALIDATE(alloc, a);

	for (unsigned i = 0; i < ALLOC_RUNS; i++) {
		if (a->runs[i].claim.n_clusters)
			continue;
		a->runs[i] = *run;
		return true;
	}
	return false;
}

/* Claims ahead.  If that fails nothing is ahead, and the next request for
 * clusters returns the cause. */
static void refill(struct alloc *a, uint64_t window)
{
	struct alloc_run run;

	if (claim_run(a, window, &run, NULL) == 0 && !put(a, &run))
		refcounts_unclaim(a->refs, &run.claim);
}

static struct allocation allocation_of(struct alloc *a,
				       const struct alloc_run *run)
{
	struct allocation out = { .claim = run->claim };

	out.durable = commit_covers(a->commit, run->generation);
	return out;
}

int alloc_clusters(struct alloc *a, uint64_t want, struct allocation *out,
		   struct qcow2_error *err)
{
	uint64_t window = grow_window(a, want);
	bool large = want > max_u64(window / 2, 1);
	struct alloc_run run = { 0 };
	bool low = false;
	int rc = 0;

	/* Large requests want neighbours more than durable refcounts, and leave
	 * no hole of what was claimed ahead. */
	if (large)
		alloc_give_back(a);
	if (large || !alloc_take(a, want, &run, &low))
		rc = claim_run(a, want, &run, err);
	if (rc < 0)
		return rc;
	if (low)
		refill(a, window);
	*out = allocation_of(a, &run);
	return 0;
}

bool alloc_try(struct alloc *a, uint64_t want, struct allocation *out)
{
	struct alloc_run run;

	if (!take_exactly(a, want, &run))
		return false;
	*out = allocation_of(a, &run);
	return true;
}
