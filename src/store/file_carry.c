/*
 * Transfers of the file store that the kernel carries out.
 *
 * With O_DIRECT whole blocks go, and writes stay inside the file: a write that
 * is not aligned makes the file longer by part of a block for a moment, and
 * cuts that off again (file_direct.c).  Neither touches the blocks of a carried
 * write then, so these need no block lock.
 */
#include <sys/stat.h>

#include "store/file_impl.h"
#include "store/transfer.h"

/* Asks the host only when the file must have grown. */
static bool is_inside(struct file *f, uint64_t end)
{
	struct stat st;

	if (f->is_device || end <= atomic_load(&f->size_at_least))
		return true;
	if (fstat(f->fd, &st) < 0)
		return false;
	atomic_store(&f->size_at_least, (uint64_t)st.st_size);
	return end <= (uint64_t)st.st_size;
}

/* Files in memory are faster without: the kernel would use a thread for
 * them. */
static int file_carry_begin(void *self, const struct iovec *iov, int iovcnt,
			    const struct transfer *t)
{
	struct file *f = self;

	if (f->is_ram)
		return -1;
	if (f->is_direct && (!file_is_aligned(f, iov, iovcnt, t->off) ||
			     (t->is_write && !is_inside(f, t->off + t->len))))
		return -1;
	return f->fd;
}

static void file_carry_end_write(void *self)
{
	file_changed(self);
}

const struct transfer_ops file_transfer_ops = {
	.begin = file_carry_begin,
	.end_write = file_carry_end_write,
};
