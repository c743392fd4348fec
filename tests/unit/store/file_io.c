#include <errno.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "store_test.h"

/* Stands between the store and the kernel: cuts transfers short, interrupts
 * them, and refuses RWF_NOWAIT as some file systems do. */
static struct {
	size_t most; /* bytes per transfer, 0: no limit */
	int n_interrupts;
	int nowait_errno;
	int last_rwf;
	int n_calls;
} kernel;

typedef ssize_t raw_fn(int fd, const struct iovec *iov, int n, off_t off,
		       int rwf);

static ssize_t raw_read(int fd, const struct iovec *iov, int n, off_t off,
			int rwf)
{
	return syscall(SYS_preadv2, fd, iov, n, off, 0, rwf);
}

static ssize_t raw_write(int fd, const struct iovec *iov, int n, off_t off,
			 int rwf)
{
	return syscall(SYS_pwritev2, fd, iov, n, off, 0, rwf);
}

static ssize_t disturbed(raw_fn *raw, int fd, const struct iovec *iov, int n,
			 off_t off, int rwf)
{
	struct iovec cut = iov[0];

	kernel.n_calls++;
	kernel.last_rwf = rwf;
	if (kernel.n_interrupts-- > 0) {
		errno = EINTR;
		return -1;
	}
	if (rwf && kernel.nowait_errno) {
		errno = kernel.nowait_errno;
		return -1;
	}
	if (!kernel.most)
		return raw(fd, iov, n, off, rwf);
	if (cut.iov_len > kernel.most)
		cut.iov_len = kernel.most;
	return raw(fd, &cut, 1, off, rwf);
}

ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t off, int rwf)
{
	return disturbed(raw_read, fd, iov, n, off, rwf);
}

ssize_t pwritev2(int fd, const struct iovec *iov, int n, off_t off, int rwf)
{
	return disturbed(raw_write, fd, iov, n, off, rwf);
}

static int reset(void **state)
{
	(void)state;
	memset(&kernel, 0, sizeof(kernel));
	return 0;
}

TEST_WITH(short_transfers_are_continued, reset, NULL)
{
	struct qcow2_store *s = open_temp(".", 0);
	char in[1000];
	char out[1000];
	struct iovec iov[] = {
		{ out, 3 }, { out + 3, 0 }, { out + 3, 500 }, { out + 503, 497 }
	};

	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (char)i;
	kernel.most = 7;
	ok(store_pwrite(s, in, sizeof(in), 3, 0, NULL));
	ok(store_preadv(s, iov, 4, 3, 0, NULL));
	assert_memory_equal(in, out, sizeof(in));
	store_unref(s);
}

TEST_WITH(interrupted_transfers_are_repeated, reset, NULL)
{
	struct qcow2_store *s = open_temp(".", 0);
	char c = 0;

	kernel.n_interrupts = 3;
	ok(store_pwrite(s, "a", 1, 0, 0, NULL));
	kernel.n_interrupts = 3;
	ok(store_pread(s, &c, 1, 0, 0, NULL));
	assert_int_equal(c, 'a');
	store_unref(s);
}

#define N_SEGMENTS 3000 /* more than one system call takes */

TEST_WITH(vectors_longer_than_the_kernel_takes_are_split, reset, NULL)
{
	static struct iovec iov[N_SEGMENTS];
	static uint32_t in[N_SEGMENTS];
	static uint32_t out[N_SEGMENTS];
	struct qcow2_store *s = open_temp(".", 0);

	for (uint32_t i = 0; i < N_SEGMENTS; i++) {
		in[i] = i * 77;
		iov[i] = (struct iovec){ &in[i], sizeof(in[i]) };
	}
	ok(store_pwritev(s, iov, N_SEGMENTS, 1, 0, NULL));
	for (uint32_t i = 0; i < N_SEGMENTS; i++)
		iov[i].iov_base = &out[i];
	ok(store_preadv(s, iov, N_SEGMENTS, 1, 0, NULL));
	assert_memory_equal(in, out, sizeof(in));
	store_unref(s);
}

