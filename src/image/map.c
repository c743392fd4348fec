#include "image/map.h"

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
#include "store/store.h"

void map_validate(const struct map *m)
{
	const struct repeats *known = atomic_load(&m->repeats);
	uint32_t bytes = m->l2.slice_bytes;

	assert(m->geo && m->sizes && m->l1.entries);
	assert(m->l1.n_entries <= L1_TABLE_BYTES_MAX / L1_ENTRY_BYTES);
	assert(bytes >= SECTOR_BYTES && bytes <= m->geo->cluster_size);
	assert((bytes & (bytes - 1)) == 0);
	if (known)
		repeats_validate(known);
}

static uint64_t slice_bytes(const struct geometry *g,
			    const struct qcow2_open_opts *opts)
{
	if (opts->l2_slice_bytes)
		return opts->l2_slice_bytes;
	return min_u64(L2_SLICE_BYTES_DEFAULT, g->cluster_size);
}

/*
 * The cache gets at most twice the size of all L2 tables of the disk, even if
 * asked for more: if all tables fit, neither dirty slices (up to half the
 * cache) nor shards with more than their share then cause misses.  A disk that
 * is written to may grow, and gets the default at least.  Unused capacity costs
 * nothing but its place in the cache's index, which a chain of a thousand
 * images pays a thousand times.
 */
static uint64_t cache_bytes(const struct geometry *g,
			    const struct qcow2_open_opts *opts,
			    uint64_t l1_size)
{
	uint64_t wish = opts->l2_cache_bytes ? opts->l2_cache_bytes
					     : L2_CACHE_BYTES_DEFAULT;

	uint64_t least = opts->flags & QCOW2_OPEN_RDWR ? L2_CACHE_BYTES_DEFAULT
						       : L2_CACHE_BYTES_READER;

	return min_u64(wish, max_u64(least, 2 * (l1_size << g->cluster_bits)));
}

static int check_slice_bytes(const struct geometry *g, uint64_t bytes,
			     struct qcow2_error *err)
{
	if (bytes >= SECTOR_BYTES && bytes <= g->cluster_size &&
	    (bytes & (bytes - 1)) == 0)
		return 0;
	return error_set(err, -EINVAL,
			 "the L2 slice size is %" PRIu64
			 ", it must be a power of two from 512 to the cluster "
			 "size, %" PRIu32,
			 bytes, g->cluster_size);
}

/* Reads the table into host byte order, in place. */
static int read_l1(struct l1_table *t, struct qcow2_store *file,
		   struct qcow2_error *err)
{
	uint8_t *raw = (uint8_t *)(void *)(uintptr_t)t->entries;
	int rc = store_pread(file, raw, to_size(t->n_entries * L1_ENTRY_BYTES),
			     t->host_off, 0, err);

	if (rc < 0)
		return error_prefix(err, rc, "L1 table");
	for (uint64_t i = 0; i < t->n_entries; i++)
		atomic_init(&t->entries[i], get_be64(raw + i * L1_ENTRY_BYTES));
	return 0;
}

int map_open(struct map *m, struct qcow2_store *file,
	     const struct map_source *source,
	     const struct qcow2_open_opts *opts, struct qcow2_error *err)
{
	const struct geometry *g = source->geo;
	/* Entries past the disk hold VM state. */
	uint64_t n = source->l1_size;
	uint64_t bytes = n * L1_ENTRY_BYTES;
	int rc;

	memset(m, 0, sizeof(*m));
	m->geo = g;
	m->sizes = source->sizes;
	rc = check_slice_bytes(g, slice_bytes(g, opts), err);
	if (rc < 0)
		return rc;
	m->l1.entries = alloc_zeroed(n ? n : 1, L1_ENTRY_BYTES);
	if (!m->l1.entries)
		return error_nomem(err, "the L1 table", bytes);
	m->l1.n_entries = n;
	m->l1.host_off = source->l1_off;
	rc = n ? read_l1(&m->l1, file, err) : 0;
	if (rc == 0)
		rc = cache_init(&m->l2, file, cache_bytes(g, opts, n),
				(uint32_t)slice_bytes(g, opts), err);
	if (rc < 0) {
		map_release(m);
		return rc;
	}
	cache_set_clean(&m->l2, opts->cache_clean_sec);
	VALIDATE(map, m);
	return 0;
}

