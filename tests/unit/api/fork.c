/*
 * A forked child may do nothing with the images and stores of its parent but
 * give them back (D1 of the list in tests/regressions.md).
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <qcow2.h>

#include "support/namespace.h"
#include "support/test.h"

#define CLUSTER 65536
#define N_CLUSTERS 300

#define ok(expression) assert_int_equal((expression), 0)

struct fixture {
	char path[64];
	struct qcow2_image *img; /* open for writing */
	struct qcow2_open_opts rdwr;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;

	create.virtual_size = UINT64_C(2) * N_CLUSTERS * CLUSTER;
	snprintf(f->path, sizeof(f->path), "./api-fork-%d.qcow2",
		 (int)getpid());
	ok(qcow2_create_path(f->path, &create, NULL));
	f->rdwr = (struct qcow2_open_opts)QCOW2_OPEN_OPTS_INIT;
	f->rdwr.flags = QCOW2_OPEN_RDWR;
	ok(qcow2_open_path(f->path, &f->rdwr, &f->img, NULL));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	qcow2_close(f->img, NULL);
	unlink(f->path);
	free(f);
	return 0;
}

static uint8_t value_of(uint64_t i)
{
	return (uint8_t)(i % 251 + 1);
}

static void put(struct qcow2_image *img, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++) {
		uint8_t value = value_of(i);

		ok(qcow2_pwrite(img, &value, 1, i * CLUSTER, 0, NULL));
	}
	ok(qcow2_flush(img, NULL));
}

static uint64_t count_right(const char *path, uint64_t n)
{
	struct qcow2_image *img;
	uint64_t right = 0;

	ok(qcow2_open_path(path, NULL, &img, NULL));
	for (uint64_t i = 0; i < n; i++) {
		uint8_t value;

		ok(qcow2_pread(img, &value, 1, i * CLUSTER, 0, NULL));
		right += value == value_of(i);
	}
	ok(qcow2_close(img, NULL));
	return right;
}

static void assert_sound(const char *path)
{
	struct qcow2_check_result found = QCOW2_CHECK_RESULT_INIT;

	ok(qcow2_check_path(path, NULL, &found, NULL));
	assert_int_equal(found.corruptions, 0);
	assert_int_equal(found.leaks, 0);
}

static int open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n;
}

/* A child process: it waits for a byte, then exits with the result of @fn. */
struct child {
	pid_t pid;
	int go;
};

static struct child start(int (*fn)(struct fixture *f), struct fixture *f)
{
	struct child c;
	int fds[2];
	char byte;

	ok(pipe(fds));
	c.pid = fork();
	assert_true(c.pid >= 0);
	if (c.pid == 0) {
		close(fds[1]);
		_exit(read(fds[0], &byte, 1) == 1 ? fn(f) : 99);
	}
	close(fds[0]);
	c.go = fds[1];
	return c;
}

