/*
 * Image and data file are made beside their places (ops/pair.h); those of a
 * copy are filled through the engine, as any writer would fill them.
 */
#include "ops/make.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/path.h"
#include "chain/disk.h"
#include "create/create.h"
#include "ops/apart.h"
#include "ops/fill.h"
#include "ops/pair.h"
#include "ops/room.h"
#include "store/hold.h"
#include "store/store.h"
#include "store/unsynced.h"

/* ---- In stores ----------------------------------------------------------- */

static int hold_for_writing(struct store_hold *hold, struct qcow2_store *store,
			    struct qcow2_error *err)
{
	int rc = store_check_writable(store, err);

	return rc < 0 ? rc : store_hold(hold, store, HOLD_WRITE, err);
}

/* Both files, from the moment in which they are held. */
struct held_pair {
	struct store_hold file;
	struct store_hold data;
};

static void held_pair_release(struct held_pair *held)
{
	store_release(&held->file);
	store_release(&held->data);
}

#define CLEANUP_HELD_PAIR __attribute__((cleanup(held_pair_release)))

static int make_held(struct held_pair *held, struct qcow2_store *file,
		     struct qcow2_store *data,
		     const struct qcow2_create_opts *create,
		     struct qcow2_error *err)
{
	int rc = 0;

	if (data && store_same_file(file, data))
		return error_set(err, -EINVAL, "data_file is the image itself");
	rc = hold_for_writing(&held->file, file, err);
	if (rc == 0 && data)
		rc = hold_for_writing(&held->data, data, err);
	return rc < 0 ? rc : create_image(file, data, create, err);
}

int make_in_stores(struct qcow2_store *file, struct qcow2_store *data,
		   const struct qcow2_create_opts *create,
		   struct qcow2_error *err)
{
	CLEANUP_HELD_PAIR struct held_pair held = { { 0 }, { 0 } };

	return make_held(&held, file, data, create, err);
}

/* QCOW2_OPEN_NEED_LOCK of files that are held already. */
static int make_check_locked(struct qcow2_store *file, struct qcow2_store *data,
			     const struct qcow2_open_opts *open,
			     struct qcow2_error *err)
{
	bool unlocked = store_is_unlocked(file) ||
			(data && store_is_unlocked(data));

	if (!unlocked || !(open->flags & QCOW2_OPEN_NEED_LOCK))
		return 0;
	return error_set(err, -ENOTSUP,
			 "the host has no locks for the new image, and one is "
			 "asked for");
}

int make_open_in_stores(struct qcow2_store *file, struct qcow2_store *data,
			const struct qcow2_create_opts *create,
			const struct qcow2_open_opts *open, struct disk **out,
			struct qcow2_error *err)
{
	CLEANUP_HELD_PAIR struct held_pair held = { { 0 }, { 0 } };
	struct disk_made made = { file, data, NULL };
	int rc = make_held(&held, file, data, create, err);

	if (rc == 0)
		rc = make_check_locked(file, data, open, err);
	if (rc == 0)
		rc = disk_open_made(&made, open, out, err);
	if (rc == 0)
		disk_take_holds(*out, &held.file, &held.data);
	return rc;
}

/* ---- At a path ----------------------------------------------------------- */

/* Makes @pair, which lacks nothing but the path of the data file. */
static int make_at(struct pair *pair, const struct qcow2_create_opts *create,
		   struct qcow2_error *err)
{
	CLEANUP_FREE char *data_path = NULL;

	if (!create->data_file)
		return pair_make(pair, err);
	data_path = path_join(pair->path, create->data_file);
	if (!data_path)
		return error_nomem(err, "the path of the data file",
				   strlen(pair->path) +
					   strlen(create->data_file));
	pair->data_path = data_path;
	return pair_make(pair, err);
}

struct emptiness {
	const char *path;
	const struct qcow2_create_opts *create;
	const struct qcow2_open_opts *open; /* NULL: it stays closed */
	struct disk *disk;                  /* once it is open; else NULL */
};

static int check_empty(void *opaque, const struct publish *file,
		       struct qcow2_error *err)
{
	const struct emptiness *e = opaque;

	return apart_check_backing(file, e->path, e->create, err);
}

static int fill_empty(void *opaque, const struct publish *file,
		      struct qcow2_store *data, struct qcow2_error *err)
{
	struct emptiness *e = opaque;
	struct disk_made made = { file->store, data, e->path };
	int rc = 0;

	/* Before anything is written. */
	if (e->open)
		rc = make_check_locked(file->store, data, e->open, err);
	if (rc == 0)
		rc = create_image(file->store, data, e->create, err);
	if (rc == 0 && e->open)
		rc = disk_open_made(&made, e->open, &e->disk, err);
	return rc;
}

static struct pair pair_of_emptiness(struct emptiness *e, unsigned how)
{
	/* Only preallocation makes such an image large. */
	bool is_large = e->create->preallocation > QCOW2_PREALLOC_METADATA;

	return (struct pair){
		.path = e->path,
		.where = {
			.flags = how,
			.bytes_max = is_large ? e->create->virtual_size : 0,
			.placement = e->create->placement,
		},
		.syncs = !(how & PUBLISH_NO_FLUSH),
		.check = check_empty,
		.fill = fill_empty,
		.opaque = e,
	};
}

