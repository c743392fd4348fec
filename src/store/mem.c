/*
 * The memory store: pages under one reader-writer lock.
 *
 * Invariant, under the lock: no page lies wholly past `size`, and bytes of the
 * last page past `size` are zero, so that growing needs no clearing.
 */
#include "store/mem.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/text.h"
#include "store/mem_impl.h"
#include "store/store.h"

static void rwlock_release(pthread_rwlock_t **lock)
{
	pthread_rwlock_unlock(*lock);
}

static pthread_rwlock_t *lock_shared(struct mem *m)
{
	int rc = pthread_rwlock_rdlock(&m->lock);

	assert(rc == 0);
	return &m->lock;
}

static pthread_rwlock_t *lock_alone(struct mem *m)
{
	int rc = pthread_rwlock_wrlock(&m->lock);

	assert(rc == 0);
	return &m->lock;
}

#define HELD \
	__attribute__((cleanup(rwlock_release), unused)) pthread_rwlock_t *held

/* The part of [off, off+len) that lies in the page of @off. */
static size_t piece(uint64_t off, uint64_t len)
{
	return (size_t)min_u64(PAGE_BYTES - off % PAGE_BYTES, len);
}

static void read_one(const struct mem *m, uint8_t *buf, uint64_t len,
		     uint64_t off)
{
	while (len) {
		const uint8_t *page = pages_get(&m->pages, off / PAGE_BYTES);
		size_t n = piece(off, len);

		if (page)
			memcpy(buf, page + off % PAGE_BYTES, n);
		else
			memset(buf, 0, n);
		buf += n;
		off += n;
		len -= n;
	}
}

/* Nothing is kept behind the end, so that a file that grows
 * again has zeros there. */
void mem_validate(const struct mem *m)
{
	uint64_t end = m->size / PAGE_BYTES;
	const uint8_t *last = pages_get(&m->pages, end);
	uint64_t next;

	assert(m->size <= INT64_MAX);
	assert(!pages_next(&m->pages, div_round_up(m->size, PAGE_BYTES),
			   &next));
	for (uint64_t i = m->size % PAGE_BYTES; last && i < PAGE_BYTES; i++)
		assert(last[i] == 0);
}

static int mem_preadv(void *self, const struct iovec *iov, int iovcnt,
		      uint64_t off, unsigned flags, struct qcow2_error *err)
{
	struct mem *m = self;
	HELD = lock_shared(m);

	(void)flags, (void)err;
	for (int i = 0; i < iovcnt; i++) {
		read_one(m, iov[i].iov_base, iov[i].iov_len, off);
		off += iov[i].iov_len;
	}
	return 0;
}

/* Bytes and size grow together, so a failure leaves the invariant. */
static int write_one(struct mem *m, const uint8_t *buf, uint64_t len,
		     uint64_t off)
{
	while (len) {
		uint8_t *page = pages_make(&m->pages, off / PAGE_BYTES);
		size_t n = piece(off, len);

		if (!page)
			return -ENOMEM;
		memcpy(page + off % PAGE_BYTES, buf, n);
		buf += n;
		off += n;
		len -= n;
		m->size = max_u64(m->size, off);
	}
	return 0;
}

static int mem_pwritev(void *self, const struct iovec *iov, int iovcnt,
		       uint64_t off, unsigned flags, struct qcow2_error *err)
{
	struct mem *m = self;
	HELD = lock_alone(m);
	int rc = 0;

	(void)flags, (void)err;
	for (int i = 0; i < iovcnt && rc == 0; i++) {
		rc = write_one(m, iov[i].iov_base, iov[i].iov_len, off);
		off += iov[i].iov_len;
	}
	VALIDATE(mem, m);
	return rc;
}

static int mem_flush(void *self, struct qcow2_error *err)
{
	(void)err;
	(void)self;
	return 0;
}

static void clear_piece(struct mem *m, size_t len, uint64_t off)
{
	uint8_t *page = pages_get(&m->pages, off / PAGE_BYTES);

	if (page)
		memset(page + off % PAGE_BYTES, 0, len);
}

/* Visits only pages that exist: a hole of terabytes costs nothing. */
static void clear_range(struct mem *m, uint64_t off, uint64_t end)
{
	while (off < end) {
		uint64_t next;
		size_t n;

		if (!pages_next(&m->pages, off / PAGE_BYTES, &next))
			return;
		off = max_u64(off, next * PAGE_BYTES);
		if (off >= end)
			return;
		n = piece(off, end - off);
		clear_piece(m, n, off);
		off += n;
	}
}

