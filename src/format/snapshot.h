/*
 * The snapshot table (specification: "Snapshots"): entries of variable length,
 * each padded to 8 bytes.
 */
#ifndef FORMAT_SNAPSHOT_H
#define FORMAT_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cursor.h"
#include "format/fault.h"
#include "format/geometry.h"

/* One entry; pointers into the decoded buffer. */
struct snapshot {
	uint64_t l1_off;
	uint32_t l1_size; /* entries */
	uint32_t date_sec;
	uint32_t date_nsec;
	uint16_t id_len;
	uint16_t name_len;
	uint64_t vm_clock_nsec;
	uint64_t vm_state_size;     /* the large field where it exists */
	uint64_t disk_size;         /* the header's size where it is absent */
	uint64_t icount;            /* UINT64_MAX where it is absent */
	uint32_t extra_len;         /* as stored */
	uint32_t unknown_extra_len; /* what follows icount */
	const uint8_t *unknown_extra;
	const char *id; /* not terminated */
	const char *name;
};

/*
 * Decodes the entry at the cursor and moves it past the padding.
 * @disk_size: the header's, for entries without extra data.  Returns 0 or
 * DEFECT_SNAPSHOT_TABLE (cut off) or DEFECT_SNAPSHOT_EXTRA_SIZE.  Entries of
 * version 3 images without the required extra data decode; the caller asks
 * snapshot_lacks_extra().
 */
enum defect snapshot_decode(struct snapshot *s, struct reader *r,
			    uint64_t disk_size, struct fault *fault);

/* Bytes the entry takes in the table, padding included; needs only the fixed
 * 40 bytes at @fixed.  At most 40 + 1024 + 2 * 65535 + padding. */
uint64_t snapshot_entry_bytes(const uint8_t *fixed);

bool snapshot_lacks_extra(const struct snapshot *s, uint32_t version);

/* The rule that the entry's L1 table or disk size breaks, or DEFECT_NONE. */
enum defect snapshot_l1_defect(const struct geometry *g,
			       const struct snapshot *s, uint64_t file_size);

/* Without entries an L1 table is nowhere, but its offset must be one. */
bool snapshot_is_misplaced(const struct geometry *g, const struct snapshot *s);

/* Writes the entry with 24 bytes of extra data and the unknown data behind
 * them.  An icount that nobody knows is written as such, as QEMU does it. */
void snapshot_encode(struct byte_writer *w, const struct snapshot *s);

/* The number of bytes that it writes. */
uint64_t snapshot_encoded_bytes(const struct snapshot *s);

#endif
