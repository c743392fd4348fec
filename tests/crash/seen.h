/*
 * A set of 64-bit hashes.
 */
#ifndef CRASH_SEEN_H
#define CRASH_SEEN_H

#include <stdbool.h>
#include <stdint.h>

struct seen;

struct seen *seen_new(void);
void seen_free(struct seen *s); /* NULL is fine */

/* Returns false when it was there already. */
bool seen_add(struct seen *s, uint64_t hash);

#endif
