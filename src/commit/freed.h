/*
 * Quarantine: freed space, from the moment its last pointer left memory until
 * it may be used again.
 *
 * A freed run first belongs to the commit that makes the removal durable, then
 * waits in a batch for the grace period, and is finished last: punched, if the
 * policy says so, and uncounted.  Only then can the allocator find it.
 */
#ifndef COMMIT_FREED_H
#define COMMIT_FREED_H

#include "commit/commit.h"

int freed_reserve(struct freed_list *l, uint64_t n, struct qcow2_error *err);
/* Room was reserved.  Merges with the run before if it continues it. */
void freed_add(struct freed_list *l, uint32_t cluster_bits, struct freed f);
/* Moves what @from lists to the end of @l.  Without memory for that the
 * clusters leak, which is safe. */
void freed_append(struct freed_list *l, struct freed_list *from);
void freed_list_release(struct freed_list *l);

/* Moves @l into a new batch at the end of the queue.  Without memory for it
 * the clusters leak, which is safe: -ENOMEM. */
int freed_enqueue(struct freed_batch **queue, struct freed_list *l,
		  uint64_t ticket);
/* Puts a batch, which has a ticket and no next, at the end of the queue. */
void freed_batch_append(struct freed_batch **queue, struct freed_batch *b);
/* Uncounts all that it can; the first error. */
int freed_batch_finish(struct freed_batch *b, struct refcounts *refs,
		       struct qcow2_error *err);
void freed_batch_free(struct freed_batch *b);
void freed_batches_release(struct freed_batch **queue);

#endif
