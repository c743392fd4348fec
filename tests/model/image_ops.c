#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "model/run_impl.h"
#include "store/store.h"

/* Header clusters that hold more than any name can be. */
enum { ROOMY_CLUSTER = 4096 };

/* ---- Refusals for other reasons ------------------------------------------ */

/* A refusal because refcounts are too narrow: some cluster must have one that
 * shows it. */
static bool narrow_is_right(struct run *r, const struct op *op)
{
	uint32_t bits = r->state.now.refcount_bits;
	struct qcow2_error err = { 0 };
	uint64_t highest = 0;
	uint64_t max;

	if (op->kind == OP_AMEND)
		bits = op->refcount_bits;
	max = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
	if (!run_close(r) ||
	    !run_succeeds(r, judge_highest_refcount(r, &highest, &err),
			  "refcounts", &err))
		return false;
	/* A snapshot adds no more than one reference for each that a cluster
	 * has. */
	if (op->kind == OP_AMEND ? highest <= max : highest <= max / 2)
		return run_wrong(r,
				 "refcounts of %" PRIu32 " bits are refused,"
				 " the highest is %" PRIu64,
				 bits, highest);
	return run_open(r);
}

static bool may_be_narrow(const struct op *op, int rc)
{
	return rc == -ERANGE &&
	       (op->kind == OP_SNAPSHOT || op->kind == OP_APPLY ||
		(op->kind == OP_AMEND &&
		 (op->set & QCOW2_AMEND_REFCOUNT_BITS)));
}

static bool may_be_small(const struct run *r, const struct op *op, int rc)
{
	return rc == -ENOSPC && r->state.now.cluster < ROOMY_CLUSTER &&
	       (op->kind == OP_BACKING ||
		(op->kind == OP_AMEND && op->set == QCOW2_AMEND_VERSION));
}

static bool expected(struct run *r, const struct op *op, int rc,
		     const char *what, const struct qcow2_error *err,
		     bool *refused)
{
	int want = state_refusal(&r->state, op);

	*refused = rc != 0;
	if (want == 0 && may_be_narrow(op, rc))
		return narrow_is_right(r, op);
	if (want == 0 && may_be_small(r, op, rc))
		return true;
	if (want == rc)
		return true;
	return run_wrong(r, "%s: %d instead of %d: %s", what, rc, want,
			 rc ? err->message : "it works");
}

/* ---- Snapshots ----------------------------------------------------------- */

/* Times and counters of a snapshot come from a number. */
static struct qcow2_snapshot_opts snapshot_opts(const struct op *op)
{
	struct qcow2_snapshot_opts o = QCOW2_SNAPSHOT_OPTS_INIT;

	o.date_sec = (uint32_t)(op->cuts >> 40) + 1;
	o.date_nsec = (uint32_t)(op->cuts % 1000000000);
	o.vm_clock_ns = op->cuts / 3;
	o.icount = op->cuts & 1 ? UINT64_MAX : op->cuts;
	o.vm_state_size = op->len;
	return o;
}

static bool by_qemu(struct run *r, const char *option, const char *name)
{
	const char *args[] = { "snapshot", "-q", option, name, "top", NULL };
	struct qcow2_error err = { 0 };
	char said[SAID_BYTES];

	if (!run_close(r) ||
	    !run_succeeds(r, files_dump(&r->files, &err), "dump", &err))
		return false;
	if (files_qemu(&r->files, args, said) != 0)
		return run_wrong(r, "qemu-img snapshot %s: %.300s", option,
				 said);
	return run_succeeds(r, files_load(&r->files, &err), "load", &err) &&
	       run_open(r);
}

static int write_vmstate(struct run *r, const struct op *op,
			 struct qcow2_error *err)
{
	CLEANUP_FREE uint8_t *buf = malloc(op->len + 1);

	assert(buf);
	op_fill(op, buf, op->len, 0);
	return op->len ? qcow2_vmstate_write(r->img, buf, op->len, 0, err) : 0;
}

static bool create(struct run *r, const struct op *op, bool *refused)
{
	struct qcow2_snapshot_opts opts = snapshot_opts(op);
	struct kept k = { .number = r->state.next };
	struct qcow2_error err = { 0 };
	char name[16];
	int rc;

	kept_name(&k, name);
	if (op->by_qemu) {
		if (!by_qemu(r, "-c", name))
			return false;
	} else {
		rc = write_vmstate(r, op, &err);
		if (rc == 0)
			rc = qcow2_snapshot_create(r->img, name, &opts, &err);
		if (!expected(r, op, rc, "snapshot create", &err, refused))
			return false;
	}
	if (!*refused)
		r->snapshots[r->state.n_kept] = oracle_copy(&r->now);
	return true;
}

