#include "model/run.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "model/run_impl.h"

bool run_wrong(struct run *r, const char *fmt, ...)
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

bool run_succeeds(struct run *r, int rc, const char *what,
		  const struct qcow2_error *err)
{
	return rc == 0 || run_wrong(r, "%s: %s (%d)", what, err->message, rc);
}

/* ---- Operations ---------------------------------------------------------- */

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

/* A request that may be refused is repeated in a way that may not. */
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
	if (!run_succeeds(r, rc, "change", &err))
		return false;
	undo_add(r, op);
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
	return run_succeeds(r, rc, "read", &err) &&
	       compare_bytes(r, oracle_at(&r->now, op->len, op->off), buf,
			     op->len, op->off);
}

/* ---- Opening and closing ------------------------------------------------- */

bool run_close(struct run *r)
{
	bool ok = low_settle(r);
	struct qcow2_error err = { 0 };
	int rc = qcow2_close(r->img, &err);
	bool leaky = r->leaky;

	r->img = NULL;
	r->leaky = false;
	undo_clear(r);
	return ok && run_succeeds(r, rc, "close", &err) &&
	       (!leaky ||
		judge_check(r, QCOW2_CHECK_REPAIR_LEAKS, JUDGE_LEAKY));
}

bool run_open(struct run *r)
{
	bool ok = low_lower(r);
	struct qcow2_error err = { 0 };
	int rc = files_open(&r->files, true, NULL, &r->img, &err);

	return run_succeeds(r, rc, "open", &err) && ok;
}

bool run_flush(struct run *r)
{
	struct qcow2_error err = { 0 };
	int rc = qcow2_flush(r->img, &err);

	if (rc == 0)
		undo_clear(r);
	return run_succeeds(r, rc, "flush", &err);
}

/* ---- Sequences ----------------------------------------------------------- */

static bool run_op(struct run *r, const struct op *op, bool *refused)
{
	switch (op->kind) {
	case OP_NONE:
		return true;
	case OP_FLUSH:
		return run_flush(r);
	case OP_REOPEN:
		return run_close(r) && run_open(r);
	case OP_MAP:
		return compare_map(r);
	case OP_READ:
		return run_read(r, op);
	case OP_WRITE:
	case OP_WRITEV:
	case OP_ZERO:
	case OP_DISCARD:
	case OP_COMPRESS:
		return run_change(r, op);
	default:
		return run_image_op(r, op, refused);
	}
}

static bool run_next(struct run *r, size_t i)
{
	struct op op = state_fit(&r->state, r->trial->ops.ops[i]);
	bool refused = false;
	bool ok = run_op(r, &op, &refused);

	if (refused && i < VERDICT_OPS)
		r->verdict->refused[i / 8] |= (uint8_t)(1u << i % 8);
	if (ok)
		state_done(&r->state, &op, refused);
	return ok && (op.kind < OP_SNAPSHOT || run_state_matches(r));
}

static void release(struct run *r)
{
	struct qcow2_error err;

	if (r->img)
		qcow2_close(r->img, &err);
	undo_clear(r);
	run_drop_snapshots(r);
	oracle_free(&r->now);
	files_release(&r->files);
}

void trial_run(const struct trial *t, struct verdict *v)
{
	struct run r = { .trial = t, .verdict = v };
	struct qcow2_error err = { 0 };
	int rc;
	bool ok;

	memset(v, 0, sizeof(*v));
	v->ok = true;
	r.state = state_new(&t->config);
	r.now = oracle_new(&r.state.now);
	rc = files_make(&r.files, &t->config, t->dir, &err);
	ok = run_succeeds(&r, rc, "make", &err) && run_open(&r);
	for (size_t i = 0; ok && i < t->ops.n; i++)
		ok = run_next(&r, i);
	ok = ok && compare_map(&r) && compare_disk(&r, r.img, &r.now) &&
	     run_close(&r) && judge_image(&r);
	if (ok && t->ask_qemu)
		judge_qemu(&r);
	release(&r);
}
