#include "crash/verify.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/handle.h"
#include "base/bytes.h"
#include "chain/disk_impl.h"
#include "check/check.h"
#include "format/defect.h"
#include "format/header.h"
#include "store/store.h"
#include "write/proof.h"

#define VALUE_AFTER 0xc0000000u

__attribute__((format(printf, 2, 3))) static bool fail(char why[WHY_BYTES],
						       const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, WHY_BYTES, fmt, args);
	va_end(args);
	return false;
}

/* ---- Contents ------------------------------------------------------------ */

/* The contents that a program sees when it opens the files. */
struct sight {
	uint8_t *disk;
	uint32_t n_sectors;
	bool snapshots[MODEL_SNAPSHOTS];
};

static void see_snapshots(struct qcow2_image *img, struct sight *s)
{
	struct qcow2_snapshot_info info = { .struct_size = sizeof(info) };

	for (uint32_t i = 0; qcow2_get_snapshot(img, i, &info, NULL) == 0; i++)
		for (unsigned k = 0; k < MODEL_SNAPSHOTS; k++)
			s->snapshots[k] |=
				!strcmp(info.name, base_snapshot_name(k));
}

static int see(struct qcow2_image *img, uint64_t bytes, struct sight *s,
	       struct qcow2_error *err)
{
	s->n_sectors = (uint32_t)(bytes / MODEL_SECTOR);
	s->disk = malloc(bytes + 1);
	assert(s->disk);
	see_snapshots(img, s);
	return qcow2_pread(img, s->disk, bytes, 0, 0, err);
}

static bool see_files(const struct base *b,
		      struct qcow2_store *const files[BASE_FILES],
		      const char *snapshot, uint32_t max_sectors,
		      struct sight *s, char *why)
{
	struct qcow2_error err = { 0 };
	struct qcow2_image *img;
	uint64_t bytes;
	int rc = base_open(b, files, false, snapshot, &img, &err);

	if (rc < 0)
		return fail(why, "cannot be opened: %s", err.message);
	bytes = qcow2_size(img);
	if (bytes / MODEL_SECTOR <= max_sectors)
		rc = see(img, bytes, s, &err);
	qcow2_close(img, NULL);
	if (rc < 0)
		return fail(why, "cannot be read: %s", err.message);
	return s->disk || fail(why, "has %" PRIu64 " bytes", bytes);
}

static void describe_sector(char *text, size_t size, const uint8_t *sector,
			    uint32_t lba)
{
	uint64_t words[2];
	uint32_t value = value_read(sector, lba);

	memcpy(words, sector, sizeof(words));
	if (value != VALUE_FOREIGN)
		snprintf(text, size, "0x%" PRIx32, value);
	else
		snprintf(text, size, "foreign: %016" PRIx64 " %016" PRIx64,
			 words[0], words[1]);
}

static bool compare(const struct model *m, const struct sight *found,
		    bool exact, char *why)
{
	uint32_t bad = model_compare(m, found->disk, found->n_sectors, exact);
	const struct model_sector *s;
	char seen[64], allowed[160] = "";
	size_t at = 0;

	if (!model_allows_size(m, found->n_sectors, exact))
		return fail(why, "has %" PRIu32 " sectors, must have %" PRIu32,
			    found->n_sectors, m->n_sectors);
	if (bad == found->n_sectors)
		return true;
	s = &m->sectors[bad];
	describe_sector(seen, sizeof(seen), found->disk + bad * MODEL_SECTOR,
			bad);
	for (uint32_t i = exact ? s->n - 1 : 0; i < s->n && at < 140; i++)
		at += (size_t)snprintf(allowed + at, sizeof(allowed) - at,
				       " 0x%" PRIx32, s->values[i]);
	return fail(why, "sector %" PRIu32 " is %s, may be%s", bad, seen,
		    allowed);
}

/* ---- Snapshots ----------------------------------------------------------- */

/* The snapshot that the base was made with. */
static bool compare_first_snapshot(const struct base *b,
				   struct qcow2_store *const files[BASE_FILES],
				   char *why)
{
	uint32_t n = b->config->sectors;
	struct sight s = { 0 };
	bool ok;

	if (!b->snapshot)
		return true;
	ok = see_files(b, files, "1", n, &s, why);
	if (ok && s.n_sectors != n)
		ok = fail(why, "the snapshot has another size");
	for (uint32_t i = 0; ok && i < n; i++)
		if (memcmp(s.disk + i * MODEL_SECTOR,
			   b->snapshot + i * MODEL_SECTOR, MODEL_SECTOR))
			ok = fail(why,
				  "sector %" PRIu32 " of the snapshot "
				  "changed",
				  i);
	free(s.disk);
	return ok;
}

