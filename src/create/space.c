/*
 * Room for a new image: files are emptied and sized, devices are zeroed where
 * the image will be.
 */
#include <errno.h>

#include "base/checked.h"
#include "create/plan.h"
#include "store/store.h"

/* Sets the size, if this is a store whose size can be set. */
static int space_set_size(struct qcow2_store *store, uint64_t size,
			  struct qcow2_error *err)
{
	struct qcow2_error reason = { 0 };
	int rc = store_truncate(store, size, &reason);

	if (rc == -ENOTSUP)
		return 0;
	if (rc < 0 && err)
		*err = reason;
	return rc;
}

/* A store that cannot be truncated keeps old contents; the first sector of an
 * image must not survive the tables behind it. */
static int wipe_magic(struct qcow2_store *store, uint64_t size,
		      struct qcow2_error *err)
{
	static const uint8_t zeros[SECTOR_BYTES];
	size_t len = (size_t)min_u64(size, sizeof(zeros));

	return store_pwrite(store, zeros, len, 0, 0, err);
}

/* If setting the size had no effect, a write at the end either reaches it or
 * returns the cause. */
static int reach_size(struct qcow2_store *store, uint64_t size,
		      struct qcow2_error *err)
{
	static const uint8_t zero;
	uint64_t now;
	int rc = space_set_size(store, size, err);

	if (!rc)
		rc = store_size(store, &now, err);
	if (rc < 0 || now >= size)
		return rc;
	return store_pwrite(store, &zero, 1, size - 1, 0, err);
}

int create_space_empty(struct qcow2_store *store, uint64_t size, bool *zeroed,
		       struct qcow2_error *err)
{
	uint64_t old;
	uint64_t kept = 0;
	int rc = store_size(store, &old, err);

	if (!rc && old)
		rc = space_set_size(store, 0, err);
	if (!rc && old)
		rc = store_size(store, &kept, err);
	if (!rc && kept)
		rc = wipe_magic(store, kept, err);
	if (!rc && old)
		rc = store_flush(store, err);
	if (rc < 0)
		return rc;
	*zeroed = kept == 0;
	return reach_size(store, size, err);
}

int create_space_fill(struct qcow2_store *store, uint64_t size, bool zeroed,
		      enum qcow2_preallocation mode, struct qcow2_error *err)
{
	bool reserves = mode == QCOW2_PREALLOC_FULL ||
			mode == QCOW2_PREALLOC_FALLOC;

	if (zeroed && !reserves)
		return 0;
	return store_preallocate(store, size, 0, mode, err);
}
