/*
 * Reading compressed clusters.
 *
 * A few decoded clusters are kept, so that small sequential reads decode each
 * cluster once.  A read of a whole cluster is decoded straight to where it
 * belongs and leaves the cache alone, unless the same compressed data is asked
 * for twice in a row (many clusters may share it).
 *
 * Locks: compressed_reader.lock protects the cache's list and the spare
 * buffers; nothing is read or decoded under it.
 */
#ifndef IMAGE_COMPRESSED_H
#define IMAGE_COMPRESSED_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/iov.h"
#include "base/validate.h"
#include "compress/codec.h"
#include "format/l2.h"

struct decoded_cluster;
struct spare_buffer;

struct compressed_reader {
	struct qcow2_store *file; /* borrowed */
	uint32_t cluster_size;
	struct decoder_pool decoders;
	pthread_mutex_t lock;
	struct decoded_cluster *decoded; /* most recently used first */
	uint32_t n_decoded;
	uint32_t max_decoded;
	struct spare_buffer *spare;
	uint64_t last_direct;       /* host_off decoded past the cache */
	_Atomic uint64_t n_decodes; /* since it was opened; needs no lock */
};

/* The caller must hold cr->lock, or have the reader to himself. */
VALIDATOR(compressed_reader);

void compressed_reader_init(struct compressed_reader *cr,
			    struct qcow2_store *file, uint32_t cluster_size,
			    enum codec codec);
void compressed_reader_release(struct compressed_reader *cr);

/* Bytes [in_cluster, in_cluster + len) of the cluster stored at @where. */
int compressed_read(struct compressed_reader *cr, struct compressed where,
		    struct iov_cursor *dst, uint64_t len, uint64_t in_cluster,
		    unsigned flags, struct qcow2_error *err);

/* Forgets what was decoded from [host_off, host_off + len): other data is
 * there now. */
void compressed_forget(struct compressed_reader *cr, uint64_t len,
		       uint64_t host_off);

#endif
