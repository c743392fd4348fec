/*
 * Hosts without locks, and locks that fail: F11 of the list in
 * tests/regressions.md.
 */
#include <errno.h>
#include <stdarg.h>
#include <sys/syscall.h>

#include "store_test.h"

#include "store/hold.h"

/* The error of every lock call; 0: they work. */
static int lock_errno;

/* Replaces that of the C library. */
int fcntl(int fd, int cmd, ...)
{
	va_list args;
	void *arg;

	va_start(args, cmd);
	arg = va_arg(args, void *);
	va_end(args);
	if (lock_errno && (cmd == F_OFD_SETLK || cmd == F_OFD_GETLK)) {
		errno = lock_errno;
		return -1;
	}
	return (int)syscall(SYS_fcntl, fd, cmd, arg);
}

static const int NONE[] = { EINVAL, ENOSYS, EOPNOTSUPP };
static const int BROKEN[] = { ENOLCK, EIO, EPERM, ESTALE };

#define N_OF(a) (sizeof(a) / sizeof((a)[0]))

struct fixture {
	char path[200];
	struct qcow2_open_opts rdwr;
	struct qcow2_error err;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;

	lock_errno = 0;
	create.virtual_size = 65536;
	temp_name(f->path, sizeof(f->path), ".");
	ok(qcow2_create_path(f->path, &create, NULL));
	f->rdwr = (struct qcow2_open_opts)QCOW2_OPEN_OPTS_INIT;
	f->rdwr.flags = QCOW2_OPEN_RDWR;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	unlink(f->path);
	free(f);
	return 0;
}

/* 1 or 0: opened, and without a lock or with one; else what opening failed
 * with. */
static int open_unlocked(struct fixture *f, uint32_t flags, uint32_t format)
{
	struct qcow2_open_opts opts = f->rdwr;
	struct qcow2_info info = QCOW2_INFO_INIT;
	struct qcow2_image *img;
	int rc;

	opts.flags = flags;
	opts.format = format;
	memset(&f->err, 0, sizeof(f->err));
	rc = qcow2_open_path(f->path, &opts, &img, &f->err);
	if (rc < 0)
		return rc;
	ok(qcow2_get_info(img, 0, &info, NULL));
	ok(qcow2_close(img, NULL));
	return info.unlocked;
}

TEST_WITH(a_host_without_locks_is_told, setup, teardown)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < N_OF(NONE); i++) {
		lock_errno = NONE[i];
		assert_int_equal(open_unlocked(f, QCOW2_OPEN_RDWR, 0), 1);
		assert_int_equal(f->err.code, 0);
		assert_int_equal(
			open_unlocked(f, QCOW2_OPEN_RDWR, QCOW2_FORMAT_RAW), 1);
		assert_int_equal(open_unlocked(f, 0, 0), 1);
	}
	lock_errno = 0;
	assert_int_equal(open_unlocked(f, QCOW2_OPEN_RDWR, 0), 0);
}

TEST_WITH(who_needs_a_lock_is_refused_without, setup, teardown)
{
	struct fixture *f = *state;
	uint32_t flags = QCOW2_OPEN_RDWR | QCOW2_OPEN_NEED_LOCK;

	lock_errno = EOPNOTSUPP;
	assert_int_equal(open_unlocked(f, flags, 0), -ENOTSUP);
	assert_non_null(strstr(f->err.message, "the host has no locks"));
	assert_int_equal(open_unlocked(f, QCOW2_OPEN_NEED_LOCK, 0), -ENOTSUP);
	lock_errno = 0;
	assert_int_equal(open_unlocked(f, flags, 0), 0);
}

/* Each of these wrote without a lock, and said nothing. */
TEST_WITH(a_lock_that_fails_is_an_error, setup, teardown)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < N_OF(BROKEN); i++) {
		lock_errno = BROKEN[i];
		assert_int_equal(open_unlocked(f, QCOW2_OPEN_RDWR, 0),
				 -BROKEN[i]);
		assert_non_null(strstr(f->err.message, "cannot lock byte"));
		assert_int_equal(open_unlocked(f, 0, 0), -BROKEN[i]);
		/* A caller that knows better asked for that. */
		assert_int_equal(open_unlocked(f, QCOW2_OPEN_NO_LOCK, 0), 0);
	}
}

TEST_WITH(targets_follow_the_same_rule, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_store *s;
	unsigned how = QCOW2_STORE_RDWR | QCOW2_STORE_CREATE;

	create.virtual_size = 131072;
	lock_errno = ENOLCK;
	assert_int_equal(qcow2_create_path(f->path, &create, NULL), -ENOLCK);
	assert_int_equal(qcow2_store_open_file(f->path, how, &s, NULL),
			 -ENOLCK);
	lock_errno = ENOSYS;
	ok(qcow2_create_path(f->path, &create, NULL));
	ok(qcow2_store_open_file(f->path, how, &s, NULL));
	ok(qcow2_create_store(s, NULL, &create, NULL));
	qcow2_store_unref(s);
}

TEST_WITH(a_repair_needs_the_lock_that_there_is, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	struct qcow2_check_result found = QCOW2_CHECK_RESULT_INIT;

	opts.flags = QCOW2_CHECK_REPAIR_ALL;
	lock_errno = EIO;
	assert_int_equal(qcow2_check_path(f->path, &opts, &found, NULL), -EIO);
	lock_errno = EINVAL;
	ok(qcow2_check_path(f->path, &opts, &found, NULL));
	assert_int_equal(found.unlocked, 1);
	lock_errno = 0;
	ok(qcow2_check_path(f->path, &opts, &found, NULL));
	assert_int_equal(found.unlocked, 0);
}

/* Within this program nothing changes. */
TEST_WITH(users_of_one_store_exclude_each_other_all_the_same, setup, teardown)
{
	struct fixture *f = *state;
	struct store_hold a = { 0 };
	struct store_hold b = { 0 };
	struct qcow2_store *s;

	lock_errno = EINVAL;
	ok(store_file_open(f->path, QCOW2_STORE_RDWR, &s, NULL));
	assert_false(store_is_unlocked(s));
	ok(store_hold(&a, s, HOLD_WRITE, NULL));
	assert_true(store_is_unlocked(s));
	assert_int_equal(store_hold(&b, s, HOLD_READ, NULL), -EBUSY);
	store_release(&a);
	assert_false(store_is_unlocked(s));
	ok(store_hold(&a, s, HOLD_READ, NULL));
	assert_int_equal(store_hold(&b, s, HOLD_READ | HOLD_NEEDS_LOCK, NULL),
			 -ENOTSUP);
	store_release(&a);
	store_unref(s);
}
