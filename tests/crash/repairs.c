#include "crash/repairs.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "check/check.h"
#include "crash/cowstore.h"
#include "crash/enumerate.h"
#include "format/defect.h"
#include "format/header.h"
#include "format/l2.h"
#include "repair/repair.h"
#include "store/store.h"
#include "stores/record.h"

/* ---- Damage -------------------------------------------------------------- */

static uint64_t get(struct qcow2_store *file, uint64_t off)
{
	uint8_t raw[8];
	int rc = store_pread(file, raw, sizeof(raw), off, 0, NULL);

	assert(rc == 0);
	(void)rc;
	return get_be64(raw);
}

static void put(struct qcow2_store *file, uint64_t off, uint64_t value)
{
	uint8_t raw[8];
	int rc;

	put_be64(raw, value);
	rc = store_pwrite(file, raw, sizeof(raw), off, 0, NULL);
	assert(rc == 0);
	(void)rc;
}

static uint64_t table(struct qcow2_store *file)
{
	return get(file, HEADER_OFF_REFCOUNT_TABLE_OFF);
}

static uint64_t l1(struct qcow2_store *file)
{
	return get(file, HEADER_OFF_L1_OFF);
}

static uint64_t l2(struct qcow2_store *file)
{
	return l1_table_off(get(file, l1(file)));
}

/* Some refcounts too low, others too high. */
static void damage_counts(struct qcow2_store *file)
{
	uint64_t block = get(file, table(file));

	put(file, block, UINT64_C(0x0000000000030001));
	put(file, block + 8, UINT64_C(0x0001000200000001));
}

static void damage_dirty(struct qcow2_store *file)
{
	damage_counts(file);
	put(file, HEADER_OFF_INCOMPAT,
	    get(file, HEADER_OFF_INCOMPAT) | INCOMPAT_DIRTY);
}

static void damage_corrupt(struct qcow2_store *file)
{
	put(file, HEADER_OFF_INCOMPAT,
	    get(file, HEADER_OFF_INCOMPAT) | INCOMPAT_CORRUPT);
	damage_counts(file);
}

static void damage_block_missing(struct qcow2_store *file)
{
	put(file, table(file), 0);
}

static void damage_block_misaligned(struct qcow2_store *file)
{
	put(file, table(file), get(file, table(file)) + 512);
}

static void damage_block_reserved(struct qcow2_store *file)
{
	put(file, table(file), get(file, table(file)) | 1);
}

static void damage_block_twice(struct qcow2_store *file)
{
	put(file, table(file) + 8, get(file, table(file)));
}

static void damage_block_overlap(struct qcow2_store *file)
{
	put(file, table(file), l1(file));
}

static void damage_table_missing(struct qcow2_store *file)
{
	put(file, HEADER_OFF_REFCOUNT_TABLE_CLUSTERS,
	    get(file, HEADER_OFF_REFCOUNT_TABLE_CLUSTERS) &
		    UINT64_C(0xffffffff));
}

static void damage_flags(struct qcow2_store *file)
{
	uint64_t at = l2(file);

	for (uint64_t i = 0; i < 64; i++, at += 8)
		if (get(file, at) & ENTRY_OFFSET_MASK)
			put(file, at, get(file, at) ^ ENTRY_COPIED);
	put(file, l1(file), get(file, l1(file)) ^ ENTRY_COPIED);
}

static void damage_bits(struct qcow2_store *file)
{
	put(file, l1(file), get(file, l1(file)) | 3);
	put(file, l2(file), get(file, l2(file)) | 2);
}

/* An entry that was not used points to the L1 table. */
static void damage_overlap(struct qcow2_store *file)
{
	uint64_t at = l2(file);

	while (get(file, at))
		at += 8;
	put(file, at, l1(file) | ENTRY_COPIED);
}

static void damage_snapshot_count(struct qcow2_store *file)
{
	put(file, HEADER_OFF_SNAPSHOT_COUNT - 4,
	    get(file, HEADER_OFF_SNAPSHOT_COUNT - 4) + 70000);
}

static void damage_snapshot_extra(struct qcow2_store *file)
{
	put(file, HEADER_OFF_SNAPSHOT_COUNT - 4,
	    get(file, HEADER_OFF_SNAPSHOT_COUNT - 4) + 1);
}

