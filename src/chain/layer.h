/*
 * One layer of a disk, opened: a qcow2 image, a raw file, or whatever else has
 * a table of operations.  Only layer.c knows the kinds; the rest of chain/ asks
 * the table.
 */
#ifndef CHAIN_LAYER_H
#define CHAIN_LAYER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/iov.h"
#include "base/validate.h"
#include "chain/gate.h"
#include "store/hold.h"
#include "store/store.h"

struct carried;
struct disk_made;
struct events;
struct image;
struct inflight_carrier;
struct layer_ops;
struct requests;
struct luks_header;
struct snapshot_info;
struct snapshots;

struct layer {
	const struct layer_ops *ops;
	struct qcow2_store *store; /* the file that the layer is */
	struct qcow2_store *data;  /* the file in which its extents are, perhaps
				    * `store`; borrowed; NULL: not open */
	bool has_data_file;        /* `data` is a file besides `store` */
	_Atomic uint64_t size;     /* of the virtual disk */
	uint32_t cluster_size;     /* the unit in which jobs split their work */
	uint32_t subcluster_size;  /* 0: the format has no clusters at all */
	uint32_t depth;            /* 0: the top */
	bool is_snapshot;    /* the view of a snapshot, whose clusters nobody
			   * overwrites */
	struct layer *below; /* NULL: this one is the last */
	bool below_unknown;  /* the last one, it names a backing file that is
			     * not open: the disk was opened for its metadata
			     * only */
	_Atomic bool lost;   /* raw: a flush has failed */
	struct gate_dir dir;
	struct store_hold hold; /* of the store; none without locks */
	struct requests *reads; /* that reached a layer below the top; NULL in
				 * the top, where callers are counted */
	/* Of a qcow2 layer: */
	struct image *image;
	struct store_hold data_hold; /* of the image's data file */
};