static bool snapshot_holds(const struct model_snapshot *m,
			   const struct sight *s, const char *name, char *why)
{
	if (s->n_sectors != m->n_sectors)
		return fail(why, "snapshot %s has %" PRIu32 " sectors", name,
			    s->n_sectors);
	for (uint32_t i = 0; i < m->n_sectors; i++) {
		uint32_t value = value_read(s->disk + i * MODEL_SECTOR, i);

		if (value != m->values[i])
			return fail(why,
				    "sector %" PRIu32 " of snapshot %s is "
				    "0x%" PRIx32,
				    i, name, value);
	}
	return true;
}

static bool compare_snapshot(const struct base *b,
			     struct qcow2_store *const files[BASE_FILES],
			     const struct model *m, unsigned i, char *why)
{
	const char *name = base_snapshot_name(i);
	struct sight s = { 0 };
	bool ok = see_files(b, files, name, m->room, &s, why) &&
		  snapshot_holds(&m->snapshots[i], &s, name, why);

	free(s.disk);
	return ok;
}

static bool compare_snapshots(const struct base *b,
			      struct qcow2_store *const files[BASE_FILES],
			      const struct model *m, const struct sight *found,
			      bool exact, char *why)
{
	for (unsigned i = 0; i < MODEL_SNAPSHOTS; i++) {
		const struct model_snapshot *s = &m->snapshots[i];
		bool must_be = exact ? s->may_be : s->must_be;

		if (found->snapshots[i] ? !s->may_be : must_be)
			return fail(why, "snapshot %u is %s", i,
				    found->snapshots[i] ? "there" : "gone");
		if (found->snapshots[i] &&
		    !compare_snapshot(b, files, m, i, why))
			return false;
	}
	return compare_first_snapshot(b, files, why);
}

/* A raw data file reads like the disk once everything is written.  Subclusters
 * that have never been written read as zeros whatever the file holds, so a
 * write to them that a crash cut short shows in the file only. */
static bool must_match_raw(const struct base *b)
{
	return b->config->data == DATA_FILE_RAW &&
	       !(b->crashed &&
		 b->config->create_flags & QCOW2_CREATE_EXTENDED_L2);
}

static bool compare_raw(const struct sight *found, struct qcow2_store *data,
			char *why)
{
	size_t bytes = (size_t)found->n_sectors * MODEL_SECTOR;
	uint8_t *raw = malloc(bytes);
	bool same;

	assert(raw);
	same = store_pread(data, raw, bytes, 0, 0, NULL) == 0 &&
	       memcmp(raw, found->disk, bytes) == 0;
	free(raw);
	return same || fail(why, "the raw data file differs from the disk");
}

/* ---- The check ----------------------------------------------------------- */

struct damage {
	char first[WHY_BYTES / 2];
	bool flags_lie;
	uint64_t n;
};

static void note_damage(void *opaque, const struct qcow2_finding *f)
{
	struct damage *d = opaque;

	if (f->severity < QCOW2_SEVERITY_CORRUPTION ||
	    (d->flags_lie && f->defect == DEFECT_COPIED_FLAG))
		return;
	if (d->n++ == 0)
		snprintf(d->first, sizeof(d->first), "%s", f->message);
}

static uint64_t header_word(struct qcow2_store *file, uint64_t off)
{
	uint8_t raw[8] = { 0 };

	store_pread(file, raw, sizeof(raw), off, 0, NULL);
	return get_be64(raw);
}

static uint32_t version_of(struct qcow2_store *file)
{
	return (uint32_t)header_word(file, 0);
}

bool verify_is_dirty(struct qcow2_store *file)
{
	return version_of(file) != 2 &&
	       (header_word(file, HEADER_OFF_INCOMPAT) & INCOMPAT_DIRTY);
}

static bool check(struct qcow2_store *const files[BASE_FILES], bool flags_lie,
		  uint64_t max_leaks, char *why)
{
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	struct qcow2_check_result r = { .struct_size = sizeof(r) };
	struct damage damage = { .flags_lie = flags_lie };
	struct qcow2_error err = { 0 };
	int rc;

	opts.report = note_damage;
	opts.opaque = &damage;
	rc = check_store(files[0], &opts, &r, &err);
	if (rc < 0)
		return fail(why, "cannot be checked: %s", err.message);
	/* The dirty bit says that refcounts are not to be trusted. */
	if (verify_is_dirty(files[0]))
		return true;
	if (damage.n || r.check_errors)
		return fail(why, "check: %s", damage.first);
	if (r.leaks > max_leaks)
		return fail(why,
			    "%" PRIu64 " clusters leak, at most %" PRIu64
			    " may",
			    r.leaks, max_leaks);
	return true;
}

/* Refcounts that were too low before the crash may still be too low.  The next
 * program that opens the image proves them first, and then it must be sound. */
