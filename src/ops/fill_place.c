#include "ops/fill_impl.h"

#include <assert.h>

#include "base/checked.h"
#include "base/iov.h"

/* ---- Writing to places --------------------------------------------------- */

/* Bytes that lie side by side in the file go out in one write. */
static int write_next(struct fill *f, const struct fill_room *r, size_t *i,
		      struct qcow2_error *err)
{
	const struct placed *p = &r->placed[*i];
	uint64_t host_off = p->host_off;
	uint64_t end = host_off;
	struct iovec iov[IOV_COUNT];
	int n = 0;

	for (; *i < r->n_placed && n < IOV_COUNT && p->host_off == end;
	     p++, ++*i) {
		iov[n++] = (struct iovec){ (void *)(uintptr_t)p->from,
					   (size_t)p->len };
		end += p->len;
	}
	return disk_write_placed(f->dst, iov, n, host_off, err);
}

static int write_placed(struct fill *f, struct fill_room *r,
			struct qcow2_error *err)
{
	size_t i = 0;
	int rc = 0;

	if (r->shared.len) {
		rc = fill_share_placed(f, r, err);
		i = r->n_placed;
	}
	while (rc == 0 && i < r->n_placed)
		rc = write_next(f, r, &i, err);
	r->n_placed = 0;
	return rc;
}

static int add_placed(struct fill *f, struct fill_room *r, struct placed p,
		      struct qcow2_error *err)
{
	int rc;

	assert(p.len);
	rc = r->n_placed == PLACED_MAX ? write_placed(f, r, err) : 0;
	if (rc == 0)
		r->placed[r->n_placed++] = p;
	return rc;
}

/* ---- In turn ------------------------------------------------------------- */

/* Makes dst read as zeros where its backing file has data. */
static int put_zeros_over(struct fill *f, uint64_t len, uint64_t off,
			  struct qcow2_error *err)
{
	uint64_t below = f->backing ? disk_size(f->backing) : 0;
	uint64_t end = min_u64(off + len, below);

	while (off < end) {
		struct qcow2_extent x;
		int rc = disk_map(f->backing, end - off, off, 0, &x, err);
		uint64_t to;

		if (rc < 0)
			return rc;
		to = min_u64(align_up(off + x.len, f->unit), f->size);
		if (x.flags & QCOW2_EXTENT_ZERO)
			to = off + x.len;
		else
			rc = disk_zero(f->dst, to - off, off, 0, err);
		if (rc < 0)
			return rc;
		off = to;
	}
	return 0;
}

static int fill_place_put_zeros(struct fill *f, uint64_t len, uint64_t off,
				struct qcow2_error *err)
{
	if (f->writes_zeros)
		return disk_zero(f->dst, len, off, QCOW2_ZERO_MAY_UNMAP, err);
	return put_zeros_over(f, len, off, err);
}

static int write_now(struct fill *f, const uint8_t *from, uint64_t len,
		     uint64_t off, struct qcow2_error *err)
{
	struct iovec iov = { (void *)(uintptr_t)from, (size_t)len };

	return disk_pwritev(f->dst, &iov, 1, off, 0, err);
}

static int put_bytes(struct fill *f, struct fill_room *r,
		     const struct fill_run *run, struct qcow2_error *err)
{
	uint64_t done = 0;
	int rc = f->is_new ? 0
			   : write_now(f, run->from, run->len, run->off, err);

	while (rc == 0 && f->is_new && done < run->len) {
		const uint8_t *from = run->from + done;
		uint64_t off = run->off + done;
		uint64_t left = run->len - done;
		struct placed p = { .off = off, .from = from };

		rc = disk_place(f->dst, left, off, &p.len, &p.host_off, err);
		done += p.len;
		if (rc == 0 && p.len) {
			rc = add_placed(f, r, p, err);
		} else if (rc == 0) {
			left = min_u64(left, f->unit - off % f->unit);
			done += left;
			rc = write_now(f, from, left, off, err);
		}
	}
	return rc;
}

/* The cluster as it was is at its place in the window. */
static int put_encoded(struct fill *f, struct fill_room *r,
		       const struct fill_run *run, struct qcow2_error *err)
{
	struct placed p = { .len = run->n_from, .from = run->from };
	int rc = 0;

	if (f->is_new)
		rc = disk_place_encoded(f->dst, run->n_from, run->off,
					&p.host_off, err);
	if (rc < 0)
		return rc;
	if (p.host_off)
		return add_placed(f, r, p, err);
	return disk_write_encoded(f->dst, run->from, run->n_from,
				  r->plain + fill_place_of(f, run->off),
				  run->off, err);
}

static int fill_place_put_run(struct fill *f, struct fill_room *r,
			      const struct fill_run *run,
			      struct qcow2_error *err)
{
	switch (run->kind) {
	case RUN_ZERO:
		return fill_place_put_zeros(f, run->len, run->off, err);
	case RUN_ENCODED:
		return put_encoded(f, r, run, err);
	default:
		return put_bytes(f, r, run, err);
	}
}

/* The places of what is shared; if one cannot be had, the cluster is copied. */
static int put_shared(struct fill *f, struct fill_room *r,
		      struct qcow2_error *err)
{
	uint64_t end = r->shared.off + r->shared.len;
	uint64_t off = r->shared.off;
	int rc = 0;

	while (rc == 0 && off < end) {
		struct placed p = { .off = off };

		rc = disk_place(f->dst, end - off, off, &p.len, &p.host_off,
				err);
		if (rc == 0 && p.len) {
			rc = add_placed(f, r, p, err);
		} else if (rc == 0) {
			p.len = f->unit;
			rc = disk_pread(f->src, r->plain, f->unit, off, 0, err);
			if (rc == 0)
				rc = write_now(f, r->plain, f->unit, off, err);
		}
		off += p.len;
	}
	return rc;
}

int fill_place(struct workers *w, struct fill *f, struct fill_room *r,
	       struct qcow2_error *err)
{
	int rc = 0;

	r->n_placed = 0;
	if (f->in_order && !turns_wait(&f->turns, r->turn))
		return 0; /* another worker failed, and says why */
	if (r->shared.len)
		rc = put_shared(f, r, err);
	for (size_t i = 0; rc == 0 && i < r->n_runs; i++)
		if (!workers_stopped(w))
			rc = fill_place_put_run(f, r, &r->runs[i], err);
	if (f->in_order)
		turns_pass(&f->turns);
	return rc < 0 ? rc : write_placed(f, r, err);
}
