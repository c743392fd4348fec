/*
 * The public functions of stores: argument checks over store/.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/options.h"
#include "base/range.h"
#include "store/file.h"
#include "store/mem.h"
#include "store/store.h"

#define OPEN_FLAGS                                                    \
	(QCOW2_STORE_RDWR | QCOW2_STORE_CREATE | QCOW2_STORE_DIRECT | \
	 QCOW2_STORE_NO_FLUSH)
#define TRANSFER_FLAGS QCOW2_STORE_NOWAIT

static int api_store_check_flags(unsigned flags, unsigned known,
				 struct qcow2_error *err)
{
	if ((flags & ~known) == 0)
		return 0;
	return error_set(err, -EINVAL,
			 "flags 0x%x: this version does not know 0x%x", flags,
			 flags & ~known);
}

static int missing(const char *what, struct qcow2_error *err)
{
	return error_set(err, -EINVAL, "%s is NULL", what);
}

int qcow2_store_new(const struct qcow2_store_ops *ops, void *self,
		    struct qcow2_store **out, struct qcow2_error *err)
{
	struct qcow2_store_ops known;
	int rc;

	if (!ops)
		return missing("ops", err);
	if (!out)
		return missing("out", err);
	rc = options_copy(&known, sizeof(known), ops, "struct qcow2_store_ops",
			  err);
	if (rc < 0)
		return rc;
	if (!known.preadv)
		return missing("struct qcow2_store_ops: preadv", err);
	if (!known.size)
		return missing("struct qcow2_store_ops: size", err);
	return store_new(&known, self, known.name ? known.name : "custom store",
			 !known.pwritev, out, err);
}

/* CREATE without RDWR would make a file that nobody could fill. */
static int api_store_check_open(const char *name, unsigned flags,
				struct qcow2_store **out,
				struct qcow2_error *err)
{
	if (!name)
		return missing("the file name", err);
	if (!out)
		return missing("out", err);
	if ((flags & QCOW2_STORE_CREATE) && !(flags & QCOW2_STORE_RDWR))
		return error_set(err, -EINVAL,
				 "QCOW2_STORE_CREATE needs QCOW2_STORE_RDWR");
	return api_store_check_flags(flags, OPEN_FLAGS, err);
}

int qcow2_store_open_file(const char *path, unsigned flags,
			  struct qcow2_store **out, struct qcow2_error *err)
{
	int rc = api_store_check_open(path, flags, out, err);

	return rc < 0 ? rc : store_file_open(path, flags, out, err);
}

int qcow2_store_open_fd(int fd, const char *name, unsigned flags,
			struct qcow2_store **out, struct qcow2_error *err)
{
	int rc = api_store_check_open(name, flags, out, err);

	if (rc < 0)
		return rc;
	if (fd < 0)
		return error_set(err, -EBADF, "descriptor %d is not open", fd);
	return store_file_from_fd(fd, name, flags, out, err);
}

int qcow2_store_new_memory(struct qcow2_store **out, struct qcow2_error *err)
{
	return out ? store_mem_new(out, err) : missing("out", err);
}

int qcow2_store_new_memory_named(const char *name, struct qcow2_store **out,
				 struct qcow2_error *err)
{
	if (!name)
		return missing("the name", err);
	return out ? store_mem_new_named(name, out, err) : missing("out", err);
}

struct qcow2_store *qcow2_store_ref(struct qcow2_store *store)
{
	return store ? store_ref(store) : NULL;
}

void qcow2_store_unref(struct qcow2_store *store)
{
	store_unref(store);
}

static int check_transfer(const struct qcow2_store *store, const void *buf,
			  size_t len, uint64_t off, unsigned flags,
			  struct qcow2_error *err)
{
	if (!store)
		return missing("store", err);
	if (!buf && len)
		return missing("buf", err);
	if (!range_is_sane(off, len))
		return error_set(err, -EINVAL,
				 "%zu bytes at offset %" PRIu64
				 " end beyond 2^63-1",
				 len, off);
	return api_store_check_flags(flags, TRANSFER_FLAGS, err);
}

int qcow2_store_pread(struct qcow2_store *store, void *buf, size_t len,
		      uint64_t off, unsigned flags, struct qcow2_error *err)
{
	int rc = check_transfer(store, buf, len, off, flags, err);

	return rc < 0 ? rc : store_pread(store, buf, len, off, flags, err);
}

int qcow2_store_pwrite(struct qcow2_store *store, const void *buf, size_t len,
		       uint64_t off, unsigned flags, struct qcow2_error *err)
{
	int rc = check_transfer(store, buf, len, off, flags, err);

	return rc < 0 ? rc : store_pwrite(store, buf, len, off, flags, err);
}

int qcow2_store_size(struct qcow2_store *store, uint64_t *size,
		     struct qcow2_error *err)
{
	if (!store)
		return missing("store", err);
	if (!size)
		return missing("size", err);
	return store_size(store, size, err);
}

int qcow2_store_flush(struct qcow2_store *store, struct qcow2_error *err)
{
	return store ? store_flush(store, err) : missing("store", err);
}

int qcow2_store_truncate(struct qcow2_store *store, uint64_t size,
			 struct qcow2_error *err)
{
	if (!store)
		return missing("store", err);
	if (!range_is_sane(size, 0))
		return error_set(err, -EINVAL,
				 "a size of %" PRIu64 " bytes is beyond 2^63-1",
				 size);
	return store_truncate(store, size, err);
}
