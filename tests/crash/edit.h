/*
 * Changes of image files that the library does not make by itself.
 */
#ifndef CRASH_EDIT_H
#define CRASH_EDIT_H

#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "crash/base.h"

/* An internal snapshot of the active disk: every cluster it uses gets one
 * reference more, and loses COPIED.  An old one has no extra data. */
void edit_add_snapshot(struct qcow2_store *file, bool old);

/* The first cluster of the disk that a snapshot shares, in a table of its own,
 * keeps its place under the zero flag; which one that is. */
uint32_t edit_zero_shared(struct qcow2_store *file);

/* An autoclear bit that nobody knows. */
void edit_set_autoclear(struct qcow2_store *file);

/* The first cluster of the disk points to where no cluster can be. */
void edit_damage_entry(struct qcow2_store *file);

/* Takes host clusters away; see enum base_fill. */
void edit_fill(struct qcow2_store *file, enum base_fill fill);

/* No cluster has a refcount any more. */
void edit_lower(struct qcow2_store *file);

#endif
