#include "check/context.h"
#include "format/luks.h"

static void check_luks(struct check *c)
{
	static const uint8_t nothing[LUKS_HEADER_BYTES];
	struct luks_header luks;
	struct fault fault;
	const uint8_t *p;

	if (bulk_read(&c->bulk, LUKS_HEADER_BYTES, LUKS_HEADER_BYTES,
		      c->crypto.off, &p, NULL) < 0) {
		report_unchecked(&c->report, 1, c->crypto.off,
				 "the LUKS header cannot be read");
		return;
	}
	if (luks_decode(&luks, p ? p : nothing, LUKS_HEADER_BYTES,
			c->crypto.len, &fault))
		report_fault(&c->report, &fault, c->crypto.off, "LUKS header");
}

int check_crypto(struct check *c, struct qcow2_error *err)
{
	struct use_claim claim = {
		.off = c->crypto.off,
		.len = c->crypto.len,
		.use = USE_CRYPTO_HEADER,
		.n = 1,
		.from = NOWHERE,
		.beyond = DEFECT_EXTENSION_CRYPTO,
	};
	int rc;

	if (!c->has_crypto || !c->crypto.len)
		return 0;
	rc = claim_clusters(c, &claim, err);
	if (rc == 0)
		check_luks(c);
	return rc < 0 ? rc : 0;
}
