#include "ops/target.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "base/error.h"
#include "base/text.h"
#include "base/zero.h"
#include "store/store.h"

/* Host file systems allocate in blocks of this size: smaller holes are none. */
#define UNIT_BYTES_MAX 4096

/* On a target that does not read as zeros, zeros in the midst of data are
 * written with it unless there are this many: one more write is cheaper than
 * taking two apart for a call that zeroes. */
#define ZERO_CALL_BYTES_MIN (64 * 1024)

/*
 * Finds out in *emptied whether the store is now of size 0; a device keeps the
 * size it has.  A file that is empty already is left alone: ext4 takes
 * truncating it for the rewriting of an old file, and writes it all to the
 * disk when it is closed.
 */
static int target_empty(struct qcow2_store *store, bool *emptied,
			struct qcow2_error *err)
{
	uint64_t size;
	int rc = store_size(store, &size, err);

	if (rc == 0 && size)
		rc = store_truncate(store, 0, err);
	if (rc == 0 && size)
		rc = store_size(store, &size, err);
	*emptied = rc == 0 && size == 0;
	return rc == -ENOTSUP ? 0 : rc;
}

static int fixed_size(struct target *t, uint64_t size_bytes,
		      struct qcow2_error *err)
{
	const char *name = store_name(t->store);
	uint64_t room;
	int rc = store_size(t->store, &room, err);

	if (rc < 0)
		return rc;
	if (room < size_bytes)
		return error_set(err, -ENOSPC,
				 "%s: has %" PRIu64
				 " bytes, the disk needs %" PRIu64,
				 TEXT(name, strlen(name)), room, size_bytes);
	if (!t->write_all)
		t->reads_zero =
			store_zero(t->store, size_bytes, 0,
				   QCOW2_STORE_UNMAP | QCOW2_STORE_NO_FALLBACK,
				   NULL) == 0;
	if (!t->reads_zero)
		t->hole_bytes = max_u64(t->hole_bytes, ZERO_CALL_BYTES_MIN);
	return 0;
}

int target_init(struct target *t, struct qcow2_store *store,
		uint64_t size_bytes, uint64_t sparse_bytes,
		struct qcow2_error *err)
{
	bool emptied;
	int rc;

	*t = (struct target){
		.store = store,
		.write_all = sparse_bytes == QCOW2_CONVERT_NOT_SPARSE,
		.hole_bytes = sparse_bytes,
		.unit_bytes =
			min_u64(sparse_bytes & -sparse_bytes, UNIT_BYTES_MAX),
	};
	rc = target_empty(store, &emptied, err);
	if (rc < 0)
		return rc;
	if (!emptied)
		return fixed_size(t, size_bytes, err);
	t->reads_zero = true;
	return store_truncate(store, size_bytes, err);
}

int target_zero(struct target *t, uint64_t len, uint64_t off,
		struct qcow2_error *err)
{
	return store_zero(t->store, len, off,
			  t->write_all ? 0 : QCOW2_STORE_UNMAP, err);
}

/* The length of the zeros that begin at @pos, in whole units; the first and
 * the last may be cut by the ends of the buffer. */
static size_t zeros_at(const struct target *t, const uint8_t *buf, size_t len,
		       uint64_t off, size_t pos)
{
	size_t end = pos;

	while (end < len) {
		size_t n = (size_t)min_u64(
			t->unit_bytes - (off + end) % t->unit_bytes, len - end);

		if (!is_zero(buf + end, n))
			break;
		end += n;
	}
	return end - pos;
}

/*
 * Zeros at an end of the buffer may go on outside it, so that they become a
 * hole whatever their length: a run that is long enough is left out even when
 * it is cut into pieces that are not.
 */
static bool is_hole(const struct target *t, size_t pos, size_t zeros,
		    size_t len)
{
	if (zeros >= t->hole_bytes)
		return true;
	return zeros && t->reads_zero && (pos == 0 || pos + zeros == len);
}

/* Writes the data [from, pos), then sees to the zeros behind it. */
static int target_put_run(struct target *t, const uint8_t *buf, uint64_t off,
			  size_t from, size_t pos, size_t zeros,
			  struct qcow2_error *err)
{
	int rc = store_pwrite(t->store, buf + from, pos - from, off + from, 0,
			      err);

	if (rc < 0 || t->reads_zero || !zeros)
		return rc;
	return target_zero(t, zeros, off + pos, err);
}

int target_write(struct target *t, const uint8_t *buf, size_t len, uint64_t off,
		 struct qcow2_error *err)
{
	size_t from = 0;
	size_t pos = 0;

	if (t->write_all)
		return store_pwrite(t->store, buf, len, off, 0, err);
	while (pos < len) {
		size_t zeros = zeros_at(t, buf, len, off, pos);
		int rc;

		if (is_hole(t, pos, zeros, len)) {
			rc = target_put_run(t, buf, off, from, pos, zeros, err);
			if (rc < 0)
				return rc;
			from = pos + zeros;
		}
		pos += zeros;
		if (!zeros)
			pos += (size_t)(t->unit_bytes -
					(off + pos) % t->unit_bytes);
	}
	return from < len ? target_put_run(t, buf, off, from, len, 0, err) : 0;
}
