/*
 * Chooses clusters of compressed data that are worth emptying although nothing
 * has to go there.
 *
 * From the start of the file on, free clusters add room and sparse clusters
 * take it as long as there is some.  The space they leave is room for later
 * ones in the next round.
 */
#include "base/checked.h"
#include "base/error.h"
#include "compact/packed.h"
#include "counts/used.h"
#include "write/writer.h"

enum { WORD_BITS = 64 };

struct choice {
	struct packed *p;
	uint64_t room; /* sectors */
};

/* Sectors in use of a cluster: whole words, or a part of one. */
static uint64_t sectors_used(const struct packed *p, uint64_t rank)
{
	uint64_t n = UINT64_C(1) << packed_shift(p);
	const uint64_t *words = &p->used.words[rank * n / WORD_BITS];
	uint64_t used = 0;

	if (n < WORD_BITS)
		return packed_popcount(words[0] >> rank * n % WORD_BITS &
				       ((UINT64_C(1) << n) - 1));
	for (uint64_t i = 0; i < n / WORD_BITS; i++)
		used += packed_popcount(words[i]);
	return used;
}

static void choose_packed(struct choice *c, uint64_t cluster, uint64_t count)
{
	struct packed *p = c->p;
	uint64_t rank = packed_rank(p, cluster);
	uint64_t used = sectors_used(p, rank);

	if (4 * used < UINT64_C(3) << packed_shift(p) && used <= c->room &&
	    count == p->refs[rank]) {
		bitset_set(&p->chosen, rank);
		c->room -= used;
	}
}

static void packed_sparse_choose(struct choice *c, uint64_t cluster,
				 uint64_t count)
{
	if (bitset_test(&c->p->c->packed, cluster))
		choose_packed(c, cluster, count);
	else if (count == 0)
		c->room += UINT64_C(1) << packed_shift(c->p);
}

int packed_choose_sparse(struct packed *p, struct qcow2_error *err)
{
	struct choice c = { .p = p };
	struct refcount_walk w;
	int rc;

	if (!bitset_init(&p->chosen, p->n_ranks))
		return error_nomem(err, "sparse clusters", p->n_ranks / 8);
	refcount_walk_init(&w, p->c->refs, 0, p->c->n_file);
	while ((rc = refcount_walk_next(&w, err)) > 0)
		packed_sparse_choose(&c, w.cluster_idx, w.count);
	return rc;
}
