/*
 * Locks against other programs: the bytes that QEMU locks, in its way, so that
 * the two exclude each other as two QEMUs do.
 *
 * Two byte ranges, with one byte per permission.  A shared lock on byte 100 + p
 * says "I use permission p", one on 200 + p says "I share p with nobody".  All
 * locks are shared ones; a program that wants p takes 100 + p and then looks
 * whether anybody holds 200 + p, and the other way round.  They belong to the
 * open file description (OFD locks), so that two images in one process exclude
 * each other too and closing another descriptor loses nothing.
 *
 * A reader uses "consistent read" and shares neither "write" nor "resize"; a
 * writer uses all three and shares "consistent read" only.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "store/file_impl.h"

#define USE_BASE 100
#define KEEP_BASE 200

enum permission {
	CONSISTENT_READ = 0,
	WRITE = 1,
	RESIZE = 3,
	N_PERMISSIONS = 4,
};

/* Bits of struct file `locked`: byte 100 + p is bit p, byte 200 + p is bit
 * 16 + p. */
#define USE(p) (1u << (p))
#define KEEP(p) (1u << (16 + (p)))

static const unsigned lock_bits[] = {
	[QCOW2_STORE_UNLOCK] = 0,
	[QCOW2_STORE_LOCK_READ] = USE(CONSISTENT_READ) | KEEP(WRITE) |
				  KEEP(RESIZE),
	[QCOW2_STORE_LOCK_WRITE] = USE(CONSISTENT_READ) | USE(WRITE) |
				   USE(RESIZE) | KEEP(WRITE) | KEEP(RESIZE),
};

/* -ENOTSUP for what says that the kernel or the file system has no such locks;
 * anything else is a lock that ought to work. */
static int lock_errno(void)
{
	if (errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP)
		return -ENOTSUP;
	return -errno;
}

static int set_byte(const struct file *f, short type, int byte)
{
	struct flock lk = { .l_type = type,
			    .l_whence = SEEK_SET,
			    .l_start = byte,
			    .l_len = 1 };
	int rc;

	do {
		rc = fcntl(f->fd, F_OFD_SETLK, &lk);
	} while (rc < 0 && errno == EINTR);
	if (rc < 0 && (errno == EAGAIN || errno == EACCES))
		return -EBUSY;
	return rc < 0 ? lock_errno() : 0;
}

/* -EBUSY when somebody else holds the byte. */
static int test_byte(const struct file *f, int byte)
{
	struct flock lk = { .l_type = F_WRLCK,
			    .l_whence = SEEK_SET,
			    .l_start = byte,
			    .l_len = 1 };

	if (fcntl(f->fd, F_OFD_GETLK, &lk) < 0)
		return lock_errno();
	return lk.l_type == F_UNLCK ? 0 : -EBUSY;
}

static void unlock_bits(const struct file *f, unsigned bits)
{
	for (int p = 0; p < N_PERMISSIONS; p++) {
		if (bits & USE(p))
			set_byte(f, F_UNLCK, USE_BASE + p);
		if (bits & KEEP(p))
			set_byte(f, F_UNLCK, KEEP_BASE + p);
	}
}

/* Locks what @bits says; *got grows by each that succeeded. */
static int take_bits(const struct file *f, unsigned bits, unsigned *got)
{
	for (int p = 0; p < N_PERMISSIONS; p++) {
		int rc = 0;

		if (bits & USE(p))
			rc = set_byte(f, F_RDLCK, USE_BASE + p);
		if (rc < 0)
			return rc;
		*got |= bits & USE(p);
		if (bits & KEEP(p))
			rc = set_byte(f, F_RDLCK, KEEP_BASE + p);
		if (rc < 0)
			return rc;
		*got |= bits & KEEP(p);
	}
	return 0;
}

static int file_lock_fail(int rc, int byte, struct qcow2_error *err)
{
	static const char *const names[N_PERMISSIONS] = {
		"consistent read", "write", "write unchanged", "resize"
	};
	bool shared = byte < KEEP_BASE;

	if (rc != -EBUSY)
		return error_set(err, rc, "cannot lock byte %d: %s", byte,
				 error_words(-rc));
	return error_reason(err, -EBUSY, QCOW2_REASON_LOCKED,
			    "cannot get %s\"%s\" lock. Is another process "
			    "using the image, or this one twice?",
			    shared ? "shared " : "", names[byte % 100]);
}

/* Nobody keeps for himself what we use, nor uses what we keep. */
static int test_bits(const struct file *f, unsigned bits,
		     struct qcow2_error *err)
{
	for (int p = 0; p < N_PERMISSIONS; p++) {
		int rc = bits & USE(p) ? test_byte(f, KEEP_BASE + p) : 0;

		if (rc < 0)
			return file_lock_fail(rc, KEEP_BASE + p, err);
		rc = bits & KEEP(p) ? test_byte(f, USE_BASE + p) : 0;
		if (rc < 0)
			return file_lock_fail(rc, USE_BASE + p, err);
	}
	return 0;
}

/*
 * First takes what is missing, then looks for others, then lets go of what is
 * no longer needed: at no moment is the file less protected than by the weaker
 * of the two states.  Of two that try at once, one or both fail.  -ENOTSUP
 * where the host has no locks.
 */
int file_lock(void *self, enum qcow2_store_lock lock, struct qcow2_error *err)
{
	struct file *f = self;
	unsigned want = lock_bits[lock];
	unsigned got = 0;
	int rc;
	SCOPED_LOCK(&f->lock_lock);

	if (want == f->locked)
		return 0;
	rc = take_bits(f, want & ~f->locked, &got);
	if (rc < 0)
		file_lock_fail(rc, USE_BASE, err);
	else
		rc = test_bits(f, want, err);
	if (rc < 0) {
		unlock_bits(f, got);
		return rc;
	}
	unlock_bits(f, f->locked & ~want);
	f->locked = want;
	return 0;
}
