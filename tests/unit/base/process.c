/* Objects know the process that made them. */
#include <sys/wait.h>
#include <unistd.h>

#include "base/process.h"
#include "support/test.h"

/* What a child sees, and a child of it. */
static bool seen_by_child(const struct process_mark *m, int depth)
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

static void a_mark_is_left_behind_by_fork(void **state)
{
	struct process_mark m;

	(void)state;
	process_mark_init(&m);
	assert_true(process_mark_is_here(&m));
	assert_false(seen_by_child(&m, 1));
	assert_false(seen_by_child(&m, 2));
	assert_true(process_mark_is_here(&m));
	process_mark_release(&m);
}

static void without_such_pages_the_process_id_tells(void **state)
{
	struct process_mark m;

	(void)state;
	process_mark_init_by_id(&m);
	assert_true(process_mark_is_here(&m));
	assert_false(seen_by_child(&m, 1));
	assert_false(seen_by_child(&m, 2));
	process_mark_release(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_mark_is_left_behind_by_fork),
		cmocka_unit_test(without_such_pages_the_process_id_tells),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
