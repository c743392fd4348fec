/*
 * Locks among stores of this library, and between them and QEMU's own tools.
 */
#include <errno.h>

#include "store_test.h"

#define SKIPPED 77

static struct qcow2_store *open_file(const char *path, unsigned flags)
{
	struct qcow2_store *s;

	ok(store_file_open(path, flags, &s, NULL));
	return s;
}

/* Bit i: somebody but @fd holds byte 100 + i; bit 16 + i: byte 200 + i. */
static unsigned bytes_held(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	unsigned held = 0;

	assert_true(fd >= 0);
	for (int i = 0; i < 16; i++)
		for (int k = 0; k < 2; k++) {
			struct flock lk = { .l_type = F_WRLCK,
					    .l_whence = SEEK_SET,
					    .l_start = 100 * (k + 1) + i,
					    .l_len = 1 };

			ok(fcntl(fd, F_OFD_GETLK, &lk));
			if (lk.l_type != F_UNLCK)
				held |= 1u << (16 * k + i);
		}
	close(fd);
	return held;
}

static int lock_rc(struct qcow2_store *s, enum qcow2_store_lock lock)
{
	struct qcow2_error err = { 0 };
	int rc = store_lock(s, lock, &err);

	if (rc < 0) {
		assert_int_equal(err.code, rc);
		assert_non_null(strstr(err.message, "another process"));
	}
	return rc;
}

static void readers_share_and_writers_exclude(void **state)
{
	static const enum qcow2_store_lock R = QCOW2_STORE_LOCK_READ;
	static const enum qcow2_store_lock W = QCOW2_STORE_LOCK_WRITE;
	struct qcow2_store *a;
	struct qcow2_store *b;
	char path[200];

	(void)state;
	make_file(path, sizeof(path), "x");
	a = open_file(path, QCOW2_STORE_RDWR);
	b = open_file(path, QCOW2_STORE_RDWR);
	ok(lock_rc(a, R));
	ok(lock_rc(b, R));
	assert_int_equal(lock_rc(a, W), -EBUSY);
	ok(lock_rc(b, QCOW2_STORE_UNLOCK));
	ok(lock_rc(a, W));
	assert_int_equal(lock_rc(b, R), -EBUSY);
	assert_int_equal(lock_rc(b, W), -EBUSY);
	ok(lock_rc(a, R));
	ok(lock_rc(b, R));
	store_unref(a);
	ok(lock_rc(b, W));
	store_unref(b);
	assert_int_equal(bytes_held(path), 0);
	ok(unlink(path));
}

static void a_refused_lock_leaves_the_old_one(void **state)
{
	struct qcow2_store *a;
	struct qcow2_store *b;
	unsigned before;
	char path[200];

	(void)state;
	make_file(path, sizeof(path), "x");
	a = open_file(path, QCOW2_STORE_RDWR);
	b = open_file(path, 0);
	ok(lock_rc(a, QCOW2_STORE_LOCK_READ));
	ok(lock_rc(b, QCOW2_STORE_LOCK_READ));
	before = bytes_held(path);
	assert_int_equal(lock_rc(a, QCOW2_STORE_LOCK_WRITE), -EBUSY);
	assert_int_equal(bytes_held(path), before);
	store_unref(b);
	assert_int_equal(bytes_held(path), before);
	store_unref(a);
	assert_int_equal(bytes_held(path), 0);
	ok(unlink(path));
}

static void the_message_names_lock_file_and_way_out(void **state)
{
	struct qcow2_error err = { 0 };
	struct qcow2_store *a;
	struct qcow2_store *b;
	char expected[400];
	char path[200];

	(void)state;
	make_file(path, sizeof(path), "x");
	a = open_file(path, QCOW2_STORE_RDWR);
	b = open_file(path, 0);
	ok(lock_rc(a, QCOW2_STORE_LOCK_WRITE));
	assert_int_equal(store_lock(b, QCOW2_STORE_LOCK_READ, &err), -EBUSY);
	snprintf(expected, sizeof(expected),
		 "%s: cannot get shared \"write\" lock. Is another process "
		 "using the image, or this one twice?",
		 path);
	assert_string_equal(err.message, expected);
	store_unref(a);
	store_unref(b);
	ok(unlink(path));
}

static void copies_of_the_descriptor_do_not_keep_the_lock(void **state)
{
	struct qcow2_store *s;
	char path[200];
	int copy;

	(void)state;
	make_file(path, sizeof(path), "x");
	s = open_file(path, QCOW2_STORE_RDWR);
	copy = dup(store_fd(s));
	ok(lock_rc(s, QCOW2_STORE_LOCK_WRITE));
	store_unref(s);
	assert_int_equal(bytes_held(path), 0);
	close(copy);
	ok(unlink(path));
}

