/*
 * Which files a disk is made of.
 */
#include <sys/stat.h>

#include "chain/concat.h"
#include "chain/disk.h"
#include "chain/disk_impl.h"
#include "image/image.h"
#include "store/store.h"

static bool is_same_file(struct qcow2_store *a, struct qcow2_store *b)
{
	struct stat sa, sb;

	if (a == b)
		return true;
	if (store_fd(a) < 0 || store_fd(b) < 0 ||
	    fstat(store_fd(a), &sa) < 0 || fstat(store_fd(b), &sb) < 0)
		return false;
	/* A device may have several names. */
	if (S_ISBLK(sa.st_mode) && S_ISBLK(sb.st_mode))
		return sa.st_rdev == sb.st_rdev;
	return sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

uint32_t disk_find(const struct disk *d, const struct disk *other)
{
	for (uint32_t i = 0; i < d->n_layers; i++)
		if (is_same_file(d->layers[i].store, other->layers[0].store))
			return i;
	return UINT32_MAX;
}

static bool layer_reads(const struct layer *l, struct qcow2_store *file)
{
	return is_same_file(l->store, file) ||
	       (l->image && l->image->data &&
		is_same_file(l->image->data, file)) ||
	       concat_reads(l->store, file);
}

bool disk_reads(const struct disk *d, struct qcow2_store *file)
{
	for (uint32_t i = 0; i < d->n_layers; i++)
		if (layer_reads(&d->layers[i], file))
			return true;
	return false;
}

bool disk_reads_top(const struct disk *d, const struct disk *written)
{
	const struct layer *top = &written->layers[0];

	return disk_reads(d, top->store) ||
	       (top->image && top->image->data &&
		disk_reads(d, top->image->data));
}
