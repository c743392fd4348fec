#include "store/unsynced.h"

#include <errno.h>

#include "store/store.h"

/* This store has the name of the one below, whose message would say once more
 * what store_*() say of this one: the number is enough. */

static int unsynced_preadv(void *self, const struct iovec *iov, int iovcnt,
			   uint64_t off, unsigned flags,
			   struct qcow2_error *err)
{
	(void)err;
	return store_preadv(self, iov, iovcnt, off, flags, NULL);
}

static int unsynced_pwritev(void *self, const struct iovec *iov, int iovcnt,
			    uint64_t off, unsigned flags,
			    struct qcow2_error *err)
{
	(void)err;
	return store_pwritev(self, iov, iovcnt, off, flags, NULL);
}

static int unsynced_flush(void *self, struct qcow2_error *err)
{
	(void)err;
	(void)self;
	return 0;
}

static int unsynced_zero(void *self, uint64_t len, uint64_t off, unsigned flags,
			 struct qcow2_error *err)
{
	(void)err;
	return store_zero(self, len, off, flags, NULL);
}

static int unsynced_truncate(void *self, uint64_t size, struct qcow2_error *err)
{
	(void)err;
	return store_truncate(self, size, NULL);
}

static int unsynced_size(void *self, uint64_t *size, struct qcow2_error *err)
{
	(void)err;
	return store_size(self, size, NULL);
}

static int unsynced_allocated(void *self, uint64_t *bytes,
			      struct qcow2_error *err)
{
	(void)err;
	return store_allocated(self, bytes, NULL);
}

static int unsynced_extent(void *self, uint64_t *len, uint64_t off,
			   int *is_data, struct qcow2_error *err)
{
	bool data;
	int rc = store_extent(self, len, off, &data, NULL);

	(void)err;
	*is_data = data;
	return rc;
}

static int unsynced_fd(void *self)
{
	return store_fd(self);
}

static int unsynced_identity(void *self, uint64_t *device, uint64_t *number)
{
	struct store_identity id;

	if (!store_identity(self, &id))
		return -ENOTSUP;
	*device = id.device;
	*number = id.number;
	return 0;
}

static void unsynced_close(void *self)
{
	store_unref(self);
}

static const struct qcow2_store_ops unsynced_ops = {
	.struct_size = sizeof(unsynced_ops),
	.preadv = unsynced_preadv,
	.pwritev = unsynced_pwritev,
	.flush = unsynced_flush,
	.zero = unsynced_zero,
	.truncate = unsynced_truncate,
	.size = unsynced_size,
	.allocated = unsynced_allocated,
	.extent = unsynced_extent,
	.fd = unsynced_fd,
	.identity = unsynced_identity,
	.close = unsynced_close,
};

int store_new_unsynced(struct qcow2_store *below, struct qcow2_store **out,
		       struct qcow2_error *err)
{
	int rc = store_new(&unsynced_ops, store_ref(below), store_name(below),
			   store_is_read_only(below), out, err);

	if (rc < 0)
		store_unref(below);
	else
		store_set_abandon(*out, unsynced_close);
	return rc;
}
