/*
 * The persistent bitmaps, as the directory lists them.
 *
 * Damage here never keeps the disk from being read: a directory that does not
 * decode counts as no bitmaps, and `defect` says why.
 */
#ifndef IMAGE_BITMAPS_H
#define IMAGE_BITMAPS_H

#include <stdint.h>

#include <qcow2.h>

#include "base/validate.h"
#include "format/bitmap.h"
#include "format/extension.h"
#include "format/header.h"
#include "image/budget.h"

struct bitmap_entry {
	char *name;     /* terminated */
	uint32_t flags; /* QCOW2_BITMAP_* */
	uint8_t granularity_bits;
};

struct bitmaps {
	struct bitmap_entry *list;
	uint32_t n;
	uint64_t directory_off; /* 0 bytes when there is none */
	uint64_t directory_bytes;
	enum defect defect;
};

/* The caller must have the image to himself, or read it only. */
VALIDATOR(bitmaps);

/* Only I/O errors, short memory and a spent @budget, which is asked before
 * anything is read, fail. */
int bitmaps_open(struct bitmaps *b, const struct geometry *g,
		 const struct header *h, const struct extensions *x,
		 struct qcow2_store *file, uint64_t file_size,
		 struct metadata_budget *budget, struct qcow2_error *err);
void bitmaps_release(struct bitmaps *b);

#endif
