/*
 * Room for compressed data, which is packed without regard to clusters.
 *
 * One host cluster at a time is open: compressed data is appended to it, and
 * goes on in the next cluster when that follows directly.  Every piece adds a
 * reference to each cluster it touches.  The open cluster is held back from the
 * allocator even when all its pieces have been freed.
 *
 * O7: a sector that a durable piece ends in is not written again: after a
 * commit the next piece begins in a new sector.
 *
 * Locks: pack.lock is taken before alloc.lock and everything of counts/ and
 * commit/.
 */
#ifndef WRITE_PACK_H
#define WRITE_PACK_H

#include <pthread.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/validate.h"
#include "write/alloc.h"

struct pack {
	struct alloc *alloc;
	uint64_t apart;       /* host offset; see entry_compressed_end() */
	pthread_mutex_t lock; /* protects what follows */
	uint64_t next;        /* host offset of the next piece; 0: none open */
	uint64_t end;         /* of the open cluster */
	uint64_t generation;  /* of the commit that will cover the last piece */
};

/* The caller must hold p->lock, or have the image to itself. */
VALIDATOR(pack);

/* @apart: a multiple of the cluster size across which no piece goes on. */
void pack_init(struct pack *p, struct alloc *alloc, uint64_t apart);
void pack_release(struct pack *p);

/* Room for @len bytes, at most a cluster; its clusters have one reference more
 * than before. */
int pack_reserve(struct pack *p, uint32_t len, uint64_t *host_off,
		 struct qcow2_error *err);

/* Gives up room that no entry points to. */
void pack_cancel(struct pack *p, uint32_t len, uint64_t host_off);

#endif