static bool vmstate_is_right(struct run *r, struct qcow2_image *img,
			     const struct kept *k)
{
	const struct op *op = &k->made_by;
	CLEANUP_FREE uint8_t *want = malloc(op->len + 1);
	CLEANUP_FREE uint8_t *got = malloc(op->len + 1);
	struct qcow2_error err = { 0 };
	int rc;

	if (!op->len)
		return true;
	assert(want && got);
	op_fill(op, want, op->len, 0);
	rc = qcow2_vmstate_read(img, got, op->len, 0, &err);
	if (!run_succeeds(r, rc, "VM state", &err))
		return false;
	return memcmp(want, got, op->len) == 0 ||
	       run_wrong(r, "the VM state of s%" PRIu32 " is another",
			 k->number);
}

/* By id or by name. */
static void address(const struct run *r, const struct op *op, char name[16])
{
	const struct kept *all = r->state.kept;

	if (op->which == SNAPSHOT_NOBODY)
		strcpy(name, "nobody");
	else if (!op->by_qemu && (op->cuts & 1))
		snprintf(name, 16, "%" PRIu32, all[op->which].id);
	else
		kept_name(&all[op->which], name);
}

static bool apply(struct run *r, const struct op *op, bool *refused)
{
	struct qcow2_error err = { 0 };
	char name[16];
	int rc;

	address(r, op, name);
	if (op->by_qemu) {
		if (!by_qemu(r, "-a", name))
			return false;
	} else {
		rc = qcow2_snapshot_apply(r->img, name, &err);
		if (!expected(r, op, rc, "snapshot apply", &err, refused))
			return false;
	}
	if (*refused)
		return true;
	oracle_free(&r->now);
	r->now = oracle_copy(&r->snapshots[op->which]);
	return vmstate_is_right(r, r->img, &r->state.kept[op->which]);
}

static bool delete (struct run *r, const struct op *op, bool *refused)
{
	struct qcow2_error err = { 0 };
	char name[16];
	int rc;

	address(r, op, name);
	if (op->by_qemu) {
		if (!by_qemu(r, "-d", name))
			return false;
	} else {
		rc = qcow2_snapshot_delete(r->img, name, &err);
		if (!expected(r, op, rc, "snapshot delete", &err, refused))
			return false;
	}
	if (*refused)
		return true;
	oracle_free(&r->snapshots[op->which]);
	memmove(&r->snapshots[op->which], &r->snapshots[op->which + 1],
		(r->state.n_kept - op->which - 1) * sizeof(r->now));
	memset(&r->snapshots[r->state.n_kept - 1], 0, sizeof(r->now));
	return true;
}

void run_drop_snapshots(struct run *r)
{
	for (unsigned i = 0; i < KEPT_MAX; i++)
		oracle_free(&r->snapshots[i]);
}

static bool listed(const struct run *r, const struct kept *k,
		   const struct qcow2_snapshot_info *info)
{
	struct qcow2_snapshot_opts o = snapshot_opts(&k->made_by);
	char name[16], id[16];

	kept_name(k, name);
	snprintf(id, sizeof(id), "%" PRIu32, k->id);
	if (strcmp(info->name, name) || strcmp(info->id, id) ||
	    info->disk_size != k->size)
		return false;
	(void)r;
	return k->made_by.by_qemu ||
	       (info->vm_state_size == k->made_by.len &&
		info->date_sec == o.date_sec &&
		info->date_nsec == o.date_nsec &&
		info->vm_clock_ns == o.vm_clock_ns && info->icount == o.icount);
}

static bool list(struct run *r)
{
	for (uint32_t i = 0; i <= r->state.n_kept; i++) {
		struct qcow2_snapshot_info info = { .struct_size =
							    sizeof(info) };
		int rc = qcow2_get_snapshot(r->img, i, &info, NULL);

		if (i == r->state.n_kept)
			return rc == -EINVAL ||
			       run_wrong(r, "a snapshot too many");
		if (rc < 0 || !listed(r, &r->state.kept[i], &info))
			return run_wrong(r,
					 "snapshot %" PRIu32
					 " is not what it was (%d)",
					 i, rc);
	}
	return true;
}

static bool see(struct run *r, struct qcow2_image *img, const struct kept *k)
{
	const struct oracle *o = k ? &r->snapshots[k - r->state.kept] : &r->now;
	bool ok = compare_disk(r, img, o) &&
		  (!k || vmstate_is_right(r, img, k));

	if (!ok && k)
		kept_name(k, r->verdict->snapshot);
	return ok;
}

