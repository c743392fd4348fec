#include "publish_rig.h"

TEST_WITH(a_new_file_appears_only_when_complete, enter, leave)
{
	struct publish p;

	begin(&p, "out");
	assert_false(p.in_place);
	assert_int_equal(access("out", F_OK), -1);
	assert_string_equal(store_name(p.store), "out");
	ok(publish_commit(&p, true, NULL, NULL));
	assert_null(p.store);
	assert_int_equal(n_syncs, 2);
	assert_contents("out", "new");
	assert_int_equal(mode_of("out"), 0644);
	assert_int_equal(n_entries(), 1);
}

TEST_WITH(nothing_is_synced_unless_asked, enter, leave)
{
	struct publish p;

	begin(&p, "out");
	ok(publish_commit(&p, false, NULL, NULL));
	assert_int_equal(n_syncs, 0);
	assert_contents("out", "new");
}

TEST_WITH(abort_leaves_the_old_file_alone, enter, leave)
{
	struct publish p;

	put("out", "old", 0640);
	begin(&p, "./out");
	assert_contents("out", "old");
	publish_abort(&p);
	assert_contents("out", "old");
	assert_int_equal(n_entries(), 1);
	publish_abort(&p);
}

TEST_WITH(an_old_file_keeps_its_mode, enter, leave)
{
	struct publish p;
	struct stat st;

	put("out", "old", 0600);
	begin(&p, "out");
	ok(fstat(store_fd(p.store), &st));
	assert_int_equal(st.st_mode & 0777, 0600);
	ok(publish_commit(&p, true, NULL, NULL));
	assert_contents("out", "new");
	assert_int_equal(mode_of("out"), 0600);
}

TEST_WITH(an_old_file_keeps_its_owner, enter, leave)
{
	struct publish p;
	struct stat st;

	if (geteuid() != 0)
		skip();
	put("out", "old", 0660);
	ok(chown("out", 1234, 4321));
	begin(&p, "out");
	ok(publish_commit(&p, true, NULL, NULL));
	ok(stat("out", &st));
	assert_int_equal(st.st_uid, 1234);
	assert_int_equal(st.st_gid, 4321);
	assert_int_equal(st.st_mode & 0777, 0660);
}

TEST_WITH(symbolic_links_remain, enter, leave)
{
	struct publish p;
	struct stat st;

	ok(mkdir("sub", 0755));
	put("sub/real", "old", 0644);
	ok(symlink("real", "sub/second"));
	ok(symlink("sub/second", "first"));
	begin(&p, "first");
	ok(publish_commit(&p, true, NULL, NULL));
	ok(lstat("first", &st));
	assert_true(S_ISLNK(st.st_mode));
	ok(lstat("sub/real", &st));
	assert_true(S_ISREG(st.st_mode));
	assert_contents("sub/real", "new");
}

TEST_WITH(the_target_of_a_dangling_link_is_made, enter, leave)
{
	struct publish p;

	ok(symlink("later", "link"));
	begin(&p, "link");
	ok(publish_commit(&p, true, NULL, NULL));
	assert_contents("later", "new");
	assert_contents("link", "new");
}

