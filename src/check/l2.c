#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "check/context.h"
#include "check/prefetch.h"
#include "format/l2.h"

/* How often the caller hears from us, in tables. */
#define PROGRESS_TABLES 64

/* A data file is not opened, so nothing is beyond its end. */
#define DATA_FILE_END VIRTUAL_SIZE_MAX

struct l2_walk {
	struct check *c;
	struct prefetch *prefetch;
	const struct l2_table *table;
	/* An entry with one of these bits, or above the maximum, is not a plain
	 * pointer to a cluster of the image: see is_plain(). */
	uint64_t odd_bits;
	uint64_t plain_max;
	uint64_t next_off; /* where the next data cluster would be in
				* sequence, 0 before the first */
	uint64_t n_allocated;
	uint64_t n_fragmented;
	uint64_t n_compressed;
};

static uint64_t entry_off(const struct l2_walk *w, uint32_t i)
{
	return w->table->host_off + (uint64_t)i * w->c->geo.l2_entry_bytes;
}

static uint64_t guest_off(const struct l2_walk *w, uint32_t i)
{
	const struct geometry *g = &w->c->geo;

	return ((uint64_t)w->table->l1_idx << (g->l2_bits + g->cluster_bits)) +
	       ((uint64_t)i << g->cluster_bits);
}

static void check_l2_bad_entry(const struct l2_walk *w, enum defect bad,
			       struct l2_entry e, uint32_t i, const char *why)
{
	report_defect(&w->c->report, bad, entry_off(w, i),
		      "entry %" PRIu32 " of the L2 table at 0x%" PRIx64
		      " (guest offset 0x%" PRIx64 ") is 0x%016" PRIx64
		      ", bitmap 0x%016" PRIx64 ": %s",
		      i, w->table->host_off, guest_off(w, i), e.desc, e.bitmap,
		      why);
}

/* The usual entry, in which nothing can be wrong by itself. */
static bool is_plain(const struct l2_walk *w, struct l2_entry e)
{
	uint64_t off = e.desc & ~ENTRY_COPIED;

	return !(off & w->odd_bits) && off && off <= w->plain_max &&
	       !((e.bitmap >> 32) & e.bitmap);
}

static void count_cluster(struct l2_walk *w, uint64_t off)
{
	w->n_allocated++;
	if (w->next_off && w->next_off != off)
		w->n_fragmented++;
	w->next_off = off + w->c->geo.cluster_size;
}

static const char *copied_text(bool copied, enum stored stored)
{
	if (!copied)
		return "COPIED is clear, but the refcount is 1";
	return stored == STORED_ZERO
		       ? "COPIED is set, but the refcount is 0"
		       : "COPIED is set, but the refcount is 2 or more";
}

/* COPIED promises that nobody else uses the cluster.  In tables of snapshots
 * alone the flag means nothing. */
static void check_l2_check_copied(const struct l2_walk *w, struct l2_entry e,
				  uint32_t i, enum stored stored)
{
	bool copied = e.desc & ENTRY_COPIED;

	if (w->table->n_active && copied != (stored == STORED_ONE))
		check_l2_bad_entry(w, DEFECT_COPIED_FLAG, e, i,
				   copied_text(copied, stored));
}

static void check_copied_at(const struct l2_walk *w, struct l2_entry e,
			    uint32_t i)
{
	uint64_t cluster_idx = check_cluster(w->c, l2_host_off(e));
	enum stored stored = STORED_ONE;

	if (!w->c->geo.has_data_file &&
	    !refblocks_stored(w->c, cluster_idx, &stored))
		return;
	check_l2_check_copied(w, e, i, stored);
}

static int claim_data(const struct l2_walk *w, uint64_t off, uint64_t len,
		      uint32_t i, struct qcow2_error *err)
{
	struct use_claim claim = {
		.off = off,
		.len = len,
		.use = USE_DATA,
		.n = w->table->n_refs,
		.from = entry_off(w, i),
		.beyond = DEFECT_L2_ENTRY_BEYOND_EOF,
	};

	return claim_clusters(w->c, &claim, err);
}

static int plain_entry(struct l2_walk *w, struct l2_entry e, uint32_t i,
		       struct qcow2_error *err)
{
	uint64_t off = l2_host_off(e);
	uint32_t *word = refs_at(&w->c->refs, check_cluster(w->c, off));
	enum use old;
	int rc = 0;

	if (!word)
		return budget_error(&w->c->budget, "reference counters", err);
	count_cluster(w, off);
	if (refs_use(*word) <= USE_DATA)
		refs_add(word, USE_DATA, w->table->n_refs, &old);
	else
		rc = claim_data(w, off, w->c->geo.cluster_size, i, err);
	if (!!(e.desc & ENTRY_COPIED) != (refs_stored(*word) == STORED_ONE))
		check_copied_at(w, e, i);
	return rc;
}

