/*
 * D5: a file system without room stops a disk, and when there is room again
 * nothing is lost.  Root only: file systems are mounted, in a name space of
 * their own.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "library.h"

#define IMAGE "room/disk"

static int mounted;

static void mount_room(const char *options, unsigned long flags)
{
	if (mount("none", "room", "tmpfs", flags, options) != 0)
		fail_msg("cannot mount: %s", strerror(errno));
}

static int setup(void **state)
{
	(void)state;
	if (!mounted)
		return 0;
	mount_room("size=8m", 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (mounted)
		umount2("room", MNT_DETACH);
	return 0;
}

#define NEEDS_ROOT()            \
	do {                    \
		if (!mounted)   \
			skip(); \
	} while (0)

static struct qcow2_image *open_disk(void)
{
	struct qcow2_image *img;

	create(IMAGE, UINT64_C(1) << 30);
	ok(open_path(IMAGE, QCOW2_OPEN_RDWR, &img));
	return img;
}

/* Writes clusters until there is no room; returns how many were accepted. */
static uint64_t fill(struct qcow2_image *img)
{
	uint64_t n = 0;
	int rc;

	while ((rc = put(img, n)) == 0)
		n++;
	assert_int_equal(rc, -ENOSPC);
	assert_true(n > 100);
	return n;
}

static void assert_all_there(uint64_t n)
{
	struct qcow2_image *img;

	ok(open_path(IMAGE, 0, &img));
	assert_int_equal(n_wrong(img, n), 0);
	ok(qcow2_close(img, NULL));
	assert_sound(IMAGE);
}

static void
d05_every_acknowledged_write_arrives_when_there_is_room(void **state)
{
	struct qcow2_image *img;
	uint64_t n;

	(void)state;
	NEEDS_ROOT();
	img = open_disk();
	n = fill(img);
	assert_int_equal(qcow2_flush(img, NULL), -ENOSPC);
	assert_int_equal(qcow2_flush(img, NULL), -ENOSPC);
	assert_int_equal(n_wrong(img, n), 0);

	mount_room("size=64m", MS_REMOUNT);
	ok(qcow2_flush(img, NULL));
	ok(put(img, n));
	ok(qcow2_flush(img, NULL));
	ok(qcow2_close(img, NULL));
	assert_all_there(n + 1);
}

static void d05_a_write_may_come_before_the_flush(void **state)
{
	struct qcow2_image *img;
	uint64_t n;

	(void)state;
	NEEDS_ROOT();
	img = open_disk();
	n = fill(img);
	assert_int_equal(qcow2_flush(img, NULL), -ENOSPC);
	mount_room("size=64m", MS_REMOUNT);
	ok(put(img, n));
	ok(put(img, n + 1));
	ok(qcow2_close(img, NULL));
	assert_all_there(n + 2);
}

static void d05_a_close_writes_what_the_flush_could_not(void **state)
{
	struct qcow2_image *img;
	uint64_t n;

	(void)state;
	NEEDS_ROOT();
	img = open_disk();
	n = fill(img);
	assert_int_equal(qcow2_flush(img, NULL), -ENOSPC);
	mount_room("size=64m", MS_REMOUNT);
	ok(qcow2_close(img, NULL));
	assert_all_there(n);
}

static void d05_what_was_flushed_before_is_there_without_more_room(void **state)
{
	struct qcow2_image *img;
	uint64_t i, n;

	(void)state;
	NEEDS_ROOT();
	img = open_disk();
	for (i = 0; i < 60; i++)
		ok(put(img, i));
	ok(qcow2_flush(img, NULL));
	n = fill(img);
	assert_true(n > 60);
	qcow2_flush(img, NULL);
	qcow2_close(img, NULL);
	assert_all_there(60);
}

static void d05_space_that_is_discarded_lets_a_full_disk_go_on(void **state)
{
	struct qcow2_open_opts opts = opts_of(QCOW2_OPEN_RDWR);
	struct qcow2_image *img;
	uint64_t n;
	int i, rc = -ENOSPC;

	(void)state;
	NEEDS_ROOT();
	create(IMAGE, UINT64_C(1) << 30);
	opts.discard = QCOW2_DISCARD_REQUEST;
	ok(qcow2_open_path(IMAGE, &opts, &img, NULL));
	n = fill(img);
	mount_room("size=9m", MS_REMOUNT);
	ok(qcow2_flush(img, NULL));
	n = fill(img);
	ok(qcow2_discard(img, UINT64_C(50) * CLUSTER, 0, 0, NULL));
	for (i = 0; i < 4 && rc == -ENOSPC; i++)
		rc = qcow2_flush(img, NULL);
	ok(rc);
	for (i = 0; i < 30; i++)
		ok(put(img, i));
	ok(qcow2_flush(img, NULL));
	for (i = 50; i < (int)n; i++)
		assert_true(has(img, i));
	ok(qcow2_close(img, NULL));
	assert_sound(IMAGE);
}

static void d05_many_times_full_and_many_times_larger(void **state)
{
	struct qcow2_image *img;
	uint64_t n = 0;
	char size[32];
	int i;

	(void)state;
	NEEDS_ROOT();
	img = open_disk();
	for (i = 9; i < 40; i++) {
		int rc;

		while ((rc = put(img, n)) == 0 && ++n < 16000)
			if (n % 7 == 0 && (rc = qcow2_flush(img, NULL)) != 0)
				break;
		assert_int_equal(rc, -ENOSPC);
		snprintf(size, sizeof(size), "size=%dk", i * 1024 + i % 16);
		mount_room(size, MS_REMOUNT);
	}
	mount_room("size=64m", MS_REMOUNT);
	ok(qcow2_flush(img, NULL));
	ok(qcow2_close(img, NULL));
	assert_all_there(n);
}

static void d05_a_snapshot_without_room_is_not_the_end(void **state)
{
	struct qcow2_image *img;
	uint64_t n;

	(void)state;
	NEEDS_ROOT();
	img = open_disk();
	n = fill(img);
	assert_int_equal(qcow2_snapshot_create(img, "x", NULL, NULL), -ENOSPC);
	mount_room("size=64m", MS_REMOUNT);
	ok(qcow2_snapshot_create(img, "x", NULL, NULL));
	ok(put(img, 0));
	ok(qcow2_close(img, NULL));
	assert_all_there(n);
}

int main(void)
{
#define IN_ROOM(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	char directory[64];
	const struct CMUnitTest tests[] = {
		IN_ROOM(d05_every_acknowledged_write_arrives_when_there_is_room),
		IN_ROOM(d05_a_write_may_come_before_the_flush),
		IN_ROOM(d05_a_close_writes_what_the_flush_could_not),
		IN_ROOM(d05_what_was_flushed_before_is_there_without_more_room),
		IN_ROOM(d05_space_that_is_discarded_lets_a_full_disk_go_on),
		IN_ROOM(d05_many_times_full_and_many_times_larger),
		IN_ROOM(d05_a_snapshot_without_room_is_not_the_end),
	};

	enter_directory(directory);
	mkdir("room", 0700);
	mounted = unshare(CLONE_NEWNS) == 0 &&
		  mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
	if (!mounted)
		fprintf(stderr, "D5 needs root to mount\n");
	return RUN_IN_DIRECTORY(tests, directory);
}
