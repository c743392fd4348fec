/*
 * Inside chain/: what a disk is made of.
 */
#ifndef CHAIN_DISK_IMPL_H
#define CHAIN_DISK_IMPL_H

#include "chain/disk.h"
#include "chain/layer.h"

struct disk {
	struct layer *layers;   /* from the top down */
	uint32_t n_layers;
	bool metadata_only;
};

#endif