static int finish(struct child *c)
{
	int status = 0;

	assert_int_equal(write(c->go, "x", 1), 1);
	close(c->go);
	assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

static int close_it(struct fixture *f)
{
	return qcow2_close(f->img, NULL) ? 1 : 0;
}

/* The child's tables are older than the parent's: written back, they lost all
 * that the parent had flushed since. */
TEST_WITH(a_forked_childs_close_writes_nothing, setup, teardown)
{
	struct fixture *f = *state;
	struct child child;

	put(f->img, 0, 8);
	child = start(close_it, f);
	put(f->img, 8, N_CLUSTERS);
	ok(finish(&child));
	ok(qcow2_close(f->img, NULL));
	assert_int_equal(count_right(f->path, N_CLUSTERS), N_CLUSTERS);
	assert_sound(f->path);
	ok(qcow2_open_path(f->path, &f->rdwr, &f->img, NULL));
}

/* The same where tables were dirty when the process was forked. */
TEST_WITH(a_forked_child_has_nothing_to_write_back, setup, teardown)
{
	struct fixture *f = *state;
	uint8_t value = value_of(0);
	struct child child;

	ok(qcow2_pwrite(f->img, &value, 1, 0, 0, NULL));
	child = start(close_it, f);
	put(f->img, 0, N_CLUSTERS);
	ok(finish(&child));
	put(f->img, 0, 1);
	ok(qcow2_close(f->img, NULL));
	assert_int_equal(count_right(f->path, N_CLUSTERS), N_CLUSTERS);
	assert_sound(f->path);
	ok(qcow2_open_path(f->path, &f->rdwr, &f->img, NULL));
}

/* Parent and child share the file, and with it the locks. */
TEST_WITH(a_forked_childs_close_keeps_the_parents_lock, setup, teardown)
{
	struct fixture *f = *state;
	struct child child = start(close_it, f);
	struct qcow2_image *other;

	ok(finish(&child));
	assert_int_equal(qcow2_open_path(f->path, NULL, &other, NULL), -EBUSY);
	assert_int_equal(qcow2_open_path(f->path, &f->rdwr, &other, NULL),
			 -EBUSY);
}

static int close_counted(struct fixture *f)
{
	int before = open_descriptors();

	if (qcow2_close(f->img, NULL))
		return 1;
	/* The descriptors of the file and of its directory. */
	return before - open_descriptors() == 2 ? 0 : 2;
}

TEST_WITH(a_forked_childs_close_gives_back_its_descriptors, setup, teardown)
{
	struct child child = start(close_counted, *state);

	ok(finish(&child));
}

#define REFUSED(call)                             \
	do {                                      \
		if ((call) != -ECHILD)            \
			return __LINE__ % 90 + 1; \
	} while (0)

static int change_it(struct fixture *f)
{
	struct iovec iov = { f, 1 };
	struct qcow2_image *img = f->img;
	struct qcow2_compact_result compacted = QCOW2_COMPACT_RESULT_INIT;

	REFUSED(qcow2_pwrite(img, f, 1, 0, 0, NULL));
	REFUSED(qcow2_pwritev(img, &iov, 1, 0, QCOW2_FUA, NULL));
	REFUSED(qcow2_pwrite(img, f, 0, 0, 0, NULL));
	REFUSED(qcow2_zero(img, CLUSTER, 0, 0, NULL));
	REFUSED(qcow2_discard(img, CLUSTER, 0, 0, NULL));
	REFUSED(qcow2_write_compressed(img, f, CLUSTER, 0, 0, NULL));
	REFUSED(qcow2_flush(img, NULL));
	REFUSED(qcow2_snapshot_create(img, "s", NULL, NULL));
	REFUSED(qcow2_snapshot_apply(img, "s", NULL));
	REFUSED(qcow2_snapshot_delete(img, "s", NULL));
	REFUSED(qcow2_vmstate_write(img, f, 1, 0, NULL));
	REFUSED(qcow2_resize(img, CLUSTER, NULL, NULL));
	REFUSED(qcow2_amend(img, NULL, NULL));
	REFUSED(qcow2_compact(img, NULL, &compacted, NULL));
	REFUSED(qcow2_convert_into(img, img, NULL, NULL));
	return 0;
}

static int read_it(struct fixture *f)
{
	struct qcow2_compare_result compared = QCOW2_COMPARE_RESULT_INIT;
	struct qcow2_bitmap_info bitmap = QCOW2_BITMAP_INFO_INIT;
	struct qcow2_snapshot_info snapshot = QCOW2_SNAPSHOT_INFO_INIT;
	struct qcow2_luks_info luks = QCOW2_LUKS_INFO_INIT;
	struct qcow2_stats stats = QCOW2_STATS_INIT;
	struct qcow2_info info = QCOW2_INFO_INIT;
	struct qcow2_image *img = f->img;
	struct qcow2_snapshot_list *list;
	struct qcow2_image *both;
	struct qcow2_extent extent;
	char byte;

	REFUSED(qcow2_pread(img, &byte, 1, 0, 0, NULL));
	REFUSED(qcow2_vmstate_read(img, &byte, 1, 0, NULL));
	REFUSED(qcow2_map(img, 1, 0, 0, &extent, NULL));
	REFUSED(qcow2_get_info(img, 0, &info, NULL));
	REFUSED(qcow2_get_stats(img, 0, &stats, NULL));
	REFUSED(qcow2_get_snapshot(img, 0, &snapshot, NULL));
	REFUSED(qcow2_snapshot_list_new(img, &list, NULL));
	REFUSED(qcow2_get_bitmap(img, 0, &bitmap, NULL));
	REFUSED(qcow2_get_luks(img, &luks, NULL));
	REFUSED(qcow2_compare(img, img, NULL, &compared, NULL));
	REFUSED(qcow2_convert(img, "x", NULL, NULL, NULL));
	REFUSED(qcow2_convert_raw(img, "x", NULL, NULL));
	REFUSED(qcow2_concat(&img, 1, &both, NULL));
	return 0;
}

TEST_WITH(a_forked_child_is_refused_every_call, setup, teardown)
{
	struct fixture *f = *state;
	struct child child = start(change_it, f);

	ok(finish(&child));
	child = start(read_it, f);
	ok(finish(&child));
	put(f->img, 0, 1);
}

static int change_and_close(struct fixture *f)
{
	int rc = change_it(f);

	return rc ? rc : close_it(f);
}

/* The child of a first process that is the first of its own namespace: its
 * process id is 1, as its parent's is. */
static int use_as_first_process(void *opaque)
{
	return getpid() == 1 ? change_and_close(opaque) : 96;
}

/* Opens an image as the first process; the child finds one cluster dirty. */
static int open_as_first_process(void *opaque)
{
	struct fixture *f = opaque;
	uint8_t value = value_of(0);
	int rc;

	if (qcow2_open_path(f->path, &f->rdwr, &f->img, NULL) ||
	    qcow2_pwrite(f->img, &value, 1, 0, 0, NULL))
		return 95;
	rc = in_pid_namespace(use_as_first_process, f);
	return qcow2_close(f->img, NULL) ? 94 : rc;
}

/* D1, where a container's first process forks into another container. */
TEST_WITH(a_child_with_its_parents_process_id_is_refused_too, setup, teardown)
{
	struct fixture *f = *state;
	int rc;

	ok(qcow2_close(f->img, NULL));
	f->img = NULL;
	rc = in_pid_namespace(open_as_first_process, f);
	if (rc != NO_PID_NAMESPACE)
		ok(rc);
	assert_sound(f->path);
	ok(qcow2_open_path(f->path, &f->rdwr, &f->img, NULL));
	if (rc == NO_PID_NAMESPACE)
		skip();
}

TEST_WITH(the_refusal_says_what_to_do, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_error err = { 0 };
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		qcow2_flush(f->img, &err);
		_exit(err.code == -ECHILD && strstr(err.message, "api-fork-") &&
				      strstr(err.message, "open it anew")
			      ? 0
			      : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	ok(status);
}

/* ---- Stores -------------------------------------------------------------- */

static int n_closes;

static int blank_preadv(void *self, const struct iovec *iov, int iovcnt,
			uint64_t off, unsigned flags, struct qcow2_error *err)
{
	(void)err;
	(void)self, (void)off, (void)flags;
	for (int i = 0; i < iovcnt; i++)
		memset(iov[i].iov_base, 0, iov[i].iov_len);
	return 0;
}

static int blank_size(void *self, uint64_t *size, struct qcow2_error *err)
{
	(void)err;
	(void)self;
	*size = CLUSTER;
	return 0;
}

static void count_close(void *self)
{
	(void)self;
	n_closes++;
}

static int use_store(struct qcow2_store *s)
{
	struct qcow2_check_result found = QCOW2_CHECK_RESULT_INIT;
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_image *img;
	uint64_t size;
	char byte;

	create.virtual_size = 1;
	REFUSED(qcow2_store_pread(s, &byte, 1, 0, 0, NULL));
	REFUSED(qcow2_store_size(s, &size, NULL));
	REFUSED(qcow2_open_store(s, NULL, &img, NULL));
	REFUSED(qcow2_check_store(s, NULL, &found, NULL));
	REFUSED(qcow2_dump_store(s, NULL, NULL));
	REFUSED(qcow2_create_store(s, NULL, &create, NULL));
	qcow2_store_unref(s);
	return n_closes ? 97 : 0;
}

/* The close of a custom store would act for the parent too. */
TEST_WITH(a_custom_store_is_not_closed_in_a_child, setup, teardown)
{
	const struct qcow2_store_ops ops = { .struct_size = sizeof(ops),
					     .preadv = blank_preadv,
					     .size = blank_size,
					     .close = count_close };
	struct qcow2_store *s;
	int status = 0;
	pid_t pid;

	n_closes = 0;
	ok(qcow2_store_new(&ops, NULL, &s, NULL));
	pid = fork();
	if (pid == 0)
		_exit(use_store(s));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	ok(status);
	qcow2_store_unref(s);
	assert_int_equal(n_closes, 1);
}

/* ---- Jobs ---------------------------------------------------------------- */

/* Forks when it is called first; the child stops the job. */
static int fork_once(void *opaque, uint64_t done, uint64_t total)
{
	pid_t *pid = opaque;

	(void)done, (void)total;
	if (*pid >= 0)
		return 0;
	*pid = fork();
	return *pid == 0;
}

TEST_WITH(a_child_forked_by_a_job_removes_nothing, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_convert_opts opts = QCOW2_CONVERT_OPTS_INIT;
	char target[80];
	int status = 0;
	pid_t pid = -1;
	int rc;

	put(f->img, 0, N_CLUSTERS);
	snprintf(target, sizeof(target), "%s.copy", f->path);
	opts.n_threads = 1;
	opts.progress = fork_once;
	opts.opaque = &pid;
	rc = qcow2_convert(f->img, target, &opts, NULL, NULL);
	if (pid == 0)
		_exit(rc < 0 ? 0 : 1);
	ok(rc);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	ok(status);
	assert_int_equal(count_right(target, N_CLUSTERS), N_CLUSTERS);
	assert_sound(target);
	ok(unlink(target));
}
