#include "publish_rig.h"

static void a_new_file_appears_only_when_complete(void **state)
{
	struct publish p;

	(void)state;
	begin(&p, "out");
	assert_false(p.in_place);
	assert_int_equal(access("out", F_OK), -1);
	assert_string_equal(store_name(p.store), "out");
	ok(publish_commit(&p, true, NULL));
	assert_null(p.store);
	assert_int_equal(n_syncs, 2);
	assert_contents("out", "new");
	assert_int_equal(mode_of("out"), 0644);
	assert_int_equal(n_entries(), 1);
}

static void nothing_is_synced_unless_asked(void **state)
{
	struct publish p;

	(void)state;
	begin(&p, "out");
	ok(publish_commit(&p, false, NULL));
	assert_int_equal(n_syncs, 0);
	assert_contents("out", "new");
}

static void abort_leaves_the_old_file_alone(void **state)
{
	struct publish p;

	(void)state;
	put("out", "old", 0640);
	begin(&p, "./out");
	assert_contents("out", "old");
	publish_abort(&p);
	assert_contents("out", "old");
	assert_int_equal(n_entries(), 1);
	publish_abort(&p);
}

static void an_old_file_keeps_its_mode(void **state)
{
	struct publish p;
	struct stat st;

	(void)state;
	put("out", "old", 0600);
	begin(&p, "out");
	ok(fstat(store_fd(p.store), &st));
	assert_int_equal(st.st_mode & 0777, 0600);
	ok(publish_commit(&p, true, NULL));
	assert_contents("out", "new");
	assert_int_equal(mode_of("out"), 0600);
}

static void an_old_file_keeps_its_owner(void **state)
{
	struct publish p;
	struct stat st;

	(void)state;
	if (geteuid() != 0)
		skip();
	put("out", "old", 0660);
	ok(chown("out", 1234, 4321));
	begin(&p, "out");
	ok(publish_commit(&p, true, NULL));
	ok(stat("out", &st));
	assert_int_equal(st.st_uid, 1234);
	assert_int_equal(st.st_gid, 4321);
	assert_int_equal(st.st_mode & 0777, 0660);
}

static void symbolic_links_remain(void **state)
{
	struct publish p;
	struct stat st;

	(void)state;
	ok(mkdir("sub", 0755));
	put("sub/real", "old", 0644);
	ok(symlink("real", "sub/second"));
	ok(symlink("sub/second", "first"));
	begin(&p, "first");
	ok(publish_commit(&p, true, NULL));
	ok(lstat("first", &st));
	assert_true(S_ISLNK(st.st_mode));
	ok(lstat("sub/real", &st));
	assert_true(S_ISREG(st.st_mode));
	assert_contents("sub/real", "new");
}

static void the_target_of_a_dangling_link_is_made(void **state)
{
	struct publish p;

	(void)state;
	ok(symlink("later", "link"));
	begin(&p, "link");
	ok(publish_commit(&p, true, NULL));
	assert_contents("later", "new");
	assert_contents("link", "new");
}

static void refuses_what_cannot_be_replaced(void **state)
{
	(void)state;
	ok(mkfifo("pipe", 0600));
	ok(symlink("loop", "loop"));
	assert_int_equal(refuse(".", "is a directory"), -EINVAL);
	assert_int_equal(refuse("pipe", "is a pipe"), -EINVAL);
	assert_int_equal(refuse("/dev/null", "is a character device"), -EINVAL);
	assert_int_equal(refuse("loop", "Too many levels"), -ELOOP);
	assert_int_equal(refuse("none/", "is not the name of a file"), -EINVAL);
	assert_int_equal(refuse("", "is not the name of a file"), -EINVAL);
	assert_int_equal(refuse("none/x",
				"none/x: cannot create a temporary file beside "
				"it: No such file or directory"),
			 -ENOENT);
}

static void a_file_in_use_is_not_replaced(void **state)
{
	struct qcow2_store *user;

	(void)state;
	put("out", "old", 0644);
	ok(store_file_open("out", 0, &user, NULL));
	ok(store_lock(user, QCOW2_STORE_LOCK_READ, NULL));
	assert_int_equal(refuse("out", "Is another process using"), -EBUSY);
	store_unref(user);
}

static void long_names_have_temporary_files_too(void **state)
{
	struct publish p;
	char name[256];

	(void)state;
	memset(name, 'n', 255);
	name[255] = '\0';
	begin(&p, name);
	ok(publish_commit(&p, true, NULL));
	assert_contents(name, "new");
}

static void a_failed_flush_leaves_the_old_file(void **state)
{
	struct qcow2_error err = { 0 };
	struct publish p;

	(void)state;
	put("out", "old", 0644);
	begin(&p, "out");
	fsync_errno = EIO;
	assert_int_equal(publish_commit(&p, true, &err), -EIO);
	assert_string_equal(err.message,
			    "out: cannot flush: Input/output error");
	assert_contents("out", "old");
	assert_int_equal(n_entries(), 1);
}

static void a_failed_rename_cleans_up(void **state)
{
	struct qcow2_error err = { 0 };
	struct publish p;

	(void)state;
	ok(mkdir("sub", 0755));
	begin(&p, "sub/out");
	ok(rename("sub", "moved"));
	assert_int_equal(publish_commit(&p, true, &err), -ENOENT);
	assert_non_null(strstr(err.message, "cannot give the finished file"));
	assert_int_equal(access("moved/out", F_OK), -1);
}

