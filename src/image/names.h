/*
 * The texts of an image: names of other files, formats, feature names.
 */
#ifndef IMAGE_NAMES_H
#define IMAGE_NAMES_H

#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/validate.h"
#include "format/extension.h"
#include "format/header.h"

/* A line of the feature name table; the text is not escaped. */
struct feature_text {
	uint8_t type; /* enum feature_type */
	uint8_t bit;
	char name[FEATURE_NAME_BYTES + 1];
};

struct names {
	uint8_t *cluster0;   /* the header cluster as read */
	size_t cluster0_len; /* less than a cluster in a short file */
	char *backing_file;  /* NULL: none; no NUL inside */
	char *backing_format;
	char *data_file;
	struct feature_text *features;
	uint32_t n_features;
};

/* The caller must have the image to himself, or read it only. */
VALIDATOR(names);

int names_open(struct names *n, const struct header *h,
	       const struct extensions *x, struct qcow2_error *err);
void names_release(struct names *n);

/* Whether both say the same, wherever their first clusters have it. */
bool names_same_texts(const struct names *a, const struct names *b);

/* The name of a feature bit, NULL when the table has none. */
const char *names_feature(const struct names *n, unsigned type, unsigned bit);

#endif
