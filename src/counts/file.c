#include "counts/file.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "counts/view.h"
#include "store/store.h"

int refcounts_tell_new(struct refcounts *r, uint64_t len, uint64_t host_off,
		       struct qcow2_error *err)
{
	return r->owner.new_metadata(r->owner.opaque, len, host_off, err);
}

void refcounts_tell_old(struct refcounts *r, uint64_t len, uint64_t host_off)
{
	r->owner.old_metadata(r->owner.opaque, len, host_off);
}

int refcounts_check(const struct refcounts *r, struct qcow2_error *err)
{
	if (!r->broken)
		return 0;
	return error_set(err, r->broken,
			 "the image takes no more refcount blocks until it is "
			 "opened again: flushing the file failed");
}

int refcounts_barrier(struct refcounts *r, struct qcow2_error *err)
{
	int rc = store_flush(r->file, err);

	assert(rc <= 0);
	if (rc < 0)
		r->broken = rc;
	return rc;
}

uint64_t refcounts_take_end(struct refcounts *r, uint64_t n,
			    uint64_t min_cluster)
{
	uint32_t bits = r->geo->cluster_bits;
	SCOPED_LOCK(&r->lock);
	SCOPED_VALIDATE(refcounts, r);
	uint64_t first = max_u64(r->high_water >> bits, min_cluster);

	r->high_water = (first + n) << bits;
	return first;
}

/* Later changes of the file's size must know of it, or would cut it off
 * again. */
int refcounts_write_end(struct refcounts *r, const void *buf, size_t len,
			uint64_t host_off, struct qcow2_error *err)
{
	int rc;

	assert(host_off + len <= r->high_water);
	rc = store_pwrite(r->file, buf, len, host_off, 0, err);

	if (rc == 0)
		r->file_size = max_u64(r->file_size, host_off + len);
	return rc;
}

int refcounts_extend_to(struct refcounts *r, uint64_t end,
			struct qcow2_error *err)
{
	int rc;

	/* It is extended over what was claimed, and no further. */
	assert(end <= r->high_water);
	if (end <= r->file_size)
		return 0;
	rc = store_truncate(r->file, end, err);
	if (rc == -ENOTSUP)
		return error_set(err, -ENOSPC,
				 "the image needs %" PRIu64
				 " bytes and cannot grow beyond %" PRIu64,
				 end, r->file_size);
	if (rc == 0)
		r->file_size = end;
	return rc;
}

static void write_entry_later(struct refcounts *r, uint64_t index)
{
	SCOPED_LOCK(&r->lock);
	SCOPED_VALIDATE(refcounts, r);

	refcounts_table_changed(r, index);
}

int refcounts_write_entry(struct refcounts *r, uint64_t index,
			  uint64_t host_off, struct qcow2_error *err)
{
	uint8_t entry[REFCOUNT_TABLE_ENTRY_BYTES];
	int rc;

	assert(index < r->n_table);
	assert(is_aligned(host_off, r->geo->cluster_size));
	put_be64(entry, host_off);
	rc = store_pwrite(r->file, entry, sizeof(entry),
			  r->place.off + index * sizeof(entry), 0, err);
	if (rc < 0)
		write_entry_later(r, index);
	return rc;
}
