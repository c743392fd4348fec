/*
 * Whether this still is the process that made an object.
 *
 * fork() copies memory, but not the state of the kernel behind it: file offsets
 * and locks are shared, threads are gone, and whatever another thread held
 * stays locked for ever.  So an object that writes files must not be used in a
 * child.
 *
 * A page that the kernel empties in a child (MADV_WIPEONFORK) tells.  Process
 * ids do not: the first process of a PID namespace is 1, and so is its child
 * that is the first of another namespace; and a grandchild may get the id again
 * once its grandparent is gone.  The page also is quicker to ask, 2 ns for 105
 * ns of getpid(), but takes 5 us to make.
 *
 * If the kernel gives no such page (Linux before 4.14, or no memory), the
 * process id has to do, and a child with its parent's id goes unnoticed.
 */
#ifndef BASE_PROCESS_H
#define BASE_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

struct process_mark {
	unsigned char *page; /* 1 here, 0 in a child; NULL: the id tells */
	pid_t pid;
};

/* Notes the calling process. */
void process_mark_init(struct process_mark *m);
void process_mark_release(struct process_mark *m);

/* False in a child of the process that made @m.  Thread-safe. */
bool process_mark_is_here(const struct process_mark *m);

#endif
