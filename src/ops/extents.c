#include "ops/extents.h"

#include <assert.h>

#include "base/checked.h"

/*
 * A look-up goes through the metadata of all it covers, and everybody waits
 * for it; so it is short over data.  Each time it finds nothing but zeros the
 * next one looks twice as far, so that petabytes of holes take few questions.
 */
#define ASK_BYTES_MIN (UINT64_C(1) << 30)

void extents_validate(const struct extents *e)
{
	const struct qcow2_extent *x = &e->current;

	assert(e->ask_bytes >= ASK_BYTES_MIN);
	assert(x->off <= e->size && x->len <= e->size - x->off);
}

void extents_init(struct extents *e, struct disk *d, uint64_t end)
{
	*e = (struct extents){
		.disk = d,
		.size = min_u64(disk_size(d), end),
		.ask_bytes = ASK_BYTES_MIN,
	};
}

static int look_up(struct extents *e, uint64_t pos, struct qcow2_error *err)
{
	uint64_t len = min_u64(e->ask_bytes, e->size - pos);
	int rc = disk_map(e->disk, len, pos, 0, &e->current, err);

	if (rc < 0)
		return rc;
	assert(e->current.off == pos);
	assert(e->current.len > 0 && e->current.len <= len);
	if (!(e->current.flags & QCOW2_EXTENT_ZERO))
		e->ask_bytes = ASK_BYTES_MIN;
	else if (e->current.len == e->ask_bytes)
		e->ask_bytes *= 2;
	return 0;
}

int extents_at(struct extents *e, uint64_t pos, struct qcow2_extent *out,
	       struct qcow2_error *err)
{
	uint64_t passed;
	SCOPED_VALIDATE(extents, e);

	if (pos >= e->size) {
		*out = (struct qcow2_extent){ .off = pos,
					      .len = INT64_MAX - pos,
					      .flags = QCOW2_EXTENT_ZERO };
		return 0;
	}
	if (pos >= e->current.off + e->current.len || !e->current.len) {
		int rc = look_up(e, pos, err);

		if (rc < 0)
			return rc;
	}
	assert(pos >= e->current.off);
	passed = pos - e->current.off;
	*out = e->current;
	out->off += passed;
	out->len -= passed;
	if (out->flags & QCOW2_EXTENT_HOST_OFF)
		out->host_off += passed;
	return 0;
}