/* Compressed data has no COPIED flag: several clusters share its sectors. */
static int compressed_entry(struct l2_walk *w, struct l2_entry e, uint32_t i,
			    enum defect bad, struct qcow2_error *err)
{
	struct compressed z = compressed_decode(&w->c->geo, e.desc);

	if (e.desc & ENTRY_COPIED)
		check_l2_bad_entry(w, DEFECT_COPIED_FLAG, e, i,
				   "COPIED is set in a compressed cluster");
	if (bad == DEFECT_L2_ENTRY_COMPRESSED_DATA_FILE)
		return 0;
	w->n_allocated++;
	w->n_fragmented++;
	w->n_compressed++;
	if (bad == DEFECT_COMPRESSED_OFFSET || z.host_off >= w->c->file_size)
		return 0;
	/* Readers take the part that the file has. */
	if (bad == DEFECT_COMPRESSED_BEYOND_EOF)
		z.len = (uint32_t)(w->c->file_size - z.host_off);
	return claim_data(w, z.host_off, z.len, i, err);
}

static int allocated_entry(struct l2_walk *w, struct l2_entry e, uint32_t i,
			   enum defect bad, struct qcow2_error *err)
{
	int rc = 0;

	count_cluster(w, l2_host_off(e));
	if (!w->c->geo.has_data_file && bad != DEFECT_L2_ENTRY_BEYOND_EOF)
		rc = claim_data(w, l2_host_off(e), w->c->geo.cluster_size, i,
				err);
	check_copied_at(w, e, i);
	return rc;
}

static bool is_long_compressed(const struct l2_walk *w, struct l2_entry e,
			       enum defect bad)
{
	return bad == DEFECT_COMPRESSED_BEYOND_EOF &&
	       compressed_decode(&w->c->geo, e.desc).host_off < w->c->file_size;
}

static int odd_entry(struct l2_walk *w, struct l2_entry e, uint32_t i,
		     struct qcow2_error *err)
{
	const struct geometry *g = &w->c->geo;
	uint64_t data_size = g->has_data_file ? DATA_FILE_END : w->c->file_size;
	enum defect bad = l2_entry_defect(g, e, guest_off(w, i),
					  w->c->file_size, data_size);

	if (bad &&
	    !(w->c->mode.long_compressed && is_long_compressed(w, e, bad)))
		check_l2_bad_entry(w, bad, e, i, defect_info((int)bad)->text);
	if (e.desc & L2_COMPRESSED)
		return compressed_entry(w, e, i, bad, err);
	/* Offset 0 is a place in data files only. */
	if (l2_host_off(e) || l2_cluster_kind(g, e) == CLUSTER_NORMAL)
		return allocated_entry(w, e, i, bad, err);
	return 0;
}

static int check_l2_walk_entry(struct l2_walk *w, const uint8_t *table,
			       uint32_t i, struct qcow2_error *err)
{
	struct l2_entry e = l2_get(&w->c->geo, table, i);

	if (is_plain(w, e))
		return plain_entry(w, e, i, err);
	return odd_entry(w, e, i, err);
}

#define LINE_BYTES 64
#define LINE_WORDS (LINE_BYTES / sizeof(uint64_t))

/* A bit for each word of a line that is not zero. */
static inline uint32_t words_in_use(const uint8_t *p)
{
	uint64_t v[LINE_WORDS];
	uint32_t bits = 0;

	memcpy(v, p, sizeof(v));
	if (!(v[0] | v[1] | v[2] | v[3] | v[4] | v[5] | v[6] | v[7]))
		return 0;
	for (uint32_t k = 0; k < LINE_WORDS; k++)
		bits |= (uint32_t)(v[k] != 0) << k;
	return bits;
}

/* A bit for each entry, at the place of its first word. */
static inline uint32_t entries_in_use(const uint8_t *p, bool extended)
{
	uint32_t bits = words_in_use(p);

	return extended ? (bits | bits >> 1) & 0x55 : bits;
}

/* Lines that are looked at together. */
#define BATCH_LINES 64u

/* The counters of scattered clusters are not in the processor's cache: all that
 * a batch needs are asked for before the first is used. */
static void prefetch_line(const struct l2_walk *w, const uint8_t *line,
			  uint32_t bits)
{
	const struct geometry *g = &w->c->geo;

	for (; bits; bits &= bits - 1) {
		uint32_t word = (uint32_t)__builtin_ctz(bits);
		struct l2_entry e = l2_get(g, line, word >> g->extended_l2);

		if (is_plain(w, e))
			refs_prefetch(&w->c->refs,
				      check_cluster(w->c, l2_host_off(e)));
	}
}

