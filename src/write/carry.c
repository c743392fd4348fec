#include "write/carry.h"

#include <assert.h>
#include <errno.h>

#include "base/checked.h"
#include "base/error.h"
#include "image/image.h"
#include "write/features.h"
#include "write/tables.h"
#include "write/write.h"
#include "write/writer.h"

void carried_write_validate(const struct carried_write *w)
{
	const struct look *l = &w->look;

	assert(w->img && w->img->writer && w->grace.slot);
	assert(l->len && l->kind != LOOK_NO_TABLE);
	/* All the bytes are in flight, and go to one place. */
	assert(w->range.off <= l->off && l->off + l->len <= w->range.end);
	if (l->kind == LOOK_IN_PLACE) {
		assert(w->host_off == l->host_off);
		return;
	}
	assert(w->run.was == l && w->run.data_len == l->len);
	assert(w->range.off == w->run.guest_off);
}

static int carried_must_wait(const char *why, struct qcow2_error *err)
{
	return error_set(err, -EAGAIN, "%s", why);
}

/* All that image_pwritev() does before it looks at the range. */
static int check_ready(struct image *img, uint64_t len, uint64_t off,
		       struct qcow2_error *err)
{
	int rc = proof_before_change(img, len, QCOW2_NOWAIT, err);

	if (rc < 0)
		return rc;
	if (!features_allow_guest_change(img))
		return carried_must_wait("the header has to change first", err);
	if (off + len > inflight_region_end(off))
		return carried_must_wait("the write lies in two regions", err);
	if (commit_wanted(&img->writer->commit))
		return carried_must_wait("metadata has to be written first",
					 err);
	return 0;
}

/* The clusters are ours, and get a place. */
static int begin_run(struct carried_write *w, struct qcow2_error *err)
{
	struct image *img = w->img;
	uint32_t cluster = img->geo.cluster_size;
	uint64_t off = w->look.off;
	int rc;

	if (!tables_are_ready(img, off))
		return carried_must_wait("an L2 table has to be made first",
					 err);
	if (!inflight_widen(&img->writer->inflight, &w->range,
			    align_down(off, cluster),
			    align_up(off + w->look.len, cluster)))
		return carried_must_wait("others are in the cluster", err);
	rc = run_place_at_once(img, &w->look, &w->run, err);
	if (rc == 0)
		w->host_off = run_data_host_off(&w->run);
	return rc;
}

static int begin_in_flight(struct carried_write *w, uint64_t len, uint64_t off,
			   struct qcow2_error *err)
{
	int rc = look_to_write(w->img, len, off, QCOW2_NOWAIT, &w->look, err);

	if (rc < 0)
		return rc;
	if (w->look.len < len)
		return carried_must_wait("the bytes go to more than one place",
					 err);
	if (w->look.kind == LOOK_NO_TABLE)
		return carried_must_wait("an L2 table has to be made first",
					 err);
	if (w->look.kind == LOOK_NEW)
		return begin_run(w, err);
	w->host_off = w->look.host_off;
	return 0;
}

static void leave(struct carried_write *w)
{
	inflight_leave(&w->img->writer->inflight, &w->range);
	writer_grace_end(w->grace);
}

int carried_write_begin(struct image *img, uint64_t len, uint64_t off,
			struct carried_write *w, struct qcow2_error *err)
{
	int rc = check_ready(img, len, off, err);

	assert(len);
	if (rc < 0)
		return rc;
	w->img = img;
	w->grace = writer_grace_begin(img);
	if (!inflight_enter(&img->writer->inflight, &w->range, off, off + len,
			    false)) {
		writer_grace_end(w->grace);
		return carried_must_wait("an overlapping write is under way",
					 err);
	}
	rc = begin_in_flight(w, len, off, err);
	if (rc < 0)
		leave(w);
	else
		VALIDATE(carried_write, w);
	return rc;
}

int carried_write_end(struct carried_write *w, int rc, unsigned flags,
		      struct qcow2_error *err)
{
	bool is_new = w->look.kind == LOOK_NEW;

	assert(rc <= 0);
	VALIDATE(carried_write, w);
	if (rc == 0 && is_new) {
		rc = run_link(w->img, &w->run, run_needs_order(w->img, &w->run),
			      flags, err);
		if (rc == -EAGAIN && (flags & QCOW2_NOWAIT))
			return rc;
	}
	if (rc < 0 && is_new)
		run_cancel(w->img, &w->run);
	leave(w);
	return rc;
}
