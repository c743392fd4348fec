/*
 * Another L1 table for an open image.
 *
 * The new table is made in memory first, with everything that can fail; then
 * the caller writes it, points the header to it, and switches, which cannot
 * fail.
 */
#ifndef COMMIT_L1_SWITCH_H
#define COMMIT_L1_SWITCH_H

#include "commit/commit.h"

struct l1_switch {
	struct l1_table to;
	struct bitset dirty;      /* the marks that go with it */
	struct freed_batch *keep; /* to wait in, for the table that was
				   * replaced */
};

VALIDATOR(l1_switch);

/* A table of @n_entries entries, all 0, at @host_off.  -ENOMEM. */
int l1_switch_init(struct l1_switch *s, uint64_t n_entries, uint64_t host_off,
		   struct qcow2_error *err);
/* Releases the table that was not used, or was replaced; may be called
 * twice. */
void l1_switch_release(struct l1_switch *s);

/* Exchanges the table of @c with that of @s.  Nothing of it is dirty, and no
 * writer is under way.  Readers look at the table without a lock: if there may
 * be any, the new one must not be shorter, with the same entries as far as the
 * old one goes, and the caller must call l1_switch_retire() then. */
void l1_switch_use(struct l1_switch *s, struct commit *c);

/* Leaves the table that was replaced to @c, until every request that may look
 * at it has ended. */
void l1_switch_retire(struct l1_switch *s, struct commit *c);

/* Writes the table of @s to its place, cut to whole clusters. */
int l1_switch_write(const struct l1_switch *s, const struct commit *c,
		    struct qcow2_error *err);

#endif
