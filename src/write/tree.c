#include "write/tree.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/sort.h"
#include "image/image.h"
#include "store/store.h"
#include "write/entry.h"
#include "write/writer.h"

enum {
	BATCH_RUNS = 32768,
	RUN_CLUSTERS_MAX = 65536,
	/* A slice of 4 KiB has so many refcounts of 64 bits. */
	CLUSTERS_PER_SLICE_MIN = 512,
	LOOK_AFTER_SLICES = 256,
	/* L2 tables that lie together are read together, up to this much: it
	 * is looked at while it is in the processor's cache. */
	READ_BYTES = 256 * 1024,
};

/* So many runs of a tree that keeps them. */
enum { RUNS_VALIDATED_MAX = 4096 };

void tree_validate(const struct tree *t)
{
	const struct tree_runs *k = &t->kept;

	assert(implies(t->n_l1, t->l1));
	assert(k->n <= k->capacity && k->capacity <= TREE_KEPT_MAX);
	assert(implies(k->capacity, k->list));
	/* "After tree_allow_walk()". */
	assert(implies(repeats_any(&t->repeats), t->allowed));
	for (size_t i = 0; i < k->n && i < RUNS_VALIDATED_MAX; i++)
		assert(k->list[i].n >= 1 && k->list[i].n <= RUN_CLUSTERS_MAX);
	repeats_validate(&t->repeats);
}

int tree_read(struct tree *t, struct image *img, uint64_t n, uint64_t l1_off,
	      struct qcow2_error *err)
{
	uint64_t bytes = n * L1_ENTRY_BYTES;
	uint64_t *l1 = alloc_bytes(bytes ? bytes : 1);
	int rc;

	*t = (struct tree){ 0 };
	if (!l1)
		return error_nomem(err, "an L1 table", bytes);
	rc = bytes ? store_pread(img->file, l1, to_size(bytes), l1_off, 0, err)
		   : 0;
	if (rc < 0) {
		free(l1);
		return error_prefix(err, rc, "L1 table");
	}
	for (uint64_t i = 0; i < n; i++)
		l1[i] = get_be64((const uint8_t *)&l1[i]);
	*t = (struct tree){ .l1 = l1, .n_l1 = n };
	return 0;
}

int tree_of_image(struct tree *t, struct image *img, struct qcow2_error *err)
{
	uint64_t n = img->map.l1.n_entries;
	uint64_t *l1 = alloc_bytes(n ? n * sizeof(*l1) : 1);

	*t = (struct tree){ 0 };
	if (!l1)
		return error_nomem(err, "an L1 table", n * sizeof(*l1));
	for (uint64_t i = 0; i < n; i++)
		l1[i] = map_l1_entry(&img->map, i);
	*t = (struct tree){ .l1 = l1, .n_l1 = n };
	return 0;
}

void tree_release(struct tree *t)
{
	VALIDATE(tree, t);
	free(t->l1);
	free(t->kept.list);
	repeats_release(&t->repeats);
	*t = (struct tree){ 0 };
}

int tree_allow_walk(struct image *img, struct tree *t, struct qcow2_error *err)
{
	const struct repeats_source src = {
		.geo = &img->geo,
		.file = img->file,
		.file_end = image_file_end(img),
	};
	CLEANUP_FREE uint64_t *offs = NULL;
	size_t n = 0;
	int rc = 0;

	VALIDATE(tree, t);
	if (t->allowed)
		return 0;
	offs = alloc_bytes(t->n_l1 ? t->n_l1 * sizeof(*offs) : 1);
	if (!offs)
		return error_nomem(err, "an L1 table", t->n_l1 * sizeof(*offs));
	for (uint64_t i = 0; i < t->n_l1; i++) {
		offs[n] = l1_table_off(t->l1[i]);
		n += offs[n] != 0;
	}
	rc = repeats_find(&t->repeats, &src, offs, n, err);
	if (rc == 0)
		rc = repeats_check(&t->repeats, err);
	if (rc < 0)
		repeats_release(&t->repeats);
	t->allowed = rc == 0;
	return rc;
}

