/*
 * Inside chain/: what a disk is made of.
 */
#ifndef CHAIN_DISK_IMPL_H
#define CHAIN_DISK_IMPL_H

#include <pthread.h>

#include "chain/disk.h"
#include "chain/events.h"
#include "chain/layer.h"

struct luks_header;

struct disk {
	struct layer *layers; /* from the top down */
	uint32_t n_layers;
	uint32_t open_flags; /* QCOW2_OPEN_* */
	bool metadata_only;
	bool writable;
	pthread_mutex_t resize_lock; /* one change of the size at a time */
	pthread_mutex_t luks_lock;   /* protects luks */
	struct luks_header *luks;    /* NULL until asked for */
	struct events events;
};

VALIDATOR(disk);

/* Makes the top layer of an opened chain writable. */
int disk_make_writable(struct disk *d, const struct qcow2_open_opts *opts,
		       struct qcow2_error *err);

/* -EBADF unless the disk was opened for writing. */
int disk_check_writable(const struct disk *d, struct qcow2_error *err);

#endif
