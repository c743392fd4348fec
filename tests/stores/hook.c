#include "stores/hook.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/iov.h"
#include "store/store.h"

struct hooked {
	struct qcow2_store *inner;
	struct hook hook;
};

/* The call below; everything it needs besides the call is in `out`. */
union result {
	uint64_t *number;
	struct {
		uint64_t *len;
		int *is_data;
	} extent;
	struct {
		enum qcow2_store_lock kind;
		struct qcow2_error *err;
	} lock;
};

const char *store_op_name(enum store_op op)
{
	static const char *const names[STORE_N_OPS] = {
		[STORE_OP_READ] = "read",
		[STORE_OP_WRITE] = "write",
		[STORE_OP_FLUSH] = "flush",
		[STORE_OP_ZERO] = "zero",
		[STORE_OP_TRUNCATE] = "truncate",
		[STORE_OP_SIZE] = "size",
		[STORE_OP_ALLOCATED] = "allocated",
		[STORE_OP_EXTENT] = "extent",
		[STORE_OP_LOCK] = "lock",
	};

	return names[op];
}

static int extent_below(struct qcow2_store *inner, uint64_t off, uint64_t *len,
			int *is_data)
{
	bool data = true;
	int rc = store_extent(inner, len, off, &data, NULL);

	*is_data = data;
	return rc;
}

static int call_below(struct qcow2_store *s, const struct store_call *c,
		      union result out)
{
	switch (c->op) {
	case STORE_OP_READ:
		return store_preadv(s, c->iov, c->iovcnt, c->off, c->flags,
				    NULL);
	case STORE_OP_WRITE:
		return store_pwritev(s, c->iov, c->iovcnt, c->off, c->flags,
				     NULL);
	case STORE_OP_FLUSH:
		return store_flush(s, NULL);
	case STORE_OP_ZERO:
		return store_zero(s, c->len, c->off, c->flags, NULL);
	case STORE_OP_TRUNCATE:
		return store_truncate(s, c->off, NULL);
	case STORE_OP_SIZE:
		return store_size(s, out.number, NULL);
	case STORE_OP_ALLOCATED:
		return store_allocated(s, out.number, NULL);
	case STORE_OP_EXTENT:
		return extent_below(s, c->off, out.extent.len,
				    out.extent.is_data);
	case STORE_OP_LOCK:
		return store_lock(s, out.lock.kind, out.lock.err);
	case STORE_N_OPS:
		break;
	}
	abort();
}

/* The first @part bytes of a read, write or zeroing. */
static void transfer_part(struct qcow2_store *s, const struct store_call *c,
			  uint64_t part)
{
	uint64_t off = c->off;
	uint64_t left = min_u64(part, c->len);
	struct iov_cursor cursor = iov_cursor_init(c->iov, c->iovcnt);

	if (c->op == STORE_OP_ZERO)
		store_zero(s, left, off, c->flags, NULL);
	if (c->op != STORE_OP_READ && c->op != STORE_OP_WRITE)
		return;
	while (left) {
		struct iovec piece = iov_next(&cursor, left);
		struct store_call sub = *c;

		sub.iov = &piece;
		sub.iovcnt = 1;
		sub.off = off;
		if (call_below(s, &sub, (union result){ 0 }) < 0)
			return;
		off += piece.iov_len;
		left -= piece.iov_len;
	}
}

static int run(struct hooked *h, const struct store_call *c, union result out)
{
	struct hook_answer a = h->hook.enter(h->hook.opaque, c);
	int rc = a.code;

	if (a.what == HOOK_PASS)
		rc = call_below(h->inner, c, out);
	else if (a.what == HOOK_SHORT)
		transfer_part(h->inner, c, a.part);
	if (h->hook.leave)
		h->hook.leave(h->hook.opaque, c, a.token, rc);
	return rc;
}

