/*
 * The reference counters: the count of the image's own pointers to each host
 * cluster, next to a digest of the count in its refcount blocks.
 *
 * One 32-bit word per cluster:
 *
 *	bits 0-25   references found so far; stays at REFS_COUNT_MAX
 *	bits 26-29  what the cluster is used for, enum use
 *	bits 30-31  the stored refcount, enum stored
 *
 * Words live in chunks that come into being with the first bit set in them,
 * found by a hash table; so the cost is that of the clusters which are in use
 * or counted as such, however large and sparse the file is.  A word of a chunk
 * that does not exist is 0.
 */
#ifndef CHECK_REFS_H
#define CHECK_REFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/validate.h"
#include "check/budget.h"

#define REFS_CHUNK_BITS 9
#define REFS_CHUNK_CLUSTERS (1u << REFS_CHUNK_BITS)

/* 65,536 snapshots times the compressed clusters that fit into one of 64 KiB
 * are fewer; a stored refcount of at least this much is believed. */
#define REFS_COUNT_BITS 26
#define REFS_COUNT_MAX ((UINT32_C(1) << REFS_COUNT_BITS) - 1)

enum use {
	USE_NONE,
	USE_DATA,           /* several entries may share one cluster */
	USE_L2_TABLE,       /* several L1 entries may share one cluster */
	USE_REFCOUNT_BLOCK, /* sharing is reported, but not as an overlap */
	USE_HEADER,         /* from here on there is one owner */
	USE_L1_TABLE,
	USE_SNAPSHOT_L1,
	USE_REFCOUNT_TABLE,
	USE_SNAPSHOT_TABLE,
	USE_BITMAP_DIRECTORY,
	USE_BITMAP_TABLE,
	USE_BITMAP_DATA,
	USE_CRYPTO_HEADER,
	USE_CONFLICT, /* of several of the above; already reported */
};

enum stored {
	STORED_ZERO,
	STORED_ONE,
	STORED_MANY,
};

struct refs_chunk {
	uint64_t idx; /* of its first cluster, in chunks */
	uint32_t *words;
};

struct refs {
	struct budget *budget;
	struct refs_chunk *chunks; /* as they came; sorted on request */
	size_t n_chunks;
	size_t capacity;
	uint32_t *slots; /* hash table: position in chunks + 1 */
	size_t n_slots;  /* a power of two */
};

/* One thread has them at a time.  Of many chunks it looks at the first. */
VALIDATOR(refs);

static inline uint32_t refs_count(uint32_t word)
{
	return word & REFS_COUNT_MAX;
}

static inline enum use refs_use(uint32_t word)
{
	return (enum use)(word >> REFS_COUNT_BITS & 15);
}

static inline enum stored refs_stored(uint32_t word)
{
	return (enum stored)(word >> 30);
}

/* Returns the name of a use for messages. */
const char *use_name(enum use use);

void refs_init(struct refs *r, struct budget *budget);
void refs_release(struct refs *r);

/* The word of a cluster, 0 when there is none. */
uint32_t refs_get(const struct refs *r, uint64_t cluster_idx);

/* Says that a word will be wanted soon. */
void refs_prefetch(const struct refs *r, uint64_t cluster_idx);

/* The word to change, or NULL when memory is short (budget_error()).  Valid
 * until refs_release(). */
uint32_t *refs_at(struct refs *r, uint64_t cluster_idx);

/*
 * Adds @n references from @use to *word.  False when the cluster cannot serve
 * @use besides what it served before; *old is that former use.  The answer is
 * false once per cluster: afterwards it is USE_CONFLICT.
 */
bool refs_add(uint32_t *word, enum use use, uint32_t n, enum use *old);

static inline void refs_set_stored(uint32_t *word, enum stored stored)
{
	*word = (*word & ~(UINT32_C(3) << 30)) | (uint32_t)stored << 30;
}

/* Orders chunks by cluster; refs_at() must not add any afterwards. */
void refs_sort(struct refs *r);

#endif