bool tree_points_nowhere(const struct tree *t, const struct geometry *g,
			 uint64_t table_off)
{
	enum subcluster_kind kind;

	return repeats_any(&t->repeats) &&
	       repeats_uniform(&t->repeats, g, table_off, &kind);
}

/* ---- Runs ---------------------------------------------------------------- */

static bool tree_continues(const struct tree_run *last,
			   const struct tree_run *run)
{
	return last->first + last->n == run->first &&
	       last->n + run->n <= RUN_CLUSTERS_MAX;
}

/* Neighbours become one run.  Runs that overlap stay apart: each counts. */
static size_t sort_and_merge(struct tree_run *runs, size_t n)
{
	size_t last = 0;

	sort_by_number(runs, n, sizeof(*runs));
	for (size_t i = 1; i < n; i++) {
		if (tree_continues(&runs[last], &runs[i]))
			runs[last].n += runs[i].n;
		else
			runs[++last] = runs[i];
	}
	return n ? last + 1 : 0;
}

static void runs_release(struct tree_runs *r)
{
	free(r->list);
	*r = (struct tree_runs){ 0 };
}

/* False when they are too many, or memory is short. */
static bool runs_append(struct tree_runs *r, const struct tree_run *runs,
			size_t n)
{
	size_t capacity = r->capacity ? r->capacity : BATCH_RUNS;
	struct tree_run *list;

	while (capacity < r->n + n)
		capacity *= 2;
	capacity = (size_t)min_u64(capacity, TREE_KEPT_MAX);
	if (capacity < r->n + n)
		return false;
	if (capacity > r->capacity) {
		list = realloc(r->list, capacity * sizeof(*list));
		if (!list)
			return false;
		r->list = list;
		r->capacity = capacity;
	}
	memcpy(r->list + r->n, runs, n * sizeof(*runs));
	r->n += n;
	return true;
}

/* ---- Walking ------------------------------------------------------------- */

struct tree_walk_runs {
	struct image *img;
	tree_fn *fn;
	void *opaque;
	struct tree_run *runs;
	size_t n;
	struct tree_runs *keep; /* gets all runs; NULL: not wanted */
	bool copied;            /* some entry has the flag */
};

/* Runs that cannot be kept are found again by another walk. */
static void keep_batch(struct tree_walk_runs *w, size_t n)
{
	if (!w->keep || runs_append(w->keep, w->runs, n))
		return;
	runs_release(w->keep);
	w->keep = NULL;
}

static int end_batch(struct tree_walk_runs *w, struct qcow2_error *err)
{
	size_t n = sort_and_merge(w->runs, w->n);

	w->n = 0;
	keep_batch(w, n);
	return w->fn && n ? w->fn(w->opaque, w->runs, n, err) : 0;
}

/* Adds [host_off, end), both cluster aligned. */
static int tree_add(struct tree_walk_runs *w, uint64_t host_off, uint64_t end,
		    struct qcow2_error *err)
{
	uint32_t bits = w->img->geo.cluster_bits;
	struct tree_run run = { host_off >> bits, (end - host_off) >> bits };
	struct tree_run *last = w->n ? &w->runs[w->n - 1] : NULL;

	if (last && tree_continues(last, &run)) {
		last->n += run.n;
		return 0;
	}
	w->runs[w->n++] = run;
	return w->n == BATCH_RUNS ? end_batch(w, err) : 0;
}

static int tree_bad_entry(enum defect defect, uint64_t host_off, uint64_t value,
			  struct qcow2_error *err)
{
	return error_defect(err, -EIO, (int)defect, host_off,
			    "%s (entry 0x%" PRIx64 ")",
			    defect_info((int)defect)->text, value);
}

/* @at: where the entry lies, for messages. */
static int tree_walk_entry(struct tree_walk_runs *w, struct l2_entry e,
			   uint64_t guest_off, uint64_t at,
			   struct qcow2_error *err)
{
	const struct geometry *g = &w->img->geo;
	uint64_t file_end = image_file_end(w->img);
	uint64_t first = l2_host_off(e);
	uint64_t end = first + g->cluster_size;
	enum defect bad = l2_entry_unreadable(g, e, guest_off, file_end,
					      image_data_end(w->img));

