/*
 * Opening and closing a chain.
 */
#include "chain/disk.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "chain/disk_impl.h"
#include "chain/watch.h"
#include "format/limits.h"
#include "store/file.h"
#include "store/store.h"

static uint32_t depth_max(const struct qcow2_open_opts *opts)
{
	return opts->budget.chain_depth ? opts->budget.chain_depth
					: CHAIN_DEPTH_DEFAULT;
}

/* Opens the next layer down; takes o->file over. */
static int add_layer(struct disk *d, struct layer_opening *o,
		     struct qcow2_error *err)
{
	struct layer *list = alloc_resized(
		d->layers, (d->n_layers + UINT64_C(1)) * sizeof(*list));
	int rc;

	if (!list) {
		gate_file_release(&o->file);
		return error_nomem(err, "a layer", sizeof(*list));
	}
	d->layers = list;
	o->depth = d->n_layers;
	rc = layer_open(&list[d->n_layers], o, err);
	if (rc == 0)
		d->n_layers++;
	return rc;
}

/* The format to open the backing file that @ref names as. */
static int backing_format(const struct qcow2_reference *ref,
			  const struct qcow2_open_opts *opts,
			  enum qcow2_format *format, struct qcow2_error *err)
{
	const char *name = ref->format;

	*format = opts->backing_format;
	if (!name && *format != QCOW2_FORMAT_DEFAULT)
		return 0;
	if (!name)
		return error_reason(err, -EINVAL, QCOW2_REASON_BACKING_FORMAT,
				    "%s does not say which format its backing "
				    "file \"%s\" has, and guessing it is not "
				    "safe: it has to be named",
				    TEXT(ref->image, strlen(ref->image)),
				    TEXT(ref->name, strlen(ref->name)));
	if (layer_find_format(name, format))
		return 0;
	return error_set(err, -ENOTSUP,
			 "%s: the backing file has the format \"%s\", "
			 "only qcow2 and raw are supported",
			 TEXT(ref->image, strlen(ref->image)),
			 TEXT(name, strlen(name)));
}

/* @o is how the layer above was opened, which names the file in @ref. */
static int open_backing(struct disk *d, struct layer_opening *o,
			const struct qcow2_reference *ref,
			struct qcow2_error *err)
{
	const struct qcow2_open_opts *opts = o->opts;
	struct gate_request request = {
		.from = &d->layers[d->n_layers - 1].dir,
		.ref = ref,
		.store_flags = layer_store_flags(opts, d->n_layers),
	};
	int rc;

	if (d->n_layers >= depth_max(opts))
		return error_reason(err, -E2BIG, QCOW2_REASON_BUDGET,
				    "the backing chain has more than %" PRIu32
				    " images, which the budget's chain_depth "
				    "allows",
				    depth_max(opts));
	rc = backing_format(ref, opts, &o->format, err);
	if (rc == 0)
		rc = gate_open(opts->gate, &request, &o->file, err);
	if (rc < 0)
		return rc;
	return add_layer(d, o, err);
}

static bool wants_backing(const struct disk *d,
			  const struct qcow2_open_opts *opts,
			  struct qcow2_reference *ref)
{
	if (!layer_backing(&d->layers[d->n_layers - 1], ref))
		return false;
	if (opts->flags & QCOW2_OPEN_NO_BACKING)
		return false;
	return !(opts->flags & QCOW2_OPEN_METADATA_ONLY) ||
	       (opts->flags & QCOW2_OPEN_METADATA_CHAIN);
}

static int open_chain(struct disk *d, struct gate_file file,
		      const struct disk_made *made,
		      const struct qcow2_open_opts *opts,
		      struct qcow2_error *err)
{
	struct identities ids = { NULL, 0 };
	struct layer_opening o = {
		.file = file,
		.format = opts->format == QCOW2_FORMAT_DEFAULT
				  ? QCOW2_FORMAT_QCOW2
				  : opts->format,
		.opts = opts,
		.ids = &ids,
		.made = made,
		.events = &d->events,
	};
	struct qcow2_reference ref;
	int rc = add_layer(d, &o, err);

	while (rc == 0 && wants_backing(d, opts, &ref))
		rc = open_backing(d, &o, &ref, err);
	free(ids.list);
	return rc;
}

/* The layers are all there and move no more. */
static void link_layers(struct disk *d)
{
	for (uint32_t i = 0; i < d->n_layers; i++) {
		struct layer *l = &d->layers[i];
		struct qcow2_reference ref;

		l->below = i + 1 < d->n_layers ? l + 1 : NULL;
		l->below_unknown = d->metadata_only && !l->below &&
				   layer_backing(l, &ref);
	}
}