TEST_WITH(the_end_of_the_file_reads_as_zeros, reset, NULL)
{
	struct qcow2_store *s = open_temp(".", 0);
	char buf[9000];
	struct iovec iov[] = { { buf, 1 }, { buf + 1, 8999 } };

	ok(store_pwrite(s, "abc", 3, 0, 0, NULL));
	memset(buf, 'x', sizeof(buf));
	ok(store_preadv(s, iov, 2, 1, 0, NULL));
	assert_memory_equal(buf, "bc", 2);
	for (size_t i = 2; i < sizeof(buf); i++)
		assert_int_equal(buf[i], 0);
	buf[0] = 'x';
	ok(store_pread(s, buf, 1, UINT64_C(1) << 60, 0, NULL));
	assert_int_equal(buf[0], 0);
	store_unref(s);
}

TEST_WITH(nowait_reaches_the_kernel, reset, NULL)
{
	struct qcow2_store *s;
	char c = 0;
	int rc;

	skip_in_memory();
	s = open_temp(".", 0);
	ok(store_pwrite(s, "a", 1, 0, 0, NULL));
	assert_int_equal(kernel.last_rwf, 0);
	rc = store_pread(s, &c, 1, 0, QCOW2_STORE_NOWAIT, NULL);
	assert_int_equal(kernel.last_rwf, RWF_NOWAIT);
	assert_true(rc == -EAGAIN || (rc == 0 && c == 'a'));
	store_unref(s);
}

TEST_WITH(where_nobody_can_tell_nowait_says_try_again, reset, NULL)
{
	struct qcow2_store *s;
	char c;

	skip_in_memory();
	s = open_temp(".", 0);
	kernel.nowait_errno = EOPNOTSUPP;
	assert_int_equal(store_pread(s, &c, 1, 0, QCOW2_STORE_NOWAIT, NULL),
			 -EAGAIN);
	assert_int_equal(store_pwrite(s, "a", 1, 0, QCOW2_STORE_NOWAIT, NULL),
			 -EAGAIN);
	kernel.nowait_errno = ENOSYS;
	assert_int_equal(store_pread(s, &c, 1, 0, QCOW2_STORE_NOWAIT, NULL),
			 -EAGAIN);
	kernel.nowait_errno = EIO;
	assert_int_equal(store_pread(s, &c, 1, 0, QCOW2_STORE_NOWAIT, NULL),
			 -EIO);
	ok(store_pread(s, &c, 1, 0, 0, NULL));
	store_unref(s);
}

TEST_WITH(files_in_memory_never_wait, reset, NULL)
{
	struct qcow2_store *s = open_temp("/dev/shm", 0);
	char c = 0;

	if (!s)
		skip();
	kernel.nowait_errno = EOPNOTSUPP;
	ok(store_pwrite(s, "a", 1, 0, QCOW2_STORE_NOWAIT, NULL));
	ok(store_pread(s, &c, 1, 0, QCOW2_STORE_NOWAIT, NULL));
	assert_int_equal(c, 'a');
	ok(store_zero(s, 1, 0, QCOW2_STORE_NOWAIT, NULL));
	store_unref(s);
}

TEST_WITH(with_o_direct_nowait_says_try_again, reset, NULL)
{
	struct qcow2_store *s = open_temp(".", QCOW2_STORE_DIRECT);
	char c;

	skip_in_memory();
	if (!s)
		skip();
	assert_int_equal(store_pread(s, &c, 1, 0, QCOW2_STORE_NOWAIT, NULL),
			 -EAGAIN);
	assert_int_equal(store_pwrite(s, "a", 1, 0, QCOW2_STORE_NOWAIT, NULL),
			 -EAGAIN);
	assert_int_equal(kernel.n_calls, 0);
	store_unref(s);
}

TEST_WITH(with_o_direct_a_short_read_is_the_end, reset, NULL)
{
	struct qcow2_store *s = open_temp(".", QCOW2_STORE_DIRECT);
	static _Alignas(4096) char buf[8192];

	if (!s)
		skip();
	ok(store_pwrite(s, "a", 1, 4096, 0, NULL));
	memset(buf, 'x', sizeof(buf));
	kernel.n_calls = 0;
	ok(store_pread(s, buf, sizeof(buf), 0, 0, NULL));
	assert_int_equal(kernel.n_calls, 1);
	assert_int_equal(buf[4096], 'a');
	for (size_t i = 4097; i < sizeof(buf); i++)
		assert_int_equal(buf[i], 0);
	store_unref(s);
}
