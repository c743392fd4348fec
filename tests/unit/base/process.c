/* Objects know the process that made them. */
#include <sys/wait.h>
#include <unistd.h>

#include "base/process.h"
#include "support/namespace.h"
#include "support/test.h"

/* The mark as a child sees it, or a child of that child. */
static bool seen_by_child(struct process_mark *m, int depth)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0)
		_exit(depth > 1 ? seen_by_child(m, depth - 1)
				: process_mark_is_here(m));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void check_here_only(struct process_mark *m)
{
	assert_true(process_mark_is_here(m));
	assert_false(seen_by_child(m, 1));
	assert_false(seen_by_child(m, 2));
	assert_true(process_mark_is_here(m));
}

TEST(a_mark_is_left_behind_by_fork)
{
	struct process_mark m;

	process_mark_init(&m);
	check_here_only(&m);
	process_mark_release(&m);
}

/* A grandchild may get the number once its grandparent is gone. */
TEST(a_child_that_got_the_same_process_id_is_not_here)
{
	struct process_mark m;
	int status = 0;
	pid_t pid;

	process_mark_init(&m);
	if (!m.page)
		skip(); /* an old kernel */
	pid = fork();
	if (pid == 0) {
		m.pid = getpid();
		_exit(process_mark_is_here(&m));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	process_mark_release(&m);
}

/* Both are the first process of their PID namespace. */
static int seen_by_a_first_process(void *opaque)
{
	struct process_mark *m = opaque;

	if (getpid() != m->pid)
		return 2;
	return process_mark_is_here(m) ? 1 : 0;
}

static int mark_as_first_process(void *opaque)
{
	struct process_mark m;
	int rc;

	(void)opaque;
	process_mark_init(&m);
	rc = m.page ? in_pid_namespace(seen_by_a_first_process, &m)
		    : NO_PID_NAMESPACE;
	process_mark_release(&m);
	return rc;
}

TEST(a_child_with_the_same_process_id_is_not_here)
{
	int rc = in_pid_namespace(mark_as_first_process, NULL);

	if (rc == NO_PID_NAMESPACE)
		skip();
	assert_int_equal(rc, 0);
}

/* Some kernels have no such pages. */
TEST(without_a_page_the_process_id_tells)
{
	struct process_mark m;

	process_mark_init(&m);
	process_mark_release(&m);
	assert_null(m.page);
	check_here_only(&m);
}
