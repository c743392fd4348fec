/*
 * Whether this still is the process that made an object.
 *
 * fork() copies what is in memory, but not what is behind it: file offsets and
 * locks are shared, threads are gone, and whatever another thread held stays
 * locked for ever.  So an object that writes files must not be used in a child.
 *
 * Asking the kernel (getpid()) costs 105 ns here, a tenth of a read from the page
 * cache.  A page that the kernel empties in a child (MADV_WIPEONFORK) tells the
 * same in 2 ns, for 5 us when it is made.  Where there is none, getpid() does.
 */
#ifndef BASE_PROCESS_H
#define BASE_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

struct process_mark {
	unsigned char *page; /* 1 here, 0 in a child; NULL: none */
	pid_t pid;
};

/* Notes the calling process. */
void process_mark_init(struct process_mark *m);
void process_mark_release(struct process_mark *m);

/* The same by process id, as where the kernel has no such pages. */
void process_mark_init_by_id(struct process_mark *m);

/* False in a child of the process that made @m. */
bool process_mark_is_here(const struct process_mark *m);

#endif
