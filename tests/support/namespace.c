#include "support/namespace.h"

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#define DIED 98

static int wait_for(pid_t pid)
{
	int status = 0;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return DIED;
	return WIFEXITED(status) ? WEXITSTATUS(status) : DIED;
}

/* Children that are forked from now on are in the namespace. */
static int run_in_new(int (*fn)(void *opaque), void *opaque)
{
	pid_t pid;

	if (unshare(CLONE_NEWPID) < 0)
		return NO_PID_NAMESPACE;
	pid = fork();
	if (pid == 0)
		_exit(fn(opaque));
	return wait_for(pid);
}

int in_pid_namespace(int (*fn)(void *opaque), void *opaque)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(run_in_new(fn, opaque));
	return wait_for(pid);
}
