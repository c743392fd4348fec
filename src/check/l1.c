#include <inttypes.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/zero.h"
#include "check/context.h"
#include "format/l2.h"

struct l1_walk {
	struct check *c;
	bool active;
	uint32_t idx; /* of the entry at hand */
	uint64_t entry;
	uint64_t entry_off;
};

static const char *const stored_text[] = {
	[STORED_ZERO] = "0",
	[STORED_ONE] = "1",
	[STORED_MANY] = "2 or more",
};

/* COPIED promises that nobody else uses the table.  In snapshots the flag
 * means nothing. */
static void check_l1_check_copied(const struct l1_walk *w, uint64_t table_off)
{
	bool copied = w->entry & ENTRY_COPIED;
	enum stored stored;

	if (!w->active)
		return;
	if (!refblocks_stored(w->c, check_cluster(w->c, table_off), &stored))
		return;
	if (copied == (table_off && stored == STORED_ONE))
		return;
	report_defect(&w->c->report, DEFECT_COPIED_FLAG, w->entry_off,
		      "L1 entry %" PRIu32 " is 0x%016" PRIx64
		      ": COPIED is %s, but the refcount of the L2 table is %s",
		      w->idx, w->entry, copied ? "set" : "clear",
		      table_off ? stored_text[stored] : "none");
}

/* A table whose cluster also is something with one owner holds no entries. */
static bool is_l2_table(const struct check *c, uint64_t table_off)
{
	uint32_t word = refs_get(&c->refs, check_cluster(c, table_off));

	return is_aligned(table_off, c->geo.cluster_size) &&
	       refs_use(word) == USE_L2_TABLE;
}

static int check_l1_follow(const struct l1_walk *w, uint64_t table_off,
			   struct qcow2_error *err)
{
	struct check *c = w->c;
	struct use_claim claim = {
		.off = table_off,
		.len = c->geo.cluster_size,
		.use = USE_L2_TABLE,
		.n = 1,
		.from = w->entry_off,
		.beyond = DEFECT_L1_ENTRY_BEYOND_EOF,
	};
	int rc = claim_clusters(c, &claim, err);

	if (rc < 0)
		return rc;
	if (!is_l2_table(c, table_off))
		return 0;
	if (!l2set_add(&c->l2_tables, table_off, w->idx, w->active))
		return budget_error(&c->budget, "the set of L2 tables", err);
	return 0;
}

static int check_l1_walk_entry(const struct l1_walk *w, struct qcow2_error *err)
{
	struct check *c = w->c;
	uint64_t table_off = l1_table_off(w->entry);
	enum defect bad = l1_entry_defect(&c->geo, w->entry, c->file_size);
	int rc = 0;

	if (bad)
		report_defect(&c->report, bad, w->entry_off,
			      "L1 entry %" PRIu32 " is 0x%016" PRIx64 ": %s",
			      w->idx, w->entry, defect_info((int)bad)->text);
	if (table_off && bad != DEFECT_L1_ENTRY_BEYOND_EOF)
		rc = check_l1_follow(w, table_off, err);
	if (rc >= 0)
		check_l1_check_copied(w, table_off);
	return rc;
}

static int check_l1_walk_piece(struct l1_walk *w, const uint8_t *p, size_t len,
			       struct qcow2_error *err)
{
	for (size_t k = 0; k < len; k += L1_ENTRY_BYTES) {
		w->entry = get_be64(p + k);
		if (w->entry) {
			int rc = check_l1_walk_entry(w, err);

			if (rc < 0)
				return rc;
		}
		w->idx++;
		w->entry_off += L1_ENTRY_BYTES;
	}
	return 0;
}

/* An unreadable table is the end for the active disk; without a snapshot's,
 * the rest can still be checked. */
static int unreadable(const struct l1_walk *w, int rc, struct qcow2_error *err)
{
	if (w->active)
		return error_prefix(err, rc, "L1 table");
	report_unchecked(
		&w->c->report, 1, w->entry_off,
		"the L1 table of a snapshot cannot be read at 0x%" PRIx64,
		w->entry_off);
	w->c->report.incomplete = true;
	return 0;
}

static int check_l1_remember(struct check *c, struct l1_place place,
			     struct qcow2_error *err)
{
	struct l1_places *list = &c->l1_tables;

	if (!budget_grow(&c->budget, (void **)&list->places,
			 sizeof(*list->places), list->n, &list->capacity))
		return budget_error(&c->budget, "the list of L1 tables", err);
	list->places[list->n++] = place;
	return 0;
}

static int l1_walk_all(struct check *c, uint64_t off, uint32_t n_entries,
		       bool active, struct qcow2_error *err)
{
	struct l1_walk w = { .c = c, .active = active, .entry_off = off };
	uint64_t end = off + (uint64_t)n_entries * L1_ENTRY_BYTES;

	while (w.entry_off < end) {
		uint64_t at = w.entry_off;
		size_t len = (size_t)min_u64(BULK_BYTES, end - at);
		const uint8_t *p;
		int rc;

		rc = bulk_read(&c->bulk, len, len, at, &p, err);
		if (rc < 0)
			return unreadable(&w, rc, err);
		if (p && is_zero(p, len)) {
			bulk_found_empty(&c->bulk, at);
			p = NULL;
		}
		if (!p) {
			w.idx += (uint32_t)(len / L1_ENTRY_BYTES);
			w.entry_off += len;
			continue;
		}
		rc = check_l1_walk_piece(&w, p, len, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int check_l1(struct check *c, uint64_t off, uint32_t n_entries, bool active,
	     struct qcow2_error *err)
{
	struct l1_place place = { off, n_entries, active };
	int rc = check_l1_remember(c, place, err);

	return rc < 0 ? rc : l1_walk_all(c, off, n_entries, active, err);
}
