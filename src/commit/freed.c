#include "commit/freed.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/sort.h"
#include "counts/inherited.h"
#include "store/store.h"

enum { AT_ONCE = 64 };

_Static_assert(offsetof(struct freed, host_off) == 0, "sorted by it");

int freed_reserve(struct freed_list *l, uint64_t n, struct qcow2_error *err)
{
	uint64_t capacity = l->capacity ? l->capacity : 16;
	struct freed *list;

	while (capacity < l->n + n)
		capacity *= 2;
	if (capacity == l->capacity)
		return 0;
	list = alloc_resized(l->list, capacity * sizeof(*list));
	if (!list)
		return error_nomem(err, "the list of freed clusters",
				   capacity * sizeof(*list));
	l->list = list;
	l->capacity = to_size(capacity);
	return 0;
}

/* Whether @f goes on where @last ends. */
static bool freed_continues(const struct freed *last, const struct freed *f,
			    uint32_t cluster_bits)
{
	return last->punch == f->punch &&
	       last->host_off + (last->n_clusters << cluster_bits) ==
		       f->host_off;
}

void freed_add(struct freed_list *l, uint32_t cluster_bits, struct freed f)
{
	struct freed *last = l->n ? &l->list[l->n - 1] : NULL;

	assert(f.n_clusters);
	l->n_clusters += f.n_clusters;
	if (last && freed_continues(last, &f, cluster_bits)) {
		last->n_clusters += f.n_clusters;
		return;
	}
	assert(l->n < l->capacity);
	l->list[l->n++] = f;
}

void freed_append(struct freed_list *l, struct freed_list *from)
{
	struct freed_list swap = *l;
	SCOPED_VALIDATE(freed_list, l);

	/* It may have no list at all. */
	if (from->n == 0)
		return;
	if (l->n == 0) {
		*l = *from;
		*from = swap;
	} else if (freed_reserve(l, from->n, NULL) == 0) {
		memcpy(l->list + l->n, from->list, from->n * sizeof(*l->list));
		l->n += from->n;
		l->n_clusters += from->n_clusters;
	}
	from->n = 0;
	from->n_clusters = 0;
}

void freed_list_release(struct freed_list *l)
{
	free(l->list);
	*l = (struct freed_list){ 0 };
}

int freed_enqueue(struct freed_batch **queue, struct freed_list *l,
		  uint64_t ticket)
{
	struct freed_batch *b = malloc(sizeof(*b));

	assert(l->n);
	if (!b)
		return -ENOMEM;
	*b = (struct freed_batch){ .ticket = ticket, .freed = *l };
	*l = (struct freed_list){ 0 };
	freed_batch_append(queue, b);
	return 0;
}

void freed_batch_append(struct freed_batch **queue, struct freed_batch *b)
{
	while (*queue)
		queue = &(*queue)->next;
	*queue = b;
}

/* A failure costs space and nothing else. */
static void freed_punch_run(struct qcow2_store *file, uint64_t len,
			    uint64_t host_off)
{
	if (len)
		store_zero(file, len, host_off,
			   QCOW2_STORE_UNMAP | QCOW2_STORE_NO_FALLBACK, NULL);
}

/* Tells of each of @n clusters whether the one that was freed is its last
 * reference, and nobody can get another.  The open cluster of compressed data
 * can get more as long as it is held, so that is asked first. */
static int find_last(struct refcounts *refs, uint64_t n, uint64_t first,
		     bool *last, struct qcow2_error *err)
{
	uint64_t held = refcounts_held(refs);
	uint64_t counts[AT_ONCE];
	int rc = refcounts_read(refs, n, first, counts, err);

	for (uint64_t i = 0; rc == 0 && i < n; i++)
		last[i] = counts[i] == 1 && first + i != held &&
			  refcounts_may_reuse(refs, first + i);
	return rc;
}

/* Gives the space of those clusters back that have their last reference. */
static int freed_punch(const struct freed *f, struct refcounts *refs,
		       struct qcow2_store *file, struct qcow2_error *err)
{
	uint32_t bits = refs->geo->cluster_bits;
	uint64_t first = f->host_off >> bits;
	uint64_t end = first + f->n_clusters;
	uint64_t from = first;
	bool last[AT_ONCE];

	for (uint64_t i = first; i < end; i++) {
		uint64_t at = (i - first) % AT_ONCE;
		int rc = at ? 0
			    : find_last(refs, min_u64(end - i, AT_ONCE), i,
					last, err);

		if (rc < 0)
			return rc;
		if (last[at])
			continue;
		freed_punch_run(file, (i - from) << bits, from << bits);
		from = i + 1;
	}
	freed_punch_run(file, (end - from) << bits, from << bits);
	return 0;
}

/* Fewer and longer runs, in order: runs that were freed one by one may lie
 * together. */
static void merge_runs(struct freed_list *l, uint32_t cluster_bits)
{
	size_t n = l->n;

	sort_by_number(l->list, n, sizeof(*l->list));
	l->n = 0;
	l->n_clusters = 0;
	for (size_t i = 0; i < n; i++)
		freed_add(l, cluster_bits, l->list[i]);
}

int freed_batch_finish(struct freed_batch *b, struct refcounts *refs,
		       struct qcow2_error *err)
{
	uint32_t bits = refs->geo->cluster_bits;
	int rc = 0;

	if (b->freed.n)
		merge_runs(&b->freed, bits);
	VALIDATE(freed_list, &b->freed);
	/* A run that cannot be freed must not keep the others from it. */
	for (size_t i = 0; i < b->freed.n; i++) {
		const struct freed *f = &b->freed.list[i];
		int one = f->punch ? freed_punch(f, refs, refs->file,
						 rc < 0 ? NULL : err)
				   : 0;

		rc = rc < 0 ? rc : one;
		one = refcounts_decrement(refs, f->n_clusters,
					  f->host_off >> bits,
					  rc < 0 ? NULL : err);
		rc = rc < 0 ? rc : one;
	}
	return rc;
}

void freed_batch_free(struct freed_batch *b)
{
	freed_list_release(&b->freed);
	free(b->l1);
	free(b);
}

void freed_batches_release(struct freed_batch **queue)
{
	while (*queue) {
		struct freed_batch *b = *queue;

		*queue = b->next;
		freed_batch_free(b);
	}
}
