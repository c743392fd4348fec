/*
 * The common part of the tests of repair: repairing a rig, and telling the
 * outcome.
 */
#ifndef UNIT_REPAIR_MEND_H
#define UNIT_REPAIR_MEND_H

#include "unit/check/rig.h"

#include "repair/repair.h"

struct mended {
	int rc;
	struct qcow2_error err;
	struct qcow2_check_result result;
	size_t n;
	struct {
		int32_t defect;
		uint32_t action;
		uint64_t host_off;
	} found[RIG_FINDINGS];
};

struct mended mend_store(struct qcow2_store *s, enum repair_what what);

/*
 * Repairs the rig: succeeds, nothing is left, the check agrees, and another
 * repair neither finds nor writes anything.
 */
struct mended mend(struct rig *r, enum repair_what what);

/* The same, but @corruptions are left. */
struct mended mend_partly(struct rig *r, enum repair_what what,
			  uint64_t corruptions);

/* The number of times that @defect was told with @action. */
size_t mended_count(const struct mended *m, int32_t defect, uint32_t action);

/* All bytes of a store. */
struct bytes {
	uint8_t *p;
	size_t len;
};
struct bytes bytes_of(struct qcow2_store *s);
/* Frees both. */
bool bytes_equal(struct bytes a, struct bytes b);

/* A memory store with the same bytes. */
struct qcow2_store *copy_store(struct qcow2_store *s);

#endif