const struct repair_case repair_cases[] = {
	{ "refcounts", "4k", damage_counts },
	{ "refcounts", "512-used", damage_counts },
	{ "refcounts", "4k-snapshot", damage_counts },
	{ "refcounts of a dirty image", "4k-used", damage_dirty },
	{ "refcounts of a corrupt image", "sub", damage_corrupt },
	{ "a block is missing", "4k", damage_block_missing },
	{ "a block is missing", "512-snapshot", damage_block_missing },
	{ "a block is out of place", "4k-compressed", damage_block_misaligned },
	{ "a block has reserved bits", "4k", damage_block_reserved },
	{ "a block counts twice", "4k-used", damage_block_twice },
	{ "a block is the L1 table", "4k-snapshot", damage_block_overlap },
	{ "no refcount table", "512-used", damage_table_missing },
	{ "no refcount table", "512-v2", damage_table_missing },
	{ "COPIED flags", "4k-used", damage_flags },
	{ "COPIED flags", "4k-snapshot", damage_flags },
	{ "reserved bits", "4k-used", damage_bits },
	{ "a cluster with two owners", "4k-used", damage_overlap },
	{ "a cluster with two owners", "512-used", damage_overlap },
	{ "too many snapshots", "4k-snapshot", damage_snapshot_count },
	{ "a snapshot without extra data", "512-snapshot",
	  damage_snapshot_extra },
};

const unsigned n_repair_cases = sizeof(repair_cases) / sizeof(repair_cases[0]);

/* ---- Judging ------------------------------------------------------------- */

/* The defects of an image. */
struct harm {
	uint64_t too_low; /* findings of refcounts that are */
	uint64_t others;  /* all others but flags */
	bool dirty;
};

struct repair_trial {
	const struct trial_env *env;
	const struct base *base;
	struct qcow2_store *files[BASE_FILES]; /* the damaged image */
	struct pending pending;
	struct seen *seen;
	struct harm before;
	uint8_t *disk;     /* its contents; NULL: cannot be read */
	uint8_t *repaired; /* the same after the repair */
	struct failure *failure;
};

__attribute__((format(printf, 2, 3))) static bool wrong(struct repair_trial *t,
							const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(t->failure->why, WHY_BYTES, fmt, args);
	va_end(args);
	return false;
}

static size_t disk_bytes(const struct repair_trial *t)
{
	return (size_t)t->base->model.n_sectors * MODEL_SECTOR;
}

/* The disk and behind it its snapshot; NULL when it cannot be read. */
static uint8_t *read_all(const struct repair_trial *t,
			 struct qcow2_store *const files[BASE_FILES])
{
	size_t bytes = disk_bytes(t);
	uint8_t *disk = calloc(2, bytes);
	bool ok = true;

	assert(disk);
	for (unsigned i = 0; ok && i < (t->base->snapshot ? 2 : 1); i++) {
		struct qcow2_image *img;

		ok = base_open(t->base, files, false, i ? "1" : NULL, &img,
			       NULL) == 0;
		if (!ok)
			break;
		ok = qcow2_pread(img, disk + i * bytes, bytes, 0, 0, NULL) == 0;
		qcow2_close(img, NULL);
	}
	if (ok)
		return disk;
	free(disk);
	return NULL;
}

static bool same_disk(struct repair_trial *t, uint8_t *disk,
		      const uint8_t *want, const char *when)
{
	bool same = disk && !memcmp(disk, want, 2 * disk_bytes(t));

	if (!disk)
		wrong(t, "%s the disk cannot be read", when);
	else if (!same)
		wrong(t, "%s the disk is another", when);
	free(disk);
	return same;
}

static void count_harm(void *opaque, const struct qcow2_finding *f)
{
	struct harm *h = opaque;

	if (f->severity < QCOW2_SEVERITY_CORRUPTION)
		return;
	h->too_low += f->defect == DEFECT_REFCOUNT_TOO_LOW;
	h->others += f->defect != DEFECT_REFCOUNT_TOO_LOW &&
		     f->defect != DEFECT_COPIED_FLAG;
}

/* Refcounts that are unknown are not counted: they depend on the length of the
 * file.  An image that only a repair can open is harmed in one way, the
 * worst. */
static struct harm harm_of(struct qcow2_store *file)
{
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	struct qcow2_check_result r = { .struct_size = sizeof(r) };
	struct harm h = { 0 };

	opts.report = count_harm;
	opts.opaque = &h;
	if (check_store(file, &opts, &r, NULL) < 0)
		h.too_low = h.others = UINT64_MAX / 2;
	h.dirty = get(file, HEADER_OFF_INCOMPAT) & INCOMPAT_DIRTY;
	return h;
}