static int walk_line(struct l2_walk *w, const uint8_t *table, uint32_t at,
		     uint32_t bits, struct qcow2_error *err)
{
	uint32_t first = at / (uint32_t)sizeof(uint64_t);

	for (; bits; bits &= bits - 1) {
		uint32_t word = first + (uint32_t)__builtin_ctz(bits);
		int rc = check_l2_walk_entry(
			w, table, word >> w->c->geo.extended_l2, err);

		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Scattered tables are mostly empty: lines are skipped as a whole, and their
 * entries are found without a branch for each. */
static int walk_batch(struct l2_walk *w, const uint8_t *table, uint32_t at,
		      uint32_t n_lines, bool *empty, struct qcow2_error *err)
{
	uint32_t bits[BATCH_LINES];

	for (uint32_t k = 0; k < n_lines; k++) {
		const uint8_t *line = table + at + k * LINE_BYTES;

		bits[k] = entries_in_use(line, w->c->geo.extended_l2);
		prefetch_line(w, line, bits[k]);
	}
	for (uint32_t k = 0; k < n_lines; k++) {
		int rc = walk_line(w, table, at + k * LINE_BYTES, bits[k], err);

		if (rc < 0)
			return rc;
		*empty = *empty && !bits[k];
	}
	return 0;
}

static int walk_lines(struct l2_walk *w, const uint8_t *table, bool *empty,
		      struct qcow2_error *err)
{
	uint32_t n_lines = w->c->geo.cluster_size / LINE_BYTES;
	int rc = 0;

	for (uint32_t i = 0; rc >= 0 && i < n_lines; i += BATCH_LINES)
		rc = walk_batch(w, table, i * LINE_BYTES,
				n_lines - i < BATCH_LINES ? n_lines - i
							  : BATCH_LINES,
				empty, err);
	return rc;
}

static void begin_table(struct l2_walk *w, const struct l2_table *table)
{
	const struct geometry *g = &w->c->geo;

	*w = (struct l2_walk){
		.c = w->c,
		.prefetch = w->prefetch,
		.table = table,
		.odd_bits = ~(ENTRY_OFFSET_MASK & -(uint64_t)g->cluster_size),
	};
	if (!g->has_data_file && w->c->file_size >= g->cluster_size)
		w->plain_max = w->c->file_size - g->cluster_size;
}

static void end_table(struct l2_walk *w)
{
	struct qcow2_check_result *result = w->c->report.result;

	result->allocated_clusters += w->n_allocated * w->table->n_active;
	result->fragmented_clusters += w->n_fragmented * w->table->n_active;
	result->compressed_clusters += w->n_compressed * w->table->n_active;
}

/* NULL for a table in a hole. */
static int check_l2_read_table(struct l2_walk *w, size_t i, const uint8_t **out)
{
	struct check *c = w->c;
	uint64_t off = c->l2_tables.tables[i].host_off;
	size_t bytes = c->geo.cluster_size;
	size_t n;

	*out = prefetch_get(w->prefetch, off);
	return *out ? 0
		    : bulk_read(&c->bulk, bytes,
				l2set_stretch(&c->l2_tables, bytes, i, &n), off,
				out, NULL);
}

/* The next tables may lie in a hole too, which is not worth reading. */
static void found_empty(struct l2_walk *w, uint64_t off)
{
	bulk_found_empty(&w->c->bulk, off);
	if (w->c->bulk.ask_first)
		prefetch_stop(w->prefetch);
}

static int check_l2_walk_table(struct l2_walk *w, size_t i,
			       struct qcow2_error *err)
{
	struct check *c = w->c;
	const struct l2_table *table = &c->l2_tables.tables[i];
	const uint8_t *p;
	bool empty = true;
	int rc;

	if (check_l2_read_table(w, i, &p) < 0) {
		report_unchecked(&c->report, 1, table->host_off,
				 "the L2 table at 0x%" PRIx64 " cannot be read",
				 table->host_off);
		c->report.incomplete = true;
		return 0;
	}
	if (!p)
		return 0;
	begin_table(w, table);
	rc = walk_lines(w, p, &empty, err);
	if (empty)
		found_empty(w, table->host_off);
	end_table(w);
	return rc;
}

static int walk_tables(struct l2_walk *w, struct qcow2_error *err)
{
	struct check *c = w->c;
	size_t n = c->l2_tables.n_tables;

	for (size_t i = 0; i < n; i++) {
		int rc = check_l2_walk_table(w, i, err);

		if (rc >= 0 && i % PROGRESS_TABLES == 0)
			rc = report_progress(
				&c->report, (uint32_t)(100 + i * 850 / n), err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int check_l2_tables(struct check *c, struct qcow2_error *err)
{
	struct prefetch prefetch = { 0 };
	struct l2_walk w = { .c = c, .prefetch = &prefetch };
	int rc;

	l2set_sort(&c->l2_tables);
	if (!c->mode.one_thread)
		prefetch_start(&prefetch, c->file, &c->l2_tables,
			       c->geo.cluster_size, &c->budget);
	rc = walk_tables(&w, err);
	prefetch_stop(&prefetch);
	return rc;
}
