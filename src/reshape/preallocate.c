/*
 * Preallocation of what a disk grows by (O37): refcounts and contents, then
 * entries; the size that shows them comes last, from the caller.
 */
#include <errno.h>

#include "base/checked.h"
#include "base/error.h"
#include "image/image.h"
#include "reshape/resize.h"
#include "store/store.h"
#include "write/entry.h"
#include "write/overlap.h"
#include "write/tables.h"
#include "write/writer.h"

/* Of a file, between two looks at whether to go on. */
#define PIECE_BYTES (UINT64_C(64) << 20)

/* Entries from @off on, in the window and before @end, that have no cluster of
 * their own. */
static uint64_t count_without(struct image *img, const struct map_window *w,
			      uint64_t end, uint64_t off, bool *without)
{
	const struct geometry *g = &img->geo;
	uint64_t n = min_u64(w->n_entries, geometry_clusters(g, end - off));
	uint64_t i;

	for (i = 0; i < n; i++) {
		struct l2_entry e = map_window_entry(w, g, i);
		bool has = e.desc & ENTRY_COPIED;

		if (i == 0)
			*without = !has;
		else if (*without == has)
			break;
	}
	return i;
}

static int preallocate_fill(struct image *img, const struct claim *c,
			    enum qcow2_preallocation mode,
			    struct qcow2_error *err)
{
	uint64_t len = c->n_clusters << img->geo.cluster_bits;
	int rc;

	/* The data file was filled before. */
	if (img->geo.has_data_file)
		return 0;
	rc = overlap_check(img, len, c->host_off, err);
	if (rc < 0 || (c->reads_zero && mode == QCOW2_PREALLOC_METADATA))
		return rc;
	return store_preallocate(img->file, len, c->host_off, mode, err);
}

static int link_clusters(struct image *img, const struct map_window *w,
			 const struct claim *c, uint64_t off,
			 struct qcow2_error *err)
{
	const struct geometry *g = &img->geo;
	struct commit *commit = &img->writer->commit;
	int rc = commit_begin(commit, c->n_clusters, err);

	if (rc < 0)
		return rc;
	for (uint64_t i = 0; i < c->n_clusters; i++) {
		uint64_t at = off + (i << g->cluster_bits);
		struct l2_entry old = map_window_entry(w, g, i);
		struct l2_entry e = {
			(c->host_off + (i << g->cluster_bits)) | ENTRY_COPIED, 0
		};

		/* Subclusters are allocated when they are written. */
		if (g->extended_l2 && !entry_below_is_zero(img, at))
			e.bitmap = SUB_ALL_ZERO;
		commit_set_l2(commit, w->slice, w->first + i, e);
		entry_free(img, old, false);
	}
	commit_order(commit);
	commit_end(commit);
	return 0;
}

static int preallocate_place(struct image *img, uint64_t n, uint64_t off,
			     struct claim *out, struct qcow2_error *err)
{
	struct allocation a;
	int rc;

	*out = (struct claim){ off, n, false };
	if (img->geo.has_data_file)
		return 0;
	rc = alloc_clusters(&img->writer->alloc, n, &a, err);
	if (rc == 0)
		*out = a.claim;
	return rc;
}

static int allocate_run(struct image *img, const struct map_window *w,
			uint64_t *n, uint64_t off,
			enum qcow2_preallocation mode, struct qcow2_error *err)
{
	struct claim claim;
	int rc = preallocate_place(img, *n, off, &claim, err);

	if (rc < 0)
		return rc;
	rc = preallocate_fill(img, &claim, mode, err);
	if (rc == 0)
		rc = link_clusters(img, w, &claim, off, err);
	if (rc < 0 && !img->geo.has_data_file)
		refcounts_unclaim(&img->writer->refs, &claim);
	*n = claim.n_clusters;
	return rc;
}

static int allocate_window(struct image *img, uint64_t end, uint64_t off,
			   enum qcow2_preallocation mode, uint64_t *n,
			   struct qcow2_error *err)
{
	struct map_window w;
	bool without = false;
	int rc = tables_make(img, off, err);

	if (rc == 0)
		rc = map_window_get(&img->map, end, off, 0, &w, err);
	if (rc < 0)
		return rc;
	*n = count_without(img, &w, end, off, &without);
	if (without)
		rc = allocate_run(img, &w, n, off, mode, err);
	map_window_put(&img->map, &w);
	return rc;
}

int resize_tell(const struct qcow2_resize_opts *opts, uint64_t done,
		uint64_t total, struct qcow2_error *err)
{
	if (opts->progress && opts->progress(opts->opaque, done, total))
		return error_set(err, -ECANCELED, "the resize was stopped");
	return 0;
}

int resize_preallocate(struct qcow2_store *store, uint64_t end, uint64_t off,
		       const struct qcow2_resize_opts *opts,
		       struct qcow2_error *err)
{
	uint64_t begin = off;
	int rc = 0;

	while (rc == 0 && off < end) {
		uint64_t part = min_u64(end - off, PIECE_BYTES);

		rc = store_preallocate(store, part, off, opts->preallocation,
				       err);
		off += part;
		if (rc == 0)
			rc = resize_tell(opts, off - begin, end - begin, err);
	}
	return rc;
}

int image_preallocate(struct image *img, uint64_t end, uint64_t off,
		      const struct qcow2_resize_opts *opts,
		      struct qcow2_error *err)
{
	enum qcow2_preallocation mode = opts->preallocation;
	uint64_t begin = off;
	int rc = 0;

	while (rc == 0 && off < end) {
		uint64_t n = 0;

		rc = allocate_window(img, end, off, mode, &n, err);
		off += n << img->geo.cluster_bits;
		if (rc == 0 && commit_wanted(&img->writer->commit))
			rc = image_flush(img, err);
		if (rc == 0)
			rc = resize_tell(opts, min_u64(off, end) - begin,
					 end - begin, err);
	}
	return rc;
}
