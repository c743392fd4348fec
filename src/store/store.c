/*
 * The asserting wrapper and the reference count.  The calls take no lock;
 * stores bring their own.
 */
#include "store/store.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/error.h"
#include "base/range.h"
#include "base/text.h"
#include "store/store_impl.h"

#define READ_FLAGS QCOW2_STORE_NOWAIT
#define WRITE_FLAGS QCOW2_STORE_NOWAIT
#define ZERO_FLAGS                                                             \
	(QCOW2_STORE_NOWAIT | QCOW2_STORE_UNMAP | QCOW2_STORE_NO_FALLBACK)

/* Negative errno values go no further down than this on Linux. */
#define ERRNO_LIMIT 4095

#define ZEROS_SIZE 65536

/* The last part of a long path tells more than the first. */
static void label_init(char *label, size_t size, const char *name)
{
	size_t len = strlen(name);

	if (len < size) {
		text_escape(label, size, name, len);
		return;
	}
	name += len - (size - 4);
	while (((unsigned char)*name & 0xc0) == 0x80)
		name++;
	memcpy(label, "...", 3);
	text_escape(label + 3, size - 3, name, strlen(name));
}

int store_new(const struct qcow2_store_ops *ops, void *self, const char *name,
	      bool read_only, struct qcow2_store **out,
	      struct qcow2_error *err)
{
	struct qcow2_store *s;

	assert(ops->preadv && ops->size);
	s = calloc(1, sizeof(*s));
	if (!s)
		return error_nomem(err, "a store", sizeof(*s));
	s->name = strdup(name);
	if (!s->name) {
		free(s);
		return error_nomem(err, "a name", strlen(name) + 1);
	}
	s->ops = *ops;
	s->self = self;
	s->read_only = read_only;
	label_init(s->label, sizeof(s->label), name);
	atomic_init(&s->n_refs, 1);
	pthread_mutex_init(&s->hold_lock, NULL);
	process_mark_init(&s->mark);
	*out = s;
	return 0;
}

void store_set_abandon(struct qcow2_store *s, void (*abandon)(void *self))
{
	s->abandon = abandon;
}

bool store_is_here(const struct qcow2_store *s)
{
	return process_mark_is_here(&s->mark);
}

int store_check_here(const struct qcow2_store *s, struct qcow2_error *err)
{
	if (store_is_here(s))
		return 0;
	return error_set(err, -ECHILD,
			 "%s: was opened before this process was forked, and "
			 "belongs to the parent: open it anew",
			 s->label);
}

struct qcow2_store *store_ref(struct qcow2_store *s)
{
	unsigned before;

	before = atomic_fetch_add_explicit(&s->n_refs, 1, memory_order_relaxed);
	assert(before > 0 && before < UINT32_MAX);
	(void)before;
	return s;
}

/* Copies of a descriptor elsewhere would keep its locks, so they go first. */
static void end(struct qcow2_store *s)
{
	if (s->is_locked)
		store_lock(s, QCOW2_STORE_UNLOCK, NULL);
	if (s->ops.close)
		s->ops.close(s->self);
}

void store_unref(struct qcow2_store *s)
{
	unsigned before;

	if (!s)
		return;
	before = atomic_fetch_sub_explicit(&s->n_refs, 1, memory_order_acq_rel);
	assert(before > 0);
	if (before > 1)
		return;
	if (store_is_here(s))
		end(s);
	else if (s->abandon)
		s->abandon(s->self);
	process_mark_release(&s->mark);
	pthread_mutex_destroy(&s->hold_lock);
	free(s->name);
	free(s);
}

const char *store_name(const struct qcow2_store *s)
{
	return s->name;
}

bool store_is_read_only(const struct qcow2_store *s)
{
	return s->read_only;
}

void *store_self(const struct qcow2_store *s, const struct qcow2_store_ops *ops)
{
	return s->ops.preadv == ops->preadv ? s->self : NULL;
}

/* What the store answered, checked against the contract. */
static int checked_rc(int rc)
{
	assert(rc <= 0 && rc >= -ERRNO_LIMIT);
	return rc;
}

static const char *errno_text(int rc, char *buf, size_t size)
{
	return strerror_r(-rc, buf, size);
}

#define ERRNO_TEXT(rc) errno_text(rc, (char[64]){ 0 }, 64)

static int fail(const struct qcow2_store *s, int rc, const char *what,
		struct qcow2_error *err)
{
	return error_set(err, rc, "%s: cannot %s: %s", s->label, what,
			 ERRNO_TEXT(rc));
}

