#include "ops/progress.h"

#include <errno.h>
#include <stdbool.h>

#include "ops/workers.h"
#include "support/test.h"

struct watcher {
	uint64_t last;
	uint64_t total;
	unsigned n_calls;
	bool fell;
	atomic_int inside; /* threads in the callback */
	bool overlapped;
	uint64_t stop_at;
};

static int watch(void *opaque, uint64_t done, uint64_t total)
{
	struct watcher *w = opaque;

	if (atomic_fetch_add(&w->inside, 1))
		w->overlapped = true;
	if (done < w->last || done > total)
		w->fell = true;
	w->last = done;
	w->total = total;
	w->n_calls++;
	atomic_fetch_sub(&w->inside, 1);
	return done >= w->stop_at;
}

TEST(says_each_step_and_the_end)
{
	struct watcher w = { .stop_at = UINT64_MAX };
	struct progress p;

	progress_init(&p, watch, &w, 100);
	assert_int_equal(progress_add(&p, 30, NULL), 0);
	assert_int_equal(w.last, 30);
	assert_int_equal(progress_add(&p, 20, NULL), 0);
	assert_int_equal(w.last, 50);
	assert_int_equal(progress_finish(&p, NULL), 0);
	assert_int_equal(w.last, 100);
	assert_int_equal(w.total, 100);
	assert_int_equal(w.n_calls, 3);
	progress_release(&p);
}

TEST(works_when_nobody_watches)
{
	struct progress p;

	progress_init(&p, NULL, NULL, 10);
	assert_int_equal(progress_add(&p, 10, NULL), 0);
	assert_int_equal(progress_finish(&p, NULL), 0);
	progress_release(&p);
}

TEST(cancels_when_the_watcher_says_so)
{
	struct watcher w = { .stop_at = 50 };
	struct qcow2_error err = { 0 };
	struct progress p;

	progress_init(&p, watch, &w, 100);
	assert_int_equal(progress_add(&p, 49, &err), 0);
	assert_int_equal(progress_add(&p, 1, &err), -ECANCELED);
	assert_int_equal(err.code, -ECANCELED);
	progress_release(&p);
}

static int add_many(struct workers *w, unsigned index, void *opaque,
		    struct qcow2_error *err)
{
	(void)w;
	(void)index;
	for (unsigned i = 0; i < 20000; i++)
		if (progress_add(opaque, 3, err) < 0)
			return -1;
	return 0;
}

TEST(never_falls_and_never_overlaps_under_threads)
{
	struct watcher w = { .stop_at = UINT64_MAX };
	struct progress p;

	progress_init(&p, watch, &w, 4 * 20000 * 3);
	assert_int_equal(workers_run(4, true, add_many, &p, NULL), 0);
	assert_int_equal(progress_finish(&p, NULL), 0);
	assert_false(w.fell);
	assert_false(w.overlapped);
	assert_int_equal(w.last, w.total);
	progress_release(&p);
}

/* ---- Its validator ------------------------------------------------------- */

TEST(progress_beyond_the_end_is_found)
{
	struct progress p;

	progress_init(&p, NULL, NULL, 100);
	progress_validate(&p);
	ASSERT_ABORTS(p.shown = 101; progress_validate(&p));
	ASSERT_ABORTS(p.done = 101; progress_validate(&p));
	progress_release(&p);
}