/* Frees the whole pages inside and clears the partial ones at the ends. */
static void free_range(struct mem *m, uint64_t off, uint64_t end)
{
	uint64_t first = div_round_up(off, PAGE_BYTES);
	uint64_t past = end / PAGE_BYTES;

	if (first >= past) {
		clear_range(m, off, end);
		return;
	}
	clear_range(m, off, first * PAGE_BYTES);
	clear_range(m, past * PAGE_BYTES, end);
	pages_drop(&m->pages, first, past - 1);
}

static int mem_zero(void *self, uint64_t len, uint64_t off, unsigned flags,
		    struct qcow2_error *err)
{
	struct mem *m = self;
	HELD = lock_alone(m);
	uint64_t end = min_u64(off + len, m->size);

	(void)err;
	if (off >= end)
		return 0;
	/* The page of the end holds nothing but zeros past it. */
	if (end == m->size)
		end = align_up(end, PAGE_BYTES);
	if (flags & QCOW2_STORE_UNMAP)
		free_range(m, off, end);
	else
		clear_range(m, off, end);
	VALIDATE(mem, m);
	return 0;
}

static int mem_truncate(void *self, uint64_t size, struct qcow2_error *err)
{
	struct mem *m = self;
	HELD = lock_alone(m);

	(void)err;
	if (size < m->size)
		free_range(m, size, align_up(m->size, PAGE_BYTES));
	m->size = size;
	VALIDATE(mem, m);
	return 0;
}

static int mem_size(void *self, uint64_t *size, struct qcow2_error *err)
{
	struct mem *m = self;
	HELD = lock_shared(m);

	(void)err;
	*size = m->size;
	return 0;
}

static int mem_allocated(void *self, uint64_t *bytes, struct qcow2_error *err)
{
	struct mem *m = self;
	HELD = lock_shared(m);

	(void)err;
	*bytes = m->pages.n_pages * PAGE_BYTES;
	return 0;
}

/* Returns the end of the run of existing pages that starts at page @number. */
static uint64_t mem_run_end(const struct mem *m, uint64_t number, uint64_t end)
{
	while (number * PAGE_BYTES < end && pages_get(&m->pages, number))
		number++;
	return number * PAGE_BYTES;
}

static int mem_extent(void *self, uint64_t *len, uint64_t off, int *is_data,
		      struct qcow2_error *err)
{
	struct mem *m = self;
	HELD = lock_shared(m);
	uint64_t end = off + *len;
	uint64_t next;

	(void)err;
	*is_data = 0;
	if (!pages_next(&m->pages, off / PAGE_BYTES, &next))
		return 0;
	if (next > off / PAGE_BYTES) {
		*len = min_u64(next * PAGE_BYTES, end) - off;
		return 0;
	}
	*is_data = 1;
	*len = min_u64(mem_run_end(m, next, end), end) - off;
	return 0;
}

static void mem_close(void *self)
{
	struct mem *m = self;

	pages_drop(&m->pages, 0, PAGE_NUMBERS - 1);
	pthread_rwlock_destroy(&m->lock);
	free(m);
}

static const struct qcow2_store_ops mem_ops = {
	.struct_size = sizeof(mem_ops),
	.preadv = mem_preadv,
	.pwritev = mem_pwritev,
	.flush = mem_flush,
	.zero = mem_zero,
	.truncate = mem_truncate,
	.size = mem_size,
	.allocated = mem_allocated,
	.extent = mem_extent,
	.close = mem_close,
};

int store_mem_new(struct qcow2_store **out, struct qcow2_error *err)
{
	return store_mem_new_named("memory", out, err);
}

int store_mem_new_named(const char *name, struct qcow2_store **out,
			struct qcow2_error *err)
{
	struct mem *m = calloc(1, sizeof(*m));
	int rc;

	if (!m)
		return error_nomem(err, "a memory store", sizeof(*m));
	if (pthread_rwlock_init(&m->lock, NULL) != 0) {
		free(m);
		return error_nomem(err, "a lock", sizeof(m->lock));
	}
	rc = store_new(&mem_ops, m, name, false, out, err);
	if (rc < 0)
		mem_close(m);
	return rc;
}

int store_mem_clone(struct qcow2_store *src, struct qcow2_store **out,
		    struct qcow2_error *err)
{
	CLEANUP_STORE struct qcow2_store *copy = NULL;
	struct mem *from = store_self(src, &mem_ops);
	struct mem *to;
	int rc;

	if (!from)
		return error_set(
			err, -EINVAL, "%s: is not a memory store",
			TEXT(store_name(src), strlen(store_name(src))));
	rc = store_mem_new_named(store_name(src), &copy, err);
	if (rc < 0)
		return rc;
	to = store_self(copy, &mem_ops);
	HELD = lock_shared(from);
	if (!pages_copy(&to->pages, &from->pages))
		return error_nomem(err, "a copy of a memory store",
				   from->pages.n_pages * PAGE_BYTES);
	to->size = from->size;
	*out = store_ref(copy);
	return 0;
}