/* What a layer says of itself.  All but the end only comes, and never goes. */
struct layer_health {
	int dead; /* -errno: it takes no more changes; 0 */
	bool is_corrupt;
	bool is_unproved;  /* writing goes on without reusing anything */
	uint64_t n_raised; /* refcounts that were too low */
	uint64_t used_end; /* host offset, as far as find_used_end() and
			    * changes since know it */
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

/* The options by which a layer is opened. */
struct layer_opening {
	struct gate_file file;
	enum qcow2_format format; /* QCOW2, RAW or PROBE */
	uint32_t depth; /* 0 for the top, which alone uses opts->snapshot */
	const struct qcow2_open_opts *opts;
	struct identities *ids;
	const struct disk_made *made; /* NULL: all files are to be opened */
	struct events *events;        /* may be NULL */
};

/* Changes; only the top layer is changed.  The caller must have checked that
 * the disk is open for writing. */
struct layer_write_ops {
	/* Before all others.  NULL: there is nothing to prepare. */
	int (*start)(struct layer *l, const struct qcow2_open_opts *opts,
		     struct qcow2_error *err);
	/* Data that the layer lacks is read from @below instead of l->below.
	 * NULL: it lacks nothing. */
	void (*set_below)(struct layer *l, struct layer *below);
	int (*pwritev)(struct layer *l, const struct iovec *iov, int iovcnt,
		       uint64_t off, unsigned flags, struct qcow2_error *err);
	int (*zero)(struct layer *l, uint64_t len, uint64_t off, unsigned flags,
		    struct qcow2_error *err);
	int (*discard)(struct layer *l, uint64_t len, uint64_t off,
		       unsigned flags, struct qcow2_error *err);
	int (*flush)(struct layer *l, struct qcow2_error *err);
	/* See qcow2_recover(). */
	int (*recover)(struct layer *l, struct qcow2_error *err);
	/* Sets c->transfer.off, the place in l->data; NULL: -EAGAIN, always.
	 * See chain/carry.h. */
	int (*begin)(struct layer *l, uint64_t len, uint64_t off,
		     struct carried *c, struct qcow2_error *err);
	/* NULL: nothing is left to do when the bytes have moved. */
	int (*end)(struct carried *c, int rc, unsigned flags,
		   struct qcow2_error *err);
	/* NULL: nobody waits for carried writes. */
	void (*add_carrier)(struct layer *l, struct inflight_carrier *carrier);
	void (*remove_carrier)(struct layer *l,
			       struct inflight_carrier *carrier);
	/* Sets l->size, one call at a time; others go on, up to the end that
	 * they know, if it becomes larger. */
	int (*resize)(struct layer *l, uint64_t size,
		      const struct qcow2_resize_opts *opts,
		      struct qcow2_error *err);
};

/* Compressed clusters; see disk_write_compressed() and disk_encode(). */
struct layer_encode_ops {
	int (*write)(struct layer *l, const void *buf, uint64_t len,
		     uint64_t off, struct qcow2_error *err);
	int (*encode)(struct layer *l, void *dst, const void *src, size_t *n,
		      struct qcow2_error *err);
	int (*write_encoded)(struct layer *l, const void *bytes, size_t n,
			     const void *cluster, uint64_t off,
			     struct qcow2_error *err);
	/* Sets *desc to a number that, in this file, only the compressed data
	 * at @off has; false when there is none (any more). */
	bool (*packed)(struct layer *l, uint64_t off, uint64_t *desc);
	int (*set_level)(struct layer *l, uint32_t level, uint32_t *old,
			 struct qcow2_error *err);
};

/* Places in l->data for bytes to come; see disk_place(). */
struct layer_place_ops {
	int (*place)(struct layer *l, uint64_t len, uint64_t off,
		     uint64_t *here, uint64_t *host_off,
		     struct qcow2_error *err);
	int (*place_encoded)(struct layer *l, size_t len, uint64_t off,
			     uint64_t *host_off, struct qcow2_error *err);
	int (*write)(struct layer *l, const struct iovec *iov, int iovcnt,
		     uint64_t host_off, struct qcow2_error *err);
};

/* Work and state, as the caller sees it. */
struct layer_watch_ops {
	/* Fills what it knows of *out, which is zero; the requests are the
	 * caller's. */
	void (*get_stats)(const struct layer *l, struct qcow2_stats *out);
	/* Likewise; NULL: nothing.  It may wait for I/O only in a layer that
	 * takes no more changes. */
	void (*get_health)(struct layer *l, struct layer_health *out);
	/* Finds the end of what is in use, for health; NULL: it cannot. */
	void (*find_used_end)(struct layer *l);
};

/* Internal snapshots and VM state. */
struct layer_snapshot_ops {
	int (*create)(struct layer *l, const char *name,
		      const struct qcow2_snapshot_opts *opts,
		      struct qcow2_error *err);
	/* Sets l->size. */
	int (*apply)(struct layer *l, const char *id_or_name,
		     struct qcow2_error *err);
	int (*remove)(struct layer *l, const char *id_or_name,
		      struct qcow2_error *err);
	int (*write_vmstate)(struct layer *l, const void *buf, size_t len,
			     uint64_t off, struct qcow2_error *err);
	int (*read_vmstate)(struct layer *l, void *buf, size_t len,
			    uint64_t off, struct qcow2_error *err);
	/* See image_get_snapshot() and image_copy_snapshots(). */
	int (*get)(struct layer *l, uint32_t index, struct snapshot_info *out,
		   struct qcow2_error *err);
	int (*copy)(struct layer *l, struct snapshots *out,
		    struct qcow2_error *err);
};

/*
 * The operations of a kind of layer.  One without a comment is required; if it
 * may be NULL, a layer without it answers as the comment says.  Ranges lie
 * inside the layer and are not empty.
 */
struct layer_ops {
	enum qcow2_format format;
	const char *name; /* of the format: in messages, and in the images that
			   * name it as that of their backing file */

	/* Fills size, data and cluster_size; store, dir and depth are there.
	 * After a failure comes close(). */
	int (*open)(struct layer *l, const struct layer_opening *o,
		    struct qcow2_error *err);
	/* Closes what open() opened; the first error of writing what was left.
	 * NULL: nothing. */
	int (*close)(struct layer *l, struct qcow2_error *err);

	/* Names and formats the backing file in @ref; false when the layer has
	 * none, and NULL when no layer of this kind has one. */
	bool (*backing)(const struct layer *l, struct qcow2_reference *ref);

