/*
 * Changing entries of L1 and L2 tables where they are, sector by sector.
 */
#ifndef REPAIR_TABLES_H
#define REPAIR_TABLES_H

#include "format/l2.h"
#include "repair/context.h"

/* An entry to look at, and to change. */
struct table_entry {
	uint64_t host_off;            /* of the entry itself */
	uint32_t idx;                 /* in its table */
	const struct l1_place *l1;    /* of an L1 entry, else NULL */
	const struct l2_table *table; /* of an L2 entry, else NULL */
	uint64_t guest_off;           /* of an L2 entry */
};

/*
 * The functions to apply to the entries of an image.  Entries that are 0 are
 * not shown.  Each function returns 0 or a negative errno, after which nothing
 * more is looked at.
 */
struct tables_fix {
	void *opaque;
	/* Whether the table in the cluster at @table_off may be changed; NULL:
	 * only where nothing else uses it. */
	bool (*may_change)(void *opaque, struct repair *r, uint64_t table_off);
	/* NULL: these tables are left alone. */
	int (*l1)(void *opaque, struct repair *r, const struct table_entry *at,
		  uint64_t *entry, struct qcow2_error *err);
	int (*l2)(void *opaque, struct repair *r, const struct table_entry *at,
		  struct l2_entry *e, struct qcow2_error *err);
};

/* Shows every entry of every table of r->c, and writes what was changed,
 * without a barrier.  *changed is set if anything was, else left as it is. */
int tables_fix(struct repair *r, const struct tables_fix *fix, bool *changed,
	       struct qcow2_error *err);

#endif
