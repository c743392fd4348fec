/*
 * Images for reading tests, put together entry by entry in a memory store.
 *
 * The builder makes only the parts that a reader looks at: header, extensions,
 * L1, L2, data.  It makes no refcounts; tests of check and of writers start
 * from real images.
 */
#ifndef SUPPORT_BUILDER_H
#define SUPPORT_BUILDER_H

#include <stdint.h>

#include <qcow2.h>

#include "format/extension.h"
#include "format/geometry.h"
#include "format/header.h"
#include "format/l2.h"

struct builder {
	struct qcow2_store *file; /* the image */
	struct qcow2_store *data; /* place of guest data: file, or own */
	struct geometry geo;
	struct header header;
	uint64_t next_off; /* of the next free host cluster in file */
	uint64_t *l1;
	const char *backing_file; /* set before builder_finish() */
	const char *backing_format;
	const char *data_file;
};

struct builder_opts {
	uint32_t version; /* 2 or 3 */
	uint32_t cluster_bits;
	uint64_t size;
	uint64_t incompatible_features;
	uint64_t autoclear_features;
	uint8_t compression_type;
};

void builder_init(struct builder *b, const struct builder_opts *opts);

/* Writes L1, header and extensions; the stores stay the caller's. */
void builder_finish(struct builder *b);
void builder_release(struct builder *b);

/* A free host cluster of the image, filled from @src (a whole cluster) unless
 * it is NULL. */
uint64_t builder_add_data(struct builder *b, const void *src);

/* The same for the guest cluster at @guest_off, which in an external data file
 * has its place: the same offset. */
uint64_t builder_add_data_for(struct builder *b, uint64_t guest_off,
			      const void *src);

/* Sets the L2 entry of the cluster at @guest_off, making its table. */
void builder_set_entry(struct builder *b, uint64_t guest_off,
		       struct l2_entry e);

/* Compresses a cluster at @src, stores it packed to the byte, and sets the
 * entry.  Returns false when the cluster does not shrink. */
bool builder_add_compressed(struct builder *b, uint64_t guest_off,
			    const void *src);

#endif