static int transfer(struct hooked *h, enum store_op op, const struct iovec *iov,
		    int iovcnt, uint64_t off, unsigned flags)
{
	struct store_call c = { .op = op,
				.flags = flags,
				.off = off,
				.len = iov_len(iov, iovcnt),
				.iov = iov,
				.iovcnt = iovcnt };

	return run(h, &c, (union result){ 0 });
}

static int hooked_preadv(void *self, const struct iovec *iov, int iovcnt,
			 uint64_t off, unsigned flags, struct qcow2_error *err)
{
	(void)err;
	return transfer(self, STORE_OP_READ, iov, iovcnt, off, flags);
}

static int hooked_pwritev(void *self, const struct iovec *iov, int iovcnt,
			  uint64_t off, unsigned flags, struct qcow2_error *err)
{
	(void)err;
	return transfer(self, STORE_OP_WRITE, iov, iovcnt, off, flags);
}

static int hooked_flush(void *self, struct qcow2_error *err)
{
	struct store_call c = { .op = STORE_OP_FLUSH };

	(void)err;
	return run(self, &c, (union result){ 0 });
}

static int hooked_zero(void *self, uint64_t len, uint64_t off, unsigned flags,
		       struct qcow2_error *err)
{
	struct store_call c = {
		.op = STORE_OP_ZERO, .flags = flags, .off = off, .len = len
	};

	(void)err;
	return run(self, &c, (union result){ 0 });
}

static int hooked_truncate(void *self, uint64_t size, struct qcow2_error *err)
{
	struct store_call c = { .op = STORE_OP_TRUNCATE, .off = size };

	(void)err;
	return run(self, &c, (union result){ 0 });
}

static int hooked_size(void *self, uint64_t *size, struct qcow2_error *err)
{
	struct store_call c = { .op = STORE_OP_SIZE };

	(void)err;
	return run(self, &c, (union result){ .number = size });
}

static int hooked_allocated(void *self, uint64_t *bytes,
			    struct qcow2_error *err)
{
	struct store_call c = { .op = STORE_OP_ALLOCATED };

	(void)err;
	return run(self, &c, (union result){ .number = bytes });
}

static int hooked_extent(void *self, uint64_t *len, uint64_t off, int *is_data,
			 struct qcow2_error *err)
{
	struct store_call c = { .op = STORE_OP_EXTENT,
				.off = off,
				.len = *len };
	union result out = { .extent = { len, is_data } };

	(void)err;
	return run(self, &c, out);
}

static int hooked_lock(void *self, enum qcow2_store_lock kind,
		       struct qcow2_error *err)
{
	struct store_call c = { .op = STORE_OP_LOCK, .flags = (unsigned)kind };
	union result out = { .lock = { kind, err } };

	return run(self, &c, out);
}

/* No descriptor: copy offload would go past the hook. */
static void hooked_close(void *self)
{
	struct hooked *h = self;

	store_unref(h->inner);
	if (h->hook.release)
		h->hook.release(h->hook.opaque);
	free(h);
}

static const struct qcow2_store_ops hooked_ops = {
	.struct_size = sizeof(hooked_ops),
	.preadv = hooked_preadv,
	.pwritev = hooked_pwritev,
	.flush = hooked_flush,
	.zero = hooked_zero,
	.truncate = hooked_truncate,
	.size = hooked_size,
	.allocated = hooked_allocated,
	.extent = hooked_extent,
	.lock = hooked_lock,
	.close = hooked_close,
};

int hook_store_new(struct qcow2_store *inner, const struct hook *hook,
		   struct qcow2_store **out)
{
	struct hooked *h = calloc(1, sizeof(*h));
	int rc;

	if (!h)
		return -ENOMEM;
	h->inner = store_ref(inner);
	h->hook = *hook;
	rc = store_new(&hooked_ops, h, store_name(inner),
		       store_is_read_only(inner), out, NULL);
	if (rc < 0) {
		store_unref(h->inner);
		free(h);
	}
	return rc;
}
