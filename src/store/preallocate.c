/*
 * Zeros that are to have space on the host, or not.
 */
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "store/store.h"

#define PREALLOCATE_BYTES (UINT64_C(4) << 20)

static int preallocate_write(struct qcow2_store *s, uint64_t len, uint64_t off,
			     struct qcow2_error *err)
{
	uint64_t most = min_u64(len, PREALLOCATE_BYTES);
	CLEANUP_FREE uint8_t *zeros = alloc_zeroed(1, most);
	int rc = 0;

	if (!zeros)
		return error_nomem(err, "zeros to write", most);
	for (uint64_t done = 0; rc == 0 && done < len; done += most)
		rc = store_pwrite(s, zeros, to_size(min_u64(most, len - done)),
				  off + done, 0, err);
	return rc;
}

int store_preallocate(struct qcow2_store *s, uint64_t len, uint64_t off,
		      enum qcow2_preallocation mode, struct qcow2_error *err)
{
	if (len == 0)
		return 0;
	if (mode == QCOW2_PREALLOC_FULL)
		return preallocate_write(s, len, off, err);
	/* Zeroing without giving space back reserves it. */
	return store_zero(s, len, off,
			  mode == QCOW2_PREALLOC_FALLOC ? 0 : QCOW2_STORE_UNMAP,
			  err);
}
