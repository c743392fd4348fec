#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "model/run_impl.h"
#include "store/store.h"

/* ---- Comparing ----------------------------------------------------------- */

static bool differ_at(struct run *r, const uint8_t *want, const uint8_t *got,
		      uint64_t len, uint64_t off)
{
	struct verdict *v = r->verdict;
	uint64_t i = 0;
	uint64_t n = 1;

	while (want[i] == got[i])
		i++;
	v->off = off + i;
	v->expected = want[i];
	while (i + n < len && want[i + n] == want[i] &&
	       want[i + n] != got[i + n])
		n++;
	v->len = n;
	return run_wrong(r,
			 "byte %" PRIu64
			 " is %#x where it must be %#x (%" PRIu64
			 " such bytes)",
			 v->off, got[i], want[i], n);
}

bool compare_bytes(struct run *r, const uint8_t *want, const uint8_t *got,
		   uint64_t len, uint64_t off)
{
	return memcmp(want, got, len) == 0 || differ_at(r, want, got, len, off);
}

static bool compare_window(struct run *r, struct qcow2_image *img,
			   const struct oracle *o, const struct window *w)
{
	CLEANUP_FREE uint8_t *buf = malloc(PIECE);
	uint64_t len = oracle_window(o, w);
	struct qcow2_error err = { 0 };
	bool ok = true;

	assert(buf);
	for (uint64_t done = 0; ok && done < len; done += PIECE) {
		uint64_t part = min_u64(PIECE, len - done);
		uint64_t off = w->off + done;
		int rc = qcow2_pread(img, buf, part, off, 0, &err);

		ok = run_succeeds(r, rc, "read", &err) &&
		     compare_bytes(r, oracle_at(o, part, off), buf, part, off);
	}
	return ok;
}

bool compare_disk(struct run *r, struct qcow2_image *img,
		  const struct oracle *o)
{
	const struct config *c = o->config;

	if (qcow2_size(img) != o->size)
		return run_wrong(r, "the disk has %" PRIu64 " bytes",
				 qcow2_size(img));
	for (unsigned i = 0; i < c->n_windows; i++)
		if (!compare_window(r, img, o, &c->windows[i]))
			return false;
	return true;
}

static bool compare_file_window(struct run *r, struct qcow2_store *raw,
				const struct oracle *o, const struct window *w)
{
	uint64_t len = oracle_window(o, w);
	CLEANUP_FREE uint8_t *buf = malloc(len + 1);
	struct qcow2_error err = { 0 };
	int rc;

	assert(buf);
	rc = store_pread(raw, buf, len, w->off, 0, &err);
	return run_succeeds(r, rc, "read", &err) &&
	       (len == 0 ||
		compare_bytes(r, oracle_at(o, len, w->off), buf, len, w->off));
}

bool compare_file(struct run *r, const char *name, const struct oracle *o)
{
	CLEANUP_STORE struct qcow2_store *raw = NULL;
	struct qcow2_error err = { 0 };
	uint64_t size = 0;
	char path[512];
	bool ok;

	snprintf(path, sizeof(path), "%s/%s", r->trial->dir, name);
	ok = run_succeeds(r, qcow2_store_open_file(path, 0, &raw, &err), "open",
			  &err) &&
	     run_succeeds(r, store_size(raw, &size, &err), "size", &err);
	if (ok && size != o->size)
		return run_wrong(r, "%s has %" PRIu64 " bytes", name, size);
	for (unsigned i = 0; ok && i < o->config->n_windows; i++)
		ok = compare_file_window(r, raw, o, &o->config->windows[i]);
	return ok;
}

/* ---- Map ----------------------------------------------------------------- */

static bool all_zeros(const uint8_t *p, uint64_t len)
{
	return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

/* The host file must have the bytes at the place that the map tells. */
static bool host_is_right(struct run *r, const struct qcow2_extent *x,
			  const uint8_t *want, uint64_t len, uint64_t off)
{
	unsigned file = r->state.now.data ? FILE_DATA : FILE_TOP;
	CLEANUP_FREE uint8_t *buf = malloc(len);
	struct qcow2_error err = { 0 };
	int rc;

	assert(buf);
	rc = store_pread(r->files.stores[file], buf, len,
			 x->host_off + (off - x->off), 0, &err);
	return run_succeeds(r, rc, "host bytes", &err) &&
	       compare_bytes(r, want, buf, len, off);
}

static bool piece_is_right(struct run *r, const struct qcow2_extent *x,
			   const uint8_t *want, uint64_t len, uint64_t off)
{
	bool zero = x->flags & QCOW2_EXTENT_ZERO;
	bool here = x->flags & QCOW2_EXTENT_HOST_OFF;

	if (zero && !all_zeros(want, len))
		return run_wrong(
			r, "map: %" PRIu64 " bytes at %" PRIu64 " are no zeros",
			len, off);
	if (x->depth == 0 && here && !zero)
		return host_is_right(r, x, want, len, off);
	return true;
}

/* Outside of the windows the image itself has nothing, unless it was made with
 * contents, or was made to cover the backing file when it grew. */
static bool outside_is_right(struct run *r, const struct qcow2_extent *x,
			     uint64_t len, uint64_t off)
{
	bool ours = (x->flags & QCOW2_EXTENT_PRESENT) && x->depth == 0 &&
		    !r->stretched;
	uint64_t c = r->state.now.cluster;
	const uint8_t *near;

	/* A write copies the rest of its cluster. */
	oracle_run(&r->now, 1, align_down(off, c), &near);
	if (!near)
		oracle_run(&r->now, 1,
			   min_u64(align_up(off + 1, c), r->state.now.size) - 1,
			   &near);
	if (ours && len > 2 * c && !near)
		return run_wrong(r,
				 "map: %" PRIu64 " bytes at %" PRIu64
				 " were never written",
				 len, off);
	return true;
}

static bool extent_is_right(struct run *r, const struct qcow2_extent *x)
{
	uint64_t at = x->off;
	uint64_t end = x->off + x->len;
	bool ok = true;

	while (ok && at < end) {
		const uint8_t *want;
		uint64_t len = oracle_run(&r->now, end - at, at, &want);

		if (want) {
			len = min_u64(len, PIECE);
			ok = piece_is_right(r, x, want, len, at);
		} else {
			ok = outside_is_right(r, x, len, at);
		}
		at += len;
	}
	return ok;
}

bool compare_map(struct run *r)
{
	uint64_t size = r->state.now.size;
	uint64_t off = 0;
	bool ok = true;

	while (ok && off < size) {
		struct qcow2_error err = { 0 };
		struct qcow2_extent x;
		int rc = qcow2_map(r->img, size - off, off, 0, &x, &err);

		if (!run_succeeds(r, rc, "map", &err))
			return false;
		if (x.off != off || !x.len || x.len > size - off)
			return run_wrong(r,
					 "map: %" PRIu64 " bytes at %" PRIu64
					 " where %" PRIu64 " was asked for",
					 x.len, x.off, off);
		ok = extent_is_right(r, &x);
		off += x.len;
	}
	return ok;
}
