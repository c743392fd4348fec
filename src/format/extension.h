/*
 * Header extensions (specification: "Header extensions"): a list of
 * {type, length, data padded to 8} between the header and the end mark, the
 * backing file name, or the end of the first cluster.
 */
#ifndef FORMAT_EXTENSION_H
#define FORMAT_EXTENSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cursor.h"
#include "format/fault.h"
#include "format/header.h"

#define EXT_END UINT32_C(0x00000000)
#define EXT_BACKING_FORMAT UINT32_C(0xe2792aca)
#define EXT_FEATURE_NAMES UINT32_C(0x6803f857)
#define EXT_BITMAPS UINT32_C(0x23852875)
#define EXT_CRYPTO UINT32_C(0x0537be77)
#define EXT_DATA_FILE UINT32_C(0x44415441)
/* "pad!": ours.  Readers skip it as they skip all that they do not know. */
#define EXT_FILLER UINT32_C(0x70616421)

/* One extension in place; data points into the decoded buffer. */
struct extension {
	uint32_t type;
	uint32_t len;
	const uint8_t *data;
	uint32_t off; /* of the type field, in the buffer */
};

/* A walk over the list.  */
struct extension_iter {
	struct reader r;
	const uint8_t *base;
	uint32_t n_seen;
	bool open_ended; /* the list may go on behind the buffer */
	bool cut_off;    /* and it does: the walk ended there */
};

/*
 * Starts a walk over @cluster0, the first @len bytes of the file (at most one
 * cluster, cut at end of file).  The area ends at the backing file name if
 * there is one behind the header, else at @len.
 */
void extension_iter_init(struct extension_iter *it, const struct header *h,
			 const uint8_t *cluster0, size_t len);

/* True and *ext for the next extension; false at the end of the list, or with
 * fault->defect set (it is set to DEFECT_NONE otherwise): length past the area,
 * or more than EXTENSIONS_MAX. */
bool extension_next(struct extension_iter *it, struct extension *ext,
		    struct fault *fault);

/* Of a walk that came to its end: the offset of an end mark whose length goes
 * past the area, 0 when there is none. */
uint32_t extension_long_end(const struct extension_iter *it);

/* Bytes of a bitmaps extension. */
#define BITMAPS_EXT_BYTES 24u

struct bitmaps_ext {
	uint32_t n_bitmaps;
	uint64_t directory_size;
	uint64_t directory_off;
};

struct crypto_ext {
	uint64_t off;
	uint64_t len;
};

/* The known extensions; of one that occurs again, the last.  Data pointers into
 * the buffer, NULL or has_x false when absent. */
struct extensions {
	const uint8_t *backing_format;
	uint32_t backing_format_len;
	uint32_t feature_names_len;
	const uint8_t *feature_names;
	const uint8_t *data_file;
	uint32_t data_file_len;
	bool has_bitmaps;
	bool has_crypto;
	/* The bitmaps extension is there but malformed: the disk is readable,
	 * its bitmaps are not. */
	bool bad_bitmaps;
	bool bad_feature_names;
	struct bitmaps_ext bitmaps;
	struct crypto_ext crypto;
	/* A name is filled up with NULs, or all NULs. */
	bool padded_backing;
	bool padded_backing_format;
	bool padded_data_file;
	bool cut_off;     /* the file ends before the list does */
	uint32_t n_total; /* known and unknown, end mark not counted */
	/* Extensions that mean nothing to us and keep other software from
	 * opening the image; their offsets in the buffer, 0 when there is
	 * none. */
	uint32_t odd_bitmaps_off; /* a bitmaps extension of another length */
	uint32_t long_end_off;    /* an end mark longer than its area */
	uint32_t repeated_off;    /* a known extension that occurred before */
};

/*
 * Walks the list and checks every known extension by its own rules (length,
 * text without NUL, limits; offsets against @file_size).  Returns 0 or the
 * defect.  Contradictions with the header (crypt_method without extension, data
 * file bit without name when one is needed) are checked here too, and that the
 * backing file name has no NUL.  With FILE_SIZE_UNKNOWN for @file_size the
 * buffer may end anywhere: the whole extensions are decoded, and x->cut_off
 * says that there was more.
 */
enum defect extensions_decode(struct extensions *x, const struct header *h,
			      const uint8_t *cluster0, size_t len,
			      uint64_t file_size, struct fault *fault);

/* Appends one extension, padded to 8 bytes. */
void extension_encode(struct byte_writer *w, uint32_t type, const void *data,
		      uint32_t len);
void extension_encode_bitmaps(struct byte_writer *w,
			      const struct bitmaps_ext *b);
void extension_encode_crypto(struct byte_writer *w, const struct crypto_ext *c);
void extension_encode_end(struct byte_writer *w);

/* Feature name table: entries of 48 bytes {type, bit, name[46]}. */
enum feature_type {
	FEATURE_INCOMPATIBLE = 0,
	FEATURE_COMPATIBLE = 1,
	FEATURE_AUTOCLEAR = 2,
};

struct feature_name {
	uint8_t type;
	uint8_t bit;
	uint8_t len;      /* of name, up to the first NUL or 46 */
	const char *name; /* in place, not terminated */
};

/* Entry @i of a table of @table_len bytes; false past the end. */
bool feature_name_get(const uint8_t *table, uint32_t table_len, uint32_t i,
		      struct feature_name *out);

/* Writes the complete feature name table extension of this version: the names
 * QEMU 7.2 writes, in its order. */
void extension_encode_feature_names(struct byte_writer *w);

#endif
