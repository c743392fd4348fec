/*
 * The public handle.
 */
#ifndef API_IMAGE_H
#define API_IMAGE_H

#include <pthread.h>

#include <qcow2.h>

#include "chain/disk.h"

struct luks_header;

struct qcow2_image {
	struct disk *disk;
	pthread_mutex_t lock;      /* protects what follows */
	struct luks_header *luks;  /* NULL until asked for */
};

#endif
