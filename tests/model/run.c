#include "model/run.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "model/files.h"
#include "model/oracle.h"
#include "store/store.h"

enum { SNAPSHOTS_MAX = 3, PIECE = 1 << 20 };

struct run {
	const struct trial *trial;
	const struct config *config;
	struct files files;
	struct qcow2_image *img;
	struct oracle now;
	unsigned n_snapshots;
	struct oracle snapshots[SNAPSHOTS_MAX];
	struct verdict *verdict;
};

__attribute__((format(printf, 2, 3)))
static bool wrong(struct run *r, const char *fmt, ...)
{
	va_list args;

	r->verdict->ok = false;
	va_start(args, fmt);
	vsnprintf(r->verdict->why, WHY_BYTES, fmt, args);
	va_end(args);
	for (char *p = r->verdict->why; *p; p++)
		if (*p == '\n')
			*p = ' ';
	return false;
}

static bool succeeds(struct run *r, int rc, const char *what,
		     const struct qcow2_error *err)
{
	return rc == 0 || wrong(r, "%s: %s (%d)", what, err->message, rc);
}

/* ---- Comparing --------------------------------------------------------------- */

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
	while (i + n < len && want[i + n] == want[i] && want[i + n] != got[i + n])
		n++;
	v->len = n;
	return wrong(r,
		    "byte %" PRIu64 " is %#x where it must be %#x (%" PRIu64
		    " such bytes)",
		    v->off, got[i], want[i], n);
}

static bool equal(struct run *r, const uint8_t *want, const uint8_t *got,
		  uint64_t len, uint64_t off)
{
	return memcmp(want, got, len) == 0 ||
	       differ_at(r, want, got, len, off);
}

static bool compare_window(struct run *r, struct qcow2_image *img,
			   const struct oracle *o, const struct window *w)
{
	CLEANUP_FREE uint8_t *buf = malloc(PIECE);
	struct qcow2_error err = { 0 };
	bool ok = true;

	assert(buf);
	for (uint64_t done = 0; ok && done < w->len; done += PIECE) {
		uint64_t part = min_u64(PIECE, w->len - done);
		uint64_t off = w->off + done;
		int rc = qcow2_pread(img, buf, part, off, 0, &err);

		ok = succeeds(r, rc, "read", &err) &&
		     equal(r, oracle_at(o, part, off), buf, part, off);
	}
	return ok;
}

static bool compare_disk(struct run *r, struct qcow2_image *img,
			 const struct oracle *o)
{
	const struct config *c = r->config;

	if (qcow2_size(img) != c->size)
		return wrong(r, "the disk has %" PRIu64 " bytes",
			    qcow2_size(img));
	for (unsigned i = 0; i < c->n_windows; i++)
		if (!compare_window(r, img, o, &c->windows[i]))
			return false;
	return true;
}

/* ---- Map --------------------------------------------------------------------- */

