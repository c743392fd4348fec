#include <errno.h>
#include <linux/falloc.h>
#include <sys/syscall.h>

#include "loop_device.h"

/* Modes that this file system is said not to have. */
static int missing_modes;
static int n_fallocates;
static int n_interrupts;

int fallocate(int fd, int mode, off_t off, off_t len)
{
	n_fallocates++;
	if (n_interrupts-- > 0) {
		errno = EINTR;
		return -1;
	}
	if (mode & missing_modes) {
		errno = EOPNOTSUPP;
		return -1;
	}
	return (int)syscall(SYS_fallocate, fd, mode, off, len);
}

static int reset(void **state)
{
	(void)state;
	missing_modes = 0;
	n_fallocates = 0;
	n_interrupts = 0;
	return 0;
}

#define SIZE (256 * 1024)

/* A file full of 'x'. */
static struct qcow2_store *make(void)
{
	struct qcow2_store *s = open_temp(".", 0);
	static char buf[SIZE];

	memset(buf, 'x', sizeof(buf));
	ok(store_pwrite(s, buf, sizeof(buf), 0, 0, NULL));
	ok(store_flush(s, NULL));
	return s;
}

static uint64_t allocated(struct qcow2_store *s)
{
	uint64_t n;

	ok(store_allocated(s, &n, NULL));
	return n;
}

/* Only [off, off+len) became zeros and the size stayed. */
static void assert_zeroed(struct qcow2_store *s, uint64_t len, uint64_t off)
{
	static char buf[SIZE];
	uint64_t size;

	ok(store_size(s, &size, NULL));
	assert_int_equal(size, SIZE);
	ok(store_pread(s, buf, sizeof(buf), 0, 0, NULL));
	for (uint64_t i = 0; i < SIZE; i++)
		assert_int_equal(buf[i], i >= off && i - off < len ? 0 : 'x');
}

TEST_WITH(zeroing_stops_at_the_end, reset, NULL)
{
	struct qcow2_store *s = make();

	ok(store_zero(s, 1 << 30, SIZE - 5000, 0, NULL));
	assert_zeroed(s, 5000, SIZE - 5000);
	ok(store_zero(s, 1 << 30, SIZE, QCOW2_STORE_UNMAP, NULL));
	assert_zeroed(s, 5000, SIZE - 5000);
	store_unref(s);
}

TEST_WITH(unmap_gives_space_back, reset, NULL)
{
	struct qcow2_store *s = make();
	uint64_t before = allocated(s);

	ok(store_zero(s, SIZE / 2, 0, QCOW2_STORE_UNMAP, NULL));
	assert_zeroed(s, SIZE / 2, 0);
	assert_true(allocated(s) <= before - SIZE / 2);
	store_unref(s);
}

TEST_WITH(without_unmap_space_is_kept, reset, NULL)
{
	for (int i = 0; i < 2; i++) {
		struct qcow2_store *s = make();
		uint64_t before = allocated(s);

		missing_modes = i ? FALLOC_FL_ZERO_RANGE : 0;
		ok(store_zero(s, SIZE / 2, 4096, 0, NULL));
		assert_zeroed(s, SIZE / 2, 4096);
		assert_true(allocated(s) >= before);
		store_unref(s);
	}
}

TEST_WITH(zeros_are_written_where_the_file_system_cannot, reset, NULL)
{
	struct qcow2_store *s = make();
	uint64_t before = allocated(s);
	int calls;

	missing_modes = FALLOC_FL_ZERO_RANGE | FALLOC_FL_PUNCH_HOLE;
	assert_int_equal(store_zero(s, 100, 7, QCOW2_STORE_NO_FALLBACK, NULL),
			 -ENOTSUP);
	assert_zeroed(s, 0, 0);
	assert_int_equal(store_zero(s, 100, 7,
				    QCOW2_STORE_NO_FALLBACK | QCOW2_STORE_UNMAP,
				    NULL),
			 -ENOTSUP);
	calls = n_fallocates;
	ok(store_zero(s, 100000, 77, QCOW2_STORE_UNMAP, NULL));
	assert_zeroed(s, 100000, 77);
	assert_int_equal(allocated(s), before);
	/* A call that failed once is not tried again. */
	assert_int_equal(n_fallocates, calls);
	store_unref(s);
}