bool run_view(struct run *r, const struct kept *k)
{
	struct qcow2_error err = { 0 };
	struct qcow2_image *img;
	char name[16];
	bool ok;
	int rc;

	if (k)
		kept_name(k, name);
	rc = files_open(&r->files, false, k ? name : NULL, &img, &err);
	if (!run_succeeds(r, rc, "open for reading", &err))
		return false;
	ok = see(r, img, k);
	return run_succeeds(r, qcow2_close(img, &err), "close", &err) && ok;
}

/* A program that opens the file beside us sees the contents of the last
 * flush. */
static bool views(struct run *r)
{
	bool ok = run_flush(r);

	for (unsigned i = 0; ok && i < r->state.n_kept; i++)
		ok = run_view(r, &r->state.kept[i]);
	return ok;
}

/* ---- Size, options ------------------------------------------------------- */

static bool resize(struct run *r, const struct op *op, bool *refused)
{
	struct qcow2_resize_opts opts = QCOW2_RESIZE_OPTS_INIT;
	struct qcow2_error err = { 0 };
	int rc;

	opts.flags = op->flags;
	opts.preallocation = op->prealloc;
	rc = qcow2_resize(r->img, op->size, &opts, &err);
	if (!expected(r, op, rc, "resize", &err, refused))
		return false;
	if (!*refused)
		oracle_resize(&r->now, op->size);
	r->stretched = true;
	return true;
}

static struct qcow2_amend_opts amend_opts(const struct op *op)
{
	struct qcow2_amend_opts opts = QCOW2_AMEND_OPTS_INIT;

	opts.set = op->set;
	opts.flags = op->flags & QCOW2_RESIZE_SHRINK ? QCOW2_AMEND_SHRINK : 0;
	opts.version = op->version;
	opts.refcount_bits = op->refcount_bits;
	opts.lazy_refcounts = opts.data_file_raw = op->on;
	opts.size = op->size;
	return opts;
}

static bool reopened(struct run *r)
{
	return run_close(r) && run_open(r);
}

static bool amend(struct run *r, const struct op *op, bool *refused)
{
	struct qcow2_amend_opts opts = amend_opts(op);
	struct qcow2_error err = { 0 };
	int rc = qcow2_amend(r->img, &opts, &err);
	struct state after = r->state;

	if (!expected(r, op, rc, "amend", &err, refused))
		return false;
	state_done(&after, op, *refused);
	oracle_resize(&r->now, after.now.size);
	r->stretched = true;
	/* Lazy refcounts begin with the next opening. */
	return !(op->set & QCOW2_AMEND_LAZY_REFCOUNTS) || *refused ||
	       reopened(r);
}

/* Writes all of the range, so that nothing shines through. */
static bool write_all(struct run *r)
{
	uint64_t end = min_u64(r->now.size, r->state.now.backing_size);
	bool ok = true;

	for (unsigned i = 0; ok && i < r->state.now.n_windows; i++) {
		const struct window *w = &r->state.now.windows[i];
		uint64_t stop = min_u64(w->off + w->len, end);
		struct qcow2_error err = { 0 };
		int rc = 0;

		if (w->off < stop)
			rc = qcow2_pwrite(r->img, r->now.bytes[i],
					  stop - w->off, w->off, 0, &err);
		ok = run_succeeds(r, rc, "write", &err);
	}
	return ok;
}

static bool rebase(struct run *r, const struct op *op, bool *refused)
{
	struct qcow2_amend_opts opts = QCOW2_AMEND_OPTS_INIT;
	char name[BACKING_NAME_BYTES];
	bool raw = r->state.backing == BACKING_RAW;
	struct qcow2_error err = { 0 };
	int rc;

	if ((op->which == BACKING_DETACH || op->which == BACKING_ATTACH) &&
	    !write_all(r))
		return false;
	opts.set = QCOW2_AMEND_BACKING;
	opts.backing_file = state_backing_name(op, name);
	if (opts.backing_file && op->which != BACKING_NO_FORMAT)
		opts.backing_format = raw ? "raw" : "qcow2";
	rc = qcow2_amend(r->img, &opts, &err);
	return expected(r, op, rc, "amend backing", &err, refused) &&
	       reopened(r);
}

/* ---- Compacting ---------------------------------------------------------- */

struct stopper {
	unsigned left;
	bool stopped;
};