void map_release(struct map *m)
{
	map_forget_walk(m);
	cache_release(&m->l2);
	free(m->l1.entries);
	m->l1.entries = NULL;
}

/* ---- Walks --------------------------------------------------------------- */

/* Shared by most images, and by all that may change: they have no table to pass
 * over, so nothing to keep. */
static const struct repeats walk_allowed = { .n_steps = 0 };
static const struct repeats walk_refused = { .n_steps = UINT64_MAX };

static void release_walk(const struct repeats *r)
{
	struct repeats *own = (struct repeats *)(uintptr_t)r;

	if (!r || r == &walk_allowed || r == &walk_refused)
		return;
	repeats_release(own);
	free(own);
}

void map_forget_walk(struct map *m)
{
	release_walk(atomic_exchange(&m->repeats, NULL));
}

static int find_repeats(struct map *m, const struct repeats_source *src,
			struct repeats *out, struct qcow2_error *err)
{
	uint64_t n = m->l1.n_entries;
	CLEANUP_FREE uint64_t *offs = alloc_bytes(n ? n * sizeof(*offs) : 1);
	size_t n_used = 0;

	if (!offs)
		return error_nomem(err, "an L1 table", n * sizeof(*offs));
	for (uint64_t i = 0; i < n; i++) {
		offs[n_used] = l1_table_off(map_l1_entry(m, i));
		n_used += offs[n_used] != 0;
	}
	return repeats_find(out, src, offs, n_used, err);
}

/* The form in which the answer is kept; @found goes into it. */
static const struct repeats *to_keep(struct repeats *found)
{
	struct repeats *own = NULL;

	if (repeats_any(found) && repeats_check(found, NULL) == 0)
		own = malloc(sizeof(*own));
	if (own) {
		*own = *found;
		return own;
	}
	repeats_release(found);
	return NULL;
}

int map_allow_walk(struct map *m, const struct repeats_source *src,
		   struct qcow2_error *err)
{
	const struct repeats *known = atomic_load(&m->repeats);
	const struct repeats *none = NULL;
	struct repeats found;
	int rc;

	VALIDATE(map, m);
	if (known)
		return repeats_check(known, err);
	rc = find_repeats(m, src, &found, err);
	if (rc < 0)
		return rc;
	rc = repeats_check(&found, err);
	known = to_keep(&found);
	if (!known)
		known = rc < 0 ? &walk_refused : &walk_allowed;
	/* Of two threads that ask at the same time one keeps its answer; they
	 * are the same. */
	if (!atomic_compare_exchange_strong(&m->repeats, &none, known))
		release_walk(known);
	return rc;
}

/* ---- Windows ------------------------------------------------------------- */

/* Is all that an L1 entry with this table (0: none) describes of one kind?  The
 * caller loads the entry once: a writer may give it a table at any time. */
static bool is_uniform(const struct map *m, uint64_t table,
		       enum subcluster_kind *kind)
{
	const struct repeats *r =
		atomic_load_explicit(&m->repeats, memory_order_acquire);

	*kind = SUBCLUSTER_UNALLOCATED_PLAIN;
	return !table ||
	       (r && repeats_any(r) && repeats_uniform(r, m->geo, table, kind));
}

/* Clusters from @guest_off over all L1 entries that follow and are of @kind as
 * a whole. */
