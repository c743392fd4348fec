/*
 * The common part of the tests of commit/: entries that change over the rig of
 * counts/.
 */
#ifndef UNIT_COMMIT_RIG_H
#define UNIT_COMMIT_RIG_H

#include "unit/counts/rig.h"

/* An L2 table of zeros in a new cluster, and its first slice, pinned. */
static inline struct slice *rig_new_table(struct rig *t, uint64_t *off)
{
	struct claim c = rig_claim(t, 1);
	struct slice *s;

	*off = c.host_off;
	assert_int_equal(
		cache_get(&t->l2, c.host_off, c.host_off + 512, 0, &s, NULL),
		0);
	return s;
}

static inline void rig_set_entry(struct rig *t, struct slice *s, uint64_t index,
				 uint64_t desc, bool ordered)
{
	assert_int_equal(commit_begin(&t->commit, 0, NULL), 0);
	commit_set_l2(&t->commit, s, index, (struct l2_entry){ desc, 0 });
	if (ordered)
		commit_order(&t->commit);
	commit_end(&t->commit);
}

static inline void rig_flush(struct rig *t)
{
	assert_int_equal(commit_flush(&t->commit, NULL), 0);
}

#endif
