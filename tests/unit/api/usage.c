/*
 * The totals of a disk: exact for a disk that is known, and equal to a walk over
 * the map for disks of every kind.
 */
#include <errno.h>
#include <string.h>

#include <qcow2.h>

#include "support/test.h"

#define CLUSTER UINT64_C(65536)
#define DISK_BYTES (64 * CLUSTER)
#define MIB (UINT64_C(1) << 20)

#define ok(expression) assert_int_equal((expression), 0)

struct fixture {
	struct qcow2_store *base; /* NULL: the disk has no backing file */
	struct qcow2_store *data; /* NULL: nor a data file */
	struct qcow2_store *file;
	struct qcow2_gate gate;
	struct qcow2_image *img;
};

static int open_named(void *opaque, const struct qcow2_reference *ref,
		      struct qcow2_store **out, struct qcow2_error *err)
{
	struct fixture *f = opaque;

	(void)err;
	*out = qcow2_store_ref(ref->kind == QCOW2_REFERENCE_BACKING ? f->base
								    : f->data);
	return 0;
}

static void open_disk(struct fixture *f, unsigned flags)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;

	f->gate = (struct qcow2_gate)QCOW2_GATE_INIT;
	f->gate.open = open_named;
	f->gate.opaque = f;
	opts.gate = &f->gate;
	opts.flags = flags;
	ok(qcow2_open_store(f->file, &opts, &f->img, NULL));
}

static void make_disk(struct fixture *f, struct qcow2_create_opts create)
{
	ok(qcow2_store_new_memory(&f->file, NULL));
	if (f->base) {
		create.backing_file = "base";
		create.backing_format = "raw";
	}
	if (f->data)
		create.data_file = "data";
	ok(qcow2_create_store(f->file, f->data, &create, NULL));
	open_disk(f, QCOW2_OPEN_RDWR);
}

static void make(struct fixture *f)
{
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;

	create.virtual_size = DISK_BYTES;
	make_disk(f, create);
}

static void release(struct fixture *f)
{
	ok(qcow2_close(f->img, NULL));
	qcow2_store_unref(f->file);
	qcow2_store_unref(f->base);
	qcow2_store_unref(f->data);
}

static struct qcow2_usage usage_of(struct fixture *f, unsigned flags)
{
	struct qcow2_usage u = QCOW2_USAGE_INIT;

	ok(qcow2_get_usage(f->img, flags, &u, NULL));
	assert_int_equal(u.data_bytes + u.zero_bytes + u.compressed_bytes +
				 u.unallocated_bytes,
			 qcow2_size(f->img));
	for (size_t i = 0; i < sizeof(u.reserved) / sizeof(*u.reserved); i++)
		assert_int_equal(u.reserved[i], 0);
	return u;
}

static void put(struct fixture *f, uint64_t n_clusters, uint64_t first)
{
	static uint8_t buf[2 * MIB];

	memset(buf, 0x5a, sizeof(buf));
	ok(qcow2_pwrite(f->img, buf, n_clusters * CLUSTER, first * CLUSTER, 0,
			NULL));
}

/* ---- Disks that are known ------------------------------------------------ */

TEST(an_empty_disk_has_nothing)
{
	struct fixture f = { 0 };
	struct qcow2_usage u;

	make(&f);
	u = usage_of(&f, 0);
	assert_int_equal(u.unallocated_bytes, DISK_BYTES);
	assert_int_equal(u.host_bytes, 0);
	assert_int_equal(u.extents, 1);
	release(&f);
}

TEST(a_disk_of_no_bytes_has_no_extents)
{
	struct fixture f = { 0 };
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;

	create.flags = QCOW2_CREATE_SIZE_ZERO;
	make_disk(&f, create);
	assert_int_equal(usage_of(&f, 0).extents, 0);
	release(&f);
}

/* Clusters 0 to 2 are data, 3 is compressed, 8 and 9 are zeros, of which 9
 * keeps its place. */
static void fill_known(struct fixture *f)
{
	static const uint8_t cluster[CLUSTER];

	put(f, 3, 0);
	ok(qcow2_write_compressed(f->img, cluster, CLUSTER, 3 * CLUSTER, 0,
				  NULL));
	put(f, 2, 8);
	ok(qcow2_zero(f->img, CLUSTER, 8 * CLUSTER, QCOW2_ZERO_MAY_UNMAP,
		      NULL));
	ok(qcow2_zero(f->img, CLUSTER, 9 * CLUSTER, 0, NULL));
}

