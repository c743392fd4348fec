/* Objects know the process that made them. */
#include <sys/wait.h>
#include <unistd.h>

#include "base/process.h"
#include "support/test.h"

/* What a child sees, and a child of it. */
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

static void a_mark_is_left_behind_by_fork(void **state)
{
	struct process_mark m;

	(void)state;
	process_mark_init(&m);
	check_here_only(&m);
	assert_null(m.page);
	process_mark_release(&m);
}

static void one_that_is_asked_often_too(void **state)
{
	struct process_mark m;

	(void)state;
	process_mark_init(&m);
	for (int i = 0; i < 2 * PROCESS_MARK_ASKED_OFTEN; i++)
		assert_true(process_mark_is_here(&m));
	assert_non_null(m.page);
	check_here_only(&m);
	process_mark_release(&m);
}

/* As where the kernel has no such pages. */
static void without_a_page_the_process_id_tells_for_ever(void **state)
{
	struct process_mark m;

	(void)state;
	process_mark_init(&m);
	m.n_asked = PROCESS_MARK_ASKED_OFTEN + 1;
	for (int i = 0; i < 2 * PROCESS_MARK_ASKED_OFTEN; i++)
		assert_true(process_mark_is_here(&m));
	assert_null(m.page);
	check_here_only(&m);
	process_mark_release(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_mark_is_left_behind_by_fork),
		cmocka_unit_test(one_that_is_asked_often_too),
		cmocka_unit_test(without_a_page_the_process_id_tells_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
