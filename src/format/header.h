/*
 * The image header (specification: "Header"), versions 2 and 3.
 *
 * header_decode() turns bytes into numbers and refuses what cannot be
 * understood at all; header_validate() holds every number against the limits
 * and the file.  Opening an image for use does both; tools that must look at
 * broken images may stop after the first.
 */
#ifndef FORMAT_HEADER_H
#define FORMAT_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "format/fault.h"
#include "format/limits.h"

/* Incompatible features: a reader must know every one that is set. */
#define INCOMPAT_DIRTY (UINT64_C(1) << 0)
#define INCOMPAT_CORRUPT (UINT64_C(1) << 1)
#define INCOMPAT_DATA_FILE (UINT64_C(1) << 2)
#define INCOMPAT_COMPRESSION (UINT64_C(1) << 3)
#define INCOMPAT_EXTENDED_L2 (UINT64_C(1) << 4)
#define INCOMPAT_KNOWN UINT64_C(0x1f)

#define COMPAT_LAZY_REFCOUNTS (UINT64_C(1) << 0)
#define COMPAT_KNOWN UINT64_C(0x1)

/* Autoclear features: a writer clears those that it does not know. */
#define AUTOCLEAR_BITMAPS (UINT64_C(1) << 0)
#define AUTOCLEAR_DATA_FILE_RAW (UINT64_C(1) << 1)
#define AUTOCLEAR_KNOWN UINT64_C(0x3)

enum crypt_method {
	CRYPT_NONE = 0,
	CRYPT_AES = 1,
	CRYPT_LUKS = 2,
};

enum compression_type {
	COMPRESSION_ZLIB = 0,
	COMPRESSION_ZSTD = 1,
};

/* Byte positions of the fields, for error messages and in-place updates. */
enum header_field {
	HEADER_OFF_MAGIC = 0,
	HEADER_OFF_VERSION = 4,
	HEADER_OFF_BACKING_OFF = 8,
	HEADER_OFF_BACKING_LEN = 16,
	HEADER_OFF_CLUSTER_BITS = 20,
	HEADER_OFF_SIZE = 24,
	HEADER_OFF_CRYPT_METHOD = 32,
	HEADER_OFF_L1_SIZE = 36,
	HEADER_OFF_L1_OFF = 40,
	HEADER_OFF_REFCOUNT_TABLE_OFF = 48,
	HEADER_OFF_REFCOUNT_TABLE_CLUSTERS = 56,
	HEADER_OFF_SNAPSHOT_COUNT = 60,
	HEADER_OFF_SNAPSHOTS_OFF = 64,
	HEADER_OFF_INCOMPAT = 72,
	HEADER_OFF_COMPAT = 80,
	HEADER_OFF_AUTOCLEAR = 88,
	HEADER_OFF_REFCOUNT_ORDER = 96,
	HEADER_OFF_HEADER_LENGTH = 100,
	HEADER_OFF_COMPRESSION = 104,
};

struct header {
	uint32_t version;
	uint32_t cluster_bits;
	uint64_t backing_off;
	uint32_t backing_len;
	uint32_t crypt_method;
	uint64_t size;
	uint64_t l1_off;
	uint32_t l1_size; /* entries */
	uint32_t refcount_table_clusters;
	uint64_t refcount_table_off;
	uint64_t snapshots_off;
	uint32_t n_snapshots;
	uint32_t refcount_order;        /* 4 in version 2 */
	uint64_t incompatible_features; /* 0 in version 2, as the next two */
	uint64_t compatible_features;
	uint64_t autoclear_features;
	uint32_t header_length; /* 72 in version 2 */
	uint8_t compression_type;
	/* Padding and fields of later versions, bytes 105..header_length, kept
	 * as found; points into the decoded buffer.  NULL: zero padding. */
	const uint8_t *tail;
	uint32_t tail_len;
};

/* Enough of a file to decide how it is opened. */
enum { HEADER_PEEK_BYTES = HEADER_OFF_COMPAT };

/* Nothing of this has been checked: the file may be anything. */
struct header_peek {
	bool is_qcow2;
	bool is_dirty; /* not closed properly, nor known to be damaged */
	uint32_t cluster_size; /* 0: none that qcow2 allows */
};

struct header_peek header_peek(const uint8_t raw[HEADER_PEEK_BYTES]);

/*
 * Decodes the first @len bytes of a file.  @len may exceed the header; 512
 * bytes are enough for every header without tail.  Refuses: short buffers,
 * wrong magic and version, cluster_bits, header_length and refcount_order out
 * of range, header_length beyond @len.  Returns 0 or the defect, with *fault
 * filled.
 */
enum defect header_decode(struct header *h, const void *buf, size_t len,
			  struct fault *fault);

/*
 * Holds a decoded header against every limit that needs no other structure:
 * sizes, table offsets (aligned, sane, inside @file_size rounded up to a
 * cluster, outside the header cluster), backing name inside cluster 0, features
 * that contradict each other, compression type.  Unknown incompatible bits are
 * not looked at here (the caller wants to name them).  refcount_table_clusters
 * 0 is accepted: readable, not writable.  @file_size may be FILE_SIZE_UNKNOWN.
 */
enum defect header_validate(const struct header *h, uint64_t file_size,
			    struct fault *fault);

/* Writes the fixed part and the tail: h->header_length bytes.  Returns
 * that number, or 0 when @len is too small or header_length is not what
 * version and tail_len imply. */
size_t header_encode(const struct header *h, void *buf, size_t len);

/* Host range of the backing file name: [backing_off, +backing_len). */

/* A place without a name, or a name without a place, is none. */
static inline bool header_has_backing(const struct header *h)
{
	return h->backing_off && h->backing_len;
}

static inline bool header_has_data_file(const struct header *h)
{
	return h->incompatible_features & INCOMPAT_DATA_FILE;
}

#endif
