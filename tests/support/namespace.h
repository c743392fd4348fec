/*
 * Processes that are the first of a PID namespace of their own, as that of a
 * container is.
 */
#ifndef SUPPORT_NAMESPACE_H
#define SUPPORT_NAMESPACE_H

/* A result that no @fn returns. */
#define NO_PID_NAMESPACE 77

/* Returns the result of @fn (0 to 97) in a descendant whose process id is 1,
 * NO_PID_NAMESPACE without the right to make one, or more if the descendant
 * died. */
int in_pid_namespace(int (*fn)(void *opaque), void *opaque);

#endif
