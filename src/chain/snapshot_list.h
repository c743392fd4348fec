/*
 * Lists of snapshots that are the caller's: a program that watches a disk can
 * keep one while snapshots come and go, and after the disk is closed.
 */
#ifndef CHAIN_SNAPSHOT_LIST_H
#define CHAIN_SNAPSHOT_LIST_H

#include <stdint.h>

#include <qcow2.h>

struct disk;

/* The snapshots that @d has now; none when it is raw. */
int snapshot_list_new(struct disk *d, struct qcow2_snapshot_list **out,
		      struct qcow2_error *err);
void snapshot_list_free(struct qcow2_snapshot_list *list);

uint32_t snapshot_list_count(const struct qcow2_snapshot_list *list);

/* Fills all of *out but struct_size; the names live as long as the list.
 * -EINVAL: no such index. */
int snapshot_list_get(const struct qcow2_snapshot_list *list, uint32_t index,
		      struct qcow2_snapshot_info *out, struct qcow2_error *err);

#endif
