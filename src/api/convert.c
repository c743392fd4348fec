/*
 * qcow2_convert(): a new image with the contents of another.
 *
 * Image and data file are made beside their places, filled through the engine
 * as any writer would fill them, and published when they are closed, the data
 * file first.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "api/image.h"
#include "api/ops.h"
#include "api/target.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/options.h"
#include "base/path.h"
#include "compress/encode.h"
#include "create/create.h"
#include "ops/apart.h"
#include "ops/fill.h"
#include "ops/room.h"
#include "store/publish.h"
#include "store/store.h"
#include "store/unsynced.h"

/* A target in the making. */
struct making {
	struct disk *src;
	const char *path;
	const struct qcow2_convert_opts *opts;
	const struct qcow2_create_opts *create;
	unsigned how; /* PUBLISH_* */
	struct qcow2_store *file;
	struct qcow2_store *data; /* NULL: inside the image */
	bool syncs;               /* barriers order what is written */
};

/* The data file has no name yet under which it could be opened. */
static int give_data(void *opaque, const struct qcow2_reference *ref,
		     struct qcow2_store **out, struct qcow2_error *err)
{
	const struct making *m = opaque;

	(void)ref, (void)err;
	*out = store_ref(m->data);
	return 0;
}

static int open_target(struct making *m, struct disk **out,
		       struct qcow2_error *err)
{
	struct qcow2_gate gate = QCOW2_GATE_INIT;
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;

	gate.open = give_data;
	gate.opaque = m;
	opts.gate = &gate;
	/* Both files are locked until they are published. */
	opts.flags = QCOW2_OPEN_RDWR | QCOW2_OPEN_NO_BACKING |
		     QCOW2_OPEN_NO_LOCK;
	return disk_open_store(m->file, &opts, out, err);
}

static int fill_target(struct making *m, struct disk *dst,
		       struct qcow2_error *err)
{
	struct disk *below = m->opts->backing ? m->opts->backing->disk : NULL;
	int rc = 0;

	if (below)
		disk_set_below(dst, below);
	if (m->opts->flags & QCOW2_CONVERT_COMPRESS)
		rc = disk_set_level(dst, m->opts->compress_level, err);
	return rc < 0 ? rc : ops_fill(m->src, dst, below, m->opts, err);
}

static int make_in(struct making *m, struct qcow2_error *err)
{
	struct disk *dst;
	int rc = image_create(m->file, m->data, m->create, err);
	int closed;

	if (rc == 0)
		rc = open_target(m, &dst, err);
	if (rc < 0)
		return rc;
	rc = fill_target(m, dst, err);
	closed = disk_close(dst, rc == 0 ? err : NULL);
	return rc < 0 ? rc : closed;
}

/* A file under a temporary name needs no barrier but the one before it gets its
 * real name. */
static int make_target(struct making *m, struct qcow2_error *err)
{
	struct making quiet = *m;
	CLEANUP_STORE struct qcow2_store *file = NULL;
	CLEANUP_STORE struct qcow2_store *data = NULL;
	int rc = 0;

	if (m->syncs)
		return make_in(m, err);
	rc = store_new_unsynced(m->file, &file, err);
	if (rc == 0 && m->data)
		rc = store_new_unsynced(m->data, &data, err);
	quiet.file = file;
	quiet.data = data;
	return rc < 0 ? rc : make_in(&quiet, err);
}

static bool wants_sync(const struct making *m)
{
	return !(m->opts->flags & QCOW2_CONVERT_NO_SYNC);
}

/* Tables and refcounts take less than this besides the data, whatever the size
 * of clusters. */
static uint64_t with_tables(uint64_t n_bytes)
{
	uint64_t more = n_bytes / 16 + (1 << 20);

	return n_bytes > UINT64_MAX - more ? UINT64_MAX : n_bytes + more;
}

static uint64_t count_bytes(void *opaque)
{
	const struct making *m = opaque;

	return with_tables(room_for_data(m->src));
}

static struct publish_opts publish_opts_of(struct making *m)
{
	bool writes_all = m->opts->sparse_bytes == QCOW2_CONVERT_NOT_SPARSE ||
			  m->create->preallocation > QCOW2_PREALLOC_METADATA;

	return (struct publish_opts){
		.flags = m->how,
		.bytes_max = with_tables(m->create->virtual_size),
		.count = writes_all ? NULL : count_bytes,
		.opaque = m,
	};
}

/* Neither file of the target is one that its contents come from, or that is to
 * be below it. */
static int check_apart(const struct making *m, const struct publish *file,
		       struct qcow2_error *err)
{
	const struct qcow2_image *backing = m->opts->backing;
	int rc = target_check_backing(file, m->path, m->create, err);

