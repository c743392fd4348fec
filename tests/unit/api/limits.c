/*
 * The requests that suit an image, by its format and its files.
 */
#include <errno.h>
#include <string.h>

#include <qcow2.h>

#include "support/test.h"

enum { SIZE = 1 << 20 };

static struct qcow2_limits limits_of(struct qcow2_store *store, uint32_t format,
				     uint32_t flags)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_limits l = QCOW2_LIMITS_INIT;
	struct qcow2_image *img;

	opts.format = format;
	opts.flags = flags;
	assert_int_equal(qcow2_open_store(store, &opts, &img, NULL), 0);
	assert_int_equal(qcow2_get_limits(img, &l, NULL), 0);
	assert_int_equal(l.open_flags, flags);
	assert_int_equal(l.read_only, !(flags & QCOW2_OPEN_RDWR));
	assert_int_equal(qcow2_close(img, NULL), 0);
	return l;
}

static void make(struct qcow2_store *store, uint32_t cluster, uint32_t flags)
{
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;

	create.virtual_size = SIZE;
	create.cluster_size = cluster;
	create.flags = flags;
	assert_int_equal(qcow2_create_store(store, NULL, &create, NULL), 0);
}

TEST(a_qcow2_disk_has_clusters)
{
	struct qcow2_store *store;
	struct qcow2_limits l;

	assert_int_equal(qcow2_store_new_memory(&store, NULL), 0);
	make(store, 4096, 0);
	l = limits_of(store, QCOW2_FORMAT_QCOW2, QCOW2_OPEN_RDWR);
	assert_int_equal(l.request_align, 1);
	assert_int_equal(l.mem_align, 1);
	assert_int_equal(l.request_best, 4096);
	assert_int_equal(l.cluster_bytes, 4096);
	assert_int_equal(l.subcluster_bytes, 4096);
	assert_int_equal(l.discard_align, 4096);
	assert_int_equal(l.zero_align, 4096);
	assert_int_equal(l.vector_max, INT32_MAX);
	assert_int_equal(l.discard_max + l.zero_max, 0);
	qcow2_store_unref(store);
}

TEST(zeros_can_be_told_of_subclusters)
{
	struct qcow2_store *store;
	struct qcow2_limits l;

	assert_int_equal(qcow2_store_new_memory(&store, NULL), 0);
	make(store, 65536, QCOW2_CREATE_EXTENDED_L2);
	l = limits_of(store, QCOW2_FORMAT_QCOW2, 0);
	assert_int_equal(l.cluster_bytes, 65536);
	assert_int_equal(l.subcluster_bytes, 2048);
	assert_int_equal(l.request_best, 2048);
	assert_int_equal(l.zero_align, 2048);
	assert_int_equal(l.discard_align, 65536);
	qcow2_store_unref(store);
}

TEST(a_raw_disk_has_none)
{
	struct qcow2_store *store;
	struct qcow2_limits l;

	assert_int_equal(qcow2_store_new_memory(&store, NULL), 0);
	assert_int_equal(qcow2_store_truncate(store, SIZE, NULL), 0);
	l = limits_of(store, QCOW2_FORMAT_RAW, QCOW2_OPEN_RDWR);
	assert_int_equal(l.cluster_bytes + l.subcluster_bytes, 0);
	assert_int_equal(l.request_align, 1);
	assert_int_equal(l.discard_align, 4096);
	qcow2_store_unref(store);
}

/* ---- The store's word ---------------------------------------------------- */

static uint32_t told;

static uint32_t tell_align(void *self)
{
	(void)self;
	return told;
}

static int read_zeros(void *self, const struct iovec *iov, int iovcnt,
		      uint64_t off, unsigned flags, struct qcow2_error *err)
{
	(void)self;
	(void)off;
	(void)flags;
	(void)err;
	for (int i = 0; i < iovcnt; i++)
		memset(iov[i].iov_base, 0, iov[i].iov_len);
	return 0;
}

static int tell_size(void *self, uint64_t *size, struct qcow2_error *err)
{
	(void)self;
	(void)err;
	*size = SIZE;
	return 0;
}

TEST(a_store_tells_its_alignment)
{
	struct qcow2_store_ops ops = QCOW2_STORE_OPS_INIT;
	struct qcow2_store *store;
	struct qcow2_limits l;

	ops.preadv = read_zeros;
	ops.size = tell_size;
	ops.align = tell_align;
	assert_int_equal(qcow2_store_new(&ops, NULL, &store, NULL), 0);
	told = 512;
	l = limits_of(store, QCOW2_FORMAT_RAW, 0);
	assert_int_equal(l.request_align, 512);
	assert_int_equal(l.mem_align, 512);
	assert_int_equal(l.request_best, 4096);
	told = 16384;
	l = limits_of(store, QCOW2_FORMAT_RAW, 0);
	assert_int_equal(l.request_best, 16384);
	/* It makes no sense, and counts for nothing. */
	told = 3;
	assert_int_equal(limits_of(store, QCOW2_FORMAT_RAW, 0).mem_align, 1);
	told = 0;
	assert_int_equal(limits_of(store, QCOW2_FORMAT_RAW, 0).mem_align, 1);
	qcow2_store_unref(store);
}

TEST(a_smaller_structure_gets_what_it_has_room_for)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_limits l = QCOW2_LIMITS_INIT;
	struct qcow2_store *store;
	struct qcow2_image *img;

	assert_int_equal(qcow2_store_new_memory(&store, NULL), 0);
	make(store, 4096, 0);
	assert_int_equal(qcow2_open_store(store, &opts, &img, NULL), 0);
	l.struct_size = offsetof(struct qcow2_limits, mem_align);
	assert_int_equal(qcow2_get_limits(img, &l, NULL), 0);
	assert_int_equal(l.request_align, 1);
	assert_int_equal(l.cluster_bytes, 0);
	l.struct_size = 0;
	assert_int_equal(qcow2_get_limits(img, &l, NULL), -EINVAL);
	assert_int_equal(qcow2_close(img, NULL), 0);
	qcow2_store_unref(store);
}