	/* The longest extent at @off that it can tell at once, without depth.
	 * Neither data nor zeros: it is for the layer below to say. */
	int (*map)(struct layer *l, uint64_t len, uint64_t off,
		   struct qcow2_extent *out, struct qcow2_error *err);
	/* The layer hands on to layer_read_below() what it does not have.
	 * flags: QCOW2_NOWAIT. */
	int (*read)(struct layer *l, struct iov_cursor *dst, uint64_t len,
		    uint64_t off, unsigned flags, struct qcow2_error *err);
	/* Sets c->transfer's store and place, and whatever else the end of the
	 * read needs; c->transfer stays as it is where zeros are read.
	 * -EAGAIN when only read() will do.  NULL: always. */
	int (*begin_read)(struct layer *l, uint64_t len, uint64_t off,
			  struct carried *c, struct qcow2_error *err);
	/* Fills what it knows of *out, which is zero. */
	void (*get_info)(struct layer *l, struct qcow2_info *out);
	const struct layer_watch_ops *watch;
	/* Asserts what else is true of the fields; NULL: nothing. */
	void (*validate)(const struct layer *l);
	/* False when there is no such bitmap.  NULL: there are none. */
	bool (*get_bitmap)(const struct layer *l, uint32_t index,
			   struct qcow2_bitmap_info *out);
	/* NULL when the bit has no name, or for all bits. */
	const char *(*feature_name)(const struct layer *l, unsigned type,
				    unsigned bit);
	/* NULL: -ENOENT. */
	int (*read_luks)(struct layer *l, struct luks_header *out,
			 struct qcow2_error *err);

	const struct layer_write_ops *write;
	/* Without these, -ENOTSUP. */
	const struct layer_encode_ops *encode;
	const struct layer_place_ops *place; /* NULL: nobody asks */
	const struct layer_snapshot_ops *snapshot;
	/* Sets l->size. */
	int (*amend)(struct layer *l, const struct qcow2_amend_opts *opts,
		     struct qcow2_error *err);
	/* Also of a layer that is only read, with QCOW2_COMPACT_DRY_RUN. */
	int (*compact)(struct layer *l, const struct qcow2_compact_opts *opts,
		       struct qcow2_compact_result *result,
		       struct qcow2_error *err);
};

extern const struct layer_ops qcow2_layer_ops;
extern const struct layer_ops raw_layer_ops;

/* Of an open layer. */
VALIDATOR(layer);

/* Opens a layer with all its files.  Takes o->file over, whatever happens. */
int layer_open(struct layer *l, const struct layer_opening *o,
	       struct qcow2_error *err);
/* Closes what the layer has; the first error of a writable image. */
int layer_close(struct layer *l, struct qcow2_error *err);

/* -ENOTSUP: "a raw image @cannot", such as "has no snapshots". */
int layer_refuse(const struct layer *l, const char *cannot,
		 struct qcow2_error *err);

/* False when no kind of layer has this name. */
bool layer_find_format(const char *name, enum qcow2_format *format);

/* Fills in the name of the backing file, its format (NULL: not told), and the
 * file that names it.  False when the layer has none. */
bool layer_backing(const struct layer *l, struct qcow2_reference *ref);

/* Reads from @l down; past the end of a layer are zeros. */
int layer_read(struct layer *l, struct iov_cursor *dst, uint64_t len,
	       uint64_t off, unsigned flags, struct qcow2_error *err);
/* Reads what @l does not have. */
int layer_read_below(struct layer *l, struct iov_cursor *dst, uint64_t len,
		     uint64_t off, unsigned flags, struct qcow2_error *err);

/* The same for a read whose bytes are carried (chain/carry.h); @l may be NULL,
 * below the last layer. */
int layer_begin_read(struct layer *l, uint64_t len, uint64_t off,
		     struct carried *c, struct qcow2_error *err);

/* Returns the state of the bytes at @off in the layers from @l down, with the
 * depth of the one that decides; the extent need not be maximal.
 * flags: QCOW2_MAP_TOP_ONLY. */
int layer_map(struct layer *l, uint64_t len, uint64_t off, unsigned flags,
	      struct qcow2_extent *out, struct qcow2_error *err);

/* True when the map says that [off, off + len), inside @l, reads as zeros from
 * there down. */
bool layer_reads_zero(struct layer *l, uint64_t len, uint64_t off);

/* For the kinds that open files: */

/* QCOW2_STORE_* for the files of layer @depth: only the top is written to. */
unsigned layer_store_flags(const struct qcow2_open_opts *opts, uint32_t depth);
bool layer_is_written(const struct layer_opening *o);
/* Holds a store of the layer as it will be used, unless somebody does it for
 * the layer. */
int layer_hold(struct store_hold *hold, struct qcow2_store *store,
	       const struct layer_opening *o, struct qcow2_error *err);

#endif
