#include <assert.h>
#include <inttypes.h>

#include "check/context.h"

/* The last cluster of a file may be cut off, so a claim may reach past the
 * end by less than a cluster. */
static bool fits(const struct check *c, const struct use_claim *claim)
{
	uint64_t limit = c->file_size + c->geo.cluster_size - 1;

	return claim->off <= limit && claim->len <= limit - claim->off;
}

int claim_clusters(struct check *c, const struct use_claim *claim,
		   struct qcow2_error *err)
{
	int answer = 0;
	uint64_t last;

	assert(claim->n && claim->beyond != DEFECT_NONE);
	if (!fits(c, claim)) {
		report_defect(&c->report, claim->beyond, claim->from,
			      "%s at 0x%" PRIx64 ", 0x%" PRIx64 " bytes, lies "
			      "past the end of the file",
			      use_name(claim->use), claim->off, claim->len);
		return 1;
	}
	if (!claim->len)
		return 0;
	last = check_cluster(c, claim->off + claim->len - 1);
	for (uint64_t i = check_cluster(c, claim->off); i <= last; i++) {
		uint32_t *word = refs_at(&c->refs, i);
		enum use old;

		if (!word)
			return budget_error(&c->budget, "reference counters",
					    err);
		if (refs_add(word, claim->use, claim->n, &old))
			continue;
		report_defect(&c->report, DEFECT_CLUSTER_OVERLAP,
			      i << c->geo.cluster_bits,
			      "the cluster at 0x%" PRIx64
			      " serves as %s, and as "
			      "%s that 0x%" PRIx64 " refers to",
			      i << c->geo.cluster_bits, use_name(old),
			      use_name(claim->use), claim->from);
		answer = 1;
		if (claim->use < USE_HEADER)
			continue;
		/* The rest was not counted and must not be called a leak. */
		if (i < last)
			c->report.incomplete = true;
		break;
	}
	return answer;
}