void disk_validate(const struct disk *d)
{
	assert(d->n_layers > 0);
	assert(!(d->writable && d->metadata_only));
	for (uint32_t i = 0; i < d->n_layers; i++) {
		const struct layer *l = &d->layers[i];
		bool last = i + 1 == d->n_layers;

		assert(l->depth == i);
		assert(l->below == (last ? NULL : l + 1));
		assert(implies(l->below_unknown, d->metadata_only && last));
		layer_validate(l);
	}
}

/* The options' function hears of what happens at open. */
static int listen_from_start(struct disk *d, const struct qcow2_open_opts *opts,
			     struct qcow2_error *err)
{
	return events_listen(&d->events, opts->event_fn, opts->event_opaque,
			     opts->event_free, err);
}

void disk_abandon(struct disk *d)
{
	if (d)
		events_forget(&d->events);
	disk_close(d, NULL);
}

/* Takes @file over.  @made is NULL if it was there before. */
static int disk_open(struct gate_file file, const struct disk_made *made,
		     const struct qcow2_open_opts *opts, struct disk **out,
		     struct qcow2_error *err)
{
	struct disk *d = calloc(1, sizeof(*d));
	int rc;

	if (!d) {
		gate_file_release(&file);
		return error_nomem(err, "the disk", sizeof(*d));
	}
	pthread_mutex_init(&d->resize_lock, NULL);
	pthread_mutex_init(&d->luks_lock, NULL);
	d->open_flags = opts->flags;
	events_init(&d->events);
	d->metadata_only = opts->flags & QCOW2_OPEN_METADATA_ONLY;
	rc = listen_from_start(d, opts, err);
	if (rc == 0)
		rc = open_chain(d, file, made, opts, err);
	else
		gate_file_release(&file);
	link_layers(d);
	if (rc == 0 && (opts->flags & QCOW2_OPEN_RDWR))
		rc = disk_make_writable(d, opts, err);
	if (rc < 0) {
		disk_abandon(d);
		return rc;
	}
	VALIDATE(disk, d);
	watch_opened(d);
	*out = d;
	return 0;
}

int disk_open_path(const char *path, const struct qcow2_open_opts *opts,
		   struct disk **out, struct qcow2_error *err)
{
	struct gate_file file = { NULL, GATE_DIR_NONE };
	int rc = store_file_open(path, layer_store_flags(opts, 0), &file.store,
				 err);

	if (rc < 0)
		return rc;
	rc = gate_dir_init(&file.dir, path, err);
	if (rc < 0) {
		gate_file_release(&file);
		return rc;
	}
	return disk_open(file, NULL, opts, out, err);
}

int disk_open_store(struct qcow2_store *file,
		    const struct qcow2_open_opts *opts, struct disk **out,
		    struct qcow2_error *err)
{
	return disk_open((struct gate_file){ store_ref(file), GATE_DIR_NONE },
			 NULL, opts, out, err);
}

int disk_open_made(const struct disk_made *made,
		   const struct qcow2_open_opts *opts, struct disk **out,
		   struct qcow2_error *err)
{
	struct gate_file file = { store_ref(made->file), GATE_DIR_NONE };
	int rc = made->path ? gate_dir_init(&file.dir, made->path, err) : 0;

	assert(opts->flags & QCOW2_OPEN_RDWR);
	if (rc == 0)
		return disk_open(file, made, opts, out, err);
	gate_file_release(&file);
	return rc;
}

void disk_take_holds(struct disk *d, struct store_hold *file,
		     struct store_hold *data)
{
	struct layer *top = &d->layers[0];

	assert(!top->hold.store && !top->data_hold.store);
	top->hold = *file;
	top->data_hold = *data;
	*file = *data = (struct store_hold){ 0 };
	VALIDATE(disk, d);
}

/* In a forked child the listener is the parent's. */
static void stop_listening(struct disk *d, bool is_here)
{
	if (is_here)
		events_release(&d->events);
}

int disk_close(struct disk *d, struct qcow2_error *err)
{
	bool is_here;
	int rc = 0;

	if (!d)
		return 0;
	is_here = !d->n_layers || disk_check_here(d, NULL) == 0;
	if (d->n_layers)
		VALIDATE(disk, d);
	/* The top first: its last writes may need those below. */
	for (uint32_t i = 0; i < d->n_layers; i++) {
		int one = layer_close(&d->layers[i], rc == 0 ? err : NULL);

		rc = rc < 0 ? rc : one;
	}
	stop_listening(d, is_here);
	pthread_mutex_destroy(&d->resize_lock);
	pthread_mutex_destroy(&d->luks_lock);
	free(d->luks);
	free(d->layers);
	free(d);
	return rc;
}

int disk_check_here(const struct disk *d, struct qcow2_error *err)
{
	return store_check_here(d->layers[0].store, err);
}

uint64_t disk_size(const struct disk *d)
{
	return d->layers[0].size;
}

uint32_t disk_layer_count(const struct disk *d)
{
	return d->n_layers;
}

uint32_t disk_cluster_size(const struct disk *d)
{
	return d->layers[0].cluster_size;
}
