#include "image/repeats.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/sort.h"
#include "format/limits.h"
#include "store/store.h"

enum {
	/* Entries that are zero are passed over so many at a time. */
	ZEROS_PER_STEP = 64,
	/* Reading fewer tables takes less than asking where holes are. */
	TABLES_MANY = 1024,
};

/* So many entries of each list. */
enum { VALIDATED_MAX = 4096 };

static void repeats_table_validate(const struct repeated_table *t)
{
	assert(t->n_refs >= 2);
	assert(t->kind == SUBCLUSTER_UNALLOCATED_PLAIN ||
	       t->kind == SUBCLUSTER_ZERO_PLAIN);
}

void repeats_validate(const struct repeats *r)
{
	assert(implies(r->n, r->list) && implies(r->n_holes, r->holes));
	for (size_t i = 0; i < r->n && i < VALIDATED_MAX; i++) {
		repeats_table_validate(&r->list[i]);
		assert(implies(i,
			       r->list[i - 1].host_off < r->list[i].host_off));
	}
	for (size_t i = 0; i < r->n_holes && i < VALIDATED_MAX; i++) {
		assert(r->holes[i].off < r->holes[i].end);
		assert(implies(i, r->holes[i - 1].end <= r->holes[i].off));
	}
}

static bool is_rising(const uint64_t *offs, size_t n)
{
	for (size_t i = 1; i < n; i++)
		if (offs[i] <= offs[i - 1])
			return false;
	return true;
}

static size_t repeats_count_same(const uint64_t *offs, size_t n, size_t i)
{
	size_t k = i + 1;

	while (k < n && offs[k] == offs[i])
		k++;
	return k - i;
}

/* ---- One table ----------------------------------------------------------- */

/* Steps of going through the table once: a run of zero entries is one, and so
 * is every other entry. */
static uint64_t count_steps(const struct geometry *g, const uint8_t *table)
{
	uint64_t n = geometry_l2_entries(g);
	uint64_t steps = n / ZEROS_PER_STEP;

	for (uint64_t i = 0; i < n; i++) {
		uint64_t used = l2_next_used(g, table, i, n);

		steps += 1 + (used > i);
		i = used;
	}
	return steps;
}

static enum subcluster_kind kind_of(const struct repeats_source *src,
				    const uint8_t *table)
{
	const struct geometry *g = src->geo;
	struct l2_entry first = l2_get(g, table, 0);
	enum subcluster_kind kind;

	/* Every entry is equal to the one before it. */
	if (src->changing ||
	    memcmp(table, table + g->l2_entry_bytes,
		   g->cluster_size - g->l2_entry_bytes) != 0 ||
	    l2_entry_unreadable(g, first, 0, src->file_end, src->file_end) !=
		    DEFECT_NONE ||
	    l2_subcluster_run(g, first, 0, &kind) != g->subclusters ||
	    (kind != SUBCLUSTER_UNALLOCATED_PLAIN &&
	     kind != SUBCLUSTER_ZERO_PLAIN))
		return SUBCLUSTER_INVALID;
	return kind;
}

/* Returns the steps that all references to the table make. */
static uint64_t repeats_look_at(struct repeated_table *t,
				const struct repeats_source *src, uint8_t *buf)
{
	uint64_t size = src->geo->cluster_size;

	if (t->host_off % size || t->host_off >= src->file_end ||
	    store_pread(src->file, buf, to_size(size), t->host_off, 0, NULL) <
		    0)
		return 1;
	t->kind = kind_of(src, buf);
	return t->kind == SUBCLUSTER_INVALID
		       ? t->n_refs * count_steps(src->geo, buf)
		       : t->n_refs;
}

/* ---- Holes --------------------------------------------------------------- */

static int add_hole(struct repeats *r, size_t *capacity, struct hole hole,
		    struct qcow2_error *err)
{
	size_t more = *capacity ? 2 * *capacity : 16;
	struct hole *holes = r->holes;

	if (r->n_holes == *capacity) {
		holes = realloc(holes, more * sizeof(*holes));
		if (!holes)
			return error_nomem(err, "the list of holes",
					   more * sizeof(*holes));
		r->holes = holes;
		*capacity = more;
	}
	holes[r->n_holes++] = hole;
	return 0;
}

