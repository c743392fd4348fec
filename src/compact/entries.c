/*
 * Step 3 of compaction for guest data: L2 entries follow.
 */
#include "base/checked.h"
#include "compact/packed.h"
#include "image/image.h"
#include "write/writer.h"

static bool follow_piece(const struct compact *c, struct l2_entry *e)
{
	uint64_t desc = compact_packed_find(c, e->desc);

	if (desc)
		e->desc = (e->desc & ~L2_COMPRESSED_MASK) | desc;
	return desc != 0;
}

/* The entry after its cluster moved; false when it did not. */
static bool compact_entries_follow(const struct compact *c, struct l2_entry *e)
{
	uint32_t bits = c->img->geo.cluster_bits;
	uint64_t off = l2_host_off(*e);
	const struct move *m;

	if (e->desc & L2_COMPRESSED)
		return follow_piece(c, e);
	m = off ? compact_find(c, off >> bits) : NULL;
	if (m)
		e->desc = (e->desc & ~ENTRY_OFFSET_MASK) | m->to << bits;
	return m != NULL;
}

static int change(struct compact *c, struct slice *s, uint64_t i,
		  struct l2_entry e, struct qcow2_error *err)
{
	struct commit *commit = &c->img->writer->commit;
	int rc = commit_begin(commit, 0, err);

	if (rc < 0)
		return rc;
	commit_set_l2(commit, s, i, e);
	commit_order(commit);
	commit_end(commit);
	return 0;
}

static int repoint_slice(struct compact *c, struct slice *s,
			 struct qcow2_error *err)
{
	const struct geometry *g = &c->img->geo;
	uint64_t n = c->img->map.l2.slice_bytes / g->l2_entry_bytes;
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < n; i++) {
		struct l2_entry e = l2_get(g, s->data, i);

		if (compact_entries_follow(c, &e))
			rc = change(c, s, i, e, err);
	}
	return rc;
}

static int repoint_table(struct compact *c, uint64_t table_off,
			 struct qcow2_error *err)
{
	struct image *img = c->img;
	struct cache *l2 = &img->map.l2;
	uint64_t end = table_off + img->geo.cluster_size;
	int rc = 0;

	for (uint64_t at = table_off; rc == 0 && at < end;
	     at += l2->slice_bytes) {
		struct slice *s;

		rc = cache_get(l2, at, end, 0, &s, err);
		if (rc < 0)
			return rc;
		rc = repoint_slice(c, s, err);
		cache_put(l2, s);
		if (rc == 0 && commit_wanted(&img->writer->commit))
			rc = commit_flush(&img->writer->commit, err);
	}
	return rc;
}

int compact_repoint_entries(struct compact *c, struct qcow2_error *err)
{
	return c->moves.n || c->pieces
		       ? compact_each_table(c, repoint_table, err)
		       : 0;
}
