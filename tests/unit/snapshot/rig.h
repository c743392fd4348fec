/*
 * An image in memory whose disk and snapshots a test keeps a copy of.
 */
#ifndef UNIT_SNAPSHOT_RIG_H
#define UNIT_SNAPSHOT_RIG_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qcow2.h>

#include "support/test.h"

#include "api/handle.h"
#include "chain/disk_impl.h"
#include "check/check.h"
#include "image/image.h"
#include "store/store.h"
#include "write/writer.h"

struct rig {
	struct qcow2_create_opts create;
	struct qcow2_open_opts open;
	struct qcow2_store *store;
	struct qcow2_image *img;
	uint64_t size;
	uint8_t *disk;
};

static inline void rig_fail(const char *what, const struct qcow2_error *err)
{
	fail_msg("%s: %s", what, err->message);
}

static inline void rig_open(struct rig *r)
{
	struct qcow2_error err;

	r->open.flags |= QCOW2_OPEN_RDWR;
	if (qcow2_open_store(r->store, &r->open, &r->img, &err) < 0)
		rig_fail("open", &err);
}

/* The image keeps the promises of its headers; no request is under way. */
static inline void rig_validate(const struct rig *r)
{
	const struct image *img = r->img->disk->layers[0].image;

	disk_validate(r->img->disk);
	if (img->writer)
		writer_idle_validate(img);
}

static inline void rig_close(struct rig *r)
{
	struct qcow2_error err;

	rig_validate(r);
	if (qcow2_close(r->img, &err) < 0)
		rig_fail("close", &err);
	r->img = NULL;
}

/* A new image of @size bytes; @opts NULL for the defaults. */
static inline void rig_init(struct rig *r, uint64_t size,
			    const struct qcow2_create_opts *opts)
{
	struct qcow2_create_opts defaults = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_error err;

	*r = (struct rig){ .create = opts ? *opts : defaults,
			   .open = open,
			   .size = size };
	r->create.struct_size = sizeof(r->create);
	r->create.virtual_size = size;
	r->disk = calloc(1, size);
	assert_non_null(r->disk);
	assert_int_equal(qcow2_store_new_memory(&r->store, NULL), 0);
	if (qcow2_create_store(r->store, NULL, &r->create, &err) < 0)
		rig_fail("create", &err);
	rig_open(r);
}

static inline void rig_release(struct rig *r)
{
	if (r->img)
		rig_close(r);
	qcow2_store_unref(r->store);
	free(r->disk);
}

/* Bytes of one value, which the disk is expected to have from now on. */
static inline void rig_write(struct rig *r, uint8_t value, uint64_t len,
			     uint64_t off)
{
	struct qcow2_error err;

	memset(r->disk + off, value, len);
	if (qcow2_pwrite(r->img, r->disk + off, len, off, 0, &err) < 0)
		rig_fail("write", &err);
}

static inline uint8_t *rig_copy(const struct rig *r)
{
	uint8_t *copy = malloc(r->size);

	assert_non_null(copy);
	memcpy(copy, r->disk, r->size);
	return copy;
}

/* The disk of @img reads as @want. */
static inline void rig_expect_image(struct qcow2_image *img,
				    const uint8_t *want, uint64_t size)
{
	uint8_t *now = malloc(size);
	struct qcow2_error err;

	assert_non_null(now);
	assert_int_equal(qcow2_size(img), size);
	if (qcow2_pread(img, now, size, 0, 0, &err) < 0)
		rig_fail("read", &err);
	for (uint64_t i = 0; i < size; i++)
		if (now[i] != want[i])
			fail_msg("byte %" PRIu64 " is %u, not %u", i, now[i],
				 want[i]);
	free(now);
}

static inline void rig_expect(struct rig *r)
{
	rig_expect_image(r->img, r->disk, r->size);
}

/* The view of a snapshot, of the closed image. */
static inline void rig_expect_view(struct rig *r, const char *snapshot,
				   const uint8_t *want, uint64_t size)
{
	struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_image *img;
	struct qcow2_error err;

	open.snapshot = snapshot;
	if (qcow2_open_store(r->store, &open, &img, &err) < 0)
		rig_fail(snapshot ? snapshot : "open", &err);
	rig_expect_image(img, want, size);
	qcow2_close(img, NULL);
}

static inline void rig_finding(void *opaque, const struct qcow2_finding *f)
{
	(void)opaque;
	print_message("found: %s\n", f->message);
}

/* The closed image is consistent and has @leaks leaked clusters at most. */
static inline void rig_check_leaks(struct rig *r, uint64_t leaks)
{
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	struct qcow2_check_result result = { .struct_size = sizeof(result) };
	struct qcow2_error err;

	opts.report = rig_finding;
	if (check_store(r->store, &opts, &result, &err) < 0)
		rig_fail("check", &err);
	assert_int_equal(result.corruptions, 0);
	assert_int_equal(result.check_errors, 0);
	assert_true(result.leaks <= leaks);
}

static inline void rig_check(struct rig *r)
{
	rig_check_leaks(r, 0);
}

static inline void rig_create(struct rig *r, const char *name)
{
	struct qcow2_error err;

	if (qcow2_snapshot_create(r->img, name, NULL, &err) < 0)
		rig_fail("snapshot create", &err);
}

static inline void rig_apply(struct rig *r, const char *name)
{
	struct qcow2_error err;

	if (qcow2_snapshot_apply(r->img, name, &err) < 0)
		rig_fail("snapshot apply", &err);
}

static inline void rig_delete(struct rig *r, const char *name)
{
	struct qcow2_error err;

	if (qcow2_snapshot_delete(r->img, name, &err) < 0)
		rig_fail("snapshot delete", &err);
}

#endif
