#include "fake_disk.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/iov.h"

/* The most that a machine of that width has to give away. */
#define ADDRESS_SPACE ((size_t)1 << (sizeof(void *) >= 8 ? 36 : 30))

struct disk *fake_new(uint32_t cluster_size)
{
	struct disk *d = calloc(1, sizeof(*d));

	assert(d);
	d->cluster_size = cluster_size;
	d->fail_read_off = FAKE_NOWHERE;
	d->fail_map_off = FAKE_NOWHERE;
	d->bytes = mmap(NULL, ADDRESS_SPACE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert(d->bytes != MAP_FAILED);
	pthread_mutex_init(&d->lock, NULL);
	return d;
}

void fake_free(struct disk *d)
{
	munmap(d->bytes, ADDRESS_SPACE);
	pthread_mutex_destroy(&d->lock);
	free(d->cluster_reads);
	free(d->extents);
	free(d);
}

void fake_add(struct disk *d, uint64_t len, uint32_t flags)
{
	d->extents =
		realloc(d->extents, (d->n_extents + 1) * sizeof(*d->extents));
	assert(d->extents);
	d->extents[d->n_extents++] = (struct qcow2_extent){
		.off = d->size,
		.len = len,
		.host_off = d->size,
		.flags = flags,
	};
	if (!(flags & QCOW2_EXTENT_ZERO))
		for (uint64_t i = 0; i < len; i++)
			d->bytes[d->size + i] =
				(uint8_t)((d->size + i) / 512 * 7 + i) | 1;
	d->size += len;
}

static void punch_random(struct disk *d, struct test_rng *r, uint64_t off,
			 uint64_t len)
{
	for (unsigned i = 0; i < 4; i++) {
		uint64_t at = test_rng_below(r, len);
		uint64_t n = test_rng_below(r, test_rng_below(r, 3) ? 20000
								    : 200000);

		if (test_rng_below(r, 2))
			at -= at % 4096;
		memset(d->bytes + off + at, 0, n < len - at ? n : len - at);
	}
}

void fake_add_random(struct disk *d, struct test_rng *r, uint64_t size)
{
	static const uint32_t kinds[] = { FAKE_HOLE, FAKE_ZERO, FAKE_DATA,
					  FAKE_DATA, FAKE_COMPRESSED };

	while (d->size < size) {
		uint64_t most = test_rng_below(r, 4) ? 64 : 4096;
		uint64_t len = (1 + test_rng_below(r, most)) * 512;
		uint32_t flags = kinds[test_rng_below(r, 5)];
		uint64_t off = d->size;

		if (len > size - off)
			len = size - off;
		fake_add(d, len, flags);
		if (!(flags & QCOW2_EXTENT_ZERO))
			punch_random(d, r, off, len);
	}
}

void fake_count_clusters(struct disk *d)
{
	d->cluster_reads = calloc(d->size / d->cluster_size + 1, 1);
	assert(d->cluster_reads);
}

uint64_t disk_size(const struct disk *d)
{
	return d->size;
}

uint32_t disk_layer_count(const struct disk *d)
{
	(void)d;
	return 1;
}

uint32_t disk_cluster_size(const struct disk *d)
{
	return d->cluster_size;
}

int disk_get_info(struct disk *d, uint32_t depth, struct qcow2_info *out,
		  struct qcow2_error *err)
{
	(void)depth;
	(void)err;
	out->cluster_size = d->cluster_size;
	return 0;
}

static void record(struct disk *d, const void *buf, uint64_t len, uint64_t off)
{
	unsigned i = 0;
	SCOPED_LOCK(&d->lock);

	while (i < d->n_buffers && d->buffers[i] != buf)
		i++;
	if (i == d->n_buffers && i < 64)
		d->buffers[d->n_buffers++] = buf;
	if (len > d->largest_read)
		d->largest_read = len;
	if (!d->cluster_reads)
		return;
	for (uint64_t c = off / d->cluster_size;
	     c <= (off + len - 1) / d->cluster_size; c++)
		d->cluster_reads[c]++;
}

int disk_pread(struct disk *d, void *buf, size_t len, uint64_t off,
	       unsigned flags, struct qcow2_error *err)
{
	assert(len && off <= d->size && len <= d->size - off &&
	       !(flags & ~QCOW2_NOWAIT));
	if (flags & QCOW2_NOWAIT)
		return d->has_to_wait ? -EAGAIN : 0;
	atomic_fetch_add(&d->n_reads, 1);
	record(d, buf, len, off);
	if (d->fail_read_off >= off && d->fail_read_off < off + len)
		return error_set(err, -EIO, "the fake disk fails");
	memcpy(buf, d->bytes + off, len);
	return 0;
}

int disk_preadv(struct disk *d, const struct iovec *iov, int iovcnt,
		uint64_t off, unsigned flags, struct qcow2_error *err)
{
	for (int i = 0; i < iovcnt; i++) {
		int rc = disk_pread(d, iov[i].iov_base, iov[i].iov_len, off,
				    flags, err);

		if (rc < 0)
			return rc;
		off += iov[i].iov_len;
	}
	return 0;
}

/* The extent that has @off in it. */
static const struct qcow2_extent *find(const struct disk *d, uint64_t off)
{
	size_t low = 0;
	size_t high = d->n_extents;

	while (high - low > 1) {
		size_t middle = (low + high) / 2;

		if (d->extents[middle].off <= off)
			low = middle;
		else
			high = middle;
	}
	return &d->extents[low];
}

int disk_map(struct disk *d, uint64_t len, uint64_t off, unsigned flags,
	     struct qcow2_extent *out, struct qcow2_error *err)
{
	const struct qcow2_extent *x = find(d, off);
	uint64_t passed = off - x->off;

	assert(len && off < d->size && len <= d->size - off && !flags);
	atomic_fetch_add(&d->n_maps, 1);
	if (d->fail_map_off >= x->off && d->fail_map_off < x->off + x->len)
		return error_set(err, -EIO, "the fake map fails");
	*out = *x;
	out->off = off;
	out->host_off += passed;
	out->len -= passed;
	if (out->len > len)
		out->len = len;
	return 0;
}

struct qcow2_store *disk_extent_store(struct disk *d,
				      const struct qcow2_extent *extent)
{
	return extent->flags & QCOW2_EXTENT_HOST_OFF ? d->store : NULL;
}

/* The bytes of a fake disk are in memory, where no target is. */
bool disk_reads(const struct disk *d, struct qcow2_store *file)
{
	(void)d, (void)file;
	return false;
}

bool disk_reads_top(const struct disk *d, const struct disk *written)
{
	(void)d, (void)written;
	return false;
}

const char *disk_layer_filename(const struct disk *d, uint32_t depth)
{
	(void)d, (void)depth;
	return "fake";
}
