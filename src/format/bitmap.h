/*
 * Persistent bitmaps (specification: "Bitmaps"): a directory of entries of
 * variable length, and for each bitmap a table of cluster offsets.
 */
#ifndef FORMAT_BITMAP_H
#define FORMAT_BITMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cursor.h"
#include "format/fault.h"
#include "format/geometry.h"

#define BITMAP_FLAG_IN_USE (UINT32_C(1) << 0)
#define BITMAP_FLAG_AUTO (UINT32_C(1) << 1)
#define BITMAP_FLAG_EXTRA_COMPATIBLE (UINT32_C(1) << 2)
#define BITMAP_FLAGS_KNOWN UINT32_C(7)

#define BITMAP_TYPE_DIRTY 1

/* One directory entry; pointers into the decoded buffer. */
struct bitmap {
	uint64_t table_off;
	uint32_t table_size; /* entries */
	uint32_t flags;
	uint8_t type;
	uint8_t granularity_bits;
	uint16_t name_len;
	uint32_t extra_len;
	const uint8_t *extra;
	const char *name; /* not terminated */
};

/* Decodes the entry at the cursor and moves it past the padding.  Returns 0
 * or DEFECT_BITMAP_DIRECTORY when it is cut off. */
enum defect bitmap_decode(struct bitmap *b, struct reader *r,
			  struct fault *fault);

/* Every rule about one entry's fields: type, granularity, flags, name length,
 * table size for @disk_size bytes of disk, table inside @file_size. */
enum defect bitmap_validate(const struct geometry *g, const struct bitmap *b,
			    uint64_t disk_size, uint64_t file_size,
			    struct fault *fault);

void bitmap_encode(struct byte_writer *w, const struct bitmap *b);

/* Table entries a bitmap of @granularity_bits needs for @disk_size bytes. */
uint64_t bitmap_table_entries(const struct geometry *g, uint64_t disk_size,
			      unsigned granularity_bits);

enum bitmap_cluster_kind {
	BITMAP_CLUSTER_ZEROS, /* entry 0: all bits 0 */
	BITMAP_CLUSTER_ONES,  /* entry 1: all bits 1 */
	BITMAP_CLUSTER_STORED,
	BITMAP_CLUSTER_INVALID,
};

/* Returns the kind of a bitmap table entry; for STORED, its offset in
 * *host_off. */
enum bitmap_cluster_kind bitmap_table_entry(const struct geometry *g,
					    uint64_t entry, uint64_t file_size,
					    uint64_t *host_off);

#endif