static bool is_no_worse(struct repair_trial *t, struct qcow2_store *file)
{
	struct harm now = harm_of(file);

	if (now.too_low > t->before.too_low)
		return wrong(t,
			     "more refcounts are too low: %" PRIu64
			     " instead of %" PRIu64,
			     now.too_low, t->before.too_low);
	if (now.others > t->before.others)
		return wrong(t,
			     "more is wrong: %" PRIu64 " instead of %" PRIu64,
			     now.others, t->before.others);
	if (t->before.dirty && now.too_low && !now.dirty)
		return wrong(t, "refcounts are too low and nothing says so");
	return true;
}

static void note_left(void *opaque, const struct qcow2_finding *f)
{
	char *left = opaque;

	if (!left[0] && f->action != QCOW2_ACTION_REPAIRED)
		snprintf(left, WHY_BYTES / 2, "%s", f->message);
}

static bool repair(struct repair_trial *t, struct qcow2_store *file)
{
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	struct qcow2_check_result r = { .struct_size = sizeof(r) };
	struct qcow2_error err = { 0 };
	char left[WHY_BYTES / 2] = "";

	opts.report = note_left;
	opts.opaque = left;
	if (repair_store(file, &opts, REPAIR_ALL, &r, &err) < 0)
		return wrong(t, "cannot be repaired: %s", err.message);
	if (r.corruptions || r.leaks || r.check_errors)
		return wrong(t,
			     "after a repair %" PRIu64 " corruptions, %" PRIu64
			     " leaks, %" PRIu64 " check errors: %s",
			     r.corruptions, r.leaks, r.check_errors, left);
	return true;
}

static bool judge(struct repair_trial *t, struct qcow2_store *files[BASE_FILES])
{
	t->env->stats->distinct++;
	if (t->disk && !same_disk(t, read_all(t, files), t->disk, "before it"))
		return false;
	return is_no_worse(t, files[0]) && repair(t, files[0]) &&
	       same_disk(t, read_all(t, files), t->repaired, "after it");
}

static bool on_choice(void *opaque, const struct choice *c)
{
	struct repair_trial *t = opaque;
	struct qcow2_store *files[BASE_FILES];
	bool ok = true;

	pending_build(&t->pending, c, files);
	t->env->stats->states++;
	if (seen_add(t->seen, cow_hash(files[0])))
		ok = judge(t, files);
	if (!ok)
		pending_describe(&t->pending, c, t->failure->events,
				 FAILURE_BYTES);
	for (unsigned f = 0; f < BASE_FILES; f++)
		store_unref(files[f]);
	return ok;
}

/* ---- One repair ---------------------------------------------------------- */

static bool enumerate(struct repair_trial *t, struct record_log *log)
{
	struct test_rng rng = test_rng_init(t->env->seed);
	struct visitor v = { on_choice, t, &t->env->effort, &rng };
	size_t n = record_n_events(log);

	for (size_t i = 0; i < n; i++) {
		const struct record_event *ev = record_event(log, i);
		bool flush = ev->op == STORE_OP_FLUSH;

		if (flush && !enumerate_epoch(&t->pending, &v))
			return false;
		pending_add(&t->pending, ev);
		if (!flush && !enumerate_last(&t->pending, &v))
			return false;
	}
	return enumerate_all(&t->pending, &v);
}

/* Records a repair of a copy, and the contents of the disk after it. */
static bool record(struct repair_trial *t, struct record_log *log)
{
	struct qcow2_store *files[BASE_FILES] = { NULL };
	struct qcow2_store *inner = cow_clone(t->files[0]);
	bool ok;

	record_store_new(log, inner, NULL, &files[0]);
	files[1] = t->files[1];
	t->disk = read_all(t, t->files);
	ok = repair(t, files[0]);
	if (ok)
		t->repaired = read_all(t, files);
	if (ok && !t->repaired)
		ok = wrong(t, "the repaired disk cannot be read");
	store_unref(files[0]);
	store_unref(inner);
	return ok;
}

bool repairs_run(const struct trial_env *env, const struct base *b,
		 const struct repair_case *c, struct failure *failure)
{
	struct repair_trial t = { .env = env, .base = b, .failure = failure };
	struct record_log *log = record_log_new();
	bool ok;

	memset(failure, 0, sizeof(*failure));
	env->stats->trials++;
	t.seen = seen_new();
	t.files[0] = cow_clone(b->files[0]);
	t.files[1] = b->files[1];
	c->damage(t.files[0]);
	t.before = harm_of(t.files[0]);
	pending_init(&t.pending, t.files);
	ok = record(&t, log) && enumerate(&t, log);
	pending_release(&t.pending);
	store_unref(t.files[0]);
	record_log_free(log);
	seen_free(t.seen);
	free(t.disk);
	free(t.repaired);
	return ok;
}
