/*
 * Snapshots as callers see them.
 */
#ifndef API_SNAPSHOT_LIST_H
#define API_SNAPSHOT_LIST_H

#include <qcow2.h>

struct snapshot_info;

/* Fills the caller's structure from @s, whose strings it borrows. */
int snapshot_give(struct qcow2_snapshot_info *out,
		  const struct snapshot_info *s, struct qcow2_error *err);

#endif