static int fail_range(const struct qcow2_store *s, int rc, const char *what,
		      uint64_t len, uint64_t off, struct qcow2_error *err)
{
	return error_set(err, rc,
			 "%s: cannot %s %" PRIu64 " bytes at offset %" PRIu64
			 ": %s",
			 s->label, what, len, off, ERRNO_TEXT(rc));
}

static int check_change(const struct qcow2_store *s, struct qcow2_error *err)
{
	if (s->read_only)
		return error_set(err, -EBADF, "%s: is open read-only",
				 s->label);
	return store_check_here(s, err);
}

/* Length of a vector; its sum fits a range. */
static uint64_t vector_len(const struct iovec *iov, int iovcnt)
{
	uint64_t sum = 0;

	assert(iovcnt >= 0);
	for (int i = 0; i < iovcnt; i++) {
		bool ok = checked_add(sum, iov[i].iov_len, &sum);

		assert(ok);
		(void)ok;
	}
	return sum;
}

int store_preadv(struct qcow2_store *s, const struct iovec *iov, int iovcnt,
		 uint64_t off, unsigned flags, struct qcow2_error *err)
{
	uint64_t len = vector_len(iov, iovcnt);
	int rc;

	assert(range_is_sane(off, len));
	assert((flags & ~READ_FLAGS) == 0);
	rc = store_check_here(s, err);
	if (rc < 0 || len == 0)
		return rc;
	rc = checked_rc(s->ops.preadv(s->self, iov, iovcnt, off, flags));
	return rc < 0 ? fail_range(s, rc, "read", len, off, err) : 0;
}

int store_pread(struct qcow2_store *s, void *buf, size_t len, uint64_t off,
		unsigned flags, struct qcow2_error *err)
{
	struct iovec iov = { .iov_base = buf, .iov_len = len };

	return store_preadv(s, &iov, 1, off, flags, err);
}

int store_read_cursor(struct qcow2_store *s, struct iov_cursor *dst,
		      uint64_t len, uint64_t off, unsigned flags,
		      struct qcow2_error *err)
{
	while (len) {
		struct iovec iov[64];
		int n;
		uint64_t part = iov_take(dst, len, iov, 64, &n);
		int rc = store_preadv(s, iov, n, off, flags, err);

		if (rc < 0)
			return rc;
		len -= part;
		off += part;
	}
	return 0;
}

int store_pwritev(struct qcow2_store *s, const struct iovec *iov, int iovcnt,
		  uint64_t off, unsigned flags, struct qcow2_error *err)
{
	uint64_t len = vector_len(iov, iovcnt);
	int rc;

	assert(range_is_sane(off, len));
	assert((flags & ~WRITE_FLAGS) == 0);
	rc = check_change(s, err);
	if (rc < 0 || len == 0)
		return rc;
	rc = s->ops.pwritev ? s->ops.pwritev(s->self, iov, iovcnt, off, flags)
			    : -ENOTSUP;
	checked_rc(rc);
	return rc < 0 ? fail_range(s, rc, "write", len, off, err) : 0;
}

int store_pwrite(struct qcow2_store *s, const void *buf, size_t len,
		 uint64_t off, unsigned flags, struct qcow2_error *err)
{
	/* struct iovec serves both directions; the bytes are only read. */
	struct iovec iov = { .iov_base = (void *)(uintptr_t)buf,
			     .iov_len = len };

	return store_pwritev(s, &iov, 1, off, flags, err);
}

int store_flush(struct qcow2_store *s, struct qcow2_error *err)
{
	int rc = store_check_here(s, err);

	if (rc < 0 || s->read_only)
		return rc;
	rc = s->ops.flush ? s->ops.flush(s->self) : -ENOTSUP;
	checked_rc(rc);
	return rc < 0 ? fail(s, rc, "flush", err) : 0;
}

/* Zeroing never changes the size, so the plain writes stop at the end. */
static int write_zeros_inside(struct qcow2_store *s, uint64_t len, uint64_t off,
			      unsigned flags, struct qcow2_error *err)
{
	static const uint8_t zeros[ZEROS_SIZE];
	uint64_t size;
	uint64_t end;
	int rc = store_size(s, &size, err);

	if (rc < 0)
		return rc;
	end = min_u64(off + len, size);
	while (off < end) {
		size_t n = (size_t)min_u64(end - off, sizeof(zeros));

		rc = store_pwrite(s, zeros, n, off, flags, err);
		if (rc < 0)
			return rc;
		off += n;
	}
	return 0;
}

