#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "store_test.h"

#include "store/file_impl.h"
#include "store/store_impl.h"

/* The kernel reports a lost page once; this plays it. */
static int fdatasync_errno;
static int fdatasync_calls;

int fdatasync(int fd)
{
	fdatasync_calls++;
	if (!fdatasync_errno)
		return fsync(fd);
	errno = fdatasync_errno;
	fdatasync_errno = 0;
	return -1;
}

static int refuse(const char *path, unsigned flags, const char *reason)
{
	struct qcow2_error err = { 0 };
	struct qcow2_store *s;
	int rc = store_file_open(path, flags, &s, &err);

	assert_non_null(strstr(err.message, reason));
	return rc;
}

TEST(refuses_what_is_no_file_without_blocking)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	char path[200];
	int fd;

	assert_int_equal(refuse(".", 0, "is a directory"), -EINVAL);
	assert_int_equal(refuse(".", QCOW2_STORE_RDWR, "is a directory"),
			 -EINVAL);
	assert_int_equal(refuse("/dev/zero", 0, "is a character device"),
			 -EINVAL);
	temp_name(path, sizeof(path), ".");
	ok(mkfifo(path, 0600));
	assert_int_equal(refuse(path, 0, "is a pipe"), -EINVAL);
	assert_int_equal(refuse(path, QCOW2_STORE_RDWR | QCOW2_STORE_CREATE,
				"is a pipe"),
			 -EINVAL);
	ok(unlink(path));
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_true(fd >= 0);
	temp_name(addr.sun_path, sizeof(addr.sun_path), ".");
	ok(bind(fd, (struct sockaddr *)&addr, sizeof(addr)));
	assert_int_equal(refuse(addr.sun_path, 0, "is a socket"), -EINVAL);
	close(fd);
	ok(unlink(addr.sun_path));
}

TEST(says_why_a_file_does_not_open)
{
	char path[200];

	assert_int_equal(refuse("no/such\nfile", 0,
				"no/such\\x0afile: cannot open: No such file "
				"or directory"),
			 -ENOENT);
	temp_name(path, sizeof(path), ".");
	ok(symlink(path, path));
	assert_int_equal(refuse(path, 0, "Too many levels"), -ELOOP);
	ok(unlink(path));
}

TEST(refuses_descriptors_of_pipes)
{
	struct qcow2_store *s;
	int fds[2];

	ok(pipe(fds));
	assert_int_equal(store_file_from_fd(fds[0], "p", 0, &s, NULL), -EINVAL);
	assert_int_equal(fcntl(fds[0], F_GETFD), 0);
	close(fds[0]);
	close(fds[1]);
}

TEST(checks_the_access_of_a_descriptor)
{
	struct qcow2_store *s;
	char path[200];
	int fd;

	make_file(path, sizeof(path), "x");
	fd = open(path, O_WRONLY);
	assert_int_equal(store_file_from_fd(fd, "f", 0, &s, NULL), -EBADF);
	close(fd);
	fd = open(path, O_RDONLY);
	assert_int_equal(
		store_file_from_fd(fd, "f", QCOW2_STORE_RDWR, &s, NULL),
		-EBADF);
	close(fd);
	fd = open(path, O_PATH);
	assert_int_equal(store_file_from_fd(fd, "f", 0, &s, NULL), -EBADF);
	close(fd);
	ok(unlink(path));
}

