/*
 * A trial in a process of its own: a crash or a hang of that process is a
 * verdict here.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "model/run.h"

/* A sequence takes less than a second. */
enum { PATIENCE_SEC = 120 };

static void judge_end(int status, struct verdict *v)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return;
	v->ok = false;
	v->len = 0;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		snprintf(v->why, WHY_BYTES, "it hangs");
	else if (WIFSIGNALED(status))
		snprintf(v->why, WHY_BYTES, "it ends with: %s",
			 strsignal(WTERMSIG(status)));
	else
		snprintf(v->why, WHY_BYTES, "it exits with %d",
			 WEXITSTATUS(status));
}

void trial_run_apart(const struct trial *t, struct verdict *v)
{
	struct verdict *shared = mmap(NULL, sizeof(*v), PROT_READ | PROT_WRITE,
				      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = 0;
	pid_t pid;

	if (shared == MAP_FAILED)
		abort();
	fflush(NULL);
	pid = fork();
	if (pid < 0)
		abort();
	if (pid == 0) {
		alarm(PATIENCE_SEC);
		if (t->quiet && !freopen("/dev/null", "w", stderr))
			_exit(2);
		trial_run(t, shared);
		exit(0);
	}
	waitpid(pid, &status, 0);
	*v = *shared;
	judge_end(status, v);
	munmap(shared, sizeof(*v));
}
