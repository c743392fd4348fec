/*
 * Whether this still is the process that made an object.
 *
 * fork() copies what is in memory, but not what is behind it: file offsets and
 * locks are shared, threads are gone, and whatever another thread held stays
 * locked for ever.  So an object that writes files must not be used in a child.
 *
 * Asking the kernel (getpid()) costs 105 ns here, a third of a read from the page
 * cache.  A page that the kernel empties in a child (MADV_WIPEONFORK) tells the
 * same in 2 ns, but takes 5 us to make, half of what opening a small image
 * takes.  So what is asked often gets a page, and getpid() does for the rest,
 * and for kernels that have no such pages.
 */
#ifndef BASE_PROCESS_H
#define BASE_PROCESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

/* Asked more often than this, a mark gets its page. */
#define PROCESS_MARK_ASKED_OFTEN 64

struct process_mark {
	_Atomic(unsigned char *) page; /* 1 here, 0 in a child; NULL: none */
	atomic_uint n_asked;           /* while there is no page */
	pid_t pid;
};

/* Notes the calling process. */
void process_mark_init(struct process_mark *m);
void process_mark_release(struct process_mark *m);

/* False in a child of the process that made @m.  Thread-safe. */
bool process_mark_is_here(struct process_mark *m);

#endif