TEST(offsets_count_also_for_append_only_descriptors)
{
	struct qcow2_store *s;
	char path[200];
	int fd;

	make_file(path, sizeof(path), "abcd");
	fd = open(path, O_RDWR | O_APPEND | O_NONBLOCK);
	ok(store_file_from_fd(fd, path, QCOW2_STORE_RDWR, &s, NULL));
	assert_int_equal(store_fd(s), fd);
	assert_int_equal(fcntl(fd, F_GETFL) & (O_APPEND | O_NONBLOCK), 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	ok(store_pwrite(s, "X", 1, 1, 0, NULL));
	store_unref(s);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_contents(path, "aXcd");
	ok(unlink(path));
}

TEST(never_uses_the_standard_descriptors)
{
	int saved = dup(0);
	struct qcow2_store *s;
	char path[200];
	int rc;
	int fd;

	make_file(path, sizeof(path), "x");
	close(0);
	rc = store_file_open(path, 0, &s, NULL);
	fd = rc < 0 ? -1 : store_fd(s);
	rc = fcntl(0, F_GETFD);
	assert_int_equal(dup2(saved, 0), 0);
	close(saved);
	assert_true(fd > 2);
	assert_int_equal(rc, -1);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
	store_unref(s);
	ok(unlink(path));
}

TEST(create_empties_an_existing_file)
{
	unsigned flags = QCOW2_STORE_RDWR | QCOW2_STORE_CREATE;
	struct qcow2_store *s;
	char path[200];
	uint64_t size;

	make_file(path, sizeof(path), "old");
	ok(store_file_open(path, flags, &s, NULL));
	ok(store_size(s, &size, NULL));
	assert_int_equal(size, 0);
	store_unref(s);
	ok(unlink(path));
}

TEST(create_spares_a_file_that_others_use)
{
	unsigned flags = QCOW2_STORE_RDWR | QCOW2_STORE_CREATE;
	struct qcow2_store *user;
	struct qcow2_error err = { 0 };
	struct qcow2_store *s;
	char path[200];

	make_file(path, sizeof(path), "old");
	ok(store_file_open(path, 0, &user, NULL));
	ok(store_lock(user, QCOW2_STORE_LOCK_READ, NULL));
	assert_int_equal(store_file_open(path, flags, &s, &err), -EBUSY);
	assert_non_null(strstr(err.message, "Is another process using"));
	assert_non_null(strstr(err.message, path + 2));
	assert_contents(path, "old");
	store_unref(user);
	ok(unlink(path));
}

TEST(a_read_only_open_reads)
{
	struct qcow2_store *s;
	uint64_t bytes;
	char path[200];
	char buf[8];

	make_file(path, sizeof(path), "abc");
	ok(store_file_open(path, 0, &s, NULL));
	memset(buf, 'y', sizeof(buf));
	ok(store_pread(s, buf, sizeof(buf), 1, 0, NULL));
	assert_memory_equal(buf, "bc\0\0\0\0\0\0", 8);
	assert_int_equal(store_pwrite(s, "x", 1, 0, 0, NULL), -EBADF);
	assert_string_equal(store_name(s), path);
	ok(store_allocated(s, &bytes, NULL));
	assert_int_equal(bytes % 512, 0);
	store_unref(s);
	ok(unlink(path));
}

TEST(a_failed_flush_fails_for_ever)
{
	struct qcow2_store *s = open_temp(".", 0);
	int calls;

	ok(store_flush(s, NULL));
	ok(store_pwrite(s, "x", 1, 0, 0, NULL));
	fdatasync_errno = EIO;
	assert_int_equal(store_flush(s, NULL), -EIO);
	calls = fdatasync_calls;
	assert_int_equal(store_flush(s, NULL), -EIO);
	assert_int_equal(store_flush(s, NULL), -EIO);
	assert_int_equal(fdatasync_calls, calls);
	store_unref(s);
}

static void change(struct qcow2_store *s, unsigned how)
{
	switch (how) {
	case 0:
		ok(store_pwrite(s, "x", 1, 0, 0, NULL));
		break;
	case 1:
		ok(store_zero(s, 1, 0, 0, NULL));
		break;
	case 2:
		ok(store_zero(s, 1, 0, QCOW2_STORE_UNMAP, NULL));
		break;
	default:
		ok(store_truncate(s, 4096, NULL));
		break;
	}
}

TEST(only_what_has_changed_is_synced)
{
	struct qcow2_store *s = open_temp(".", 0);

	fdatasync_calls = 0;
	ok(store_flush(s, NULL));
	ok(store_flush(s, NULL));
	assert_int_equal(fdatasync_calls, 0);
	for (unsigned how = 0; how < 4; how++) {
		fdatasync_calls = 0;
		change(s, how);
		ok(store_flush(s, NULL));
		ok(store_flush(s, NULL));
		assert_int_equal(fdatasync_calls, 1);
	}
	store_unref(s);
}

/* D11: a chain that looked for loops made every flush a barrier for ever. */
TEST(asking_what_it_is_gives_no_descriptor_out)
{
	struct qcow2_store *a = open_temp(".", 0);
	struct store_identity id;

	assert_true(store_identity(a, &id));
	fdatasync_calls = 0;
	ok(store_flush(a, NULL));
	assert_int_equal(fdatasync_calls, 0);
	store_unref(a);
}

TEST(two_descriptors_of_one_file_are_the_same)
{
	struct qcow2_store *a;
	struct qcow2_store *b;
	struct qcow2_store *c = open_temp(".", 0);
	char path[200];
	char link_path[210];

	make_file(path, sizeof(path), "x");
	snprintf(link_path, sizeof(link_path), "%s.link", path);
	ok(link(path, link_path));
	ok(store_file_open(path, 0, &a, NULL));
	ok(store_file_open(link_path, 0, &b, NULL));
	assert_true(store_same_file(a, b));
	assert_false(store_same_file(a, c));
	store_unref(a);
	store_unref(b);
	store_unref(c);
	ok(unlink(path));
	ok(unlink(link_path));
}

/* A caller that has the descriptor may write through it. */
TEST(with_its_descriptor_given_out_a_file_is_always_synced)
{
	struct qcow2_store *s = open_temp(".", 0);

	assert_true(store_fd(s) >= 0);
	fdatasync_calls = 0;
	ok(store_flush(s, NULL));
	ok(store_flush(s, NULL));
	assert_int_equal(fdatasync_calls, 2);
	store_unref(s);
}

TEST(a_file_without_flushes_is_never_synced)
{
	struct qcow2_store *s = open_temp(".", QCOW2_STORE_NO_FLUSH);
	int calls = fdatasync_calls;

	ok(store_pwrite(s, "x", 1, 0, 0, NULL));
	ok(store_flush(s, NULL));
	assert_int_equal(fdatasync_calls, calls);
	store_unref(s);
}

TEST(an_interrupted_flush_is_repeated)
{
	struct qcow2_store *s = open_temp(".", 0);

	fdatasync_errno = EINTR;
	fdatasync_calls = 0;
	change(s, 0);
	ok(store_flush(s, NULL));
	assert_int_equal(fdatasync_calls, 2);
	store_unref(s);
}

/* ---- Its validator ------------------------------------------------------- */

TEST(a_file_that_is_not_as_it_should_be_is_found)
{
	struct qcow2_store *s = open_temp(".", 0);
	struct file *f = s->self;

	ok(store_pwrite(s, "x", 1, 0, 0, NULL));
	ok(store_flush(s, NULL));
	file_validate(f);
	ASSERT_ABORTS(f->fd = STDERR_FILENO; file_validate(f));
	ASSERT_ABORTS(f->align = 0; file_validate(f));
	ASSERT_ABORTS(f->align = 513; file_validate(f));
	ASSERT_ABORTS(f->n_flushed++; file_validate(f));
	ASSERT_ABORTS(f->flush_rc = 1; file_validate(f));
	ASSERT_ABORTS(f->can_punch = FILE_CANNOT + 1; file_validate(f));
	ASSERT_ABORTS(f->can_zero_range = -1; file_validate(f));
	store_unref(s);
}
