/*
 * A caller that looks at the progress of a job, and may stop it.
 */
#ifndef UNIT_OPS_WATCH_H
#define UNIT_OPS_WATCH_H

#include <stdbool.h>
#include <stdint.h>

struct watcher {
	uint64_t last;
	uint64_t total;
	bool wrong;
	uint64_t stop_at;
};

static inline int watch(void *opaque, uint64_t done, uint64_t total)
{
	struct watcher *w = opaque;

	if (done < w->last || done > total)
		w->wrong = true;
	w->last = done;
	w->total = total;
	return done >= w->stop_at;
}

#endif
