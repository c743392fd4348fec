/*
 * Transfers that need more than a call.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "io/io.h"

#define COPY_MAX (UINT64_C(1) << 20)

static const uint8_t qcow2_magic[4] = { 'Q', 'F', 'I', 0xfb };

/* Changes the first bytes, @head, as @r would. */
static void apply(const struct io_request *r, uint8_t *head, size_t size)
{
	const uint8_t *bytes = r->kind == IO_ZERO ? NULL : r->iov[0].iov_base;

	for (uint64_t i = 0; i < r->len && r->off + i < size; i++)
		head[r->off + i] = bytes ? bytes[i] : 0;
}

int io_guard_raw(struct io_shell *sh, const struct io_request *r)
{
	uint8_t head[sizeof(qcow2_magic)] = { 0 };
	uint64_t size = qcow2_size(sh->img);
	int rc;

	if (!sh->guessed_raw || r->off >= sizeof(head) || size < sizeof(head) ||
	    (r->kind != IO_WRITE && r->kind != IO_ZERO))
		return 0;
	rc = qcow2_pread(sh->img, head, sizeof(head), 0, 0, NULL);
	if (rc < 0)
		return rc;
	apply(r, head, sizeof(head));
	return memcmp(head, qcow2_magic, sizeof(head)) == 0 ? -EPERM : 0;
}

/* ------------------------------------------------------------------------- */
/* Copy on read                                                              */

static bool is_zero(const uint8_t *buf, size_t len)
{
	return len == 0 || (buf[0] == 0 && memcmp(buf, buf + 1, len - 1) == 0);
}

/* Copies [off, off+len), which the top image does not have, into it. */
static int copy_part(struct io_shell *sh, uint8_t *buf, uint64_t off,
		     uint64_t end, struct qcow2_error *err)
{
	int rc = 0;

	while (rc == 0 && off < end) {
		size_t n =
			(size_t)(end - off < COPY_MAX ? end - off : COPY_MAX);

		rc = qcow2_pread(sh->img, buf, n, off, 0, err);
		if (rc == 0 && is_zero(buf, n))
			rc = qcow2_zero(sh->img, n, off, 0, err);
		else if (rc == 0)
			rc = qcow2_pwrite(sh->img, buf, n, off, 0, err);
		off += n;
	}
	return rc;
}

static int copy_range(struct io_shell *sh, uint8_t *buf, uint64_t off,
		      uint64_t end, struct qcow2_error *err)
{
	struct qcow2_extent x;
	int rc = 0;

	while (rc == 0 && off < end) {
		rc = qcow2_map(sh->img, end - off, off, QCOW2_MAP_TOP_ONLY, &x,
			       err);
		if (rc == 0 && !(x.flags & QCOW2_EXTENT_PRESENT))
			rc = copy_part(sh, buf, off, off + x.len, err);
		off += x.len;
	}
	return rc;
}

/* Returns the unit that has data or not: subclusters if there are any. */
static uint64_t copy_unit(const struct qcow2_info *info)
{
	return info->extended_l2 ? info->cluster_size / 32 : info->cluster_size;
}

/* Copies the whole clusters around the range that is read. */
static int copy_clusters(struct io_shell *sh, const struct io_request *r,
			 struct qcow2_error *err)
{
	struct qcow2_info info = { .struct_size = sizeof(info) };
	uint64_t size = qcow2_size(sh->img);
	uint64_t unit, off, end;
	uint8_t *buf;
	int rc = qcow2_get_info(sh->img, 0, &info, err);

	if (rc < 0 || info.format == QCOW2_FORMAT_RAW || r->len == 0)
		return rc;
	unit = copy_unit(&info);
	off = r->off - r->off % unit;
	end = r->off + r->len + unit - 1;
	end -= end % unit;
	buf = malloc(COPY_MAX);
	if (!buf)
		return -ENOMEM;
	rc = copy_range(sh, buf, off, end < size ? end : size, err);
	free(buf);
	return rc;
}

int io_copy_on_read(struct io_shell *sh, struct io_request *r)
{
	int rc;

	/* Data written between the look and the copy must not be lost. */
	pthread_rwlock_wrlock(&sh->copying);
	rc = copy_clusters(sh, r, &r->err);
	pthread_rwlock_unlock(&sh->copying);
	if (rc < 0)
		return rc;
	return qcow2_preadv(sh->img, r->iov, r->iovcnt, r->off, 0, &r->err);
}
