/*
 * The valid images that generate.py --bases leaves in a directory, with the
 * places of their fields.
 */
#ifndef HOSTILE_BASES_H
#define HOSTILE_BASES_H

#include <stddef.h>
#include <stdint.h>

#include <qcow2.h>

struct field {
	uint64_t off;
	unsigned width;
};

struct base {
	char *name;
	uint8_t *bytes;
	size_t len;
	struct field *fields;
	size_t n_fields;
	uint64_t *places; /* starts of structures */
	size_t n_places;
};

struct bases {
	struct base *list;
	size_t n;
};

/* Exits with a message when there is none. */
void bases_load(struct bases *b, const char *dir);
void bases_free(struct bases *b);

/* A memory store with a copy of @len bytes. */
struct qcow2_store *store_of(const uint8_t *bytes, size_t len);

/* A small generator of random numbers (xorshift): the same everywhere. */
struct rng {
	uint64_t state;
};

uint64_t rng_next(struct rng *r);
static inline uint64_t rng_below(struct rng *r, uint64_t n)
{
	return rng_next(r) % n;
}

/* Changes one field of @bytes, a copy of @b's, to something at a limit: a
 * power of two, an end, another structure's place, a neighbour's value. */
void mutate_field(const struct base *b, uint8_t *bytes, struct rng *r);

/* The seed: TEST_SEED, or the clock. */
uint64_t seed_get(void);

#endif
