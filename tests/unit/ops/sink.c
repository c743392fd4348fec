#include "sink.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "store/store.h"

static void mark(struct sink *s, uint64_t len, uint64_t off,
		 enum sink_state state)
{
	if (len)
		memset(s->state + off / 512, (int)state,
		       (off + len + 511) / 512 - off / 512);
}

static int sink_preadv(void *self, const struct iovec *iov, int iovcnt,
		       uint64_t off, unsigned flags, struct qcow2_error *err)
{
	struct sink *s = self;
	SCOPED_LOCK(&s->lock);

	(void)flags, (void)err;
	for (int i = 0; i < iovcnt; i++) {
		assert(off + iov[i].iov_len <= SINK_BYTES);
		memcpy(iov[i].iov_base, s->bytes + off, iov[i].iov_len);
		off += iov[i].iov_len;
	}
	return 0;
}

static int sink_pwritev(void *self, const struct iovec *iov, int iovcnt,
			uint64_t off, unsigned flags, struct qcow2_error *err)
{
	struct sink *s = self;
	SCOPED_LOCK(&s->lock);

	(void)flags, (void)err;
	s->n_writes++;
	for (int i = 0; i < iovcnt; i++) {
		assert(off + iov[i].iov_len <= s->size);
		if (off + iov[i].iov_len > s->full_off)
			return -ENOSPC;
		memcpy(s->bytes + off, iov[i].iov_base, iov[i].iov_len);
		mark(s, iov[i].iov_len, off, SINK_WRITTEN);
		off += iov[i].iov_len;
	}
	return 0;
}

static int sink_flush(void *self, struct qcow2_error *err)
{
	struct sink *s = self;
	SCOPED_LOCK(&s->lock);

	(void)err;
	s->n_flushes++;
	return 0;
}

static int sink_zero(void *self, uint64_t len, uint64_t off, unsigned flags,
		     struct qcow2_error *err)
{
	struct sink *s = self;
	SCOPED_LOCK(&s->lock);

	(void)err;
	assert(off + len <= s->size);
	s->n_zeros++;
	if (s->cannot_zero)
		return -ENOTSUP;
	if (s->cannot_zero_all && (flags & QCOW2_STORE_NO_FALLBACK))
		return -ENOTSUP;
	memset(s->bytes + off, 0, len);
	mark(s, len, off,
	     flags & QCOW2_STORE_UNMAP ? SINK_UNMAPPED : SINK_ZEROED);
	return 0;
}

static int sink_truncate(void *self, uint64_t size, struct qcow2_error *err)
{
	struct sink *s = self;
	SCOPED_LOCK(&s->lock);

	(void)err;
	assert(size <= SINK_BYTES);
	s->n_truncates++;
	if (s->keeps_quiet)
		return size <= s->size ? 0 : -ENOSPC;
	if (s->fixed_size)
		return -ENOTSUP;
	if (size < s->size)
		memset(s->bytes + size, 0, s->size - size);
	s->size = size;
	return 0;
}

static int sink_size(void *self, uint64_t *size, struct qcow2_error *err)
{
	struct sink *s = self;
	SCOPED_LOCK(&s->lock);

	(void)err;
	*size = s->size;
	return 0;
}

/* Most of it is never touched, and should then cost nothing. */
static uint8_t *map_zeros(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert(p != MAP_FAILED);
	return p;
}

void sink_init(struct sink *s, struct qcow2_store **store)
{
	const struct qcow2_store_ops ops = {
		.struct_size = sizeof(ops),
		.preadv = sink_preadv,
		.pwritev = sink_pwritev,
		.flush = sink_flush,
		.zero = sink_zero,
		.truncate = sink_truncate,
		.size = sink_size,
	};
	int rc;

	*s = (struct sink){ .full_off = UINT64_MAX };
	pthread_mutex_init(&s->lock, NULL);
	s->bytes = map_zeros(SINK_BYTES);
	s->state = map_zeros(SINK_SECTORS);
	rc = store_new(&ops, s, "the sink", false, store, NULL);
	assert(rc == 0);
	(void)rc;
}

void sink_init_device(struct sink *s, uint64_t size, struct qcow2_store **store)
{
	sink_init(s, store);
	s->fixed_size = true;
	s->size = size;
	memset(s->bytes, 0xa5, size);
}

void sink_release(struct sink *s, struct qcow2_store *store)
{
	store_unref(store);
	pthread_mutex_destroy(&s->lock);
	munmap(s->bytes, SINK_BYTES);
	munmap(s->state, SINK_SECTORS);
}
