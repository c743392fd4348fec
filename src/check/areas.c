#include <stdio.h>

#include "check/context.h"
#include "format/luks.h"

static int claim_header(struct check *c, struct qcow2_error *err)
{
	struct claim claim = {
		.len = c->geo.cluster_size, .use = USE_HEADER, .n = 1,
		.beyond = DEFECT_HEADER_TOO_SHORT,
	};

	return claim_clusters(c, &claim, err);
}

static int check_luks(struct check *c)
{
	struct luks_header luks;
	const uint8_t *p;
	struct fault fault;
	static const uint8_t nothing[LUKS_HEADER_BYTES];

	if (bulk_read(&c->bulk, LUKS_HEADER_BYTES, LUKS_HEADER_BYTES,
		      c->crypto.off, &p, NULL) < 0) {
		report_unchecked(&c->report, 1, c->crypto.off,
				 "the LUKS header cannot be read");
		return 0;
	}
	if (luks_decode(&luks, p ? p : nothing, LUKS_HEADER_BYTES,
			c->crypto.len, &fault))
		report_fault(&c->report, &fault, c->crypto.off, "LUKS header");
	return 0;
}

static int check_crypto(struct check *c, struct qcow2_error *err)
{
	struct claim claim = {
		.off = c->crypto.off, .len = c->crypto.len,
		.use = USE_CRYPTO_HEADER, .n = 1, .from = NOWHERE,
		.beyond = DEFECT_EXTENSION_CRYPTO,
	};
	int rc;

	if (!c->has_crypto || !c->crypto.len)
		return 0;
	rc = claim_clusters(c, &claim, err);
	if (rc != 0)
		return rc;
	return check_luks(c);
}

int check_areas(struct check *c, struct qcow2_error *err)
{
	int rc = claim_header(c, err);

	if (rc < 0)
		return rc;
	rc = check_crypto(c, err);
	return rc < 0 ? rc : 0;
}