static bool all_zeros(const uint8_t *p, uint64_t len)
{
	return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

/* Where the map says it lies it must lie. */
static bool host_is_right(struct run *r, const struct qcow2_extent *x,
			  const uint8_t *want, uint64_t len, uint64_t off)
{
	unsigned file = r->config->data ? FILE_DATA : FILE_TOP;
	CLEANUP_FREE uint8_t *buf = malloc(len);
	struct qcow2_error err = { 0 };
	int rc;

	assert(buf);
	rc = store_pread(r->files.stores[file], buf, len,
			 x->host_off + (off - x->off), 0, &err);
	return succeeds(r, rc, "host bytes", &err) &&
	       equal(r, want, buf, len, off);
}

static bool piece_is_right(struct run *r, const struct qcow2_extent *x,
			   const uint8_t *want, uint64_t len, uint64_t off)
{
	bool zero = x->flags & QCOW2_EXTENT_ZERO;
	bool here = x->flags & QCOW2_EXTENT_HOST_OFF;

	if (zero && !all_zeros(want, len))
		return wrong(r, "map: %" PRIu64 " bytes at %" PRIu64
			       " are no zeros", len, off);
	if (x->depth == 0 && here && !zero)
		return host_is_right(r, x, want, len, off);
	return true;
}

/* Outside of the windows the image itself has nothing, unless it was made
 * so. */
static bool outside_is_right(struct run *r, const struct qcow2_extent *x,
			     uint64_t len, uint64_t off)
{
	bool ours = (x->flags & QCOW2_EXTENT_PRESENT) && x->depth == 0;
	uint64_t c = r->config->cluster;
	const uint8_t *near;

	/* The rest of a cluster is copied with what is written in it. */
	oracle_run(&r->now, 1, align_down(off, c), &near);
	if (!near)
		oracle_run(&r->now, 1,
			   min_u64(align_up(off + 1, c), r->config->size) - 1,
			   &near);
	if (ours && len > 2 * c && !near)
		return wrong(r, "map: %" PRIu64 " bytes at %" PRIu64
			       " were never written", len, off);
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

static bool walk_map(struct run *r)
{
	uint64_t size = r->config->size;
	uint64_t off = 0;
	bool ok = true;

	while (ok && off < size) {
		struct qcow2_error err = { 0 };
		struct qcow2_extent x;
		int rc = qcow2_map(r->img, size - off, off, 0, &x, &err);

		if (!succeeds(r, rc, "map", &err))
			return false;
		if (x.off != off || !x.len || x.len > size - off)
			return wrong(r, "map: %" PRIu64 " bytes at %" PRIu64
				       " where %" PRIu64 " was asked for",
				    x.len, x.off, off);
		ok = extent_is_right(r, &x);
		off += x.len;
	}
	return ok;
}

/* ---- Operations -------------------------------------------------------------- */

static int cut(const struct op *op, uint8_t *buf, struct iovec *iov)
{
	uint64_t parts[OP_PARTS_MAX];
	unsigned n = op_parts(op, parts);

	for (unsigned i = 0; i < n; i++) {
		iov[i] = (struct iovec){ buf, parts[i] };
		buf += parts[i];
	}
	return (int)n;
}

static int write_op(struct run *r, const struct op *op, unsigned flags,
		    struct qcow2_error *err)
{
	CLEANUP_FREE uint8_t *buf = malloc(op->len);
	struct iovec iov[OP_PARTS_MAX];

	assert(buf);
	op_fill(op, buf, op->len, op->off);
	if (op->kind == OP_COMPRESS)
		return qcow2_write_compressed(r->img, buf, op->len, op->off,
					      flags, err);
	if (op->kind == OP_WRITE)
		return qcow2_pwrite(r->img, buf, op->len, op->off, flags, err);
	return qcow2_pwritev(r->img, iov, cut(op, buf, iov), op->off, flags,
			     err);
}

static int change(struct run *r, const struct op *op, unsigned flags,
		  struct qcow2_error *err)
{
	if (op_writes(op))
		return write_op(r, op, flags, err);
	if (op->kind == OP_ZERO)
		return qcow2_zero(r->img, op->len, op->off, flags, err);
	return qcow2_discard(r->img, op->len, op->off, flags, err);
}

/* What may be refused is asked for again, in a way that may not. */
static bool run_change(struct run *r, const struct op *op)
{
	unsigned flags = op->flags;
	struct qcow2_error err = { 0 };
	int rc = change(r, op, flags, &err);

	if (rc == -EAGAIN && (flags & QCOW2_NOWAIT)) {
		flags &= ~QCOW2_NOWAIT;
		rc = change(r, op, flags, &err);
	}
	if (rc == -ENOTSUP && (flags & QCOW2_ZERO_NO_FALLBACK)) {
		flags &= ~QCOW2_ZERO_NO_FALLBACK;
		rc = change(r, op, flags, &err);
	}
	if (!succeeds(r, rc, "change", &err))
		return false;
	oracle_apply(&r->now, op);
	return true;
}

static bool run_read(struct run *r, const struct op *op)
{
	CLEANUP_FREE uint8_t *buf = malloc(op->len);
	struct qcow2_error err = { 0 };
	struct iovec iov[OP_PARTS_MAX];
	int rc;

	assert(buf);
	rc = qcow2_preadv(r->img, iov, cut(op, buf, iov), op->off, 0, &err);
	return succeeds(r, rc, "read", &err) &&
	       equal(r, oracle_at(&r->now, op->len, op->off), buf, op->len,
		     op->off);
}

static bool close_image(struct run *r)
{
	struct qcow2_error err = { 0 };
	int rc = qcow2_close(r->img, &err);

	r->img = NULL;
	return succeeds(r, rc, "close", &err);
}

static bool open_image(struct run *r)
{
	struct qcow2_error err = { 0 };
	int rc = files_open(&r->files, true, NULL, &r->img, &err);

	return succeeds(r, rc, "open", &err);
}

static bool take_snapshot(struct run *r)
{
	char name[16];
	char said[SAID_BYTES];
	const char *args[] = { "snapshot", "-q", "-c", name, "top", NULL };
	struct qcow2_error err = { 0 };

	snprintf(name, sizeof(name), "s%u", r->n_snapshots);
	if (!succeeds(r, files_dump(&r->files, &err), "dump", &err))
		return false;
	if (files_qemu(&r->files, args, said) != 0)
		return wrong(r, "qemu-img snapshot: %.300s", said);
	r->snapshots[r->n_snapshots++] = oracle_copy(&r->now);
	return succeeds(r, files_load(&r->files, &err), "load", &err);
}

static bool run_snapshot(struct run *r)
{
	if (r->n_snapshots == SNAPSHOTS_MAX)
		return true;
	return close_image(r) && take_snapshot(r) && open_image(r);
}

static bool run_op(struct run *r, const struct op *op)
{
	struct qcow2_error err = { 0 };

	switch (op->kind) {
	case OP_FLUSH:
		return succeeds(r, qcow2_flush(r->img, &err), "flush", &err);
	case OP_REOPEN:
		return close_image(r) && open_image(r);
	case OP_SNAPSHOT:
		return run_snapshot(r);
	case OP_MAP:
		return walk_map(r);
	case OP_READ:
		return run_read(r, op);
	default:
		return run_change(r, op);
	}
}

/* ---- The end ----------------------------------------------------------------- */

static void first_finding(void *opaque, const struct qcow2_finding *finding)
{
	char *text = opaque;

	if (!*text)
		snprintf(text, WHY_BYTES / 2, "%s", finding->message);
}

static bool check_is_clean(struct run *r)
{
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	struct qcow2_check_result result = { .struct_size = sizeof(result) };
	struct qcow2_error err = { 0 };
	char first[WHY_BYTES / 2] = "";
	int rc;

	opts.report = first_finding;
	opts.opaque = first;
	rc = qcow2_check_store(r->files.stores[FILE_TOP], &opts, &result,
			       &err);
	if (!succeeds(r, rc, "check", &err))
		return false;
	if (result.corruptions || result.leaks || result.check_errors)
		return wrong(r, "check: %" PRIu64 " corruptions, %" PRIu64
			       " leaks: %s",
			    result.corruptions, result.leaks, first);
	return true;
}

static bool view_is_right(struct run *r, const char *snapshot,
			  const struct oracle *o)
{
	struct qcow2_error err = { 0 };
	struct qcow2_image *img;
	int rc = files_open(&r->files, false, snapshot, &img, &err);
	bool ok;

	if (!succeeds(r, rc, "open for reading", &err))
		return false;
	ok = compare_disk(r, img, o);
	if (!ok && snapshot)
		snprintf(r->verdict->snapshot, sizeof(r->verdict->snapshot),
			 "%s", snapshot);
	return succeeds(r, qcow2_close(img, &err), "close", &err) && ok;
}

static bool views_are_right(struct run *r)
{
	bool ok = view_is_right(r, NULL, &r->now);

	for (unsigned i = 0; ok && i < r->n_snapshots; i++) {
		char name[16];

		snprintf(name, sizeof(name), "s%u", i);
		ok = view_is_right(r, name, &r->snapshots[i]);
	}
	return ok;
}

/* The oracle as a raw file.  Outside of the windows it has what the backing
 * file has there: nothing. */
static int dump_oracle(struct run *r, const char *path,
		       struct qcow2_error *err)
{
	CLEANUP_STORE struct qcow2_store *raw = NULL;
	int rc = qcow2_store_open_file(path,
				       QCOW2_STORE_RDWR | QCOW2_STORE_CREATE,
				       &raw, err);

	if (rc == 0)
		rc = store_truncate(raw, r->config->size, err);
	for (unsigned i = 0; rc == 0 && i < r->config->n_windows; i++) {
		const struct window *w = &r->config->windows[i];

		rc = store_pwrite(raw, r->now.bytes[i], w->len, w->off, 0,
				  err);
	}
	return rc;
}

static bool qemu_agrees(struct run *r)
{
	const char *check[] = { "check", "-q", "top", NULL };
	const char *compare[] = { "compare", "-q", "-f", "raw", "-F", "qcow2",
				  "oracle", "top", NULL };
	struct qcow2_error err = { 0 };
	char said[SAID_BYTES];
	char path[512];

	snprintf(path, sizeof(path), "%s/oracle", r->trial->dir);
	if (!succeeds(r, files_dump(&r->files, &err), "dump", &err) ||
	    !succeeds(r, dump_oracle(r, path, &err), "dump", &err))
		return false;
	if (files_qemu(&r->files, check, said) != 0)
		return wrong(r, "qemu-img check: %.300s", said);
	/* It rounds sizes to sectors; such a disk ends elsewhere there. */
	if (r->config->size % 512 == 0 &&
	    files_qemu(&r->files, compare, said) != 0)
		return wrong(r, "qemu-img compare: %.300s", said);
	return true;
}

static void release(struct run *r)
{
	struct qcow2_error err;

	if (r->img)
		qcow2_close(r->img, &err);
	oracle_free(&r->now);
	for (unsigned i = 0; i < r->n_snapshots; i++)
		oracle_free(&r->snapshots[i]);
	files_release(&r->files);
}

void trial_run(const struct trial *t, struct verdict *v)
{
	struct run r = { .trial = t, .config = &t->config, .verdict = v };
	struct qcow2_error err = { 0 };
	int rc;
	bool ok;

	memset(v, 0, sizeof(*v));
	v->ok = true;
	r.now = oracle_new(&t->config);
	rc = files_make(&r.files, &t->config, t->dir, &err);
	ok = succeeds(&r, rc, "make", &err) && open_image(&r);
	for (size_t i = 0; ok && i < t->ops.n; i++)
		ok = run_op(&r, &t->ops.ops[i]);
	ok = ok && walk_map(&r) && compare_disk(&r, r.img, &r.now) &&
	     close_image(&r) && check_is_clean(&r) && views_are_right(&r);
	if (ok && t->ask_qemu)
		qemu_agrees(&r);
	release(&r);
}