/* A qemu-io that has the image open and waits for commands. */
struct qemu {
	pid_t pid;
	int in;
	int out;
};

static void run_qemu_io(const char *path, const char *mode, int in, int out)
{
	dup2(in, 0);
	dup2(out, 1);
	dup2(out, 2);
	for (int fd = 3; fd < 64; fd++)
		close(fd);
	execlp("qemu-io", "qemu-io", "-f", "qcow2", mode, path, (char *)NULL);
	_exit(127);
}

/* Starts it and waits for its prompt; false when it ends without one. */
static bool qemu_start(struct qemu *q, const char *path, const char *mode)
{
	char seen[512] = { 0 };
	size_t n = 0;
	int to[2];
	int from[2];

	ok(pipe(to));
	ok(pipe(from));
	q->pid = fork();
	if (q->pid == 0)
		run_qemu_io(path, mode, to[0], from[1]);
	close(to[0]);
	close(from[1]);
	q->in = to[1];
	q->out = from[0];
	while (n < sizeof(seen) - 1 && !strstr(seen, "qemu-io> ")) {
		ssize_t got = read(q->out, seen + n, sizeof(seen) - 1 - n);

		if (got <= 0)
			return false;
		n += (size_t)got;
	}
	return true;
}

static void qemu_stop(struct qemu *q)
{
	close(q->in);
	close(q->out);
	assert_int_equal(waitpid(q->pid, NULL, 0), q->pid);
}

/* Returns whether a qemu-io can open the image now. */
static bool qemu_opens(const char *path, const char *mode)
{
	struct qemu q;
	bool opened = qemu_start(&q, path, mode);

	qemu_stop(&q);
	return opened;
}

static void make_image(char *path, size_t size)
{
	char command[300];

	temp_name(path, size, ".");
	snprintf(command, sizeof(command), "qemu-img create -q -f qcow2 %s 1M",
		 path);
	ok(system(command));
}

static const struct {
	const char *mode; /* of qemu-io: "-r" reads only, "-n" means nothing */
	unsigned flags;
	enum qcow2_store_lock lock;
} twins[] = {
	{ "-r", 0, QCOW2_STORE_LOCK_READ },
	{ "-n", QCOW2_STORE_RDWR, QCOW2_STORE_LOCK_WRITE },
};

static void the_bytes_are_those_of_qemu(void **state)
{
	char path[200];

	(void)state;
	make_image(path, sizeof(path));
	for (int i = 0; i < 2; i++) {
		struct qcow2_store *s = open_file(path, twins[i].flags);
		struct qemu q;
		unsigned theirs;

		assert_true(qemu_start(&q, path, twins[i].mode));
		theirs = bytes_held(path);
		qemu_stop(&q);
		assert_int_not_equal(theirs, 0);
		ok(lock_rc(s, twins[i].lock));
		assert_int_equal(bytes_held(path), theirs);
		store_unref(s);
	}
	ok(unlink(path));
}

static void qemu_and_this_library_exclude_each_other(void **state)
{
	char path[200];

	(void)state;
	make_image(path, sizeof(path));
	for (int theirs = 0; theirs < 2; theirs++)
		for (int ours = 0; ours < 2; ours++) {
			struct qcow2_store *s =
				open_file(path, twins[ours].flags);
			bool both = !theirs && !ours;
			struct qemu q;

			assert_true(qemu_start(&q, path, twins[theirs].mode));
			assert_int_equal(lock_rc(s, twins[ours].lock),
					 both ? 0 : -EBUSY);
			qemu_stop(&q);
			ok(lock_rc(s, twins[ours].lock));
			assert_int_equal(qemu_opens(path, twins[theirs].mode),
					 both);
			store_unref(s);
			assert_true(qemu_opens(path, twins[theirs].mode));
		}
	ok(unlink(path));
}

int main(void)
{
	const struct CMUnitTest own[] = {
		cmocka_unit_test(readers_share_and_writers_exclude),
		cmocka_unit_test(a_refused_lock_leaves_the_old_one),
		cmocka_unit_test(the_message_names_lock_file_and_way_out),
		cmocka_unit_test(copies_of_the_descriptor_do_not_keep_the_lock),
	};
	const struct CMUnitTest with_qemu[] = {
		cmocka_unit_test(the_bytes_are_those_of_qemu),
		cmocka_unit_test(qemu_and_this_library_exclude_each_other),
	};
	int failed = cmocka_run_group_tests(own, NULL, NULL);

	if (failed)
		return failed;
	if (system("qemu-io --version >/dev/null 2>&1") != 0)
		return SKIPPED;
	return cmocka_run_group_tests(with_qemu, NULL, NULL);
}
