#include "check/refs.h"

#include <assert.h>
#include <stdlib.h>

static const char *const use_names[] = {
	[USE_NONE] = "nothing",
	[USE_DATA] = "guest data",
	[USE_L2_TABLE] = "L2 table",
	[USE_REFCOUNT_BLOCK] = "refcount block",
	[USE_HEADER] = "header",
	[USE_L1_TABLE] = "active L1 table",
	[USE_SNAPSHOT_L1] = "L1 table of a snapshot",
	[USE_REFCOUNT_TABLE] = "refcount table",
	[USE_SNAPSHOT_TABLE] = "snapshot table",
	[USE_BITMAP_DIRECTORY] = "bitmap directory",
	[USE_BITMAP_TABLE] = "bitmap table",
	[USE_BITMAP_DATA] = "bitmap data",
	[USE_CRYPTO_HEADER] = "encryption header",
	[USE_CONFLICT] = "several things",
};

const char *use_name(enum use use)
{
	assert(use <= USE_CONFLICT);
	return use_names[use];
}

void refs_init(struct refs *r, struct budget *budget)
{
	*r = (struct refs){ .budget = budget };
}

void refs_release(struct refs *r)
{
	VALIDATE(refs, r);
	for (size_t i = 0; i < r->n_chunks; i++)
		budget_free(r->budget, r->chunks[i].words,
			    REFS_CHUNK_CLUSTERS * sizeof(uint32_t));
	budget_free(r->budget, r->chunks, r->capacity * sizeof(*r->chunks));
	budget_free(r->budget, r->slots, r->n_slots * sizeof(*r->slots));
	refs_init(r, r->budget);
}

/* Chunks of sparse files lie powers of two apart: the multiplier spreads
 * them. */
static size_t refs_slot_of(const struct refs *r, uint64_t chunk_idx)
{
	return (size_t)((chunk_idx * UINT64_C(0x9e3779b97f4a7c15)) >> 32) &
	       (r->n_slots - 1);
}

/* The chunk, or NULL and the slot where it belongs. */
static uint32_t *refs_find(const struct refs *r, uint64_t chunk_idx,
			   size_t *slot)
{
	*slot = refs_slot_of(r, chunk_idx);
	for (;;) {
		uint32_t at = r->slots[*slot];

		if (!at)
			return NULL;
		if (r->chunks[at - 1].idx == chunk_idx)
			return r->chunks[at - 1].words;
		*slot = (*slot + 1) & (r->n_slots - 1);
	}
}

enum { CHUNKS_VALIDATED_MAX = 64 };

static void word_validate(uint32_t word)
{
	assert(refs_use(word) <= USE_CONFLICT);
	assert(refs_stored(word) <= STORED_MANY);
	assert(implies(refs_count(word), refs_use(word) != USE_NONE));
}

void refs_validate(const struct refs *r)
{
	size_t slot;

	assert(r->n_chunks <= r->capacity);
	assert((r->n_slots & (r->n_slots - 1)) == 0);
	/* Half of the slots are empty, so that every search ends. */
	assert(2 * r->n_chunks <= r->n_slots);
	for (size_t i = 0; i < r->n_chunks && i < CHUNKS_VALIDATED_MAX; i++) {
		const struct refs_chunk *c = &r->chunks[i];

		assert(c->words && refs_find(r, c->idx, &slot) == c->words);
		for (unsigned k = 0; k < REFS_CHUNK_CLUSTERS; k++)
			word_validate(c->words[k]);
	}
}

static void index_chunks(struct refs *r)
{
	for (size_t i = 0; i < r->n_chunks; i++) {
		size_t slot;

		refs_find(r, r->chunks[i].idx, &slot);
		r->slots[slot] = (uint32_t)(i + 1);
	}
}

/* Keeps the hash table at most half full. */
static bool refs_grow_slots(struct refs *r)
{
	size_t n_slots = r->n_slots ? r->n_slots * 2 : 128;
	uint32_t *slots;

	if (r->n_chunks * 2 < r->n_slots)
		return true;
	slots = budget_alloc(r->budget, n_slots * sizeof(*slots));
	if (!slots)
		return false;
	budget_free(r->budget, r->slots, r->n_slots * sizeof(*r->slots));
	r->slots = slots;
	r->n_slots = n_slots;
	index_chunks(r);
	return true;
}

static uint32_t *new_chunk(struct refs *r, uint64_t chunk_idx)
{
	uint32_t *words;
	size_t slot;

	if (!budget_grow(r->budget, (void **)&r->chunks, sizeof(*r->chunks),
			 r->n_chunks, &r->capacity) ||
	    !refs_grow_slots(r))
		return NULL;
	words = budget_alloc(r->budget, REFS_CHUNK_CLUSTERS * sizeof(*words));
	if (!words)
		return NULL;
	refs_find(r, chunk_idx, &slot);
	r->chunks[r->n_chunks++] = (struct refs_chunk){ chunk_idx, words };
	r->slots[slot] = (uint32_t)r->n_chunks;
	return words;
}

uint32_t refs_get(const struct refs *r, uint64_t cluster_idx)
{
	uint32_t *words;
	size_t slot;

	if (!r->n_slots)
		return 0;
	words = refs_find(r, cluster_idx >> REFS_CHUNK_BITS, &slot);
	return words ? words[cluster_idx & (REFS_CHUNK_CLUSTERS - 1)] : 0;
}

void refs_prefetch(const struct refs *r, uint64_t cluster_idx)
{
	const uint32_t *words;
	size_t slot;

	if (!r->n_slots)
		return;
	words = refs_find(r, cluster_idx >> REFS_CHUNK_BITS, &slot);
	if (words)
		__builtin_prefetch(
			&words[cluster_idx & (REFS_CHUNK_CLUSTERS - 1)], 1);
}

uint32_t *refs_at(struct refs *r, uint64_t cluster_idx)
{
	uint32_t *words = NULL;
	size_t slot;

	if (r->n_slots)
		words = refs_find(r, cluster_idx >> REFS_CHUNK_BITS, &slot);
	if (!words)
		words = new_chunk(r, cluster_idx >> REFS_CHUNK_BITS);
	return words ? &words[cluster_idx & (REFS_CHUNK_CLUSTERS - 1)] : NULL;
}

static void put_use(uint32_t *word, enum use use)
{
	*word &= ~(UINT32_C(15) << REFS_COUNT_BITS);
	*word |= (uint32_t)use << REFS_COUNT_BITS;
}

bool refs_add(uint32_t *word, enum use use, uint32_t n, enum use *old)
{
	uint32_t count = refs_count(*word);

	assert(use > USE_NONE && use < USE_CONFLICT);
	*old = refs_use(*word);
	*word += n < REFS_COUNT_MAX - count ? n : REFS_COUNT_MAX - count;
	if (*old == USE_NONE) {
		put_use(word, use);
		return true;
	}
	if (*old == USE_CONFLICT || (*old == use && use < USE_HEADER))
		return true;
	put_use(word, USE_CONFLICT);
	return false;
}

static int compare_chunks(const void *a, const void *b)
{
	uint64_t x = ((const struct refs_chunk *)a)->idx;
	uint64_t y = ((const struct refs_chunk *)b)->idx;

	return (x > y) - (x < y);
}

void refs_sort(struct refs *r)
{
	if (!r->n_chunks)
		return;
	qsort(r->chunks, r->n_chunks, sizeof(*r->chunks), compare_chunks);
	for (size_t i = 0; i < r->n_slots; i++)
		r->slots[i] = 0;
	index_chunks(r);
	VALIDATE(refs, r);
}