static uint64_t uniform_clusters(const struct map *m, uint64_t guest_end,
				 uint64_t guest_off, enum subcluster_kind kind)
{
	const struct geometry *g = m->geo;
	uint64_t i = geometry_l1_index(g, guest_off) + 1;
	uint64_t end = geometry_l1_index(g, guest_end - 1) + 1;
	enum subcluster_kind next;

	while (i < end && i < m->l1.n_entries &&
	       is_uniform(m, l1_table_off(map_l1_entry(m, i)), &next) &&
	       next == kind)
		i++;
	if (i >= m->l1.n_entries && kind == SUBCLUSTER_UNALLOCATED_PLAIN)
		i = max_u64(i, end);
	return (i << g->l2_bits) - (guest_off >> g->cluster_bits);
}

static int l1_error(uint64_t index, uint64_t entry, enum defect defect,
		    struct qcow2_error *err)
{
	return error_defect(err, -EIO, (int)defect, l1_table_off(entry),
			    "%s (entry %" PRIu64 " is 0x%" PRIx64 ")",
			    defect_info((int)defect)->text, index, entry);
}

int map_window_get(struct map *m, uint64_t guest_end, uint64_t guest_off,
		   unsigned flags, struct map_window *w,
		   struct qcow2_error *err)
{
	const struct geometry *g = m->geo;
	uint64_t i = geometry_l1_index(g, guest_off);
	uint64_t entry = map_l1_entry(m, i);
	uint64_t table = l1_table_off(entry);
	uint64_t in_table, slice_off;
	enum subcluster_kind kind;
	enum defect defect;

	assert(guest_off < guest_end);
	if (is_uniform(m, table, &kind)) {
		*w = (struct map_window){ .kind = kind,
					  .n_entries = uniform_clusters(
						  m, guest_end, guest_off,
						  kind) };
		return 0;
	}
	defect = l1_entry_defect(g, entry, image_sizes_file_end(m->sizes));
	if (defect != DEFECT_NONE && defect != DEFECT_L1_ENTRY_RESERVED)
		return l1_error(i, entry, defect, err);
	in_table = geometry_l2_index(g, guest_off) * g->l2_entry_bytes;
	slice_off = table + align_down(in_table, m->l2.slice_bytes);
	w->host_off = table + in_table;
	w->first = (w->host_off - slice_off) / g->l2_entry_bytes;
	w->n_entries = m->l2.slice_bytes / g->l2_entry_bytes - w->first;
	return cache_get(&m->l2, slice_off, table + g->cluster_size, flags,
			 &w->slice, err);
}

void map_window_put(struct map *m, struct map_window *w)
{
	if (w->slice)
		cache_put(&m->l2, w->slice);
	w->slice = NULL;
}

static uint64_t load_be64(const _Atomic uint64_t *word)
{
	uint64_t raw = atomic_load_explicit(word, memory_order_acquire);

	return get_be64((const uint8_t *)&raw);
}

/* An entry of two words is read again when a writer was in between. */
struct l2_entry map_window_entry(const struct map_window *w,
				 const struct geometry *g, uint64_t i)
{
	const _Atomic uint64_t *word =
		(const _Atomic uint64_t
			 *)(const void *)(w->slice->data +
					  (w->first + i) * g->l2_entry_bytes);
	struct l2_entry e = { 0, 0 };
	uint32_t seq;

	assert(i < w->n_entries);
	if (!g->extended_l2) {
		e.desc = load_be64(word);
		return e;
	}
	do {
		seq = atomic_load(&w->slice->seq);
		e.desc = load_be64(&word[0]);
		e.bitmap = load_be64(&word[1]);
	} while ((seq & 1) || atomic_load(&w->slice->seq) != seq);
	return e;
}

uint64_t map_window_empty(const struct map_window *w, const struct geometry *g,
			  uint64_t i)
{
	const _Atomic uint64_t *word =
		(const _Atomic uint64_t
			 *)(const void *)(w->slice->data +
					  (w->first + i) * g->l2_entry_bytes);
	uint64_t words = g->l2_entry_bytes / sizeof(*word);
	uint64_t n = (w->n_entries - i) * words;
	uint64_t k = 0;

	assert(i < w->n_entries);
	while (k < n &&
	       atomic_load_explicit(&word[k], memory_order_relaxed) == 0)
		k++;
	return k / words;
}
