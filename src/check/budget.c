#include "check/budget.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

void budget_validate(const struct budget *b)
{
	assert(b->limit_bytes);
	/* "No image can make it cost more than the caller allows". */
	assert(b->used_bytes <= b->limit_bytes);
}

void budget_init(struct budget *b, uint64_t limit_bytes)
{
	*b = (struct budget){
		.limit_bytes = limit_bytes ? limit_bytes : BUDGET_BYTES_DEFAULT,
	};
}

void *budget_alloc(struct budget *b, size_t size_bytes)
{
	void *p;

	VALIDATE(budget, b);
	b->exceeded = size_bytes > b->limit_bytes - b->used_bytes;
	if (b->exceeded)
		return NULL;
	p = calloc(1, size_bytes ? size_bytes : 1);
	if (p)
		b->used_bytes += size_bytes;
	return p;
}

void budget_free(struct budget *b, void *p, size_t size_bytes)
{
	if (!p)
		return;
	assert(size_bytes <= b->used_bytes);
	b->used_bytes -= size_bytes;
	free(p);
}

bool budget_grow(struct budget *b, void **items, size_t item_bytes, size_t n,
		 size_t *capacity)
{
	size_t more = *capacity ? *capacity * 2 : 64;
	void *p;

	assert(n <= *capacity);
	if (n < *capacity)
		return true;
	p = budget_alloc(b, more * item_bytes);
	if (!p)
		return false;
	if (n)
		memcpy(p, *items, n * item_bytes);
	budget_free(b, *items, *capacity * item_bytes);
	*items = p;
	*capacity = more;
	return true;
}

int budget_error(const struct budget *b, const char *what,
		 struct qcow2_error *err)
{
	if (!b->exceeded)
		return error_set(err, -ENOMEM, "not enough memory for %s",
				 what);
	return error_reason(err, -E2BIG, QCOW2_REASON_BUDGET,
			    "the check needs more than its budget of %" PRIu64
			    " bytes (metadata_bytes, or the share of "
			    "total_bytes) for %s; allow more",
			    b->limit_bytes, what);
}
