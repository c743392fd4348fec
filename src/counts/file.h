/*
 * Access of the refcounts to the file past their cache, for the files of
 * counts/ only: with grow_lock held.
 */
#ifndef COUNTS_FILE_H
#define COUNTS_FILE_H

#include "counts/refcounts.h"

/* The owner hears of metadata. */
int refcounts_tell_new(struct refcounts *r, uint64_t len, uint64_t host_off,
		       struct qcow2_error *err);
void refcounts_tell_old(struct refcounts *r, uint64_t len, uint64_t host_off);

/* Whether a barrier failed before, or opening did. */
int refcounts_check(const struct refcounts *r, struct qcow2_error *err);
/* After one that fails the refcounts are broken. */
int refcounts_barrier(struct refcounts *r, struct qcow2_error *err);

/* Takes @n clusters at the end of what was claimed, or behind it from
 * @min_cluster on; returns the first. */
uint64_t refcounts_take_end(struct refcounts *r, uint64_t n,
			    uint64_t min_cluster);
/* Writes @len bytes at the end of the file, which grows by it. */
int refcounts_write_end(struct refcounts *r, const void *buf, size_t len,
			uint64_t host_off, struct qcow2_error *err);
/* Makes the file at least @end bytes long; -ENOSPC where it cannot grow. */
int refcounts_extend_to(struct refcounts *r, uint64_t end,
			struct qcow2_error *err);

/* Writes entry @index of the table, and nothing else: not the table in memory.
 * After a failure, when the disk may have either, the next commit writes what
 * the memory has. */
int refcounts_write_entry(struct refcounts *r, uint64_t index,
			  uint64_t host_off, struct qcow2_error *err);

#endif
