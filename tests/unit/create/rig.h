/*
 * The common part of the tests of creation: a store over a memory store that
 * fails when told to, and that can have the fixed size of a block device;
 * images in memory.
 */
#ifndef UNIT_CREATE_RIG_H
#define UNIT_CREATE_RIG_H

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <qcow2.h>

#include "base/cleanup.h"
#include "base/iov.h"
#include "create/create.h"
#include "store/mem.h"
#include "store/store.h"
#include "support/test.h"

struct shim {
	struct qcow2_store *inner;
	unsigned calls;   /* those that can fail, so far */
	unsigned fail_at; /* number of the one that does, from 1; 0: none */
	bool fixed_size;
	bool no_truncate; /* grows by writes only */
	unsigned n_flushes;
	uint64_t bytes_written;
	uint64_t n_writes;
	uint64_t last_write_off;
	uint64_t last_write_len;
	unsigned flushes_before_last_write;
};

static inline int shim_step(struct shim *s)
{
	s->calls++;
	return s->calls == s->fail_at ? -EIO : 0;
}

static inline int shim_preadv(void *self, const struct iovec *iov, int iovcnt,
			      uint64_t off, unsigned flags,
			      struct qcow2_error *err)
{
	struct shim *s = self;
	int rc = shim_step(s);

	(void)err;
	return rc < 0 ? rc
		      : store_preadv(s->inner, iov, iovcnt, off, flags, NULL);
}

static inline int shim_pwritev(void *self, const struct iovec *iov, int iovcnt,
			       uint64_t off, unsigned flags,
			       struct qcow2_error *err)
{
	struct shim *s = self;
	uint64_t len = iov_len(iov, iovcnt);
	uint64_t size = 0;
	int rc = shim_step(s);

	(void)err;
	if (rc < 0)
		return rc;
	rc = store_size(s->inner, &size, NULL);
	if (rc < 0)
		return rc;
	if (s->fixed_size && off + len > size)
		return -ENOSPC;
	s->n_writes++;
	s->last_write_off = off;
	s->last_write_len = len;
	s->flushes_before_last_write = s->n_flushes;
	s->bytes_written += len;
	return store_pwritev(s->inner, iov, iovcnt, off, flags, NULL);
}

static inline int shim_flush(void *self, struct qcow2_error *err)
{
	struct shim *s = self;

	(void)err;
	s->n_flushes++;
	return shim_step(s);
}

static inline int shim_zero(void *self, uint64_t len, uint64_t off,
			    unsigned flags, struct qcow2_error *err)
{
	struct shim *s = self;
	int rc = shim_step(s);

	(void)err;
	return rc < 0 ? rc : store_zero(s->inner, len, off, flags, NULL);
}

static inline int shim_truncate(void *self, uint64_t size,
				struct qcow2_error *err)
{
	struct shim *s = self;
	uint64_t have = 0;
	int rc = shim_step(s);

	(void)err;
	if (rc < 0)
		return rc;
	if (s->no_truncate)
		return -ENOTSUP;
	if (!s->fixed_size)
		return store_truncate(s->inner, size, NULL);
	rc = store_size(s->inner, &have, NULL);
	return rc < 0 ? rc : size <= have ? 0 : -ENOSPC;
}

static inline int shim_size(void *self, uint64_t *size, struct qcow2_error *err)
{
	struct shim *s = self;
	int rc = shim_step(s);

	(void)err;
	return rc < 0 ? rc : store_size(s->inner, size, NULL);
}

static inline void shim_close(void *self)
{
	struct shim *s = self;

	store_unref(s->inner);
}

/* The store over @s, which gets an empty memory store inside. */
static inline struct qcow2_store *shim_store(struct shim *s)
{
	static const struct qcow2_store_ops ops = {
		.struct_size = sizeof(ops),
		.preadv = shim_preadv,
		.pwritev = shim_pwritev,
		.flush = shim_flush,
		.zero = shim_zero,
		.truncate = shim_truncate,
		.size = shim_size,
		.close = shim_close,
	};
	struct qcow2_store *store = NULL;
	int rc = store_mem_new(&s->inner, NULL);

	assert(rc == 0);
	rc = store_new(&ops, s, "shim", false, &store, NULL);
	assert(rc == 0);
	(void)rc;
	return store;
}

/* Makes the store a device: @size bytes of 0xff, for good. */
static inline void shim_become_device(struct shim *s, uint64_t size)
{
	CLEANUP_FREE uint8_t *junk = malloc(size);
	int rc;

	assert(junk);
	memset(junk, 0xff, size);
	rc = store_pwrite(s->inner, junk, size, 0, 0, NULL);
	assert(rc == 0);
	(void)rc;
	s->fixed_size = true;
}

/* All bytes of a store; the caller frees them. */
static inline uint8_t *slurp(struct qcow2_store *store, uint64_t *size)
{
	uint8_t *bytes;

	assert_int_equal(store_size(store, size, NULL), 0);
	bytes = malloc(*size + 1);
	assert_non_null(bytes);
	assert_int_equal(store_pread(store, bytes, *size, 0, 0, NULL), 0);
	return bytes;
}

/* The options, for messages. */
static inline void create_text(const struct qcow2_create_opts *o, char *dst,
			       size_t size)
{
	snprintf(dst, size,
		 "v%u cluster_size=%u refcount_bits=%u flags=%#x "
		 "data_file=%s preallocation=%d size=%llu",
		 o->version, o->cluster_size, o->refcount_bits, o->flags,
		 o->data_file ? o->data_file : "-", (int)o->preallocation,
		 (unsigned long long)o->virtual_size);
}

/* An image in memory stores; *data is NULL without a data file. */
static inline void create_in_memory(struct qcow2_store **file,
				    struct qcow2_store **data,
				    const struct qcow2_create_opts *o)
{
	struct qcow2_error err = { 0 };
	char what[200];

	*data = NULL;
	assert_int_equal(store_mem_new(file, NULL), 0);
	if (o->data_file)
		assert_int_equal(store_mem_new(data, NULL), 0);
	if (create_image(*file, *data, o, &err)) {
		create_text(o, what, sizeof(what));
		fail_msg("%s: %s", what, err.message);
	}
}

#endif