TEST_WITH(interrupted_zeroing_is_repeated, reset, NULL)
{
	struct qcow2_store *s = make();

	n_interrupts = 2;
	ok(store_zero(s, 100, 7, QCOW2_STORE_UNMAP, NULL));
	assert_zeroed(s, 100, 7);
	store_unref(s);
}

TEST_WITH(zeroing_may_wait_so_nowait_does_not, reset, NULL)
{
	struct qcow2_store *s;

	skip_in_memory();
	s = make();
	assert_int_equal(store_zero(s, 100, 7, QCOW2_STORE_NOWAIT, NULL),
			 -EAGAIN);
	assert_zeroed(s, 0, 0);
	store_unref(s);
}

TEST_WITH(holes_are_found, reset, NULL)
{
	struct qcow2_store *s = open_temp(".", 0);
	uint64_t len = 1 << 20;
	bool is_data;

	ok(store_truncate(s, 1 << 20, NULL));
	ok(store_pwrite(s, "x", 1, 512 * 1024, 0, NULL));
	ok(store_extent(s, &len, 0, &is_data, NULL));
	if (is_data) { /* the file system knows of no holes */
		assert_int_equal(len, 1 << 20);
		store_unref(s);
		skip();
	}
	assert_true(len <= 512 * 1024);
	len = 1 << 20;
	ok(store_extent(s, &len, 512 * 1024, &is_data, NULL));
	assert_true(is_data);
	assert_true(len < 512 * 1024);
	len = 5;
	ok(store_extent(s, &len, 1000000, &is_data, NULL));
	assert_false(is_data);
	assert_int_equal(len, 5);
	len = UINT64_C(1) << 40;
	ok(store_extent(s, &len, 1 << 21, &is_data, NULL));
	assert_false(is_data);
	assert_int_equal(len, UINT64_C(1) << 40);
	store_unref(s);
}

TEST_WITH(truncation_sets_the_size, reset, NULL)
{
	struct qcow2_store *s = make();
	uint64_t size;
	char c;

	ok(store_truncate(s, 10, NULL));
	ok(store_truncate(s, 100, NULL));
	ok(store_size(s, &size, NULL));
	assert_int_equal(size, 100);
	ok(store_pread(s, &c, 1, 10, 0, NULL));
	assert_int_equal(c, 0);
	store_unref(s);
}

static void check_device(const char *path, unsigned flags)
{
	struct qcow2_store *s;
	static char buf[SIZE];
	uint64_t n;

	ok(store_file_open(path, flags | QCOW2_STORE_RDWR | QCOW2_STORE_CREATE,
			   &s, NULL));
	ok(store_size(s, &n, NULL));
	assert_int_equal(n, SIZE);
	ok(store_allocated(s, &n, NULL));
	assert_int_equal(n, SIZE);
	memset(buf, 'x', sizeof(buf));
	ok(store_pwrite(s, buf, sizeof(buf), 0, 0, NULL));
	assert_int_equal(store_pwrite(s, buf, 1, SIZE, 0, NULL), -ENOSPC);
	ok(store_zero(s, 100000, 77, QCOW2_STORE_UNMAP, NULL));
	assert_zeroed(s, 100000, 77);
	ok(store_zero(s, 1 << 30, SIZE - 5000, 0, NULL));
	ok(store_pread(s, buf, sizeof(buf), 0, 0, NULL));
	assert_int_equal(buf[SIZE - 5001], 'x');
	assert_int_equal(buf[SIZE - 5000], 0);
	assert_int_equal(buf[SIZE - 1], 0);
	ok(store_truncate(s, SIZE, NULL));
	ok(store_truncate(s, 512, NULL));
	assert_int_equal(store_truncate(s, SIZE + 1, NULL), -ENOSPC);
	ok(store_flush(s, NULL));
	store_unref(s);
}

TEST_WITH(block_devices_keep_their_size, reset, NULL)
{
	struct loop_device d;
	char path[200];

	make_file(path, sizeof(path), "");
	ok(truncate(path, SIZE));
	if (!loop_attach(&d, path)) {
		unlink(path);
		skip();
	}
	check_device(d.path, 0);
	missing_modes = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
	check_device(d.path, 0);
	missing_modes = 0;
	check_device(d.path, QCOW2_STORE_DIRECT);
	loop_detach(&d);
	ok(unlink(path));
}
