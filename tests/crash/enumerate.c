#include "crash/enumerate.h"

#include <string.h>

enum {
	SUBSETS_MAX_EVENTS = 20, /* the limit of any effort */
	PAIRS = 4,
	DROPS = 4,
};

static bool visit(const struct pending *p, const struct visitor *v,
		  enum tear tear)
{
	struct choice c = { p->fates, tear, test_rng_next(v->rng) };

	return v->visit(v->opaque, &c);
}

static void fill(struct pending *p, enum fate fate)
{
	if (p->n)
		memset(p->fates, (int)fate, p->n);
}

static void fill_random(struct pending *p, const struct visitor *v)
{
	for (size_t i = 0; i < p->n; i++)
		p->fates[i] = test_rng_next(v->rng) & 1 ? FATE_KEPT : FATE_LOST;
}

/* All subsets of the first @n; the fates after them stay. */
static bool visit_subsets(struct pending *p, const struct visitor *v, size_t n)
{
	for (uint64_t mask = 0; mask < UINT64_C(1) << n; mask++) {
		for (size_t i = 0; i < n; i++)
			p->fates[i] = mask >> i & 1 ? FATE_KEPT : FATE_LOST;
		if (!visit(p, v, TEAR_FIRST))
			return false;
	}
	return true;
}

static bool has_all(const struct pending *p, const struct visitor *v)
{
	return p->n <= v->effort->all_max && p->n <= SUBSETS_MAX_EVENTS;
}

static size_t any_before(const struct pending *p, const struct visitor *v)
{
	return (size_t)test_rng_below(v->rng, p->n - 1);
}

/* In order; alone; all but one; in pairs; at random. */
static bool visit_some(struct pending *p, const struct visitor *v)
{
	size_t last = p->n - 1;

	fill(p, FATE_KEPT);
	if (!visit(p, v, TEAR_FIRST))
		return false;
	fill(p, FATE_LOST);
	p->fates[last] = FATE_KEPT;
	if (!visit(p, v, TEAR_FIRST))
		return false;
	for (unsigned i = 0; i < DROPS + PAIRS; i++) {
		fill(p, i < DROPS ? FATE_KEPT : FATE_LOST);
		p->fates[any_before(p, v)] = i < DROPS ? FATE_LOST : FATE_KEPT;
		p->fates[last] = FATE_KEPT;
		if (!visit(p, v, TEAR_FIRST))
			return false;
	}
	for (unsigned i = 0; i < v->effort->n_random; i++) {
		fill_random(p, v);
		p->fates[last] = FATE_KEPT;
		if (!visit(p, v, TEAR_FIRST))
			return false;
	}
	return true;
}

static bool can_tear(const struct record_event *ev)
{
	return ev->op != STORE_OP_TRUNCATE &&
	       ev->off / MODEL_SECTOR != (ev->off + ev->len - 1) / MODEL_SECTOR;
}

/* The last event in another way: with all before it, with none, with some. */
static bool visit_last_as(struct pending *p, const struct visitor *v,
			  enum fate fate, enum tear tear)
{
	for (unsigned i = 0; i < 3; i++) {
		if (i == 2)
			fill_random(p, v);
		else
			fill(p, i == 0 ? FATE_KEPT : FATE_LOST);
		p->fates[p->n - 1] = (uint8_t)fate;
		if (!visit(p, v, tear))
			return false;
	}
	return true;
}

bool enumerate_last(struct pending *p, const struct visitor *v)
{
	const struct record_event *ev = p->events[p->n - 1];
	bool ok;

	p->fates[p->n - 1] = FATE_KEPT;
	ok = has_all(p, v) ? visit_subsets(p, v, p->n - 1) : visit_some(p, v);
	if (ok && ev->op != STORE_OP_WRITE)
		ok = visit_last_as(p, v, FATE_EARLY, TEAR_FIRST);
	for (int t = 0; ok && can_tear(ev) && t < N_TEARS; t++)
		ok = visit_last_as(p, v, FATE_TORN, (enum tear)t);
	return ok;
}

bool enumerate_epoch(struct pending *p, const struct visitor *v)
{
	if (p->n == 0 || has_all(p, v))
		return true;
	for (size_t i = 0; i < p->n; i++) {
		fill(p, FATE_KEPT);
		p->fates[i] = FATE_LOST;
		if (!visit(p, v, TEAR_FIRST))
			return false;
	}
	for (unsigned i = 0; i < 8 * v->effort->n_random; i++) {
		size_t torn = (size_t)test_rng_below(v->rng, p->n);

		fill_random(p, v);
		if (i % 2 && can_tear(p->events[torn]))
			p->fates[torn] = FATE_TORN;
		if (!visit(p, v, TEAR_RANDOM))
			return false;
	}
	return true;
}

bool enumerate_all(struct pending *p, const struct visitor *v)
{
	fill(p, FATE_LOST);
	if (p->n == 0)
		return visit(p, v, TEAR_FIRST);
	if (has_all(p, v))
		return visit_subsets(p, v, p->n);
	return visit(p, v, TEAR_FIRST) && visit_some(p, v) &&
	       enumerate_epoch(p, v);
}
