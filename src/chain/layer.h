/*
 * One layer of a disk: a qcow2 image or a raw file, opened.
 */
#ifndef CHAIN_LAYER_H
#define CHAIN_LAYER_H

#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "chain/gate.h"
#include "image/image.h"
#include "store/hold.h"
#include "store/store.h"

struct layer {
	struct qcow2_store *store; /* the image file or raw file */
	struct image *image;       /* NULL: raw */
	uint64_t size;             /* of the virtual disk */
	struct gate_dir dir;
	struct store_hold hold;      /* of the store; none without locks */
	struct store_hold data_hold; /* of the image's data file */
};

/* Everything a disk opened so far, to find a chain that contains itself. */
struct identities {
	struct store_identity *list;
	uint32_t n;
};

/* Adds the file behind @store; -ELOOP when it is there already.  Stores that
 * are no files are not compared. */
int identities_add(struct identities *ids, struct qcow2_store *store,
		   struct qcow2_error *err);

/* How a layer is opened. */
struct layer_opening {
	struct gate_file file;
	enum qcow2_format format; /* QCOW2, RAW or PROBE */
	uint32_t depth; /* 0 for the top, which alone uses opts->snapshot */
	const struct qcow2_open_opts *opts;
	struct identities *ids;
};

/* Opens a layer and its data file.  Takes o->file over, whatever happens. */
int layer_open(struct layer *l, const struct layer_opening *o,
	       struct qcow2_error *err);
/* Closes what the layer has; the first error of a writable image. */
int layer_close(struct layer *l, struct qcow2_error *err);

/* QCOW2_STORE_* for the files of layer @depth: only the top is written to. */
unsigned layer_store_flags(const struct qcow2_open_opts *opts, uint32_t depth);

#endif
