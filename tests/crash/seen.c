#include "crash/seen.h"

#include <assert.h>
#include <stdlib.h>

struct seen {
	uint64_t *slots; /* 0: free */
	uint64_t mask;
	uint64_t n;
};

struct seen *seen_new(void)
{
	struct seen *s = calloc(1, sizeof(*s));

	assert(s);
	s->mask = 1023;
	s->slots = calloc(s->mask + 1, sizeof(*s->slots));
	assert(s->slots);
	return s;
}

void seen_free(struct seen *s)
{
	if (s)
		free(s->slots);
	free(s);
}

static bool place(struct seen *s, uint64_t hash)
{
	uint64_t i = hash & s->mask;

	for (; s->slots[i]; i = (i + 1) & s->mask)
		if (s->slots[i] == hash)
			return false;
	s->slots[i] = hash;
	return true;
}

static void grow(struct seen *s)
{
	uint64_t *old = s->slots;
	uint64_t n = s->mask + 1;

	s->mask = 4 * n - 1;
	s->slots = calloc(s->mask + 1, sizeof(*s->slots));
	assert(s->slots);
	for (uint64_t i = 0; i < n; i++)
		if (old[i])
			place(s, old[i]);
	free(old);
}

bool seen_add(struct seen *s, uint64_t hash)
{
	if (2 * s->n > s->mask)
		grow(s);
	if (!place(s, hash ? hash : 1))
		return false;
	s->n++;
	return true;
}
