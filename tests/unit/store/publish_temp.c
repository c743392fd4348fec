/*
 * What is left of those that are killed: F06 of the lists in
 * tests/regressions.md.
 */
#include "publish_rig.h"

/* ---- Where files without a name are not to be had ----------------------------- */

static bool no_tmpfile;

int open(const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = va_arg(args, mode_t);
	va_end(args);
	if (no_tmpfile && (flags & O_TMPFILE) == O_TMPFILE) {
		errno = EOPNOTSUPP;
		return -1;
	}
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

static void temporary_names_do_too(void **state)
{
	struct publish_opts excl = { .flags = PUBLISH_EXCL };
	struct publish p;

	(void)state;
	no_tmpfile = true;
	begin(&p, "out");
	assert_string_equal(p.temp_path, ".out.0.tmp");
	ok(publish_commit(&p, true, NULL));
	assert_contents("out", "new");
	put("out", "old", 0644);
	assert_replaced("out", 0);
	begin(&p, "out");
	publish_abort(&p);
	assert_int_equal(n_entries(), 1);
	ok(publish_begin(&p, "first", &excl, NULL));
	put("first", "old", 0644);
	assert_int_equal(publish_commit(&p, true, NULL), -EEXIST);
	assert_contents("first", "old");
	assert_int_equal(n_entries(), 2);
	no_tmpfile = false;
}

/* The child ends in the midst of its work. */
static int be_killed(void)
{
	struct publish p;

	if (publish_begin(&p, "out", &plain, NULL) < 0)
		return 1;
	raise(SIGKILL);
	return 2;
}

/* F06 */
static void what_the_killed_leave_the_next_one_removes(void **state)
{
	struct publish busy;
	struct publish p;

	(void)state;
	no_tmpfile = true;
	begin(&busy, "out");
	assert_int_equal(as_somebody(geteuid(), be_killed), SIGKILL);
	assert_int_equal(access(".out.1.tmp", F_OK), 0);
	assert_int_equal(n_entries(), 2);
	begin(&p, "out");
	assert_string_equal(p.temp_path, ".out.1.tmp");
	assert_int_equal(n_entries(), 2);
	publish_abort(&p);
	ok(publish_commit(&busy, true, NULL));
	assert_contents("out", "new");
	assert_int_equal(n_entries(), 1);
	no_tmpfile = false;
}

static void the_killed_leave_nothing(void **state)
{
	int fd = open(".", O_TMPFILE | O_RDWR, 0600);

	(void)state;
	if (fd < 0)
		skip();
	close(fd);
	put("out", "old", 0644);
	assert_int_equal(as_somebody(geteuid(), be_killed), SIGKILL);
	assert_int_equal(n_entries(), 1);
	assert_contents("out", "old");
}

/* Between getting a temporary name and being renamed. */
static void a_name_left_in_the_last_moment_is_taken_over(void **state)
{
	(void)state;
	put("out", "old", 0644);
	put(".out.0.tmp", "stale", 0644);
	ok(mkdir(".out.1.tmp", 0755));
	assert_int_equal(n_entries(), 3);
	{
		struct publish p;

		begin(&p, "out");
		ok(publish_commit(&p, true, NULL));
	}
	assert_contents("out", "new");
	assert_int_equal(n_entries(), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(temporary_names_do_too),
		TEST(what_the_killed_leave_the_next_one_removes),
		TEST(the_killed_leave_nothing),
		TEST(a_name_left_in_the_last_moment_is_taken_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
