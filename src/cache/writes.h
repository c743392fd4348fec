/*
 * A batch of metadata writes: copies of what was dirty, sorted and merged so
 * that neighbours go out in one system call.
 *
 * The batch owns its bytes.  The order among the writes of one batch means
 * nothing; a barrier comes before or after a batch, never inside.
 */
#ifndef CACHE_WRITES_H
#define CACHE_WRITES_H

#include <stddef.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/validate.h"

struct write {
	uint64_t host_off;
	uint32_t len;
	uint8_t *bytes;
};

struct writes {
	struct write *list;
	size_t n;
	size_t capacity;
};

VALIDATOR(writes);

/* Copies @len bytes of @src into the batch, for @host_off.  -ENOMEM. */
int writes_add(struct writes *w, const void *src, uint32_t len,
	       uint64_t host_off, struct qcow2_error *err);

int writes_submit(struct writes *w, struct qcow2_store *file,
		  struct qcow2_error *err);

/* Empties the batch; it can be used again. */
void writes_release(struct writes *w);

#endif