	if (bad)
		return tree_bad_entry(bad, at, e.desc, err);
	if (e.desc & L2_COMPRESSED) {
		struct compressed c = compressed_decode(g, e.desc);

		first = align_down(c.host_off, g->cluster_size);
		end = entry_compressed_end(w->img, c);
	} else if (!first) {
		return 0;
	} else if (end > align_up(file_end, g->cluster_size)) {
		return tree_bad_entry(DEFECT_L2_ENTRY_BEYOND_EOF, at, e.desc,
				      err);
	}
	w->copied |= !(e.desc & L2_COMPRESSED) && (e.desc & ENTRY_COPIED);
	return tree_add(w, first, end, err);
}

static int tree_walk_table(void *opaque, uint8_t *table, uint64_t index,
			   uint64_t table_off, struct qcow2_error *err)
{
	struct tree_walk_runs *w = opaque;
	const struct geometry *g = &w->img->geo;
	uint64_t base = index << (g->l2_bits + g->cluster_bits);
	uint64_t n = table ? geometry_l2_entries(g) : 0;
	uint64_t i = n ? l2_next_used(g, table, 0, n) : 0;
	int rc = tree_add(w, table_off, table_off + g->cluster_size, err);

	for (; rc == 0 && i < n; i = l2_next_used(g, table, i + 1, n))
		rc = tree_walk_entry(w, l2_get(g, table, i),
				     base + (i << g->cluster_bits),
				     table_off + i * g->l2_entry_bytes, err);
	return rc;
}

static int walk_kept(const struct tree_runs *r, tree_fn *fn, void *opaque,
		     struct qcow2_error *err)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < r->n; i += BATCH_RUNS)
		rc = fn(opaque, r->list + i,
			(size_t)min_u64(r->n - i, BATCH_RUNS), err);
	return rc;
}

int tree_walk(struct image *img, struct tree *t, tree_fn *fn, void *opaque,
	      struct qcow2_error *err)
{
	CLEANUP_FREE struct tree_run *runs = malloc(BATCH_RUNS * sizeof(*runs));
	struct tree_walk_runs w = { .img = img,
				    .fn = fn,
				    .opaque = opaque,
				    .runs = runs,
				    .keep = t->keep ? &t->kept : NULL };
	int rc;

	if (t->kept.n)
		return fn ? walk_kept(&t->kept, fn, opaque, err) : 0;
	if (!runs)
		return error_nomem(err, "reading L2 tables",
				   BATCH_RUNS * sizeof(*runs));
	rc = tree_each_table(img, t, tree_walk_table, &w, err);
	if (rc == 0)
		rc = end_batch(&w, err);
	t->has_copied = w.copied;
	if (rc == 0)
		t->kept.n = sort_and_merge(t->kept.list, t->kept.n);
	else
		runs_release(&t->kept);
	return rc;
}

/* ---- Tables -------------------------------------------------------------- */

/* Tables to which L1 entries from one on point, and that lie one behind the
 * other. */
struct group {
	uint64_t n;
	bool passed_over; /* one that points to nothing and is not read */
};

static int group_of(struct image *img, const struct tree *t, uint64_t i,
		    uint64_t max, struct group *group, struct qcow2_error *err)
{
	const struct geometry *g = &img->geo;
	uint64_t off = l1_table_off(t->l1[i]);
	uint64_t *n = &group->n;

	group->passed_over = tree_points_nowhere(t, g, off);
	if (group->passed_over)
		max = 1;
	for (*n = 0; *n < max && i + *n < t->n_l1; ++*n) {
		uint64_t entry = t->l1[i + *n];
		enum defect bad =
			l1_entry_defect(g, entry, image_file_end(img));

		if (bad && bad != DEFECT_L1_ENTRY_RESERVED)
			return tree_bad_entry(bad, l1_table_off(entry), entry,
					      err);
		if (l1_table_off(entry) != off + (*n << g->cluster_bits))
			break;
	}
	return 0;
}

