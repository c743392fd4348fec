/*
 * The calls: the contract checked on both sides.  The caller's part is
 * asserted.  A store's answers may come from foreign code, so an impossible
 * answer is -EIO and a message that quotes it.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "base/error.h"
#include "base/range.h"
#include "store/store.h"
#include "store/store_impl.h"

#define READ_FLAGS QCOW2_STORE_NOWAIT
#define WRITE_FLAGS QCOW2_STORE_NOWAIT
#define ZERO_FLAGS \
	(QCOW2_STORE_NOWAIT | QCOW2_STORE_UNMAP | QCOW2_STORE_NO_FALLBACK)

#define ZEROS_SIZE 65536

/* A store has given no reason until it writes a message. */
static void reason_clear(struct qcow2_error *reason)
{
	reason->code = 0;
	reason->message[0] = '\0';
}

/* The answer of operation @op, which is 0 or a negative errno. */
static int answer(int rc, const char *op, struct qcow2_error *reason)
{
	if (rc <= 0 && rc >= -ERRNO_LIMIT)
		return rc;
	return error_set(reason, -EIO,
			 "%s returned %d, expected 0 or a negative errno", op,
			 rc);
}

/* A number that no store can have. */
static int answer_number(int rc, uint64_t number, const char *op,
			 struct qcow2_error *reason)
{
	if (rc < 0 || range_is_sane(number, 0))
		return rc;
	return error_set(reason, -EIO,
			 "%s answered %" PRIu64 ", which is beyond 2^63-1", op,
			 number);
}

/* The store's own words, else those of the errno value. */
static const char *words(int rc, struct qcow2_error *reason)
{
	reason->message[sizeof(reason->message) - 1] = '\0';
	return reason->message[0] ? reason->message : error_words(-rc);
}

static int call_fail(const struct qcow2_store *s, int rc, const char *what,
		     const char *why, struct qcow2_error *err)
{
	return error_set(err, rc, "%s: cannot %s: %s", s->label, what, why);
}

int call_fail_range(const struct qcow2_store *s, int rc, const char *what,
		    uint64_t len, uint64_t off, const char *why,
		    struct qcow2_error *err)
{
	return error_set(err, rc,
			 "%s: cannot %s %" PRIu64 " bytes at offset %" PRIu64
			 ": %s",
			 s->label, what, len, off, why);
}

static int call_check_change(const struct qcow2_store *s,
			     struct qcow2_error *err)
{
	if (s->read_only)
		return error_set(err, -EBADF, "%s: is open read-only",
				 s->label);
	return store_check_here(s, err);
}

/* To wait, or not to have the operation, is no failure. */
int call_count(struct qcow2_store *s, int rc, enum store_number kind,
	       uint64_t len)
{
	if (rc == 0)
		tally_count(&s->done, kind, len);
	else if (rc != -EAGAIN && rc != -ENOTSUP)
		tally_add(&s->done, STORE_FAILED, 1);
	return rc;
}

int store_preadv(struct qcow2_store *s, const struct iovec *iov, int iovcnt,
		 uint64_t off, unsigned flags, struct qcow2_error *err)
{
	uint64_t len = iov_len(iov, iovcnt);
	struct qcow2_error reason;
	int rc;

	assert(range_is_sane(off, len));
	assert((flags & ~READ_FLAGS) == 0);
	rc = store_check_here(s, err);
	if (rc < 0 || len == 0)
		return rc;
	reason_clear(&reason);
	rc = s->ops.preadv(s->self, iov, iovcnt, off, flags, &reason);
	rc = call_count(s, answer(rc, "preadv", &reason), STORE_READS, len);
	return rc < 0 ? call_fail_range(s, rc, "read", len, off,
					words(rc, &reason), err)
		      : 0;
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
		struct iovec iov[IOV_COUNT];
		int n;
		uint64_t part = iov_take(dst, len, iov, IOV_COUNT, &n);
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
	uint64_t len = iov_len(iov, iovcnt);
	struct qcow2_error reason;
	int rc;

	assert(range_is_sane(off, len));
	assert((flags & ~WRITE_FLAGS) == 0);
	rc = call_check_change(s, err);
	if (rc < 0 || len == 0)
		return rc;
	reason_clear(&reason);
	rc = s->ops.pwritev
		     ? s->ops.pwritev(s->self, iov, iovcnt, off, flags, &reason)
		     : -ENOTSUP;
	rc = call_count(s, answer(rc, "pwritev", &reason), STORE_WRITES, len);
	return rc < 0 ? call_fail_range(s, rc, "write", len, off,
					words(rc, &reason), err)
		      : 0;
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
	struct qcow2_error reason;
	int rc = store_check_here(s, err);

	if (rc < 0 || s->read_only)
		return rc;
	reason_clear(&reason);
	rc = s->ops.flush ? s->ops.flush(s->self, &reason) : -ENOTSUP;
	rc = answer(rc, "flush", &reason);
	tally_add(&s->done, rc < 0 ? STORE_FAILED : STORE_FLUSHES, 1);
	return rc < 0 ? call_fail(s, rc, "flush", words(rc, &reason), err) : 0;
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
	struct qcow2_error reason;
	int rc;

	assert(range_is_sane(off, len));
	assert((flags & ~ZERO_FLAGS) == 0);
	rc = call_check_change(s, err);
	if (rc < 0 || len == 0)
		return rc;
	reason_clear(&reason);
	rc = s->ops.zero ? s->ops.zero(s->self, len, off, flags, &reason)
			 : -ENOTSUP;
	rc = call_count(s, answer(rc, "zero", &reason), STORE_ZEROES, len);
	if (rc == -ENOTSUP && !(flags & QCOW2_STORE_NO_FALLBACK))
		return write_zeros_inside(s, len, off, flags & WRITE_FLAGS,
					  err);
	return rc < 0 ? call_fail_range(s, rc, "zero", len, off,
					words(rc, &reason), err)
		      : 0;
}

