/*
 * Ending without closing: an image that is opened anew has everything that was
 * flushed, and each sector that was not is old or new.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "model/run_impl.h"

enum { SECTOR = 512 };

/* The contents of a range before an operation that is not durable yet. */
struct undo {
	struct undo *older;
	bool durable; /* a write with FUA: older contents are gone */
	uint64_t off;
	uint64_t len;
	uint8_t bytes[];
};

void undo_add(struct run *r, const struct op *op)
{
	struct undo *u = malloc(sizeof(*u) + op->len);

	assert(u);
	u->older = r->undo;
	u->durable = op->flags & QCOW2_FUA;
	u->off = op->off;
	u->len = op->len;
	memcpy(u->bytes, oracle_at(&r->now, op->len, op->off), op->len);
	r->undo = u;
}

void undo_clear(struct run *r)
{
	while (r->undo) {
		struct undo *older = r->undo->older;

		free(r->undo);
		r->undo = older;
	}
}

/* ---- Judging ------------------------------------------------------------- */

enum verdict_of { NOT_YET, FINE, HOPELESS };

/* A window as it was found, and the state of its sectors. */
struct found {
	const struct window *window;
	uint64_t len;
	uint8_t *bytes;
	uint8_t *sectors;
	const uint8_t *now; /* the oracle's, which goes back in time */
};

static bool sector_equals(const struct found *f, uint64_t sector)
{
	uint64_t at = sector * SECTOR;
	uint64_t len = min_u64(SECTOR, f->len - at);

	return memcmp(f->bytes + at, f->now + at, len) == 0;
}

/* Sectors of [@off, @off + @len) of the window are fine if they hold the value
 * that the oracle has now; without a second chance the others never will be. */
static void look(struct found *f, uint64_t len, uint64_t off, bool last_chance)
{
	uint64_t end = div_round_up(off + len, SECTOR);

	for (uint64_t i = off / SECTOR; len && i < end; i++) {
		if (f->sectors[i] == NOT_YET && sector_equals(f, i))
			f->sectors[i] = FINE;
		if (f->sectors[i] == NOT_YET && last_chance)
			f->sectors[i] = HOPELESS;
	}
}

static void step_back(struct found *f, const struct undo *u, uint8_t *now)
{
	const struct window *w = f->window;
	uint64_t at = u->off - w->off;

	if (u->off < w->off || u->off >= w->off + w->len)
		return;
	/* A part of a sector can be older than the rest. */
	if (u->durable && u->off % SECTOR == 0 && u->len % SECTOR == 0)
		look(f, u->len, at, true);
	memcpy(now + at, u->bytes, u->len);
	look(f, u->len, at, false);
}

static bool all_fine(struct run *r, const struct found *f)
{
	uint64_t n = div_round_up(f->len, SECTOR);

	for (uint64_t i = 0; i < n; i++) {
		uint64_t off = f->window->off + i * SECTOR;

		if (f->sectors[i] == FINE)
			continue;
		return run_wrong(r,
				 "after a kill the sector at %" PRIu64
				 " is neither old nor new",
				 off);
	}
	return true;
}

static bool judge_window(struct run *r, unsigned i)
{
	const struct window *w = &r->state.now.windows[i];
	uint64_t len = oracle_window(&r->now, w);
	CLEANUP_FREE uint8_t *bytes = malloc(len + 1);
	CLEANUP_FREE uint8_t *sectors = calloc(1, len / SECTOR + 1);
	struct found f = { w, len, bytes, sectors, r->now.bytes[i] };
	struct qcow2_error err = { 0 };
	bool ok;

	assert(bytes && sectors);
	if (!len)
		return true;
	if (!run_succeeds(r, qcow2_pread(r->img, bytes, len, w->off, 0, &err),
			  "read", &err))
		return false;
	look(&f, len, 0, false);
	for (const struct undo *u = r->undo; u; u = u->older)
		step_back(&f, u, r->now.bytes[i]);
	ok = all_fine(r, &f);
	memcpy(r->now.bytes[i], bytes, len);
	return ok;
}

/* ---- Killing ------------------------------------------------------------- */

/* Closes the image on other files than those that are kept. */
static bool abandon(struct run *r)
{
	struct qcow2_store *frozen[N_FILES] = { NULL };
	struct qcow2_error err = { 0 };
	int rc = files_freeze(&r->files, frozen, &err);

	qcow2_close(r->img, NULL);
	r->img = NULL;
	if (rc == 0)
		rc = files_thaw(&r->files, frozen, &err);
	return run_succeeds(r, rc, "kill", &err);
}

static bool is_dirty(struct run *r, bool *dirty)
{
	struct qcow2_info info = { .struct_size = sizeof(info) };
	struct qcow2_error err = { 0 };
	struct qcow2_image *img;
	int rc = files_open(&r->files, false, NULL, &img, &err);

	if (!run_succeeds(r, rc, "open for reading", &err))
		return false;
	rc = qcow2_get_info(img, 0, &info, &err);
	*dirty = info.dirty;
	qcow2_close(img, NULL);
	return run_succeeds(r, rc, "info", &err);
}

bool run_kill(struct run *r, const struct op *op)
{
	bool dirty = false;
	bool ok = abandon(r) && is_dirty(r, &dirty);

	if (ok && op->flags)
		ok = judge_check(r, op->flags,
				 dirty || r->trial->config.low ? JUDGE_DIRTY
							       : JUDGE_LEAKY);
	r->leaky = !op->flags && !dirty;
	ok = ok && run_open(r);
	for (unsigned i = 0; ok && i < r->state.now.n_windows; i++)
		ok = judge_window(r, i);
	undo_clear(r);
	return ok;
}