static int walk_group(struct image *img, const struct group *group, uint64_t i,
		      uint64_t off, uint8_t *buf, tree_table_fn *fn,
		      void *opaque, struct qcow2_error *err)
{
	uint32_t bits = img->geo.cluster_bits;
	int rc;

	if (group->passed_over)
		return fn(opaque, NULL, i, off, err);
	rc = store_pread(img->file, buf, to_size(group->n << bits), off, 0,
			 err);
	for (uint64_t k = 0; rc == 0 && k < group->n; k++)
		rc = fn(opaque, buf + (k << bits), i + k, off + (k << bits),
			err);
	return rc;
}

int tree_each_table(struct image *img, struct tree *t, tree_table_fn *fn,
		    void *opaque, struct qcow2_error *err)
{
	uint32_t bits = img->geo.cluster_bits;
	uint64_t max = max_u64(READ_BYTES >> bits, 1);
	CLEANUP_FREE uint8_t *buf = alloc_bytes(max << bits);
	struct group group;
	int rc;

	if (!buf)
		return error_nomem(err, "reading L2 tables", max << bits);
	rc = tree_allow_walk(img, t, err);
	for (uint64_t i = 0; rc == 0 && i < t->n_l1; i += group.n) {
		uint64_t off = l1_table_off(t->l1[i]);

		group.n = 1;
		if (!off)
			continue;
		if (t->watch)
			rc = t->watch(t->watcher, i, t->n_l1, err);
		if (rc == 0)
			rc = group_of(img, t, i, max, &group, err);
		if (rc == 0)
			rc = walk_group(img, &group, i, off, buf, fn, opaque,
					err);
	}
	return rc;
}

/* ---- Counting ------------------------------------------------------------ */

struct tree_count {
	struct image *img;
	uint64_t n_runs;   /* that have been counted */
	uint64_t limit;    /* stop after so many */
	uint64_t n_slices; /* that may have changed since the last look */
	int first_error;
	struct qcow2_error *err;
};

/* Changed refcounts stay in memory until they are written.  Looking how many
 * they are costs as much as changing a few. */
static int write_some(struct tree_count *c, const struct tree_run *run,
		      struct qcow2_error *err)
{
	struct writer *writer = c->img->writer;

	c->n_slices += 1 + run->n / CLUSTERS_PER_SLICE_MIN;
	if (c->n_slices < LOOK_AFTER_SLICES)
		return 0;
	c->n_slices = 0;
	if (!commit_wanted(&writer->commit))
		return 0;
	return commit_flush(&writer->commit, err);
}

static int increment(void *opaque, const struct tree_run *runs, size_t n,
		     struct qcow2_error *err)
{
	struct tree_count *c = opaque;

	for (size_t i = 0; i < n; i++) {
		int rc = refcounts_increment(&c->img->writer->refs, runs[i].n,
					     runs[i].first, err);

		if (rc < 0)
			return rc;
		c->n_runs++;
		rc = write_some(c, &runs[i], err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int decrement(void *opaque, const struct tree_run *runs, size_t n,
		     struct qcow2_error *err)
{
	struct tree_count *c = opaque;

	for (size_t i = 0; i < n && c->n_runs < c->limit; i++, c->n_runs++) {
		struct qcow2_error *e = c->first_error ? NULL : c->err;
		int rc = refcounts_decrement(&c->img->writer->refs, runs[i].n,
					     runs[i].first, e);

		if (rc < 0 && !c->first_error)
			c->first_error = rc;
		if (!c->first_error) {
			rc = write_some(c, &runs[i], err);
			if (rc < 0)
				return rc;
		}
	}
	return 0;
}

int tree_add_references(struct image *img, struct tree *t,
			struct qcow2_error *err)
{
	struct tree_count c = { .img = img };
	struct tree_count undo = { .img = img };
	int rc = tree_walk(img, t, increment, &c, err);

	if (rc < 0 && c.n_runs) {
		undo.limit = c.n_runs;
		t->watch = NULL;
		tree_walk(img, t, decrement, &undo, NULL);
	}
	return rc;
}

int tree_drop_references(struct image *img, struct tree *t,
			 struct qcow2_error *err)
{
	struct tree_count c = { .img = img, .limit = UINT64_MAX, .err = err };
	int rc = tree_walk(img, t, decrement, &c, err);

	return c.first_error ? c.first_error : rc;
}
