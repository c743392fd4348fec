/*
 * Processes that are the first of a PID namespace of their own, as that of a
 * container is.
 */
#ifndef SUPPORT_NAMESPACE_H
#define SUPPORT_NAMESPACE_H

/* What no @fn returns. */
#define NO_PID_NAMESPACE 77

/* Returns what @fn (0 to 97) returned in a descendant whose process id is 1; or
 * NO_PID_NAMESPACE without the right to make one; more where it died. */
int in_pid_namespace(int (*fn)(void *opaque), void *opaque);

#endif