static void a_block_device_is_written_in_place(void **state)
{
	struct qcow2_store *second;
	struct loop_device d;
	struct publish p;
	char buf[3];

	(void)state;
	put("disk", "", 0600);
	ok(truncate("disk", 65536));
	if (!loop_attach(&d, "disk"))
		skip();
	begin(&p, d.path);
	assert_true(p.in_place);
	assert_null(p.temp_path);
	ok(store_file_open(d.path, 0, &second, NULL));
	assert_int_equal(store_lock(second, QCOW2_STORE_LOCK_READ, NULL),
			 -EBUSY);
	ok(publish_commit(&p, true, NULL));
	ok(store_pread(second, buf, 3, 0, 0, NULL));
	assert_memory_equal(buf, "new", 3);
	store_unref(second);
	loop_detach(&d);
}

/* F17: as QEMU has it, whatever group may write to what else is made. */
static void new_files_have_the_mode_that_qemu_gives_them(void **state)
{
	static const struct {
		mode_t mask, mode;
	} masks[] = { { 0, 0644 }, { 02, 0644 }, { 022, 0644 }, { 077, 0600 } };

	(void)state;
	for (size_t i = 0; i < sizeof(masks) / sizeof(masks[0]); i++) {
		struct publish p;

		umask(masks[i].mask);
		begin(&p, "out");
		ok(publish_commit(&p, true, NULL));
		assert_int_equal(mode_of("out"), masks[i].mode);
		ok(unlink("out"));
	}
}

/* F12: the file is there, and safe as far as this file system goes. */
static void a_directory_that_cannot_be_synced_is_no_failure(void **state)
{
	static const int harmless[] = { EINVAL, ENOTSUP, EROFS, EPERM, EBADF };
	struct qcow2_error err = { 0 };
	struct publish p;

	(void)state;
	for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++) {
		begin(&p, "out");
		dir_errno = harmless[i];
		ok(publish_commit(&p, true, &err));
		assert_contents("out", "new");
	}
	begin(&p, "out");
	dir_errno = EIO;
	assert_int_equal(publish_commit(&p, true, &err), -EIO);
	assert_non_null(strstr(err.message, "make its new name durable"));
}

/* What was written through @path has to be in @fd, and nowhere else. */
static void assert_written_through(const char *path, int fd)
{
	int before = n_entries();
	struct publish p;
	char buf[4] = "";

	begin(&p, path);
	assert_true(p.in_place);
	assert_int_equal(n_entries(), before);
	ok(publish_commit(&p, true, NULL));
	assert_int_equal(pread(fd, buf, 3, 0), 3);
	assert_string_equal(buf, "new");
	assert_int_equal(n_entries(), before);
}

static void write_through(int fd)
{
	char path[40];

	assert_true(fd >= 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	assert_written_through(path, fd);
	ok(ftruncate(fd, 0));
	snprintf(path, sizeof(path), "/dev/fd/%d", fd);
	assert_written_through(path, fd);
	close(fd);
}

/* F02: the text of such a link is no name: "/memfd:x (deleted)". */
static void a_descriptor_is_written_through(void **state)
{
	int deleted = open("gone", O_RDWR | O_CREAT, 0600);
	int named = open("named", O_RDWR | O_CREAT, 0600);
	int unnamed = open(".", O_RDWR | O_TMPFILE, 0600);

	(void)state;
	ok(unlink("gone"));
	write_through(deleted);
	write_through(memfd_create("x", 0));
	if (unnamed >= 0)
		write_through(unnamed);
	write_through(named);
	assert_contents("named", "new");
	assert_int_equal(n_entries(), 1);
}

static void a_link_to_a_descriptor_is_one(void **state)
{
	int fd = open("named", O_RDWR | O_CREAT, 0600);
	char path[40];

	(void)state;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ok(symlink(path, "link"));
	put("other", "old", 0600);
	ok(unlink("named"));
	ok(rename("other", "named"));
	assert_written_through("link", fd);
	assert_contents("named", "old");
	close(fd);
}

static void a_descriptor_of_a_pipe_is_refused(void **state)
{
	int fds[2];
	char path[40];

	(void)state;
	ok(pipe(fds));
	snprintf(path, sizeof(path), "/dev/fd/%d", fds[1]);
	assert_int_equal(refuse(path, "is a pipe"), -EINVAL);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_new_file_appears_only_when_complete),
		TEST(nothing_is_synced_unless_asked),
		TEST(abort_leaves_the_old_file_alone),
		TEST(an_old_file_keeps_its_mode),
		TEST(an_old_file_keeps_its_owner),
		TEST(symbolic_links_remain),
		TEST(the_target_of_a_dangling_link_is_made),
		TEST(refuses_what_cannot_be_replaced),
		TEST(a_file_in_use_is_not_replaced),
		TEST(long_names_have_temporary_files_too),
		TEST(a_failed_flush_leaves_the_old_file),
		TEST(a_failed_rename_cleans_up),
		TEST(new_files_have_the_mode_that_qemu_gives_them),
		TEST(a_directory_that_cannot_be_synced_is_no_failure),
		TEST(a_block_device_is_written_in_place),
		TEST(a_descriptor_is_written_through),
		TEST(a_link_to_a_descriptor_is_one),
		TEST(a_descriptor_of_a_pipe_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
