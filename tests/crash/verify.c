#include "crash/verify.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "check/check.h"
#include "format/header.h"
#include "store/store.h"

#define VALUE_AFTER 0xc0000000u

__attribute__((format(printf, 2, 3)))
static bool fail(char why[WHY_BYTES], const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, WHY_BYTES, fmt, args);
	va_end(args);
	return false;
}

/* ---- Contents ---------------------------------------------------------------- */

static bool read_disk(const struct base *b,
		      struct qcow2_store *const files[BASE_FILES],
		      const char *snapshot, uint8_t *disk, char *why)
{
	size_t bytes = (size_t)b->model.n_sectors * MODEL_SECTOR;
	struct qcow2_error err = { 0 };
	struct qcow2_image *img;
	int rc = base_open(b, files, false, snapshot, &img, &err);

	if (rc < 0)
		return fail(why, "cannot be opened: %s", err.message);
	rc = qcow2_pread(img, disk, bytes, 0, 0, &err);
	qcow2_close(img, NULL);
	if (rc < 0)
		return fail(why, "cannot be read: %s", err.message);
	return true;
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

static bool compare(const struct model *m, const uint8_t *disk, bool exact,
		    char *why)
{
	uint32_t bad = model_compare(m, disk, exact);
	const struct model_sector *s;
	char seen[64], allowed[160] = "";
	size_t at = 0;

	if (bad == m->n_sectors)
		return true;
	s = &m->sectors[bad];
	describe_sector(seen, sizeof(seen), disk + bad * MODEL_SECTOR, bad);
	for (uint32_t i = exact ? s->n - 1 : 0; i < s->n && at < 140; i++)
		at += (size_t)snprintf(allowed + at, sizeof(allowed) - at,
				       " 0x%" PRIx32, s->values[i]);
	return fail(why, "sector %" PRIu32 " is %s, may be%s", bad, seen,
		    allowed);
}

static bool compare_snapshot(const struct base *b,
			     struct qcow2_store *const files[BASE_FILES],
			     char *why)
{
	size_t bytes = (size_t)b->model.n_sectors * MODEL_SECTOR;
	CLEANUP_FREE uint8_t *disk = NULL;

	if (!b->snapshot)
		return true;
	disk = malloc(bytes);
	assert(disk);
	if (!read_disk(b, files, "1", disk, why))
		return false;
	for (size_t i = 0; i < bytes; i += MODEL_SECTOR)
		if (memcmp(disk + i, b->snapshot + i, MODEL_SECTOR))
			return fail(why, "sector %zu of the snapshot changed",
				    i / MODEL_SECTOR);
	return true;
}

/* A raw data file reads like the disk once everything is written.  Subclusters
 * that have never been written read as zeros whatever the file has, so there a
 * write that a crash cut short shows in the file only. */
static bool must_match_raw(const struct base *b)
{
	return b->config->data == DATA_FILE_RAW &&
	       !(b->crashed &&
		 b->config->create_flags & QCOW2_CREATE_EXTENDED_L2);
}

static bool compare_raw(const struct base *b, const uint8_t *disk,
			struct qcow2_store *data, char *why)
{
	size_t bytes = (size_t)b->model.n_sectors * MODEL_SECTOR;
	uint8_t *raw = malloc(bytes);
	bool same;

	assert(raw);
	same = store_pread(data, raw, bytes, 0, 0, NULL) == 0 &&
	       memcmp(raw, disk, bytes) == 0;
	free(raw);
	return same || fail(why, "the raw data file differs from the disk");
}

/* ---- The check --------------------------------------------------------------- */

static void note_first(void *opaque, const struct qcow2_finding *f)
{
	char *first = opaque;

	if (f->severity >= QCOW2_SEVERITY_CORRUPTION && !first[0])
		snprintf(first, WHY_BYTES / 2, "%s", f->message);
}

static uint64_t header_word(struct qcow2_store *file, uint64_t off)
{
	uint8_t raw[8] = { 0 };

	store_pread(file, raw, sizeof(raw), off, 0, NULL);
	return get_be64(raw);
}

static bool is_dirty(const struct base *b, struct qcow2_store *file)
{
	return b->config->version != 2 &&
	       (header_word(file, HEADER_OFF_INCOMPAT) & INCOMPAT_DIRTY);
}

static bool check(const struct base *b,
		  struct qcow2_store *const files[BASE_FILES],
		  uint64_t max_leaks, char *why)
{
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	struct qcow2_check_result r = { .struct_size = sizeof(r) };
	struct qcow2_error err = { 0 };
	char first[WHY_BYTES / 2] = "";
	int rc;

	opts.report = note_first;
	opts.opaque = first;
	rc = check_store(files[0], &opts, &r, &err);
	if (rc < 0)
		return fail(why, "cannot be checked: %s", err.message);
	/* The dirty bit says that refcounts are not to be trusted. */
	if (is_dirty(b, files[0]))
		return true;
	if (r.corruptions || r.check_errors)
		return fail(why, "check: %s", first);
	if (r.leaks > max_leaks)
		return fail(why,
			    "%" PRIu64 " clusters leak, at most %" PRIu64
			    " may",
			    r.leaks, max_leaks);
	return true;
}

/* O22: a bit that says that somebody else's data matches the disk is gone
 * before the disk changes. */
static bool check_autoclear(const struct base *b, struct qcow2_store *file,
			    const uint8_t *disk, char *why)
{
	if (!b->config->autoclear ||
	    !(header_word(file, HEADER_OFF_AUTOCLEAR) & 1u << 5))
		return true;
	if (model_compare(&b->model, disk, true) == b->model.n_sectors)
		return true;
	return fail(why, "the disk changed under a valid autoclear bit");
}

bool verify_state(const struct base *b,
		  struct qcow2_store *const files[BASE_FILES],
		  const struct model *m, bool exact, uint64_t max_leaks,
		  struct model *now, char why[WHY_BYTES])
{
	uint8_t *disk = malloc((size_t)m->n_sectors * MODEL_SECTOR);
	bool ok;

	assert(disk);
	ok = read_disk(b, files, NULL, disk, why) &&
	     compare(m, disk, exact, why) &&
	     check(b, files, max_leaks, why) &&
	     check_autoclear(b, files[0], disk, why) &&
	     compare_snapshot(b, files, why);
	if (ok && exact && must_match_raw(b))
		ok = compare_raw(b, disk, files[1], why);
	if (ok && now) {
		*now = model_copy(m);
		model_observe(now, disk);
	}
	free(disk);
	return ok;
}

/* ---- Life after -------------------------------------------------------------- */

static bool perform_all(const struct base *b, const struct workload *w,
			struct qcow2_image **img, struct model *m, char *why)
{
	struct qcow2_error err = { 0 };

	for (unsigned i = 0; i < w->n; i++) {
		if (base_perform(b, b->files, img, &w->ops[i], VALUE_AFTER + i,
				 &err) < 0)
			return fail(why, "operation %u after it: %s", i,
				    err.message);
		model_submit(m, &w->ops[i], VALUE_AFTER + i);
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