TEST_WITH(refuses_what_cannot_be_replaced, enter, leave)
{
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

TEST_WITH(a_file_in_use_is_not_replaced, enter, leave)
{
	struct qcow2_store *user;

	put("out", "old", 0644);
	ok(store_file_open("out", 0, &user, NULL));
	ok(store_lock(user, QCOW2_STORE_LOCK_READ, NULL));
	assert_int_equal(refuse("out", "Is another process using"), -EBUSY);
	store_unref(user);
}

TEST_WITH(long_names_have_temporary_files_too, enter, leave)
{
	struct publish p;
	char name[256];

	memset(name, 'n', 255);
	name[255] = '\0';
	begin(&p, name);
	ok(publish_commit(&p, true, NULL, NULL));
	assert_contents(name, "new");
}

TEST_WITH(a_failed_flush_leaves_the_old_file, enter, leave)
{
	struct qcow2_error err = { 0 };
	struct publish p;

	put("out", "old", 0644);
	begin(&p, "out");
	fsync_errno = EIO;
	assert_int_equal(publish_commit(&p, true, NULL, &err), -EIO);
	assert_string_equal(err.message,
			    "out: cannot flush: Input/output error");
	assert_contents("out", "old");
	assert_int_equal(n_entries(), 1);
}

TEST_WITH(a_failed_rename_cleans_up, enter, leave)
{
	struct qcow2_error err = { 0 };
	struct publish p;

	ok(mkdir("sub", 0755));
	begin(&p, "sub/out");
	ok(rename("sub", "moved"));
	assert_int_equal(publish_commit(&p, true, NULL, &err), -ENOENT);
	assert_non_null(strstr(err.message, "cannot give the finished file"));
	assert_int_equal(access("moved/out", F_OK), -1);
}

TEST_WITH(a_block_device_is_written_in_place, enter, leave)
{
	struct qcow2_store *second;
	struct loop_device d;
	struct publish p;
	char buf[3];

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
	ok(publish_commit(&p, true, NULL, NULL));
	ok(store_pread(second, buf, 3, 0, 0, NULL));
	assert_memory_equal(buf, "new", 3);
	store_unref(second);
	loop_detach(&d);
}

/* F17: QEMU does so too: the group may not write, even where it may write to
 * other new files. */
TEST_WITH(new_files_have_the_mode_that_qemu_gives_them, enter, leave)
{
	static const struct {
		mode_t mask, mode;
	} masks[] = { { 0, 0644 }, { 02, 0644 }, { 022, 0644 }, { 077, 0600 } };

	for (size_t i = 0; i < sizeof(masks) / sizeof(masks[0]); i++) {
		struct publish p;

		umask(masks[i].mask);
		begin(&p, "out");
		ok(publish_commit(&p, true, NULL, NULL));
		assert_int_equal(mode_of("out"), masks[i].mode);
		ok(unlink("out"));
	}
}

/* F12: the file is there, and safe as far as this file system goes. */
TEST_WITH(a_directory_that_cannot_be_synced_is_no_failure, enter, leave)
{
	static const int harmless[] = { EINVAL, ENOTSUP, EROFS, EPERM, EBADF };
	struct qcow2_error err = { 0 };
	struct publish p;

	for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++) {
		begin(&p, "out");
		dir_errno = harmless[i];
		ok(publish_commit(&p, true, NULL, &err));
		assert_contents("out", "new");
	}
	begin(&p, "out");
	dir_errno = EIO;
	assert_int_equal(publish_commit(&p, true, NULL, &err), -EIO);
	assert_non_null(strstr(err.message, "make its new name durable"));
}

/* Bytes that were written through @path have to be in @fd, and nowhere else. */
static void assert_written_through(const char *path, int fd)
{
	int before = n_entries();
	struct publish p;
	char buf[4] = "";

	begin(&p, path);
	assert_true(p.in_place);
	assert_int_equal(n_entries(), before);
	ok(publish_commit(&p, true, NULL, NULL));
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
TEST_WITH(a_descriptor_is_written_through, enter, leave)
{
	int deleted = open("gone", O_RDWR | O_CREAT, 0600);
	int named = open("named", O_RDWR | O_CREAT, 0600);
	int unnamed = open(".", O_RDWR | O_TMPFILE, 0600);

	ok(unlink("gone"));
	write_through(deleted);
	write_through(memfd_create("x", 0));
	if (unnamed >= 0)
		write_through(unnamed);
	write_through(named);
	assert_contents("named", "new");
	assert_int_equal(n_entries(), 1);
}

TEST_WITH(a_link_to_a_descriptor_is_one, enter, leave)
{
	int fd = open("named", O_RDWR | O_CREAT, 0600);
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ok(symlink(path, "link"));
	put("other", "old", 0600);
	ok(unlink("named"));
	ok(rename("other", "named"));
	assert_written_through("link", fd);
	assert_contents("named", "old");
	close(fd);
}

TEST_WITH(a_descriptor_of_a_pipe_is_refused, enter, leave)
{
	int fds[2];
	char path[40];

	ok(pipe(fds));
	snprintf(path, sizeof(path), "/dev/fd/%d", fds[1]);
	assert_int_equal(refuse(path, "is a pipe"), -EINVAL);
	close(fds[0]);
	close(fds[1]);
}

TEST_WITH(a_publication_that_lost_a_part_is_noticed, enter, leave)
{
	struct publish p;

	put("file", "old", 0600);
	begin(&p, "file");
	publish_validate(&p);
	ASSERT_ABORTS(p.final_path = NULL; publish_validate(&p));
	ASSERT_ABORTS(p.hold.store = NULL; publish_validate(&p));
	ASSERT_ABORTS(p.replaced_hold.store = NULL; publish_validate(&p));
	ASSERT_ABORTS(p.in_place = 1; publish_validate(&p));
	publish_abort(&p);
	ASSERT_ABORTS(publish_old(&p));
}
