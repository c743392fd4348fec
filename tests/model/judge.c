#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "format/defect.h"
#include "format/geometry.h"
#include "format/header.h"
#include "format/refcount.h"
#include "model/run_impl.h"
#include "store/store.h"

/* ---- Our check ----------------------------------------------------------- */

/* The worst finding, the first of its kind, and how many are corruptions. */
struct findings {
	bool flags_may_be_off;
	uint64_t n_corruptions;
	uint32_t severity;
	char worst[WHY_BYTES / 2];
};

/* A snapshot that is being deleted leaves its clusters to the disk before the
 * disk's entries say so.  A kill between the two does no harm: a writer copies
 * the cluster first.  Version 3 has the dirty bit meanwhile. */
static bool is_flag_off(const struct qcow2_finding *f)
{
	return f->defect == DEFECT_COPIED_FLAG &&
	       strstr(f->message, ": COPIED set");
}

static void note_finding(void *opaque, const struct qcow2_finding *f)
{
	struct findings *all = opaque;

	if (all->flags_may_be_off && is_flag_off(f))
		return;
	all->n_corruptions += f->severity >= QCOW2_SEVERITY_CORRUPTION;
	if (*all->worst && f->severity <= all->severity)
		return;
	all->severity = f->severity;
	snprintf(all->worst, sizeof(all->worst), "%s", f->message);
}

static bool found_too_much(const struct findings *all,
			   const struct qcow2_check_result *f,
			   enum judge_found may)
{
	if (f->corruptions || f->leaks || f->check_errors)
		return true;
	return (all->n_corruptions && may < JUDGE_DIRTY) ||
	       (f->leaks_fixed && may < JUDGE_LEAKY);
}

bool judge_check(struct run *r, unsigned repair, enum judge_found may)
{
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	struct qcow2_check_result f = { .struct_size = sizeof(f) };
	struct findings all = {
		.flags_may_be_off = may >= JUDGE_LEAKY &&
				    r->state.now.version == 2,
	};
	struct qcow2_error err = { 0 };
	int rc;

	opts.flags = repair;
	opts.report = note_finding;
	opts.opaque = &all;
	rc = qcow2_check_store(r->files.stores[FILE_TOP], &opts, &f, &err);
	if (!run_succeeds(r, rc, "check", &err))
		return false;
	return !found_too_much(&all, &f, may) ||
	       run_wrong(r,
			 "check: %" PRIu64 " corruptions, %" PRIu64
			 " leaks, repaired %" PRIu64 " and %" PRIu64 ": %s",
			 f.corruptions, f.leaks, f.corruptions_fixed,
			 f.leaks_fixed, all.worst);
}

/* ---- Refcounts ----------------------------------------------------------- */

static int read_geometry(struct qcow2_store *file, struct header *h,
			 struct geometry *g, struct qcow2_error *err)
{
	uint8_t buf[512];
	struct fault fault;
	int rc = store_pread(file, buf, sizeof(buf), 0, 0, err);

	if (rc == 0 && header_decode(h, buf, sizeof(buf), &fault))
		rc = -EINVAL;
	if (rc == 0)
		geometry_init(g, h);
	return rc;
}

static void highest_of(const struct geometry *g, const uint8_t *block,
		       uint64_t *value)
{
	for (uint64_t i = 0; i < UINT64_C(1) << g->refcount_block_bits; i++) {
		uint64_t count = refcount_get(block, i, g->refcount_order);

		*value = count > *value ? count : *value;
	}
}

int judge_highest_refcount(struct run *r, uint64_t *value,
			   struct qcow2_error *err)
{
	struct qcow2_store *file = r->files.stores[FILE_TOP];
	CLEANUP_FREE uint8_t *block = NULL;
	struct geometry g;
	struct header h;
	uint64_t n;
	int rc = read_geometry(file, &h, &g, err);

	if (rc < 0)
		return rc;
	block = malloc(g.cluster_size);
	assert(block);
	n = (uint64_t)h.refcount_table_clusters * g.cluster_size / 8;
	for (uint64_t i = 0; rc == 0 && i < n; i++) {
		uint64_t off = h.refcount_table_off + i * 8;
		uint8_t entry[8];

		rc = store_pread(file, entry, sizeof(entry), off, 0, err);
		if (rc < 0 || !get_be64(entry))
			continue;
		rc = store_pread(file, block, g.cluster_size, get_be64(entry),
				 0, err);
		if (rc == 0)
			highest_of(&g, block, value);
	}
	return rc;
}

/* ---- The end ------------------------------------------------------------- */

