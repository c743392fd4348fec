#include "fake_target.h"

#include <string.h>

#include "base/error.h"

struct fake_target fake_target;

void fake_target_init(void)
{
	fake_target = (struct fake_target){ .no_place_off = FAKE_NOWHERE };
}

static int answer(struct qcow2_error *err)
{
	return fake_target.write_rc ? error_set(err, fake_target.write_rc,
						"the target fails")
				    : 0;
}

uint32_t disk_find(const struct disk *d, const struct disk *other)
{
	(void)d, (void)other;
	return UINT32_MAX;
}

bool disk_gives_places(const struct disk *d)
{
	(void)d;
	return true;
}

struct qcow2_store *disk_place_store(struct disk *d)
{
	(void)d;
	return NULL;
}

int disk_place(struct disk *d, uint64_t len, uint64_t off, uint64_t *here,
	       uint64_t *host_off, struct qcow2_error *err)
{
	struct fake_target *t = &fake_target;
	uint64_t max = t->place_max ? t->place_max : len;
	uint64_t barrier = t->no_place_off;

	(void)err;
	t->n_places++;
	*here = 0;
	if (t->no_places || (off >= barrier && off - barrier < d->cluster_size))
		return 0;
	if (off < barrier && max > barrier - off)
		max = barrier - off;
	*here = max < len ? max : len;
	*host_off = FAKE_PLACE + off;
	return 0;
}

int disk_place_encoded(struct disk *d, size_t len, uint64_t off,
		       uint64_t *host_off, struct qcow2_error *err)
{
	(void)d, (void)len, (void)err;
	fake_target.n_places++;
	*host_off = fake_target.no_places ? 0 : FAKE_ENCODED_PLACE + off;
	return 0;
}

int disk_write_placed(struct disk *d, const struct iovec *iov, int iovcnt,
		      uint64_t host_off, struct qcow2_error *err)
{
	fake_target.n_placed_writes++;
	for (int i = 0; i < iovcnt; i++) {
		size_t len = iov[i].iov_len;

		if (host_off >= FAKE_ENCODED_PLACE)
			fake_target.placed_bytes += len;
		else
			memcpy(d->bytes + (host_off - FAKE_PLACE),
			       iov[i].iov_base, len);
		host_off += len;
	}
	return answer(err);
}

int disk_pwritev(struct disk *d, const struct iovec *iov, int iovcnt,
		 uint64_t off, unsigned flags, struct qcow2_error *err)
{
	(void)flags;
	fake_target.n_writes++;
	for (int i = 0; i < iovcnt; i++) {
		memcpy(d->bytes + off, iov[i].iov_base, iov[i].iov_len);
		off += iov[i].iov_len;
	}
	return answer(err);
}

int disk_zero(struct disk *d, uint64_t len, uint64_t off, unsigned flags,
	      struct qcow2_error *err)
{
	(void)flags;
	fake_target.n_zeros++;
	fake_target.zero_bytes += len;
	memset(d->bytes + off, 0, (size_t)len);
	return answer(err);
}

int disk_encode(struct disk *d, void *dst, const void *src, size_t *n,
		struct qcow2_error *err)
{
	(void)d, (void)err;
	*n = fake_target.encoded_len;
	memcpy(dst, src, *n);
	return 0;
}

int disk_write_encoded(struct disk *d, const void *bytes, size_t n,
		       const void *cluster, uint64_t off,
		       struct qcow2_error *err)
{
	(void)bytes, (void)n;
	fake_target.n_encoded_writes++;
	memcpy(d->bytes + off, cluster, d->cluster_size);
	return answer(err);
}