static int count_down(void *opaque, uint64_t done, uint64_t total)
{
	struct stopper *s = opaque;

	assert(done <= total);
	if (s->left == 0 || --s->left > 0)
		return 0;
	s->stopped = true;
	return 1;
}

static bool file_is_as_told(struct run *r, const struct op *op,
			    const struct qcow2_compact_result *result)
{
	uint64_t told = op->flags & QCOW2_COMPACT_DRY_RUN
				? result->file_size_before
				: result->file_size_after;
	struct qcow2_error err = { 0 };
	uint64_t size = 0;
	int rc = store_size(r->files.stores[FILE_TOP], &size, &err);

	return run_succeeds(r, rc, "size", &err) &&
	       (size == told || run_wrong(r,
					  "compact: the file has %" PRIu64
					  " bytes, not %" PRIu64,
					  size, told));
}

static bool compact(struct run *r, const struct op *op, bool *refused)
{
	struct qcow2_compact_result result = { .struct_size = sizeof(result) };
	struct qcow2_compact_opts opts = QCOW2_COMPACT_OPTS_INIT;
	struct stopper stopper = { .left = op->stop_after };
	struct qcow2_error err = { 0 };
	int rc;

	opts.flags = op->flags;
	opts.progress = count_down;
	opts.opaque = &stopper;
	rc = qcow2_compact(r->img, &opts, &result, &err);
	if (rc == -ECANCELED && stopper.stopped) {
		*refused = true;
		return true;
	}
	return expected(r, op, rc, "compact", &err, refused) &&
	       (*refused || file_is_as_told(r, op, &result));
}

/* ---- All of them --------------------------------------------------------- */

bool run_state_matches(struct run *r)
{
	struct qcow2_info info = { .struct_size = sizeof(info) };
	const struct config *now = &r->state.now;
	struct qcow2_error err = { 0 };
	int rc = qcow2_get_info(r->img, 0, &info, &err);
	const char *backing = info.backing_file ? info.backing_file : "";

	if (!run_succeeds(r, rc, "info", &err))
		return false;
	if (info.version == now->version && info.virtual_size == now->size &&
	    info.refcount_bits == now->refcount_bits &&
	    info.lazy_refcounts == now->lazy &&
	    info.data_file_raw == (now->data == DATA_FILE_RAW) &&
	    info.n_snapshots == r->state.n_kept &&
	    strcmp(backing, r->state.backing_name) == 0)
		return true;
	return run_wrong(r,
			 "the image says: version %" PRIu32 ", size %" PRIu64
			 ", refcount_bits %" PRIu32
			 ", lazy %d, raw %d, %" PRIu32
			 " snapshots, backing file %.80s",
			 info.version, info.virtual_size, info.refcount_bits,
			 info.lazy_refcounts, info.data_file_raw,
			 info.n_snapshots, backing);
}

static bool run_one(struct run *r, const struct op *op, bool *refused)
{
	struct qcow2_error err = { 0 };

	switch (op->kind) {
	case OP_SNAPSHOT:
		return create(r, op, refused);
	case OP_APPLY:
		return apply(r, op, refused);
	case OP_DELETE:
		return delete (r, op, refused);
	case OP_LIST:
		return list(r);
	case OP_VIEWS:
		return views(r);
	case OP_VMSTATE:
		return expected(r, op, write_vmstate(r, op, &err), "VM state",
				&err, refused);
	case OP_RESIZE:
		return resize(r, op, refused);
	case OP_AMEND:
		return amend(r, op, refused);
	case OP_BACKING:
		return rebase(r, op, refused);
	case OP_COMPACT:
		/* A dry run repairs nothing, and refuses an image with
		 * defects. */
		return low_settle(r) && compact(r, op, refused);
	case OP_CHECK:
		return run_close(r) && judge_check(r, op->flags, JUDGE_CLEAN) &&
		       run_open(r);
	default:
		return run_kill(r, op);
	}
}

/* Operations that also make the disk's contents durable. */
static bool flushes(const struct run *r, const struct op *op)
{
	return op->kind == OP_SNAPSHOT || op->kind == OP_APPLY ||
	       op->kind == OP_AMEND ||
	       (op->kind == OP_RESIZE && op->size != r->state.now.size) ||
	       (op->kind == OP_COMPACT && !(op->flags & QCOW2_COMPACT_DRY_RUN));
}

bool run_image_op(struct run *r, const struct op *op, bool *refused)
{
	bool ok = run_one(r, op, refused);

	if (ok && !*refused && flushes(r, op))
		undo_clear(r);
	return ok;
}
