#include "ops/fill_impl.h"

#include <assert.h>
#include <string.h>

#include "base/checked.h"
#include "base/memory.h"
#include "base/zero.h"

#define GRANULE_BYTES 4096

size_t fill_runs_max(const struct fill *f)
{
	uint64_t least = min_u64(f->unit, GRANULE_BYTES);

	return (size_t)(f->window_bytes / least) + BATCH_PIECES;
}

void fill_room_validate(const struct fill *f, const struct fill_room *r)
{
	assert(r->n_runs <= fill_runs_max(f) && r->n_placed <= PLACED_MAX);
	for (size_t i = 0; i < r->n_runs; i++) {
		const struct fill_run *run = &r->runs[i];

		assert(run->len && !run->from == (run->kind == RUN_ZERO));
		assert(implies(run->kind == RUN_BYTES,
			       run->n_from == run->len));
		assert(implies(run->kind == RUN_ENCODED,
			       run->n_from && run->len <= f->unit));
		assert(i == 0 || run[-1].off + run[-1].len <= run->off);
	}
}

static void add_run(struct fill_room *r, struct fill_run run)
{
	if (run.len)
		r->runs[r->n_runs++] = run;
}

static void add_bytes(struct fill_room *r, const uint8_t *from, uint64_t len,
		      uint64_t off)
{
	add_run(r, (struct fill_run){ off, len, from, (size_t)len, RUN_BYTES });
}

static void add_zeros(struct fill_room *r, uint64_t len, uint64_t off)
{
	add_run(r, (struct fill_run){ off, len, NULL, 0, RUN_ZERO });
}

static bool passes_over(const struct fill *f, const void *buf, uint64_t len)
{
	return f->sparse_bytes != QCOW2_CONVERT_NOT_SPARSE &&
	       is_zero(buf, to_size(len));
}

/* Over zeros: without those at least sparse_bytes long. */
static void cut_sparse(const struct fill *f, struct fill_room *r,
		       const uint8_t *buf, uint64_t len, uint64_t off)
{
	uint64_t begin = 0; /* of what is to be written */
	uint64_t zeros = 0; /* of the zeros that end at `at` */
	uint64_t at = 0;

	while (at < len) {
		uint64_t n = min_u64(GRANULE_BYTES, len - at);

		if (passes_over(f, buf + at, n)) {
			zeros += n;
		} else {
			if (zeros == at - begin) {
				begin = zeros ? at : begin;
			} else if (zeros >= f->sparse_bytes) {
				add_bytes(r, buf + begin, at - zeros - begin,
					  off + begin);
				begin = at;
			}
			zeros = 0;
		}
		at += n;
	}
	add_bytes(r, buf + begin, len - zeros - begin, off + begin);
}

/* Over other contents: whole clusters, zeros where they are zero. */
static void cut_clusters(const struct fill *f, struct fill_room *r,
			 const uint8_t *buf, uint64_t len, uint64_t off)
{
	uint64_t n;

	for (uint64_t at = 0; at < len; at += n) {
		bool zero;

		n = min_u64(f->unit, len - at);
		zero = passes_over(f, buf + at, n);
		while (at + n < len) {
			uint64_t more = min_u64(f->unit, len - at - n);

			if (passes_over(f, buf + at + n, more) != zero)
				break;
			n += more;
		}
		if (zero)
			add_zeros(r, n, off + at);
		else
			add_bytes(r, buf + at, n, off + at);
	}
}

static int encode(struct fill *f, struct fill_room *r,
		  const struct batch_piece *p, struct qcow2_error *err)
{
	uint64_t at = fill_place_of(f, p->off);
	uint64_t end = at + p->len;
	int rc = 0;

	/* The last cluster of the disk may end behind it. */
	memset(r->plain + end, 0, to_size(align_up(end, f->unit) - end));
	for (uint64_t off = p->off; rc == 0 && at < end;
	     at += f->unit, off += f->unit) {
		uint64_t n = min_u64(f->unit, end - at);
		size_t len = 0;

		if (passes_over(f, r->plain + at, n)) {
			add_zeros(r, n, off);
			continue;
		}
		/* A larger disk has more in that cluster. */
		if (n < f->unit && off + n < disk_size(f->dst) && !f->is_new) {
			add_bytes(r, r->plain + at, n, off);
			continue;
		}
		rc = disk_encode(f->dst, r->encoded + at, r->plain + at, &len,
				 err);
		if (len)
			add_run(r, (struct fill_run){ off, n, r->encoded + at,
						      len, RUN_ENCODED });
		else
			add_bytes(r, r->plain + at, n, off);
	}
	return rc;
}

static int cut_piece(struct fill *f, struct fill_room *r,
		     const struct batch_piece *p, struct qcow2_error *err)
{
	uint8_t *buf = r->plain + fill_place_of(f, p->off);
	int rc;

	if (!p->reads) {
		add_zeros(r, p->len, p->off);
		return 0;
	}
	rc = disk_pread(f->src, buf, to_size(p->len), p->off, 0, err);
	if (rc < 0)
		return rc;
	if (f->compress)
		return encode(f, r, p, err);
	if (f->backing || f->writes_zeros)
		cut_clusters(f, r, buf, p->len, p->off);
	else
		cut_sparse(f, r, buf, p->len, p->off);
	return 0;
}

int fill_runs(struct fill *f, struct fill_room *r, struct qcow2_error *err)
{
	int rc = 0;

	r->n_runs = 0;
	for (unsigned i = 0; rc == 0 && i < r->batch.n; i++)
		rc = cut_piece(f, r, &r->batch.pieces[i], err);
	if (rc == 0)
		IF_VALIDATING(fill_room_validate(f, r));
	return rc;
}