/* @offs are in order: each stretch of the file is asked about once. */
static int find_holes(struct repeats *r, const struct repeats_source *src,
		      const uint64_t *offs, size_t n, struct qcow2_error *err)
{
	size_t capacity = 0;
	uint64_t known = 0;
	int rc = 0;

	if (n < TABLES_MANY || src->changing || !src->trust_holes)
		return 0;
	for (size_t i = 0; rc == 0 && i < n; i++) {
		uint64_t len = src->file_end - offs[i];
		bool is_data;

		if (offs[i] < known || offs[i] >= src->file_end)
			continue;
		/* Without an answer tables are read. */
		if (store_extent(src->file, &len, offs[i], &is_data, NULL) < 0)
			return 0;
		known = offs[i] + len;
		if (!is_data)
			rc = add_hole(r, &capacity,
				      (struct hole){ offs[i], known }, err);
	}
	return rc;
}

static bool is_in_hole(const struct repeats *r, uint64_t off, uint64_t end)
{
	size_t first = 0, last = r->n_holes;

	while (first < last) {
		size_t middle = first + (last - first) / 2;

		if (r->holes[middle].end < end)
			first = middle + 1;
		else
			last = middle;
	}
	return first < r->n_holes && r->holes[first].off <= off;
}

/* ---- All of them --------------------------------------------------------- */

static int repeats_lookup(struct repeats *r, const struct repeats_source *src,
			  const uint64_t *offs, size_t n, uint8_t *buf,
			  struct qcow2_error *err)
{
	uint64_t per_read = geometry_l2_entries(src->geo) / ZEROS_PER_STEP + 1;
	uint64_t size = src->geo->cluster_size;
	size_t capacity = 0;

	for (size_t i = 0; i < n && r->n_steps <= REPEATED_STEPS_MAX;) {
		size_t n_refs = repeats_count_same(offs, n, i);
		struct repeated_table t = { offs[i], n_refs,
					    SUBCLUSTER_INVALID };
		struct repeated_table *list = r->list;

		i += n_refs;
		if (n_refs == 1 || is_in_hole(r, t.host_off, t.host_off + size))
			continue;
		r->n_steps += per_read + repeats_look_at(&t, src, buf);
		if (t.kind == SUBCLUSTER_INVALID)
			continue;
		if (r->n == capacity) {
			capacity = capacity ? 2 * capacity : 16;
			list = realloc(list, capacity * sizeof(*list));
			if (!list)
				return error_nomem(err, "the list of L2 tables",
						   capacity * sizeof(*list));
			r->list = list;
		}
		list[r->n++] = t;
	}
	return 0;
}

static int find_repeated(struct repeats *r, const struct repeats_source *src,
			 const uint64_t *offs, size_t n,
			 struct qcow2_error *err)
{
	CLEANUP_FREE uint8_t *buf = malloc(src->geo->cluster_size);

	if (!buf)
		return error_nomem(err, "an L2 table", src->geo->cluster_size);
	return repeats_lookup(r, src, offs, n, buf, err);
}

int repeats_find(struct repeats *r, const struct repeats_source *src,
		 uint64_t *offs, size_t n, struct qcow2_error *err)
{
	/* Tables of a disk that was written from its start to its end. */
	bool rising = is_rising(offs, n);
	int rc;

	*r = (struct repeats){ 0 };
	if (!rising)
		sort_by_number(offs, n, sizeof(*offs));
	rc = find_holes(r, src, offs, n, err);
	if (rc == 0 && !rising)
		rc = find_repeated(r, src, offs, n, err);
	if (rc < 0)
		repeats_release(r);
	VALIDATE(repeats, r);
	return rc;
}

void repeats_release(struct repeats *r)
{
	free(r->list);
	free(r->holes);
	*r = (struct repeats){ 0 };
}

int repeats_check(const struct repeats *r, struct qcow2_error *err)
{
	if (r->n_steps <= REPEATED_STEPS_MAX)
		return 0;
	return error_set(err, -E2BIG,
			 "entries of the L1 table share L2 tables: going "
			 "through those again for each entry takes more than "
			 "%" PRIu64 " steps, which is the limit",
			 REPEATED_STEPS_MAX);
}

bool repeats_uniform(const struct repeats *r, const struct geometry *g,
		     uint64_t host_off, enum subcluster_kind *kind)
{
	size_t first = 0, end = r->n;

	*kind = SUBCLUSTER_UNALLOCATED_PLAIN;
	if (is_aligned(host_off, g->cluster_size) &&
	    is_in_hole(r, host_off, host_off + g->cluster_size))
		return true;
	while (first < end) {
		size_t middle = first + (end - first) / 2;

		if (r->list[middle].host_off < host_off)
			first = middle + 1;
		else
			end = middle;
	}
	if (first == r->n || r->list[first].host_off != host_off)
		return false;
	*kind = r->list[first].kind;
	return true;
}
