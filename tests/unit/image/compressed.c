/*
 * The number of times that compressed clusters are fetched and decoded.
 */
#include "image/compressed.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "image/image.h"
#include "store/store.h"
#include "support/builder.h"
#include "support/test.h"

enum { CLUSTER = 65536, CLUSTERS = 32 };

/* A store in front of the image that counts reads. */
struct front {
	struct qcow2_store *behind;
	_Atomic unsigned n_reads;
};

static int front_preadv(void *self, const struct iovec *iov, int iovcnt,
			uint64_t off, unsigned flags, struct qcow2_error *err)
{
	struct front *f = self;

	(void)err;
	atomic_fetch_add(&f->n_reads, 1);
	return store_preadv(f->behind, iov, iovcnt, off, flags, NULL);
}

static int front_size(void *self, uint64_t *size, struct qcow2_error *err)
{
	(void)err;
	return store_size(((struct front *)self)->behind, size, NULL);
}

struct fixture {
	struct builder b;
	struct front front;
	struct qcow2_store *store;
	struct image *img;
	uint8_t *bytes;
};

/* The L2 entry of cluster 0. */
static struct l2_entry first_entry(struct builder *b)
{
	uint8_t raw[L2_ENTRY_BYTES_EXTENDED];

	assert_int_equal(store_pread(b->file, raw, L2_ENTRY_BYTES,
				     l1_table_off(b->l1[0]), 0, NULL),
			 0);
	return l2_get(&b->geo, raw, 0);
}

/* All clusters differ, or all share the compressed data of the first. */
static void setup(struct fixture *f, bool shared)
{
	const struct builder_opts o = { .version = 3,
					.cluster_bits = 16,
					.size = CLUSTER * CLUSTERS };
	const struct qcow2_store_ops ops = { .struct_size = sizeof(ops),
					     .preadv = front_preadv,
					     .size = front_size };
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;

	builder_init(&f->b, &o);
	f->bytes = malloc(o.size);
	for (uint64_t i = 0; i < CLUSTERS; i++) {
		uint64_t v = shared ? 0 : i;

		memset(f->bytes + i * CLUSTER, (int)v + 1, CLUSTER);
		if (i == 0 || !shared)
			assert_true(builder_add_compressed(
				&f->b, i * CLUSTER, f->bytes + i * CLUSTER));
		else
			builder_set_entry(&f->b, i * CLUSTER,
					  first_entry(&f->b));
	}
	builder_finish(&f->b);
	f->front.behind = f->b.file;
	f->front.n_reads = 0;
	assert_int_equal(
		store_new(&ops, &f->front, "front", true, &f->store, NULL), 0);
	assert_int_equal(image_open(f->store, &opts, &f->img, NULL), 0);
}

static void teardown(struct fixture *f)
{
	image_close(f->img);
	store_unref(f->store);
	builder_release(&f->b);
	free(f->bytes);
}

static void read_at(struct fixture *f, uint64_t off, uint64_t len)
{
	uint8_t *buf = malloc(len);
	struct iovec iov = { buf, len };
	struct iov_cursor dst = iov_cursor_init(&iov, 1);
	uint64_t done = 0;

	while (done < len) {
		struct image_extent x;

		assert_int_equal(
			image_map(f->img, len - done, off + done, 0, &x, NULL),
			0);
		assert_int_equal(image_read(f->img, &dst, x.len, off + done, &x,
					    0, NULL),
				 0);
		done += x.len;
	}
	assert_memory_equal(buf, f->bytes + off, len);
	free(buf);
}

TEST(small_sequential_reads_fetch_each_cluster_once)
{
	struct fixture f;
	unsigned before;

	setup(&f, false);
	read_at(&f, 0, 1); /* the L2 slice, and cluster 0 */
	before = f.front.n_reads;
	for (uint64_t off = 0; off < CLUSTER * CLUSTERS; off += 4096)
		read_at(&f, off, 4096);
	assert_int_equal(f.front.n_reads - before, CLUSTERS - 1);
	teardown(&f);
}

TEST(whole_clusters_shared_by_many_entries_decode_twice)
{
	struct fixture f;
	unsigned before;

	setup(&f, true);
	read_at(&f, 0, CLUSTER);
	before = f.front.n_reads;
	read_at(&f, 0, CLUSTER * CLUSTERS);
	assert_int_equal(f.front.n_reads - before, 1);
	teardown(&f);
}

static void *reader(void *arg)
{
	struct fixture *f = arg;
	struct test_rng rng = test_rng_init((uintptr_t)&rng);

	for (int i = 0; i < 300; i++) {
		uint64_t off = test_rng_below(&rng, CLUSTER * CLUSTERS - 1);
		uint64_t len = 1 + test_rng_below(&rng, 200000);

		if (len > CLUSTER * CLUSTERS - off)
			len = CLUSTER * CLUSTERS - off;
		read_at(f, off, len);
	}
	return NULL;
}

TEST(threads_read_what_was_written)
{
	struct fixture f;
	pthread_t t[4];

	setup(&f, false);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, reader, &f), 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	teardown(&f);
}

TEST(damage_is_an_error_of_that_cluster)
{
	struct qcow2_error err = { 0 };
	struct image_extent x;
	struct iov_cursor dst;
	struct iovec iov;
	struct fixture f;
	uint8_t byte = 0xff;

	setup(&f, false);
	assert_int_equal(image_map(f.img, 1, 5 * CLUSTER, 0, &x, NULL), 0);
	assert_int_equal(store_pwrite(f.b.file, &byte, 1,
				      x.desc & f.img->geo.coffset_mask, 0,
				      NULL),
			 0);
	iov = (struct iovec){ &byte, 1 };
	dst = iov_cursor_init(&iov, 1);
	assert_int_equal(image_read(f.img, &dst, 1, 5 * CLUSTER, &x, 0, &err),
			 -EIO);
	assert_int_equal(err.defect, DEFECT_COMPRESSED_DATA);
	read_at(&f, 6 * CLUSTER, CLUSTER);
	teardown(&f);
}

/* ---- Its validator ------------------------------------------------------- */

TEST(a_list_that_is_not_as_it_should_be_is_found)
{
	struct compressed_reader *cr;
	struct fixture f;

	setup(&f, false);
	read_at(&f, 0, 512);
	cr = &f.img->compressed;
	compressed_reader_validate(cr);
	assert_true(cr->n_decoded > 0);
	ASSERT_ABORTS(cr->max_decoded = 0; compressed_reader_validate(cr));
	ASSERT_ABORTS(cr->n_decoded++; compressed_reader_validate(cr));
	ASSERT_ABORTS(cr->n_decoded--; compressed_reader_validate(cr));
	ASSERT_ABORTS(cr->decoded = NULL; compressed_reader_validate(cr));
	teardown(&f);
}
