/*
 * The plan of a writer for one L2 entry: the old entry, the new one, and the
 * data to copy in between.
 */
#ifndef WRITE_ENTRY_H
#define WRITE_ENTRY_H

#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "format/l2.h"

struct image;

/* Runs of host clusters that one entry can free: see entry_free(). */
enum { ENTRY_FREED_MAX = 1 };

struct entry_plan {
	struct l2_entry old;
	uint64_t guest_off; /* of the cluster */
	bool keeps_host;    /* its host cluster stays, only flags change */
	bool reads_zero;    /* all of it read as zeros */
	bool copy_all;      /* the rest of the cluster must be copied */
};

/*
 * The end of the clusters that compressed data has references to.  Sectors that
 * the file did not have when it was opened are none of it, though it counts
 * them: the bytes there now are somebody else's.  Pieces of this opening do not
 * cross that place (write/pack.h), so that theirs are known from those.
 */
uint64_t entry_compressed_end(const struct image *img, struct compressed c);

/* 0, or -EIO for an entry that breaks the format; the corrupt bit is durable
 * then. */
int entry_check(struct image *img, struct l2_entry e, uint64_t guest_off,
		struct qcow2_error *err);

/* Bytes from @guest_off on, inside the cluster, that can be overwritten in
 * place: data in a host cluster that has no other reference. */
uint64_t entry_in_place(const struct image *img, struct l2_entry e,
			uint64_t guest_off);

static inline uint64_t entry_host(const struct geometry *g, struct l2_entry e,
				  uint64_t guest_off)
{
	return l2_host_off(e) + geometry_in_cluster(g, guest_off);
}

/* @guest_off: of the cluster. */
void entry_plan_init(const struct image *img, struct entry_plan *p,
		     struct l2_entry e, uint64_t guest_off);

/* Return where copying begins before data at @data_off, and where it ends
 * behind data that ends at @data_end. */
uint64_t entry_copy_begin(const struct image *img, const struct entry_plan *p,
			  uint64_t data_off);
uint64_t entry_copy_end(const struct image *img, const struct entry_plan *p,
			uint64_t data_end);

/* The entry after the guest range was written at @host_off. */
struct l2_entry entry_new(const struct image *img, const struct entry_plan *p,
			  uint64_t host_off, uint64_t data_off,
			  uint64_t data_len);

/* Frees the host clusters that @old pointed to; inside commit_begin() and
 * commit_end(). */
void entry_free(struct image *img, struct l2_entry old, bool punch);

/* True when the @len bytes at @guest_off, of which this image has none, are
 * known to read as zeros.  Looks at the metadata of the images below. */
bool entry_below_reads_zero(const struct image *img, uint64_t len,
			    uint64_t guest_off);

/* True when there is nothing below at @guest_off. */
bool entry_below_is_zero(const struct image *img, uint64_t guest_off);

#endif
