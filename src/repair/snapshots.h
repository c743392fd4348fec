/*
 * A snapshot table that replaces a damaged one.
 */
#ifndef REPAIR_SNAPSHOTS_H
#define REPAIR_SNAPSHOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "repair/context.h"

struct new_snapshots {
	uint8_t *buf; /* from the budget of the check */
	size_t capacity;
	size_t len;
	uint32_t n;
};

/* Whether the table breaks a rule that writing it anew mends. */
bool snapshots_are_damaged(const struct repair *r);

/*
 * Encodes every entry up to where the table can no longer be followed, or has
 * the number of entries that is allowed: extra data that is missing is added,
 * and cut where it is too long.  To be released with snapshots_drop().  If L1
 * tables are split (check/context.h), the entries say that the copies lie one
 * after another from @l1_to on.
 */
int snapshots_renew(struct repair *r, uint64_t l1_to, struct new_snapshots *out,
		    struct qcow2_error *err);
/* Writes these copies. */
int snapshots_copy_l1(struct repair *r, uint64_t to, struct qcow2_error *err);
void snapshots_drop(struct repair *r, struct new_snapshots *s);

/* A table of which nothing but the end is wrong ends earlier, where it is. */
int snapshots_shorten(struct repair *r, struct qcow2_error *err);

#endif