static bool settle(const struct base *b,
		   struct qcow2_store *const files[BASE_FILES], char *why)
{
	struct qcow2_error err = { 0 };
	struct qcow2_image *img;
	int rc;

	if (b->config->fill != FILL_LOW)
		return true;
	rc = base_open(b, files, true, NULL, &img, &err);
	if (rc < 0)
		return fail(why, "cannot be opened again: %s", err.message);
	rc = proof_require(img->disk->layers[0].image, &err);
	if (qcow2_close(img, rc < 0 ? NULL : &err) < 0 || rc < 0)
		return fail(why, "cannot be proved: %s", err.message);
	return true;
}

static bool look_again(const struct base *b,
		       struct qcow2_store *const files[BASE_FILES],
		       const struct model *m, bool exact, char *why)
{
	struct sight found = { 0 };
	bool ok = see_files(b, files, NULL, m->room, &found, why) &&
		  compare(m, &found, exact, why);

	free(found.disk);
	return ok;
}

/* O22: the bit that says that somebody else's data matches the disk is cleared
 * before the disk changes. */
static bool check_autoclear(const struct base *b, struct qcow2_store *file,
			    const struct sight *found, char *why)
{
	if (!b->config->autoclear ||
	    !(header_word(file, HEADER_OFF_AUTOCLEAR) & 1u << 5))
		return true;
	if (model_compare(&b->model, found->disk, found->n_sectors, true) ==
	    found->n_sectors)
		return true;
	return fail(why, "the disk changed under a valid autoclear bit");
}

/* From now on the contents that were seen, and those that the header tells, are
 * the truth. */
static struct model observe(const struct model *m, const struct sight *found,
			    struct qcow2_store *file)
{
	struct model now = model_copy(m);

	model_observe(&now, found->disk, found->n_sectors);
	for (unsigned i = 0; i < MODEL_SNAPSHOTS; i++)
		now.snapshots[i].may_be = now.snapshots[i].must_be =
			found->snapshots[i];
	now.flags_lie = m->flags_may_lie;
	now.rules.version = version_of(file);
	if (now.rules.version != 2)
		now.rules.refcount_bits =
			1u << (header_word(file, HEADER_OFF_REFCOUNT_ORDER) >>
			       32);
	return now;
}

bool verify_state(const struct base *b,
		  struct qcow2_store *const files[BASE_FILES],
		  const struct model *m, bool exact, uint64_t max_leaks,
		  struct model *now, char why[WHY_BYTES])
{
	bool flags_lie = exact ? m->flags_lie : m->flags_may_lie;
	struct sight found = { 0 };
	bool ok = see_files(b, files, NULL, m->room, &found, why) &&
		  compare(m, &found, exact, why) && settle(b, files, why) &&
		  look_again(b, files, m, exact, why) &&
		  check(files, flags_lie, max_leaks, why) &&
		  check_autoclear(b, files[0], &found, why) &&
		  compare_snapshots(b, files, m, &found, exact, why);

	if (ok && exact && must_match_raw(b))
		ok = compare_raw(&found, files[1], why);
	if (ok && now)
		*now = observe(m, &found, files[0]);
	free(found.disk);
	return ok;
}

/* ---- Life after ---------------------------------------------------------- */

static bool perform_all(const struct base *b, const struct workload *w,
			struct qcow2_image **img, struct model *m, char *why)
{
	struct qcow2_error err = { 0 };

	for (unsigned i = 0; i < w->n; i++) {
		struct op op = model_fit(m, w->ops[i]);

		if (base_perform(b, b->files, img, &op, VALUE_AFTER + i, &err) <
		    0)
			return fail(why, "operation %u after it: %s", i,
				    err.message);
		model_submit(m, &op, VALUE_AFTER + i);
		model_complete(m, &op);
	}
	return true;
}

bool verify_goes_on(const struct base *b, const struct workload *w,
		    char why[WHY_BYTES])
{
	struct model m = model_copy(&b->model);
	struct qcow2_error err = { 0 };
	struct qcow2_image *img = NULL;
	char reason[WHY_BYTES] = "";
	bool ok = true;

	if (base_open(b, b->files, true, NULL, &img, &err) < 0)
		ok = fail(reason, "cannot be written to: %s", err.message);
	if (ok)
		ok = perform_all(b, w, &img, &m, reason);
	if (qcow2_close(img, &err) < 0 && ok)
		ok = fail(reason, "closing: %s", err.message);
	if (ok)
		ok = verify_state(b, b->files, &m, true, b->leaks, NULL,
				  reason);
	if (!ok) {
		char text[WORKLOAD_TEXT_BYTES];

		workload_print(w, text, sizeof(text));
		fail(why, "going on with `%.120s`: %.240s", text, reason);
	}
	model_free(&m);
	return ok;
}
