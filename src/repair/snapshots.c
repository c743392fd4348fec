#include "repair/snapshots.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "base/error.h"

bool snapshots_are_damaged(const struct repair *r)
{
	const struct defect_set *found = &r->c.report.found;

	return r->c.snapshots_count != COUNT_GOOD ||
	       defect_set_has(found, DEFECT_SNAPSHOT_TABLE) ||
	       defect_set_has(found, DEFECT_SNAPSHOT_EXTRA_SIZE) ||
	       defect_set_has(found, DEFECT_SNAPSHOT_EXTRA_MISSING) ||
	       defect_set_has(found, DEFECT_SNAPSHOT_L1_EMPTY);
}

/* Entries have to be written anew. */
static bool entries_are_damaged(const struct repair *r)
{
	const struct defect_set *found = &r->c.report.found;

	return defect_set_has(found, DEFECT_SNAPSHOT_EXTRA_SIZE) ||
	       defect_set_has(found, DEFECT_SNAPSHOT_EXTRA_MISSING) ||
	       defect_set_has(found, DEFECT_SNAPSHOT_L1_EMPTY);
}

/* How many entries can be followed. */
static int count_entries(struct repair *r, uint32_t *n, struct qcow2_error *err)
{
	uint64_t off = r->c.header.snapshots_off;
	int rc = 0;

	for (*n = 0; rc == 0 && *n < r->c.header.n_snapshots; *n += rc == 0) {
		struct snapshot s;
		enum defect bad;

		rc = check_snapshot_entry(&r->c, &off, &s, &bad, err);
	}
	return rc < 0 ? rc : 0;
}

int snapshots_shorten(struct repair *r, struct qcow2_error *err)
{
	const struct defect_set *found = &r->c.report.found;
	enum defect why = DEFECT_SNAPSHOT_TABLE;
	uint32_t n;
	int rc;

	if (r->what != REPAIR_ALL || !snapshots_are_damaged(r) ||
	    entries_are_damaged(r) || !r->c.header.n_snapshots)
		return 0;
	rc = count_entries(r, &n, err);
	/* A table without entries need not be anywhere. */
	if (rc < 0 || !n || (r->c.snapshots_count == COUNT_GOOD &&
			     n == r->c.header.n_snapshots))
		return rc;
	if (defect_set_has(found, DEFECT_HEADER_SNAPSHOT_COUNT))
		why = DEFECT_HEADER_SNAPSHOT_COUNT;
	else if (defect_set_has(found, DEFECT_HEADER_SNAPSHOT_OFFSET))
		why = DEFECT_HEADER_SNAPSHOT_OFFSET;
	repair_tell(r, why, HEADER_OFF_SNAPSHOT_COUNT, "%s: the table ends "
		    "behind its first %" PRIu32 " entries",
		    defect_info((int)why)->text, n);
	r->stale = true;
	return repair_set_snapshots(r, n, err);
}

/* Room for one more entry of any length. */
static int make_room(struct repair *r, struct new_snapshots *s,
		     struct qcow2_error *err)
{
	size_t room = s->capacity ? s->capacity * 2
				  : 2 * (size_t)SNAPSHOT_ENTRY_BYTES_MAX;
	uint8_t *buf;

	if (s->capacity - s->len >= SNAPSHOT_ENTRY_BYTES_MAX)
		return 0;
	buf = budget_alloc(&r->c.budget, room);
	if (!buf)
		return budget_error(&r->c.budget, "the snapshot table", err);
	if (s->len)
		memcpy(buf, s->buf, s->len);
	budget_free(&r->c.budget, s->buf, s->capacity);
	s->buf = buf;
	s->capacity = room;
	return 0;
}

/* An entry that does not say how large its disk was gets the size of today, if
 * its L1 table can map that much. */
static void settle_size(const struct repair *r, struct snapshot *s)
{
	const struct geometry *g = &r->c.geo;

	if (s->extra_len < SNAPSHOT_EXTRA_BYTES_V3 &&
	    geometry_l1_entries(g, s->disk_size) > s->l1_size)
		s->disk_size = s->l1_size * geometry_l2_reach(g);
}

static int append(struct repair *r, struct new_snapshots *out,
		  const struct snapshot *s, struct qcow2_error *err)
{
	struct writer w;
	int rc = make_room(r, out, err);

	if (rc < 0)
		return rc;
	w = writer_init(out->buf + out->len, out->capacity - out->len);
	snapshot_encode(&w, s);
	out->len = (size_t)(w.pos - out->buf);
	out->n++;
	if (out->len > SNAPSHOT_TABLE_BYTES_MAX)
		return error_set(err, -EFBIG, "with the extra data that version "
				 "3 requires the snapshot table would be too "
				 "long");
	return 0;
}

int snapshots_renew(struct repair *r, struct new_snapshots *out,
		    struct qcow2_error *err)
{
	uint64_t off = r->c.header.snapshots_off;

	*out = (struct new_snapshots){ 0 };
	for (uint32_t i = 0; i < r->c.header.n_snapshots; i++) {
		struct snapshot s;
		enum defect bad;
		int rc = check_snapshot_entry(&r->c, &off, &s, &bad, err);

		if (rc == 0) {
			settle_size(r, &s);
			if (snapshot_is_misplaced(&r->c.geo, &s))
				s.l1_off = 0;
			rc = append(r, out, &s, err);
		}
		if (rc < 0)
			snapshots_drop(r, out);
		if (rc)
			return rc < 0 ? rc : 0;
	}
	return 0;
}

void snapshots_drop(struct repair *r, struct new_snapshots *s)
{
	budget_free(&r->c.budget, s->buf, s->capacity);
	*s = (struct new_snapshots){ 0 };
}
