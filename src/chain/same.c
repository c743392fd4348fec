/*
 * The files that a disk is made of.
 */
#include "chain/concat.h"
#include "chain/disk.h"
#include "chain/disk_impl.h"
#include "store/store.h"

uint32_t disk_find(const struct disk *d, const struct disk *other)
{
	for (uint32_t i = 0; i < d->n_layers; i++)
		if (store_same_file(d->layers[i].store, other->layers[0].store))
			return i;
	return UINT32_MAX;
}

static bool layer_reads(const struct layer *l, struct qcow2_store *file)
{
	return store_same_file(l->store, file) ||
	       (l->data && store_same_file(l->data, file)) ||
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
	       (top->data && disk_reads(d, top->data));
}
