/*
 * One record of a dump, put together field by field and told.
 *
 * Everything that is told goes through record_tell(), which counts: a hostile
 * image costs no more records than DUMP_RECORDS_MAX.
 */
#ifndef DUMP_RECORD_H
#define DUMP_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <qcow2.h>

#include "format/defect.h"
#include "format/limits.h"

#define NOWHERE UINT64_MAX
#define RECORD_FIELDS_MAX 24
#define RECORD_DEFECTS_MAX 4
/* No more than this is told of a name and of extra data. */
#define RECORD_TEXT_BYTES_MAX 1023
#define RECORD_BYTES_MAX 64
/* Two names of which every byte is escaped, and some extra data. */
#define RECORD_ROOM \
	(2 * (4 * RECORD_TEXT_BYTES_MAX + 4) + 2 * (2 * RECORD_BYTES_MAX + 4))

struct record {
	const char *kind;
	uint64_t host_off;
	uint32_t n_fields;
	uint32_t n_defects;
	struct qcow2_dump_field fields[RECORD_FIELDS_MAX];
	int32_t defects[RECORD_DEFECTS_MAX];
	char room[RECORD_ROOM];
	size_t used; /* of room */
};

/* The receiver of records. */
struct teller {
	const struct qcow2_dump_opts *opts;
	uint64_t n_told;
};

/* @kind is static; @host_off NOWHERE: it has no place in the file. */
void record_begin(struct record *r, const char *kind, uint64_t host_off);

/* Names are static. */
void record_number(struct record *r, const char *name, uint64_t value);
void record_hex(struct record *r, const char *name, uint64_t value);
void record_flag(struct record *r, const char *name, bool value);
/* @word is static. */
void record_word(struct record *r, const char *name, const char *word);
/* Text from the image; NULL is left out. */
void record_text(struct record *r, const char *name, const void *text,
		 size_t len);
/* Bytes from the image, as hexadecimal digits; none are left out. */
void record_bytes(struct record *r, const char *name, const uint8_t *bytes,
		  size_t len);
/* DEFECT_NONE adds nothing, nor does one that is there. */
void record_defect(struct record *r, enum defect defect);

/* -E2BIG when there have been too many, -ECANCELED when the caller says so. */
int record_tell(struct record *r, struct teller *t, struct qcow2_error *err);

#endif