TEST(each_byte_counts_in_one_total)
{
	struct fixture f = { 0 };
	struct qcow2_usage u;

	make(&f);
	fill_known(&f);
	u = usage_of(&f, 0);
	assert_int_equal(u.data_bytes, 3 * CLUSTER);
	assert_int_equal(u.compressed_bytes, CLUSTER);
	assert_int_equal(u.zero_bytes, 2 * CLUSTER);
	assert_int_equal(u.unallocated_bytes, DISK_BYTES - 6 * CLUSTER);
	assert_int_equal(u.host_bytes, 4 * CLUSTER);
	/* Data, compressed, nothing, zeros with a place and without, nothing. */
	assert_int_equal(u.extents, 6);
	assert_int_equal(usage_of(&f, QCOW2_MAP_MERGE).extents, 5);
	assert_int_equal(usage_of(&f, QCOW2_MAP_MERGE).host_bytes, 4 * CLUSTER);
	release(&f);
}

TEST(layers_below_count_when_they_are_asked)
{
	struct fixture f = { 0 };
	struct qcow2_usage all, top;
	uint8_t byte = 1;

	ok(qcow2_store_new_memory(&f.base, NULL));
	ok(qcow2_store_truncate(f.base, DISK_BYTES / 2, NULL));
	ok(qcow2_store_pwrite(f.base, &byte, 1, 0, 0, NULL));
	make(&f);
	put(&f, 1, 4);
	all = usage_of(&f, 0);
	top = usage_of(&f, QCOW2_MAP_TOP_ONLY);
	assert_int_equal(top.data_bytes, CLUSTER);
	assert_int_equal(top.host_bytes, CLUSTER);
	assert_int_equal(top.zero_bytes, 0);
	assert_true(all.data_bytes > CLUSTER);
	assert_int_equal(all.data_bytes + all.zero_bytes, DISK_BYTES / 2);
	assert_int_equal(all.unallocated_bytes, DISK_BYTES / 2);
	release(&f);
}

TEST(a_vast_disk_takes_a_moment)
{
	struct fixture f = { 0 };
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_usage u;

	create.virtual_size = UINT64_C(1) << 50;
	create.cluster_size = 1 << 21;
	make_disk(&f, create);
	put(&f, 2 * MIB / CLUSTER, (UINT64_C(1) << 49) / CLUSTER);
	u = usage_of(&f, 0);
	assert_int_equal(u.data_bytes, 2 * MIB);
	assert_int_equal(u.extents, 3);
	release(&f);
}

TEST(an_answer_fits_the_callers_structure)
{
	struct fixture f = { 0 };
	struct qcow2_usage u = QCOW2_USAGE_INIT;

	make(&f);
	put(&f, 1, 0);
	u.struct_size = offsetof(struct qcow2_usage, zero_bytes);
	u.zero_bytes = 77;
	ok(qcow2_get_usage(f.img, 0, &u, NULL));
	assert_int_equal(u.data_bytes, CLUSTER);
	assert_int_equal(u.zero_bytes, 77);
	release(&f);
}

TEST(arguments_that_are_wrong_are_refused)
{
	struct fixture f = { 0 };
	struct qcow2_usage u = QCOW2_USAGE_INIT;
	struct qcow2_usage unset = { 0 };

	make(&f);
	assert_int_equal(qcow2_get_usage(f.img, 0, &unset, NULL), -EINVAL);
	assert_int_equal(qcow2_get_usage(f.img, 0x80000000u, &u, NULL),
			 -EINVAL);
	assert_int_equal(u.unallocated_bytes, 0);
	release(&f);
}

TEST(damage_leaves_the_answer_as_it_was)
{
	struct fixture f = { 0 };
	struct qcow2_usage u = QCOW2_USAGE_INIT;
	struct qcow2_extent x;
	struct qcow2_error err = { 0 };
	uint8_t beyond[8] = { 0x80, 0x7f, 0, 0, 0, 0, 0, 0 };

	make(&f);
	put(&f, 1, 0);
	ok(qcow2_map(f.img, CLUSTER, 0, 0, &x, NULL));
	ok(qcow2_close(f.img, NULL));
	/* The L2 table is the cluster before the data: its entry leads past
	 * every end. */
	ok(qcow2_store_pwrite(f.file, beyond, sizeof(beyond),
			      x.host_off - CLUSTER, 0, NULL));
	open_disk(&f, 0);
	u.data_bytes = 77;
	assert_int_equal(qcow2_get_usage(f.img, 0, &u, &err), -EIO);
	assert_true(err.defect > 0);
	assert_int_equal(u.data_bytes, 77);
	release(&f);
}