int store_zero(struct qcow2_store *s, uint64_t len, uint64_t off,
	       unsigned flags, struct qcow2_error *err)
{
	int rc;

	assert(range_is_sane(off, len));
	assert((flags & ~ZERO_FLAGS) == 0);
	rc = check_change(s, err);
	if (rc < 0 || len == 0)
		return rc;
	rc = s->ops.zero ? s->ops.zero(s->self, len, off, flags) : -ENOTSUP;
	checked_rc(rc);
	if (rc == -ENOTSUP && !(flags & QCOW2_STORE_NO_FALLBACK))
		return write_zeros_inside(s, len, off, flags & WRITE_FLAGS,
					  err);
	return rc < 0 ? fail_range(s, rc, "zero", len, off, err) : 0;
}

int store_truncate(struct qcow2_store *s, uint64_t size,
		   struct qcow2_error *err)
{
	int rc;

	assert(range_is_sane(size, 0));
	rc = check_change(s, err);
	if (rc < 0)
		return rc;
	rc = s->ops.truncate ? s->ops.truncate(s->self, size) : -ENOTSUP;
	checked_rc(rc);
	if (rc < 0)
		return error_set(err, rc,
				 "%s: cannot set the size to %" PRIu64
				 " bytes: %s",
				 s->label, size, ERRNO_TEXT(rc));
	return 0;
}

int store_size(struct qcow2_store *s, uint64_t *size, struct qcow2_error *err)
{
	uint64_t answer = 0;
	int rc = store_check_here(s, err);

	if (rc < 0)
		return rc;
	rc = checked_rc(s->ops.size(s->self, &answer));
	if (rc < 0)
		return fail(s, rc, "find the size", err);
	/* The number may come from far away, so it is input, not ours. */
	if (!range_is_sane(answer, 0))
		return error_set(err, -EFBIG,
				 "%s: its size of %" PRIu64
				 " bytes is beyond 2^63-1",
				 s->label, answer);
	*size = answer;
	return 0;
}

int store_allocated(struct qcow2_store *s, uint64_t *bytes,
		    struct qcow2_error *err)
{
	int rc = store_check_here(s, err);

	if (rc < 0)
		return rc;
	if (!s->ops.allocated)
		return store_size(s, bytes, err);
	rc = checked_rc(s->ops.allocated(s->self, bytes));
	return rc < 0 ? fail(s, rc, "find the space in use", err) : 0;
}

int store_extent(struct qcow2_store *s, uint64_t *len, uint64_t off,
		 bool *is_data, struct qcow2_error *err)
{
	uint64_t answer = *len;
	int data = 1;
	int rc;

	assert(*len > 0 && range_is_sane(off, *len));
	rc = store_check_here(s, err);
	if (rc < 0)
		return rc;
	rc = s->ops.extent ? s->ops.extent(s->self, off, &answer, &data)
			   : -ENOTSUP;
	checked_rc(rc);
	if (rc == -ENOTSUP) {
		*is_data = true;
		return 0;
	}
	if (rc < 0)
		return fail_range(s, rc, "find the holes in", *len, off, err);
	assert(answer > 0 && answer <= *len);
	*len = answer;
	*is_data = data != 0;
	return 0;
}

int store_lock(struct qcow2_store *s, enum qcow2_store_lock lock,
	       struct qcow2_error *err)
{
	struct qcow2_error reason = { 0 };
	int rc;

	assert(lock == QCOW2_STORE_UNLOCK || lock == QCOW2_STORE_LOCK_READ ||
	       lock == QCOW2_STORE_LOCK_WRITE);
	rc = store_check_here(s, err);
	if (rc < 0 || !s->ops.lock)
		return rc;
	rc = checked_rc(s->ops.lock(s->self, lock, &reason));
	if (rc == 0) {
		s->is_locked = lock != QCOW2_STORE_UNLOCK;
		return 0;
	}
	if (reason.code == 0)
		return fail(s, rc, "lock", err);
	return error_set(err, rc, "%s: %.*s", s->label,
			 (int)sizeof(reason.message) - 1, reason.message);
}

int store_fd(struct qcow2_store *s)
{
	int fd = s->ops.fd && store_is_here(s) ? s->ops.fd(s->self) : -1;

	assert(fd >= -1);
	return fd;
}
