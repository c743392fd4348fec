#include "image/budget.h"

#include <errno.h>
#include <inttypes.h>

#include "base/checked.h"
#include "base/error.h"
#include "format/limits.h"

struct metadata_budget metadata_budget_of(const struct qcow2_budget *b)
{
	uint32_t depth = b->chain_depth ? b->chain_depth : CHAIN_DEPTH_DEFAULT;
	uint64_t limit = b->metadata_bytes ? b->metadata_bytes
					   : METADATA_BYTES_DEFAULT;

	if (b->total_bytes)
		limit = min_u64(limit, b->total_bytes / depth);
	return (struct metadata_budget){ .limit = limit };
}

int metadata_budget_take(struct metadata_budget *b, uint64_t bytes,
			 const char *what, struct qcow2_error *err)
{
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
