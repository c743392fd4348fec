/*
 * The internal snapshots, as the table lists them, and the table itself.
 */
#ifndef IMAGE_SNAPSHOTS_H
#define IMAGE_SNAPSHOTS_H

#include <stdint.h>

#include <qcow2.h>

#include "base/validate.h"
#include "format/geometry.h"
#include "format/header.h"
#include "format/snapshot.h"

struct snapshot_info {
	/* One allocation that begins with the id; id and name are terminated.
	 * NUL inside a name ends it for all but the table. */
	char *id;
	char *name;
	uint8_t *unknown_extra;
	uint32_t unknown_extra_len;
	uint16_t id_len;
	uint16_t name_len;
	uint64_t l1_off;
	uint32_t l1_size;
	uint32_t date_sec;
	uint32_t date_nsec;
	uint64_t vm_clock_nsec;
	uint64_t vm_state_size;
	uint64_t disk_size;
	uint64_t icount;
};

struct snapshots {
	struct snapshot_info *list;
	uint32_t n;
	uint64_t table_bytes;   /* of the table in the file */
	struct qcow2_error why; /* code is not 0: the table cannot be read, and
				 * the list is empty */
};

/* The caller must keep the list from being replaced: list_lock, or an operation
 * on snapshots of his own. */
VALIDATOR(snapshot_info);
VALIDATOR(snapshots);

/* Reads the table; @budget_bytes bounds the memory. */
int snapshots_open(struct snapshots *s, const struct header *h,
		   struct qcow2_store *file, uint64_t file_size,
		   uint64_t budget_bytes, struct qcow2_error *err);
void snapshots_release(struct snapshots *s);
/* Without what only the table has. */
int snapshots_copy(struct snapshots *dst, const struct snapshots *src,
		   struct qcow2_error *err);
/* Says why the table cannot be read; the code. */
int snapshots_unreadable(const struct snapshots *s, struct qcow2_error *err);

/* A snapshot_info of a table entry; snapshot_info_release() takes it. */
int snapshot_info_init(struct snapshot_info *info, const struct snapshot *s,
		       struct qcow2_error *err);
void snapshot_info_release(struct snapshot_info *info);

/* Bytes that the table takes, and the table, @bytes long at @buf.  Version 2
 * entries get the extra data that version 3 asks for. */
uint64_t snapshots_bytes(const struct snapshots *s);
void snapshots_encode(const struct snapshots *s, uint8_t *buf, uint64_t bytes);

/* By id first, then by name, as QEMU looks; NULL when there is none. */
const struct snapshot_info *snapshots_find(const struct snapshots *s,
					   const char *id_or_name);

/* -EINVAL with the defect when the snapshot's disk cannot be read. */
int snapshot_check_view(const struct geometry *g, const struct snapshot_info *s,
			uint64_t file_size, struct qcow2_error *err);

#endif