int make_empty(const char *path, const struct qcow2_create_opts *create,
	       unsigned how, struct qcow2_error *err)
{
	struct emptiness e = { .path = path, .create = create };
	struct pair pair = pair_of_emptiness(&e, how);

	return make_at(&pair, create, err);
}

static unsigned publish_flags_of(const struct qcow2_open_opts *open)
{
	return (open->flags & QCOW2_OPEN_DIRECT ? PUBLISH_DIRECT : 0) |
	       (open->flags & QCOW2_OPEN_NO_FLUSH ? PUBLISH_NO_FLUSH : 0);
}

/* It is opened before it has its name, so that a failure leaves nothing. */
int make_open_empty(const char *path, const struct qcow2_create_opts *create,
		    unsigned how, const struct qcow2_open_opts *open,
		    struct disk **out, struct qcow2_error *err)
{
	struct emptiness e = { .path = path, .create = create, .open = open };
	struct pair pair = pair_of_emptiness(&e, how | publish_flags_of(open));
	struct held_pair held = { { 0 }, { 0 } };
	int rc;

	pair.hold = &held.file;
	pair.data_hold = &held.data;
	rc = make_at(&pair, create, err);
	if (rc < 0) {
		disk_abandon(e.disk);
		return rc;
	}
	disk_take_holds(e.disk, &held.file, &held.data);
	*out = e.disk;
	return 0;
}

/* ---- A copy -------------------------------------------------------------- */

/* A copy in the making. */
struct making {
	const char *path;
	struct make_copy_opts c;
	struct qcow2_store *file;
	struct qcow2_store *data; /* NULL: inside the image */
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

static int open_disk(struct making *m, struct disk **out,
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

static int fill_disk(struct making *m, struct disk *dst,
		     struct qcow2_error *err)
{
	struct disk *below = m->c.below;
	int rc = 0;

	if (below)
		disk_set_below(dst, below);
	if (m->c.opts->flags & QCOW2_CONVERT_COMPRESS)
		rc = disk_set_level(dst, m->c.opts->compress_level, NULL, err);
	return rc < 0 ? rc : ops_fill(m->c.src, dst, below, m->c.opts, err);
}

static int make_in(struct making *m, struct qcow2_error *err)
{
	struct disk *dst;
	int rc = create_image(m->file, m->data, m->c.create, err);
	int closed;

	if (rc == 0)
		rc = open_disk(m, &dst, err);
	if (rc < 0)
		return rc;
	rc = fill_disk(m, dst, err);
	closed = disk_close(dst, rc == 0 ? err : NULL);
	return rc < 0 ? rc : closed;
}

static bool wants_sync(const struct make_copy_opts *c)
{
	return !(c->opts->flags & QCOW2_CONVERT_NO_SYNC);
}

/* A file under a temporary name needs no barrier but the one before it gets its
 * real name. */
static int make_unsynced(const struct making *m, struct qcow2_error *err)
{
	struct making quiet = *m;
	CLEANUP_STORE struct qcow2_store *file = NULL;
	CLEANUP_STORE struct qcow2_store *data = NULL;
	int rc = store_new_unsynced(m->file, &file, err);

	if (rc == 0 && m->data)
		rc = store_new_unsynced(m->data, &data, err);
	quiet.file = file;
	quiet.data = data;
	return rc < 0 ? rc : make_in(&quiet, err);
}

static int fill_copy(void *opaque, const struct publish *file,
		     struct qcow2_store *data, struct qcow2_error *err)
{
	struct making *m = opaque;

	m->file = file->store;
	m->data = data;
	if (file->in_place && wants_sync(&m->c))
		return make_in(m, err);
	return make_unsynced(m, err);
}

/* Neither file of the target is one that its contents come from, or that is to
 * be below it. */
static int check_copy(void *opaque, const struct publish *file,
		      struct qcow2_error *err)
{
	const struct making *m = opaque;
	int rc = apart_check_backing(file, m->path, m->c.create, err);

	if (rc == 0)
		rc = apart_check_publish(file, m->c.src, "the source", err);
	if (rc == 0)
		rc = apart_check_publish(file, m->c.below, "the backing file",
					 err);
	return rc;
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

	return with_tables(room_for_data(m->c.src));
}

static struct publish_opts publish_opts_of(struct making *m, unsigned how)
{
	const struct make_copy_opts *c = &m->c;
	bool writes_all = c->opts->sparse_bytes == QCOW2_CONVERT_NOT_SPARSE ||
			  c->create->preallocation > QCOW2_PREALLOC_METADATA;

	return (struct publish_opts){
		.flags = how,
		.bytes_max = with_tables(c->create->virtual_size),
		.count = writes_all ? NULL : count_bytes,
		.opaque = m,
		.placement = c->opts->placement,
	};
}

int make_copy(const char *path, const struct make_copy_opts *copy, unsigned how,
	      struct qcow2_error *err)
{
	struct making m = { .path = path, .c = *copy };
	struct pair pair = {
		.path = path,
		.where = publish_opts_of(&m, how),
		.syncs = wants_sync(copy),
		.check = check_copy,
		.fill = fill_copy,
		.opaque = &m,
	};

	return make_at(&pair, copy->create, err);
}