int store_truncate(struct qcow2_store *s, uint64_t size,
		   struct qcow2_error *err)
{
	struct qcow2_error reason;
	int rc;

	assert(range_is_sane(size, 0));
	rc = call_check_change(s, err);
	if (rc < 0)
		return rc;
	reason_clear(&reason);
	rc = s->ops.truncate ? s->ops.truncate(s->self, size, &reason)
			     : -ENOTSUP;
	rc = answer(rc, "truncate", &reason);
	if (rc < 0)
		return error_set(err, rc,
				 "%s: cannot set the size to %" PRIu64
				 " bytes: %s",
				 s->label, size, words(rc, &reason));
	return 0;
}

int store_size(struct qcow2_store *s, uint64_t *size, struct qcow2_error *err)
{
	struct qcow2_error reason;
	uint64_t number = 0;
	int rc = store_check_here(s, err);

	if (rc < 0)
		return rc;
	reason_clear(&reason);
	rc = s->ops.size(s->self, &number, &reason);
	rc = answer(rc, "size", &reason);
	rc = answer_number(rc, number, "size", &reason);
	if (rc < 0)
		return call_fail(s, rc, "find the size", words(rc, &reason),
				 err);
	*size = number;
	return 0;
}

int store_allocated(struct qcow2_store *s, uint64_t *bytes,
		    struct qcow2_error *err)
{
	struct qcow2_error reason;
	uint64_t number = 0;
	int rc = store_check_here(s, err);

	if (rc < 0)
		return rc;
	if (!s->ops.allocated)
		return store_size(s, bytes, err);
	reason_clear(&reason);
	rc = s->ops.allocated(s->self, &number, &reason);
	rc = answer(rc, "allocated", &reason);
	rc = answer_number(rc, number, "allocated", &reason);
	if (rc < 0)
		return call_fail(s, rc, "find the space in use",
				 words(rc, &reason), err);
	*bytes = number;
	return 0;
}

/* Part of the wish, and not nothing. */
static int answer_extent(int rc, uint64_t len, uint64_t wish,
			 struct qcow2_error *reason)
{
	if (rc < 0 || (len > 0 && len <= wish))
		return rc;
	return error_set(reason, -EIO,
			 "extent answered a length of %" PRIu64
			 ", expected 1 to %" PRIu64,
			 len, wish);
}

int store_extent(struct qcow2_store *s, uint64_t *len, uint64_t off,
		 bool *is_data, struct qcow2_error *err)
{
	struct qcow2_error reason;
	uint64_t part = *len;
	int data = 1;
	int rc;

	assert(*len > 0 && range_is_sane(off, *len));
	rc = store_check_here(s, err);
	if (rc < 0)
		return rc;
	reason_clear(&reason);
	rc = s->ops.extent ? s->ops.extent(s->self, &part, off, &data, &reason)
			   : -ENOTSUP;
	rc = answer(rc, "extent", &reason);
	if (rc == -ENOTSUP) {
		*is_data = true;
		return 0;
	}
	rc = answer_extent(rc, part, *len, &reason);
	if (rc < 0)
		return call_fail_range(s, rc, "find the holes in", *len, off,
				       words(rc, &reason), err);
	*len = part;
	*is_data = data != 0;
	return 0;
}

int store_lock(struct qcow2_store *s, enum qcow2_store_lock lock,
	       struct qcow2_error *err)
{
	struct qcow2_error reason;
	int rc;

	assert(lock == QCOW2_STORE_UNLOCK || lock == QCOW2_STORE_LOCK_READ ||
	       lock == QCOW2_STORE_LOCK_WRITE);
	rc = store_check_here(s, err);
	if (rc < 0 || !s->ops.lock)
		return rc;
	reason_clear(&reason);
	rc = s->ops.lock(s->self, lock, &reason);
	rc = answer(rc, "lock", &reason);
	if (rc == 0) {
		s->is_locked = lock != QCOW2_STORE_UNLOCK;
		return 0;
	}
	return error_reason(
		err, rc, rc == -EBUSY ? QCOW2_REASON_LOCKED : QCOW2_REASON_NONE,
		"%s: %s%s", s->label,
		reason.message[0] ? "" : "cannot lock: ", words(rc, &reason));
}

int store_fd(struct qcow2_store *s)
{
	int fd = s->ops.fd && store_is_here(s) ? s->ops.fd(s->self) : -1;

	return fd < 0 ? -1 : fd;
}
