/*
 * Temporary files of programs that were killed: F06 of the lists in
 * tests/regressions.md.
 */
#include "publish_rig.h"

/* ---- Hosts that have no files without a name ----------------------------- */

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

static bool no_renameat2;
static bool no_link;
static const char *late_name; /* becomes the target's just before an exchange */

int renameat2(int from_dir, const char *from, int to_dir, const char *to,
	      unsigned flags)
{
	if (no_renameat2) {
		errno = EINVAL;
		return -1;
	}
	if (late_name && flags == RENAME_EXCHANGE) {
		ok(rename(late_name, to));
		late_name = NULL;
	}
	return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}

int link(const char *from, const char *to)
{
	if (no_link) {
		errno = EPERM;
		return -1;
	}
	return (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
}

TEST_WITH(temporary_names_do_too, enter, leave)
{
	struct publish_opts excl = { .flags = PUBLISH_EXCL };
	struct publish p;

	no_tmpfile = true;
	begin(&p, "out");
	assert_string_equal(p.temp_path, ".out.qcow2-tmp-0");
	ok(publish_commit(&p, true, NULL, NULL));
	assert_contents("out", "new");
	put("out", "old", 0644);
	assert_replaced("out", 0);
	begin(&p, "out");
	publish_abort(&p);
	assert_int_equal(n_entries(), 1);
	ok(publish_begin(&p, "first", &excl, NULL));
	put("first", "old", 0644);
	assert_int_equal(publish_commit(&p, true, NULL, NULL), -EEXIST);
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
TEST_WITH(what_the_killed_leave_the_next_one_removes, enter, leave)
{
	struct publish busy;
	struct publish p;

	no_tmpfile = true;
	begin(&busy, "out");
	assert_int_equal(as_somebody(geteuid(), be_killed), SIGKILL);
	assert_int_equal(access(".out.qcow2-tmp-1", F_OK), 0);
	assert_int_equal(n_entries(), 2);
	begin(&p, "out");
	assert_string_equal(p.temp_path, ".out.qcow2-tmp-1");
	assert_int_equal(n_entries(), 2);
	publish_abort(&p);
	ok(publish_commit(&busy, true, NULL, NULL));
	assert_contents("out", "new");
	assert_int_equal(n_entries(), 1);
	no_tmpfile = false;
}

TEST_WITH(the_killed_leave_nothing, enter, leave)
{
	int fd = open(".", O_TMPFILE | O_RDWR, 0600);

	if (fd < 0)
		skip();
	close(fd);
	put("out", "old", 0644);
	assert_int_equal(as_somebody(geteuid(), be_killed), SIGKILL);
	assert_int_equal(n_entries(), 1);
	assert_contents("out", "old");
}

TEST_WITH(names_that_are_taken_are_left_alone, enter, leave)
{
	int fd = open(".", O_TMPFILE | O_RDWR, 0600);
	struct publish p;

	if (fd < 0)
		skip();
	close(fd);
	put("out", "old", 0644);
	put(".out.0.tmp", "theirs", 0644);
	put(".out.qcow2-tmp-0", "theirs", 0644);
	ok(mkdir(".out.qcow2-tmp-1", 0755));
	begin(&p, "out");
	ok(publish_commit(&p, true, NULL, NULL));
	assert_contents("out", "new");
	assert_contents(".out.0.tmp", "theirs");
	assert_contents(".out.qcow2-tmp-0", "theirs");
	assert_int_equal(n_entries(), 4);
}

/* The host has no files without a name. */
TEST_WITH(only_our_own_form_of_a_name_is_removed, enter, leave)
{
	struct publish p;

	no_tmpfile = true;
	put(".out.0.tmp", "theirs", 0644);
	put(".out.qcow2-tmp-0", "stale", 0644);
	begin(&p, "out");
	assert_string_equal(p.temp_path, ".out.qcow2-tmp-0");
	ok(publish_commit(&p, true, NULL, NULL));
	assert_contents("out", "new");
	assert_contents(".out.0.tmp", "theirs");
	assert_int_equal(n_entries(), 2);
	no_tmpfile = false;
}

/* ---- Another program is faster ------------------------------------------- */

/* The name is another's when the work is done. */
static void assert_another_survives(struct publish *p)
{
	struct qcow2_error err = { 0 };

	put("theirs", "theirs", 0644);
	ok(rename("theirs", "out"));
	assert_int_equal(publish_commit(p, true, NULL, &err), -EEXIST);
	assert_non_null(strstr(err.message, "got this name meanwhile"));
	assert_contents("out", "theirs");
	assert_int_equal(n_entries(), 1);
}

TEST_WITH(a_name_that_appears_meanwhile_survives, enter, leave)
{
	for (int i = 0; i < 2; i++) {
		struct publish p;

		no_tmpfile = i;
		begin(&p, "out");
		assert_another_survives(&p);
		ok(unlink("out"));
	}
	no_tmpfile = false;
}

TEST_WITH(a_file_that_took_the_replaced_ones_place_survives, enter, leave)
{
	for (int i = 0; i < 2; i++) {
		struct publish p;

		no_tmpfile = i;
		put("out", "old", 0644);
		begin(&p, "out");
		assert_another_survives(&p);
	}
	no_tmpfile = false;
}

TEST_WITH(a_replaced_file_that_is_gone_is_not_missed, enter, leave)
{
	for (int i = 0; i < 2; i++) {
		struct publish p;

		no_tmpfile = i;
		put("out", "old", 0644);
		begin(&p, "out");
		ok(unlink("out"));
		ok(publish_commit(&p, true, NULL, NULL));
		assert_contents("out", "new");
		assert_int_equal(n_entries(), 1);
	}
	no_tmpfile = false;
}

/* The file comes between the look at the name and the exchange. */
TEST_WITH(a_file_that_came_in_the_last_moment_gets_its_name_back, enter, leave)
{
	struct publish p;

	put("out", "old", 0644);
	put("theirs", "theirs", 0644);
	begin(&p, "out");
	late_name = "theirs";
	assert_int_equal(publish_commit(&p, true, NULL, NULL), -EEXIST);
	assert_null(late_name);
	assert_contents("out", "theirs");
	assert_int_equal(n_entries(), 1);
}

TEST_WITH(without_the_newer_calls_others_files_survive_too, enter, leave)
{
	no_renameat2 = true;
	a_name_that_appears_meanwhile_survives(state);
	a_file_that_took_the_replaced_ones_place_survives(state);
	a_replaced_file_that_is_gone_is_not_missed(state);
	no_link = true;
	a_name_that_appears_meanwhile_survives(state);
	a_file_that_took_the_replaced_ones_place_survives(state);
	a_replaced_file_that_is_gone_is_not_missed(state);
	put("out", "old", 0644);
	assert_replaced("out", 0);
	no_link = false;
	no_renameat2 = false;
}
