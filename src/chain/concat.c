#include "chain/concat.h"

#include <errno.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/error.h"
#include "base/iov.h"
#include "chain/disk.h"
#include "format/limits.h"
#include "store/store.h"

struct chain_concat_part {
	struct disk *disk;
	uint64_t begin;
	uint64_t end; /* of the disk; the next one may begin later */
};

struct concat {
	uint64_t size;
	uint32_t n;
	struct chain_concat_part parts[];
};

/* The part that has the byte at @off, or else ends last before it. */
static const struct chain_concat_part *part_at(const struct concat *c,
					       uint64_t off)
{
	uint32_t low = 0;
	uint32_t high = c->n;

	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if (c->parts[middle].begin <= off)
			low = middle;
		else
			high = middle;
	}
	return &c->parts[low];
}

/* Returns the end of the stretch that has @off: of that part, or of the zeros
 * behind it. */
static uint64_t stretch_end(const struct concat *c,
			    const struct chain_concat_part *p, uint64_t off)
{
	if (off < p->end)
		return p->end;
	return p == &c->parts[c->n - 1] ? UINT64_MAX : p[1].begin;
}

static int read_part(const struct chain_concat_part *p, struct iov_cursor *dst,
		     uint64_t len, uint64_t off, unsigned flags,
		     struct qcow2_error *err)
{
	unsigned nowait = flags & QCOW2_STORE_NOWAIT ? QCOW2_NOWAIT : 0;

	while (len) {
		struct iovec iov[IOV_COUNT];
		int n;
		uint64_t here = iov_take(dst, len, iov, IOV_COUNT, &n);
		int rc = disk_preadv(p->disk, iov, n, off - p->begin, nowait,
				     err);

		if (rc < 0)
			return rc;
		off += here;
		len -= here;
	}
	return 0;
}

static int concat_preadv(void *self, const struct iovec *iov, int iovcnt,
			 uint64_t off, unsigned flags, struct qcow2_error *err)
{
	const struct concat *c = self;
	struct iov_cursor dst = iov_cursor_init(iov, iovcnt);
	uint64_t len = iov_len(iov, iovcnt);

	while (len) {
		const struct chain_concat_part *p = part_at(c, off);
		uint64_t here = min_u64(len, stretch_end(c, p, off) - off);
		int rc = 0;

		if (off < p->end)
			rc = read_part(p, &dst, here, off, flags, err);
		else
			iov_zero(&dst, here);
		if (rc < 0)
			return rc;
		off += here;
		len -= here;
	}
	return 0;
}

static int concat_extent(void *self, uint64_t *len, uint64_t off, int *is_data,
			 struct qcow2_error *err)
{
	const struct concat *c = self;
	const struct chain_concat_part *p = part_at(c, off);
	struct qcow2_extent x;
	int rc;

	*len = min_u64(*len, stretch_end(c, p, off) - off);
	*is_data = 0;
	if (off >= p->end)
		return 0;
	rc = disk_map(p->disk, *len, off - p->begin, 0, &x, err);
	if (rc < 0)
		return rc;
	*len = x.len;
	*is_data = !(x.flags & QCOW2_EXTENT_ZERO);
	return 0;
}

static int concat_size(void *self, uint64_t *size, struct qcow2_error *err)
{
	(void)err;
	*size = ((const struct concat *)self)->size;
	return 0;
}

static const struct qcow2_store_ops concat_ops = {
	.struct_size = sizeof(concat_ops),
	.preadv = concat_preadv,
	.extent = concat_extent,
	.size = concat_size,
	.close = free,
};

bool concat_reads(struct qcow2_store *s, struct qcow2_store *file)
{
	const struct concat *c = store_self(s, &concat_ops);

	for (uint32_t i = 0; c && i < c->n; i++)
		if (disk_reads(c->parts[i].disk, file))
			return true;
	return false;
}

static int concat_new(struct disk *const *disks, uint32_t n,
		      struct qcow2_store **out, struct qcow2_error *err)
{
	struct concat *c = calloc(1, sizeof(*c) + n * sizeof(c->parts[0]));
	int rc = 0;

	if (!c)
		return error_nomem(err, "a list of disks", n);
	for (; c->n < n && rc == 0; c->n++) {
		struct chain_concat_part *p = &c->parts[c->n];

		p->disk = disks[c->n];
		p->begin = align_up(c->size, SECTOR_BYTES);
		if (disk_size(p->disk) > INT64_MAX - SECTOR_BYTES - p->begin)
			rc = error_set(err, -EFBIG,
				       "together the disks have more than "
				       "2^63 bytes");
		else
			c->size = p->end = p->begin + disk_size(p->disk);
	}
	if (rc == 0)
		rc = store_new(&concat_ops, c, "the disks together", true, out,
			       err);
	if (rc < 0)
		free(c);
	return rc;
}

int concat_open(struct disk *const *disks, uint32_t n, struct disk **out,
		struct qcow2_error *err)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	CLEANUP_STORE struct qcow2_store *store = NULL;
	int rc = concat_new(disks, n, &store, err);

	opts.format = QCOW2_FORMAT_RAW;
	return rc < 0 ? rc : disk_open_store(store, &opts, out, err);
}