bool judge_image(struct run *r)
{
	bool ok = judge_check(r, 0, JUDGE_CLEAN) && run_view(r, NULL);

	for (unsigned i = 0; ok && i < r->state.n_kept; i++)
		ok = run_view(r, &r->state.kept[i]);
	return ok;
}

/* ---- QEMU ---------------------------------------------------------------- */

/* The oracle as a raw file.  Outside of the windows it has the same as the
 * backing file: nothing. */
static int dump_oracle(struct run *r, const char *path, struct qcow2_error *err)
{
	CLEANUP_STORE struct qcow2_store *raw = NULL;
	int rc = qcow2_store_open_file(
		path, QCOW2_STORE_RDWR | QCOW2_STORE_CREATE, &raw, err);

	if (rc == 0)
		rc = store_truncate(raw, r->now.size, err);
	for (unsigned i = 0; rc == 0 && i < r->state.now.n_windows; i++) {
		const struct window *w = &r->state.now.windows[i];
		uint64_t len = oracle_window(&r->now, w);

		if (len)
			rc = store_pwrite(raw, r->now.bytes[i], len, w->off, 0,
					  err);
	}
	return rc;
}

static bool qemu_says(struct run *r, const char *const *args)
{
	char said[SAID_BYTES];

	return files_qemu(&r->files, args, said) == 0 ||
	       run_wrong(r, "qemu-img %s: %.300s", args[0], said);
}

static bool qemu_reads_disk(struct run *r)
{
	const char *compare[] = { "compare", "-q",     "-f",  "raw", "-F",
				  "qcow2",   "oracle", "top", NULL };
	struct qcow2_error err = { 0 };
	char path[512];

	snprintf(path, sizeof(path), "%s/oracle", r->trial->dir);
	return run_succeeds(r, dump_oracle(r, path, &err), "dump", &err) &&
	       qemu_says(r, compare);
}

static bool qemu_reads_snapshot(struct run *r, unsigned i)
{
	char option[32] = "snapshot.name=";
	const char *convert[] = { "convert", "-q",   "-f", "qcow2",
				  "-O",      "raw",  "-l", option,
				  "top",     "view", NULL };

	kept_name(&r->state.kept[i], option + strlen(option));
	return qemu_says(r, convert) &&
	       compare_file(r, "view", &r->snapshots[i]);
}

/* The copy that is shown to QEMU gets the snapshot as its disk.  QEMU loses
 * clusters of VM state when it gives the disk the snapshot's size. */
static bool qemu_applies_snapshot(struct run *r, unsigned i)
{
	char name[16];
	const char *apply[] = { "snapshot", "-q", "-a", name, "top", NULL };
	const char *check[] = { "check", "-q", "top", NULL };
	const char *convert[] = { "convert", "-q",  "-f",   "qcow2", "-O",
				  "raw",     "top", "view", NULL };

	kept_name(&r->state.kept[i], name);
	return qemu_says(r, apply) && qemu_says(r, check) &&
	       qemu_says(r, convert) &&
	       compare_file(r, "view", &r->snapshots[i]);
}

/* QEMU cannot always make a disk larger over a backing file. */
static bool qemu_can_apply(const struct run *r, const struct kept *k)
{
	return r->state.now.version >= 3 && !r->state.had_vmstate &&
	       config_qemu_snapshots(&r->state.now) && k->size % 512 == 0 &&
	       (k->size < r->now.size || !r->state.now.backing);
}

/* QEMU reads a snapshot with the size that the disk has now. */
static bool qemu_reads_snapshots(struct run *r)
{
	uint64_t size = r->now.size;
	bool ok = true;

	for (unsigned i = 0; ok && i < r->state.n_kept; i++)
		if (r->state.kept[i].size == size)
			ok = qemu_reads_snapshot(r, i);
	for (unsigned i = 0; ok && i < r->state.n_kept; i++)
		if (r->state.kept[i].size != size &&
		    qemu_can_apply(r, &r->state.kept[i]))
			ok = qemu_applies_snapshot(r, i);
	return ok;
}

bool judge_qemu(struct run *r)
{
	const char *check[] = { "check", "-q", "top", NULL };
	struct qcow2_error err = { 0 };

	if (!run_succeeds(r, files_dump(&r->files, &err), "dump", &err) ||
	    !qemu_says(r, check))
		return false;
	/* QEMU rounds sizes to sectors, so such a disk ends elsewhere there. */
	return r->now.size % 512 ||
	       (qemu_reads_disk(r) && qemu_reads_snapshots(r));
}