	if (rc == 0)
		rc = apart_check_publish(file, m->src, "the source", err);
	if (rc == 0 && backing)
		rc = apart_check_publish(file, backing->disk,
					 "the backing file", err);
	return rc;
}

static int make_with_data(struct making *m, const struct publish *image,
			  const char *path, struct qcow2_error *err)
{
	struct publish_opts where = publish_opts_of(m);
	struct publish data;
	int rc = target_check_data(image, path, err);

	if (rc < 0)
		return rc;
	rc = publish_begin(&data, path, &where, err);
	if (rc < 0)
		return error_prefix(err, rc, "data_file");
	m->data = data.store;
	rc = check_apart(m, &data, err);
	if (rc == 0)
		rc = make_target(m, err);
	if (rc == 0)
		return publish_commit(&data, wants_sync(m), err);
	publish_abort(&data);
	return rc;
}

static int convert_to(struct making *m, const char *data_path,
		      struct qcow2_error *err)
{
	struct publish_opts where = publish_opts_of(m);
	struct publish image;
	int rc;

	where.placement = m->opts->placement;
	rc = publish_begin(&image, m->path, &where, err);
	if (rc < 0)
		return rc;
	m->file = image.store;
	m->syncs = image.in_place && wants_sync(m);
	rc = check_apart(m, &image, err);
	if (rc == 0)
		rc = data_path ? make_with_data(m, &image, data_path, err)
			       : make_target(m, err);
	if (rc == 0)
		return publish_commit(&image, wants_sync(m), err);
	publish_abort(&image);
	return rc;
}

/* ---- Arguments ----------------------------------------------------------- */

static int check_size(const struct disk *src, struct qcow2_create_opts *create,
		      struct qcow2_error *err)
{
	if (create->virtual_size == 0)
		create->virtual_size = disk_size(src);
	if (create->virtual_size >= disk_size(src))
		return 0;
	return error_set(err, -EINVAL,
			 "the new image is to have %" PRIu64
			 " bytes, the source has %" PRIu64,
			 create->virtual_size, disk_size(src));
}

static int check_pair(const struct qcow2_convert_opts *opts,
		      const struct qcow2_create_opts *create,
		      struct qcow2_error *err)
{
	if (!opts->backing != !create->backing_file)
		return error_set(err, -EINVAL,
				 "backing_file and the opened backing image "
				 "come together or not at all");
	if ((opts->flags & QCOW2_CONVERT_COMPRESS) && create->data_file)
		return error_set(err, -ENOTSUP,
				 "an image with an external data file has no "
				 "compressed clusters");
	if (opts->backing && (create->preallocation != QCOW2_PREALLOC_OFF))
		return error_set(err, -EINVAL,
				 "preallocated clusters would hide the backing "
				 "file");
	return 0;
}

static int take_opts(const struct disk *src,
		     const struct qcow2_convert_opts *opts,
		     struct qcow2_convert_opts *own_opts,
		     const struct qcow2_create_opts *create,
		     struct qcow2_create_opts *own_create,
		     struct qcow2_error *err)
{
	int rc = ops_take_convert_opts(
		opts, QCOW2_CONVERT_COMPRESS | CONVERT_PATH_FLAGS, own_opts,
		err);

	if (rc == 0)
		rc = options_copy(own_create, sizeof(*own_create), create,
				  "qcow2_create_opts", err);
	if (rc == 0)
		rc = check_size(src, own_create, err);
	if (rc == 0)
		rc = create_check_opts(own_create, err);
	if (rc == 0 && (own_opts->flags & QCOW2_CONVERT_COMPRESS))
		rc = encoder_check_level(own_create->compression,
					 own_opts->compress_level, err);
	return rc < 0 ? rc : check_pair(own_opts, own_create, err);
}

int qcow2_convert(struct qcow2_image *img, const char *path,
		  const struct qcow2_convert_opts *opts,
		  const struct qcow2_create_opts *create,
		  struct qcow2_error *err)
{
	CLEANUP_FREE char *data_path = NULL;
	struct qcow2_convert_opts own_opts;
	struct qcow2_create_opts own_create;
	struct making m = {
		.path = path,
		.opts = &own_opts,
		.create = &own_create,
	};
	int rc;

	if (!path)
		return error_set(err, -EINVAL, "the path is NULL");
	rc = image_check_handle(img, err);
	if (rc < 0)
		return rc;
	m.src = img->disk;
	rc = take_opts(m.src, opts, &own_opts, create, &own_create, err);
	if (rc == 0)
		rc = target_flags(own_create.flags, own_opts.flags, &m.how,
				  err);
	if (rc == 0 && own_create.data_file) {
		data_path = path_join(path, own_create.data_file);
		rc = data_path ? 0 : error_nomem(err, "a path", strlen(path));
	}
	return rc < 0 ? rc : convert_to(&m, data_path, err);
}
