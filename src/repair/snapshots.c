#include "repair/snapshots.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/error.h"
#include "format/l2.h"
#include "store/store.h"

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
	if (rc < 0 || !n ||
	    (r->c.snapshots_count == COUNT_GOOD &&
	     n == r->c.header.n_snapshots))
		return rc;
	if (defect_set_has(found, DEFECT_HEADER_SNAPSHOT_COUNT))
		why = DEFECT_HEADER_SNAPSHOT_COUNT;
	else if (defect_set_has(found, DEFECT_HEADER_SNAPSHOT_OFFSET))
		why = DEFECT_HEADER_SNAPSHOT_OFFSET;
	repair_tell(r, why, HEADER_OFF_SNAPSHOT_COUNT,
		    "%s: the table ends "
		    "behind its first %" PRIu32 " entries",
		    defect_info((int)why)->text, n);
	r->stale = true;
	return repair_set_snapshots(r, n, err);
}

/* Room for one more entry of any length. */
static int repair_snapshots_make_room(struct repair *r, struct new_snapshots *s,
				      struct qcow2_error *err)
{
	size_t room = s->capacity ? s->capacity * 2
				  : 2 * (size_t)SNAPSHOT_ENTRY_BYTES_MAX;
	uint8_t *buf;

	assert(s->len <= s->capacity);
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
	struct byte_writer w;
	int rc = repair_snapshots_make_room(r, out, err);

	if (rc < 0)
		return rc;
	w = byte_writer_init(out->buf + out->len, out->capacity - out->len);
	snapshot_encode(&w, s);
	out->len = (size_t)(w.pos - out->buf);
	out->n++;
	if (out->len > SNAPSHOT_TABLE_BYTES_MAX)
		return error_set(err, -EFBIG,
				 "with the extra data that version "
				 "3 requires the snapshot table would be too "
				 "long");
	return 0;
}

/* Bytes of whole clusters that a copy of the active L1 table takes; 0 for a
 * snapshot that has one of its own. */
static uint64_t copy_bytes(const struct repair *r, const struct snapshot *s)
{
	if (!r->c.mode.split_l1 ||
	    !check_shares_l1(&r->c, s->l1_off, s->l1_size))
		return 0;
	return geometry_clusters(&r->c.geo,
				 (uint64_t)s->l1_size * L1_ENTRY_BYTES)
	       << r->c.geo.cluster_bits;
}

static int copy_l1(struct repair *r, const struct snapshot *s, uint64_t to,
		   struct qcow2_error *err)
{
	uint64_t len = (uint64_t)s->l1_size * L1_ENTRY_BYTES;
	uint8_t *buf = budget_alloc(&r->c.budget, (size_t)len);
	int rc;

	if (!buf)
		return budget_error(&r->c.budget, "an L1 table", err);
	rc = store_pread(r->file, buf, (size_t)len, s->l1_off, 0, err);
	for (uint64_t k = 0; rc == 0 && k < len; k += L1_ENTRY_BYTES)
		put_be64(buf + k, get_be64(buf + k) & ~ENTRY_COPIED);
	if (rc == 0)
		rc = store_pwrite(r->file, buf, (size_t)len, to, 0, err);
	budget_free(&r->c.budget, buf, (size_t)len);
	return rc;
}

/* The entry of a snapshot that gets a copy says where that is. */
static void place_l1(const struct repair *r, struct snapshot *s, uint64_t *to)
{
	uint64_t bytes = copy_bytes(r, s);

	if (bytes)
		s->l1_off = *to;
	*to += bytes;
}

int snapshots_copy_l1(struct repair *r, uint64_t to, struct qcow2_error *err)
{
	uint64_t off = r->c.header.snapshots_off;

	for (uint32_t i = 0; i < r->c.header.n_snapshots; i++) {
		struct snapshot s;
		enum defect bad;
		uint64_t bytes;
		int rc = check_snapshot_entry(&r->c, &off, &s, &bad, err);

		if (rc)
			return rc < 0 ? rc : 0;
		bytes = copy_bytes(r, &s);
		rc = bytes ? copy_l1(r, &s, to, err) : 0;
		if (rc < 0)
			return rc;
		to += bytes;
	}
	return 0;
}

int snapshots_renew(struct repair *r, uint64_t l1_to, struct new_snapshots *out,
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
			place_l1(r, &s, &l1_to);
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
