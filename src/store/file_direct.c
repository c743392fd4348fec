/*
 * O_DIRECT for transfers that are not aligned: through a bounce buffer.
 *
 * A write that covers part of a block reads the block, changes it and writes
 * it back.  The caller holds the file's block lock alone meanwhile, since any
 * other change of that block would be undone by the writing back.  Blocks that
 * stick out past the end of the file are cut off again: the size is as if the
 * bytes had been written one by one.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/iov.h"
#include "base/memory.h"
#include "store/file_impl.h"

#define BOUNCE_BYTES (UINT64_C(1) << 20)

struct file *file_blocks_share(struct file *f)
{
	int rc;

	if (!f->is_direct)
		return NULL;
	rc = pthread_rwlock_rdlock(&f->blocks);
	assert(rc == 0);
	return f;
}

struct file *file_blocks_alone(struct file *f)
{
	int rc;

	if (!f->is_direct)
		return NULL;
	rc = pthread_rwlock_wrlock(&f->blocks);
	assert(rc == 0);
	return f;
}

void file_blocks_release(struct file **f)
{
	if (*f)
		pthread_rwlock_unlock(&(*f)->blocks);
}

bool file_is_aligned(const struct file *f, const struct iovec *iov, int iovcnt,
		     uint64_t off)
{
	uint64_t all = off;

	for (int i = 0; i < iovcnt; i++)
		all |= (uintptr_t)iov[i].iov_base | iov[i].iov_len;
	return is_aligned(all, f->align);
}

/* The part of a transfer that one filling of the bounce buffer serves. */
struct file_direct_window {
	uint8_t *buf; /* holds [pos, pos + n), whole blocks */
	uint64_t pos;
	uint64_t n;
	uint64_t from; /* the caller's bytes in it: [from, to) */
	uint64_t to;
};

static uint64_t bounce_size(const struct file *f, uint64_t off, uint64_t end)
{
	uint64_t span = align_up(end, f->align) - align_down(off, f->align);

	return min_u64(span, BOUNCE_BYTES);
}

/* The window at @at of the transfer [.., end). */
static struct file_direct_window window_at(const struct file *f, uint8_t *buf,
					   uint64_t at, uint64_t end,
					   uint64_t size)
{
	struct file_direct_window w = { .buf = buf, .from = at };

	w.pos = align_down(at, f->align);
	w.n = min_u64(align_up(end, f->align) - w.pos, size);
	w.to = min_u64(end, w.pos + w.n);
	return w;
}

static int read_blocks(struct file *f, uint8_t *buf, uint64_t n, uint64_t pos)
{
	struct iovec iov = { .iov_base = buf, .iov_len = (size_t)n };

	return file_read_plain(f, &iov, 1, pos, 0);
}

int file_direct_read(struct file *f, const struct iovec *iov, int iovcnt,
		     uint64_t off)
{
	struct iov_cursor c = iov_cursor_init(iov, iovcnt);
	uint64_t end = off + iov_len(iov, iovcnt);
	uint64_t size = bounce_size(f, off, end);
	CLEANUP_FREE uint8_t *buf = alloc_aligned(f->align, size);

	if (!buf)
		return -ENOMEM;
	while (off < end) {
		struct file_direct_window w = window_at(f, buf, off, end, size);
		int rc = read_blocks(f, w.buf, w.n, w.pos);

		if (rc < 0)
			return rc;
		iov_copy_in(&c, w.buf + (w.from - w.pos), w.to - w.from);
		off = w.to;
	}
	return 0;
}

/* Old contents of the first and the last block, where they must survive. */
static int read_edges(struct file *f, const struct file_direct_window *w)
{
	uint64_t last = w->n - f->align;
	int rc = 0;

	if (w->from > w->pos)
		rc = read_blocks(f, w->buf, f->align, w->pos);
	if (rc == 0 && w->to < w->pos + w->n)
		rc = read_blocks(f, w->buf + last, f->align, w->pos + last);
	return rc;
}

static int write_windows(struct file *f, uint8_t *buf, uint64_t size,
			 struct iov_cursor *c, uint64_t off, uint64_t end)
{
	while (off < end) {
		struct file_direct_window w = window_at(f, buf, off, end, size);
		struct iovec iov = { .iov_base = buf, .iov_len = (size_t)w.n };
		int rc = read_edges(f, &w);

		if (rc < 0)
			return rc;
		iov_copy_out(c, w.buf + (w.from - w.pos), w.to - w.from);
		rc = file_write_plain(f, &iov, 1, w.pos, 0);
		if (rc < 0)
			return rc;
		off = w.to;
	}
	return 0;
}

/* Cuts off what whole blocks added past @limit. */
static int limit_size(struct file *f, uint64_t limit)
{
	struct stat st;

	if (f->is_device)
		return 0;
	if (fstat(f->fd, &st) < 0)
		return -errno;
	if ((uint64_t)st.st_size <= limit)
		return 0;
	return ftruncate(f->fd, (off_t)limit) < 0 ? -errno : 0;
}

int file_direct_write(struct file *f, const struct iovec *iov, int iovcnt,
		      uint64_t off)
{
	struct iov_cursor c = iov_cursor_init(iov, iovcnt);
	uint64_t end = off + iov_len(iov, iovcnt);
	uint64_t size = bounce_size(f, off, end);
	CLEANUP_FREE uint8_t *buf = alloc_aligned(f->align, size);
	struct stat st;
	int rc;
	int cut;

	if (!buf)
		return -ENOMEM;
	if (fstat(f->fd, &st) < 0)
		return -errno;
	rc = write_windows(f, buf, size, &c, off, end);
	cut = limit_size(f, max_u64((uint64_t)st.st_size, end));
	return rc < 0 ? rc : cut;
}