/* ---- Disks of every kind ------------------------------------------------- */

static void add_walk(struct fixture *f, unsigned flags, struct qcow2_usage *sum)
{
	uint64_t size = qcow2_size(f->img);
	uint64_t off = 0;

	while (off < size) {
		struct qcow2_extent x;

		ok(qcow2_map(f->img, size - off, off, flags, &x, NULL));
		if (x.flags & QCOW2_EXTENT_HOST_OFF)
			sum->host_bytes += x.len;
		if (!(x.flags & QCOW2_EXTENT_PRESENT))
			sum->unallocated_bytes += x.len;
		else if (x.flags & QCOW2_EXTENT_ZERO)
			sum->zero_bytes += x.len;
		else if (x.flags & QCOW2_EXTENT_COMPRESSED)
			sum->compressed_bytes += x.len;
		else
			sum->data_bytes += x.len;
		sum->extents++;
		off += x.len;
	}
}

static void check_against_map(struct fixture *f, unsigned flags)
{
	struct qcow2_usage sum = QCOW2_USAGE_INIT;
	struct qcow2_usage u = usage_of(f, flags);

	add_walk(f, flags, &sum);
	/* Merged extents do not tell. */
	if (flags & QCOW2_MAP_MERGE)
		sum.host_bytes = u.host_bytes;
	assert_memory_equal(&u, &sum, sizeof(u));
}

static void change(struct fixture *f, struct test_rng *r, uint32_t cluster)
{
	static uint8_t buf[2 * 65536];
	uint64_t off = test_rng_below(r, DISK_BYTES - sizeof(buf));
	uint64_t len = 1 + test_rng_below(r, sizeof(buf));

	memset(buf, (int)test_rng_below(r, 256), sizeof(buf));
	switch (test_rng_below(r, 4)) {
	case 0:
		ok(qcow2_pwrite(f->img, buf, (size_t)len, off, 0, NULL));
		return;
	case 1:
		ok(qcow2_zero(f->img, len, off,
			      len & 1 ? QCOW2_ZERO_MAY_UNMAP : 0, NULL));
		return;
	case 2:
		ok(qcow2_discard(f->img, len, off, 0, NULL));
		return;
	default:
		if (!f->data)
			ok(qcow2_write_compressed(f->img, buf, cluster,
						  off / cluster * cluster, 0,
						  NULL));
	}
}

static struct qcow2_create_opts random_opts(struct test_rng *r)
{
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;

	create.virtual_size = DISK_BYTES;
	create.cluster_size = UINT32_C(4096) << test_rng_below(r, 5);
	create.version = 2 + (uint32_t)test_rng_below(r, 2);
	if (create.version == 3 && create.cluster_size >= 16384 &&
	    test_rng_below(r, 2))
		create.flags = QCOW2_CREATE_EXTENDED_L2;
	if (test_rng_below(r, 4) == 0)
		create.preallocation = QCOW2_PREALLOC_METADATA;
	return create;
}

TEST(totals_are_those_of_the_map)
{
	struct test_rng r = test_rng_init(test_seed());

	for (int round = 0; round < 40; round++) {
		struct fixture f = { 0 };
		struct qcow2_create_opts create = random_opts(&r);

		if (test_rng_below(&r, 2) && !create.preallocation) {
			ok(qcow2_store_new_memory(&f.base, NULL));
			ok(qcow2_store_truncate(f.base, DISK_BYTES / 3 * 2,
						NULL));
			ok(qcow2_store_pwrite(f.base, "data", 4, 3 * MIB / 2, 0,
					      NULL));
		}
		if (create.version == 3 && test_rng_below(&r, 3) == 0)
			ok(qcow2_store_new_memory(&f.data, NULL));
		make_disk(&f, create);
		for (uint64_t n = test_rng_below(&r, 60); n; n--)
			change(&f, &r, create.cluster_size);
		for (unsigned flags = 0; flags < 4; flags++)
			check_against_map(&f, flags);
		release(&f);
	}
}
