/*
 * Changes of image files that the library does not make by itself.
 */
#ifndef CRASH_EDIT_H
#define CRASH_EDIT_H

#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "crash/base.h"

/* Adds an internal snapshot of the active disk: every cluster it uses gets one
 * reference more, and loses COPIED.  An old one has no extra data. */
void edit_add_snapshot(struct qcow2_store *file, bool old);

/* Gives the zero flag to the first cluster of the disk that a snapshot shares,
 * in a table of its own; the cluster keeps its place.  Returns its number. */
uint32_t edit_zero_shared(struct qcow2_store *file);

/* Sets an autoclear bit that nobody knows. */
void edit_set_autoclear(struct qcow2_store *file);

/* Makes the first cluster of the disk point to a place where no cluster can
 * be. */
void edit_damage_entry(struct qcow2_store *file);

/* Takes host clusters away; see enum base_fill. */
void edit_fill(struct qcow2_store *file, enum base_fill fill);

/* Takes the refcounts of all clusters away. */
void edit_lower(struct qcow2_store *file);

#endif
