/*
 * A ceiling on the memory of one check: every table, counter and set is
 * allocated here, so that no image can make it cost more than the caller
 * allows.
 */
#ifndef CHECK_BUDGET_H
#define CHECK_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/validate.h"
#include "format/limits.h"

#define BUDGET_BYTES_DEFAULT METADATA_BYTES_DEFAULT

struct budget {
	uint64_t limit_bytes;
	uint64_t used_bytes;
	bool exceeded; /* the last refusal was ours, not the system's */
};

/* One thread has it at a time. */
VALIDATOR(budget);

/* @limit_bytes 0: the default. */
void budget_init(struct budget *b, uint64_t limit_bytes);

/* @size_bytes zeroed bytes, or NULL; then budget_error() says why. */
void *budget_alloc(struct budget *b, size_t size_bytes);
void budget_free(struct budget *b, void *p, size_t size_bytes);

/*
 * Makes room for one more in *items, an array of *capacity items of
 * @item_bytes each, of which @n are in use.  False as for budget_alloc().
 */
bool budget_grow(struct budget *b, void **items, size_t item_bytes, size_t n,
		 size_t *capacity);

/* After a NULL: -E2BIG, which names the budget, or -ENOMEM.  @what needed the
 * memory. */
int budget_error(const struct budget *b, const char *what,
		 struct qcow2_error *err);

#endif
