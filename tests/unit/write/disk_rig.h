/*
 * A writable disk in memory, and a look at its L2 entries.
 */
#ifndef UNIT_WRITE_DISK_RIG_H
#define UNIT_WRITE_DISK_RIG_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/handle.h"
#include "base/checked.h"
#include "chain/disk_impl.h"
#include "image/image.h"
#include "store/mem.h"
#include "store/store.h"
#include "stores/fault.h"
#include "support/test.h"
#include "write/writer.h"

enum { CLUSTER = 65536, DISK = 8 * CLUSTER + 512 };

struct disk_rig {
	struct qcow2_store *mem;
	struct qcow2_store *file;  /* over it; may fail */
	struct qcow2_store *below; /* the backing file, or NULL */
	struct qcow2_store *data;
	struct fault_injector fault;
	struct qcow2_image *disk;
	struct image *img;
};

/* The disk that a test wants; all zeros is fine. */
struct disk_want {
	uint32_t version;
	uint32_t flags;   /* QCOW2_CREATE_* */
	uint32_t discard; /* QCOW2_DISCARD_* */
	bool backing;     /* of 0xbb */
	bool data_file;
};

static inline int disk_open_external(void *opaque,
				     const struct qcow2_reference *ref,
				     struct qcow2_store **out,
				     struct qcow2_error *err)
{
	struct disk_rig *t = opaque;

	(void)err;
	*out = store_ref(ref->kind == QCOW2_REFERENCE_BACKING ? t->below
							      : t->data);
	return 0;
}

static inline void disk_create(struct disk_rig *t, const struct disk_want *w)
{
	struct qcow2_create_opts o = QCOW2_CREATE_OPTS_INIT;

	o.virtual_size = DISK;
	o.version = w->version;
	o.flags = w->flags;
	if (w->backing) {
		uint8_t *bytes = malloc(DISK);

		assert_non_null(bytes);
		memset(bytes, 0xbb, DISK);
		assert_int_equal(store_mem_new(&t->below, NULL), 0);
		assert_int_equal(
			store_pwrite(t->below, bytes, DISK, 0, 0, NULL), 0);
		free(bytes);
		o.backing_file = "below";
		o.backing_format = "raw";
	}
	if (w->data_file) {
		assert_int_equal(store_mem_new(&t->data, NULL), 0);
		o.data_file = "data";
	}
	assert_int_equal(store_mem_new(&t->mem, NULL), 0);
	assert_int_equal(qcow2_create_store(t->mem, t->data, &o, NULL), 0);
}

static inline void disk_init(struct disk_rig *t, struct disk_want w)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_gate gate = QCOW2_GATE_INIT;

	memset(t, 0, sizeof(*t));
	disk_create(t, &w);
	pthread_mutex_init(&t->fault.lock, NULL);
	fault_arm(&t->fault, NULL);
	assert_int_equal(fault_store_new(&t->fault, t->mem, &t->file), 0);
	gate.open = disk_open_external;
	gate.opaque = t;
	opts.gate = &gate;
	opts.flags = QCOW2_OPEN_RDWR;
	opts.discard = w.discard;
	assert_int_equal(qcow2_open_store(t->file, &opts, &t->disk, NULL), 0);
	t->img = t->disk->disk->layers[0].image;
}

/* Closes it; the check must agree with the file that is left. */
static inline void disk_release(struct disk_rig *t)
{
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	struct qcow2_check_result r = { .struct_size = sizeof(r) };

	t->img = t->disk->disk->layers[0].image;
	image_validate(t->img);
	if (t->img->writer)
		writer_idle_validate(t->img);
	assert_int_equal(qcow2_close(t->disk, NULL), 0);
	assert_int_equal(qcow2_check_store(t->mem, &opts, &r, NULL), 0);
	assert_int_equal(r.corruptions + r.leaks + r.check_errors, 0);
	store_unref(t->file);
	store_unref(t->mem);
	store_unref(t->below);
	store_unref(t->data);
}

static inline void disk_fill(struct disk_rig *t, uint8_t byte, uint64_t len,
			     uint64_t off)
{
	uint8_t *bytes = malloc(len);

	assert_non_null(bytes);
	memset(bytes, byte, len);
	assert_int_equal(qcow2_pwrite(t->disk, bytes, len, off, 0, NULL), 0);
	free(bytes);
}

static inline void disk_compress(struct disk_rig *t, uint8_t byte,
				 uint64_t cluster_idx)
{
	uint8_t *bytes = malloc(CLUSTER);

	assert_non_null(bytes);
	memset(bytes, byte, CLUSTER);
	assert_int_equal(qcow2_write_compressed(t->disk, bytes, CLUSTER,
						cluster_idx * CLUSTER, 0, NULL),
			 0);
	free(bytes);
}

/* All bytes of the range are @byte. */
static inline void disk_expect(struct disk_rig *t, uint8_t byte, uint64_t len,
			       uint64_t off)
{
	uint8_t *bytes = malloc(len);

	assert_non_null(bytes);
	assert_int_equal(qcow2_pread(t->disk, bytes, len, off, 0, NULL), 0);
	for (uint64_t i = 0; i < len; i++)
		assert_int_equal(bytes[i], byte);
	free(bytes);
}

static inline struct l2_entry disk_entry(struct disk_rig *t,
					 uint64_t cluster_idx)
{
	struct l2_entry e = { 0, 0 };
	struct map_window w;
	uint64_t off = cluster_idx * CLUSTER;

	assert_int_equal(
		map_window_get(&t->img->map, off + CLUSTER, off, 0, &w, NULL),
		0);
	if (w.slice)
		e = map_window_entry(&w, &t->img->geo, 0);
	map_window_put(&t->img->map, &w);
	return e;
}

static inline uint64_t disk_count(struct disk_rig *t, uint64_t host_off)
{
	uint64_t value;

	assert_int_equal(refcounts_get(&t->img->writer->refs,
				       host_off / CLUSTER, &value, NULL),
			 0);
	return value;
}

#endif
