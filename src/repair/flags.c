/*
 * COPIED promises that nobody else uses a cluster.  The flag follows what the
 * references are, and is set only where the refcount says the same or is about
 * to be lowered to it.
 */
#include <inttypes.h>

#include "base/checked.h"
#include "repair/tables.h"

struct flags {
	bool later; /* refcounts are lowered after this */
};

static bool is_copied(const struct flags *f, const struct repair *r,
		      uint64_t host_off)
{
	uint32_t word = refs_get(&r->c.refs, check_cluster(&r->c, host_off));
	enum stored stored = refs_stored(word);

	if (refs_count(word) != 1)
		return false;
	return stored == STORED_ONE ||
	       (stored == STORED_MANY && f->later && !r->c.report.incomplete);
}

/* If a refcount cannot say how many references there are, nothing follows from
 * it. */
static bool is_known(const struct repair *r, uint64_t host_off)
{
	uint64_t cluster = check_cluster(&r->c, host_off);

	return refblocks_known(&r->c, cluster) &&
	       refs_count(refs_get(&r->c.refs, cluster)) <=
		       r->c.geo.refcount_max;
}

static int flags_fix_l1(void *opaque, struct repair *r,
			const struct table_entry *at, uint64_t *entry,
			struct qcow2_error *err)
{
	uint64_t off = l1_table_off(*entry);
	uint64_t want = *entry & ~ENTRY_COPIED;

	(void)err;
	if (!at->l1->active || !is_known(r, off))
		return 0;
	if (off && is_copied(opaque, r, off))
		want |= ENTRY_COPIED;
	if (want == *entry)
		return 0;
	repair_tell(r, DEFECT_COPIED_FLAG, at->host_off,
		    "L1 entry %" PRIu32 " was 0x%016" PRIx64 ": COPIED %s",
		    at->idx, *entry, want & ENTRY_COPIED ? "set" : "cleared");
	*entry = want;
	return 0;
}

/* Whether the flag means anything, and what it should be. */
static bool wants_copied(const struct flags *f, const struct repair *r,
			 const struct table_entry *at, struct l2_entry e,
			 bool *copied)
{
	const struct geometry *g = &r->c.geo;
	uint64_t off = l2_host_off(e);

	*copied = false;
	if (e.desc & L2_COMPRESSED)
		return true;
	if (!at->table->n_active)
		return false;
	if (!off && l2_cluster_kind(g, e) != CLUSTER_NORMAL)
		return false;
	*copied = g->has_data_file || is_copied(f, r, off);
	return g->has_data_file || is_known(r, off);
}

static int flags_fix_l2(void *opaque, struct repair *r,
			const struct table_entry *at, struct l2_entry *e,
			struct qcow2_error *err)
{
	bool copied;

	(void)err;
	if (!wants_copied(opaque, r, at, *e, &copied) ||
	    copied == !!(e->desc & ENTRY_COPIED))
		return 0;
	repair_tell(r, DEFECT_COPIED_FLAG, at->host_off,
		    "entry %" PRIu32 " of the L2 table at 0x%" PRIx64
		    " (guest offset 0x%" PRIx64 ") was 0x%016" PRIx64
		    ": COPIED %s",
		    at->idx, at->table->host_off, at->guest_off, e->desc,
		    copied ? "set" : "cleared");
	e->desc ^= ENTRY_COPIED;
	return 0;
}

int repair_flags(struct repair *r, bool later, struct qcow2_error *err)
{
	struct flags f = { later };
	const struct tables_fix fix = { .opaque = &f,
					.l1 = flags_fix_l1,
					.l2 = flags_fix_l2 };
	bool changed = false;
	int rc = tables_fix(r, &fix, &changed, err);

	if (rc < 0 || !changed)
		return rc;
	return repair_barrier(r, err);
}
