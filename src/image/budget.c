#include "image/budget.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "base/error.h"
#include "format/budget.h"

void metadata_budget_validate(const struct metadata_budget *b)
{
	assert(b->taken <= b->limit);
	/* Tables, the caches and their indexes share the limit. */
	assert(metadata_budget_l2(b) + metadata_budget_refcounts(b) <=
	       b->limit - b->taken);
}

struct metadata_budget metadata_budget_of(const struct qcow2_budget *b)
{
	return (struct metadata_budget){ .limit = budget_metadata_bytes(b) };
}

int metadata_budget_take(struct metadata_budget *b, uint64_t bytes,
			 const char *what, struct qcow2_error *err)
{
	VALIDATE(metadata_budget, b);
	if (bytes <= metadata_budget_left(b)) {
		b->taken += bytes;
		return 0;
	}
	return error_reason(err, -E2BIG, QCOW2_REASON_BUDGET,
			    "%s: %" PRIu64 " bytes, with %" PRIu64
			    " that other metadata takes, are more than the "
			    "budget (metadata_bytes, or the share of "
			    "total_bytes) of %" PRIu64,
			    what, bytes, b->taken, b->limit);
}
