/*
 * Reading and mapping against a byte-array oracle: random chains of random
 * images, every cluster kind, every cluster size.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "chain/disk.h"
#include "store/mem.h"
#include "store/store.h"
#include "support/builder.h"
#include "support/test.h"

enum { LAYERS_MAX = 3 };

/* A chain under construction; layer 0 is the bottom. */
struct model {
	struct test_rng rng;
	struct builder layers[LAYERS_MAX];
	struct qcow2_store *raw; /* bottom, if it is raw */
	unsigned n_layers;       /* qcow2 layers */
	uint8_t *bytes;          /* the bytes of the chain so far */
	uint64_t size;
};

static bool chance(struct model *m, unsigned percent)
{
	return test_rng_below(&m->rng, 100) < percent;
}

/* Compressible, and different for every call. */
static void fill_cluster(struct model *m, uint8_t *buf, size_t len)
{
	test_rng_fill(&m->rng, buf, len / 4);
	for (size_t i = len / 4; i < len; i++)
		buf[i] = buf[i % (len / 4)];
}

/* Writes to the oracle, clipped to the disk. */
static void oracle_put(struct model *m, uint64_t off, const uint8_t *src,
		       uint64_t len)
{
	if (off >= m->size)
		return;
	len = min_u64(len, m->size - off);
	if (src)
		memcpy(m->bytes + off, src, len);
	else
		memset(m->bytes + off, 0, len);
}

static void add_subclusters(struct model *m, struct builder *b,
			    uint64_t guest_off, const uint8_t *buf)
{
	bool allocated = chance(m, 80);
	uint64_t sub_size = UINT64_C(1) << b->geo.subcluster_bits;
	struct l2_entry e = { 0 };

	if (allocated)
		e.desc = builder_add_data_for(b, guest_off, buf) | ENTRY_COPIED;
	for (unsigned i = 0; i < SUBCLUSTERS_PER_CLUSTER; i++) {
		uint64_t off = guest_off + i * sub_size;
		/* Runs of equal subclusters, so that merging is exercised. */
		uint64_t kind = (i + guest_off / 7) / 3 % 3;

		if (kind == 0 && allocated) {
			e.bitmap |= SUB_ALLOC(i);
			oracle_put(m, off, buf + i * sub_size, sub_size);
		} else if (kind == 1) {
			e.bitmap |= SUB_ZERO(i);
			oracle_put(m, off, NULL, sub_size);
		}
	}
	builder_set_entry(b, guest_off, e);
}

static void add_cluster(struct model *m, struct builder *b, uint64_t guest_off)
{
	size_t size = b->geo.cluster_size;
	uint8_t *buf = malloc(size);
	struct l2_entry e = { 0 };
	uint64_t what = test_rng_below(&m->rng, 6);

	fill_cluster(m, buf, size);
	if (what == 0 && !b->geo.has_data_file &&
	    builder_add_compressed(b, guest_off, buf)) {
		oracle_put(m, guest_off, buf, size);
	} else if (b->geo.extended_l2 && what < 5) {
		add_subclusters(m, b, guest_off, buf);
	} else if (what < 4 && !b->geo.extended_l2) {
		e.desc = builder_add_data_for(b, guest_off, buf) | ENTRY_COPIED;
		oracle_put(m, guest_off, buf, size);
		builder_set_entry(b, guest_off, e);
	} else if (what == 4 && b->geo.version >= 3 && !b->geo.extended_l2) {
		e.desc = L2_ZERO;
		if (chance(m, 50))
			e.desc |= builder_add_data_for(b, guest_off, buf) |
				  ENTRY_COPIED;
		oracle_put(m, guest_off, NULL, size);
		builder_set_entry(b, guest_off, e);
	}
	free(buf);
}

static uint64_t random_features(struct model *m, uint32_t bits, bool bottom,
				uint8_t *compression)
{
	uint64_t features = 0;

	if (bits >= CLUSTER_BITS_MIN_EXTENDED_L2 && chance(m, 50))
		features |= INCOMPAT_EXTENDED_L2;
	*compression = chance(m, 50) ? COMPRESSION_ZSTD : COMPRESSION_ZLIB;
	if (*compression)
		features |= INCOMPAT_COMPRESSION;
	if (bottom && chance(m, 25))
		features |= INCOMPAT_DATA_FILE;
	return features;
}

static void add_layer(struct model *m)
{
	struct builder *b = &m->layers[m->n_layers];
	bool bottom = m->n_layers == 0 && !m->raw;
	static const uint32_t bits[] = { 9, 10, 12, 14, 16, 17 };
	struct builder_opts o = {
		.version = chance(m, 80) ? 3 : 2,
		.cluster_bits = bits[test_rng_below(&m->rng, 6)],
	};
	uint64_t old_size = m->size;

	/* The disk is shorter or longer than the one below it. */
	o.size = 1 + test_rng_below(&m->rng, 600 * 1024);
	if (o.version == 3)
		o.incompatible_features = random_features(
			m, o.cluster_bits, bottom, &o.compression_type);
	builder_init(b, &o);
	m->size = o.size;
	m->bytes = realloc(m->bytes, m->size);
	if (m->size > old_size)
		memset(m->bytes + old_size, 0, m->size - old_size);
	for (uint64_t off = 0; off < m->size; off += b->geo.cluster_size)
		if (chance(m, 60))
			add_cluster(m, b, off);
	if (!bottom) {
		b->backing_file = "below";
		b->backing_format = m->n_layers == 0 ? "raw" : "qcow2";
	}
	if (b->geo.has_data_file)
		b->data_file = "data";
	builder_finish(b);
	m->n_layers++;
}

static void add_raw(struct model *m)
{
	m->size = 1 + test_rng_below(&m->rng, 300 * 1024);
	m->bytes = malloc(m->size);
	test_rng_fill(&m->rng, m->bytes, m->size);
	assert_int_equal(store_mem_new(&m->raw, NULL), 0);
	assert_int_equal(store_pwrite(m->raw, m->bytes, m->size, 0, 0, NULL),
			 0);
}

/* The gate: hands out what the model made, under any name. */
static int open_below(void *opaque, const struct qcow2_reference *ref,
		      struct qcow2_store **out, struct qcow2_error *err)
{
	struct model *m = opaque;
	unsigned layer = m->n_layers - 1 - ref->depth;

	(void)err;
	if (ref->kind == QCOW2_REFERENCE_DATA_FILE)
		*out = store_ref(m->layers[layer].data);
	else if (layer > 0)
		*out = store_ref(m->layers[layer - 1].file);
	else
		*out = store_ref(m->raw);
	return 0;
}

static struct disk *open_model(struct model *m)
{
	struct qcow2_gate gate = QCOW2_GATE_INIT;
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_error err = { 0 };
	struct disk *d;

	gate.open = open_below;
	gate.opaque = m;
	opts.gate = &gate;
	/* A cache that does not hold everything. */
	opts.l2_cache_bytes = 4096;
	opts.l2_slice_bytes = 512;
	if (disk_open_store(m->layers[m->n_layers - 1].file, &opts, &d, &err))
		fail_msg("open: %s", err.message);
	return d;
}

static void compare_reads(struct model *m, struct disk *d)
{
	uint8_t *buf = malloc(m->size);

	assert_int_equal(disk_pread(d, buf, m->size, 0, 0, NULL), 0);
	assert_memory_equal(buf, m->bytes, m->size);
	for (int i = 0; i < 200; i++) {
		uint64_t off = test_rng_below(&m->rng, m->size);
		uint64_t len = 1 + test_rng_below(&m->rng, m->size - off);
		uint64_t cut = test_rng_below(&m->rng, len + 1);
		struct iovec iov[3] = { { buf, cut },
					{ NULL, 0 },
					{ buf + cut, len - cut } };

		assert_int_equal(disk_preadv(d, iov, 3, off, 0, NULL), 0);
		assert_memory_equal(buf, m->bytes + off, len);
	}
	free(buf);
}

static void check_extent(struct model *m, struct disk *d,
			 const struct qcow2_extent *x)
{
	struct qcow2_store *s = disk_extent_store(d, x);
	uint8_t *buf = malloc(x->len);

	if (x->flags & QCOW2_EXTENT_ZERO)
		for (uint64_t i = 0; i < x->len; i++)
			assert_int_equal(m->bytes[x->off + i], 0);
	if (s) {
		assert_int_equal(
			store_pread(s, buf, x->len, x->host_off, 0, NULL), 0);
		assert_memory_equal(buf, m->bytes + x->off, x->len);
	}
	free(buf);
}

static bool mergeable(const struct qcow2_extent *a,
		      const struct qcow2_extent *b)
{
	return a->flags == b->flags && a->depth == b->depth &&
	       (!(a->flags & QCOW2_EXTENT_HOST_OFF) ||
		a->host_off + a->len == b->host_off);
}

static void check_map(struct model *m, struct disk *d)
{
	struct qcow2_extent last = { 0 };
	uint64_t off = 0;

	while (off < m->size) {
		struct qcow2_extent x;

		assert_int_equal(disk_map(d, m->size - off, off, 0, &x, NULL),
				 0);
		assert_int_equal(x.off, off);
		assert_in_range(x.len, 1, m->size - off);
		check_extent(m, d, &x);
		if (off)
			assert_false(mergeable(&last, &x));
		last = x;
		off += x.len;
	}
}

static void model_release(struct model *m)
{
	for (unsigned i = 0; i < m->n_layers; i++)
		builder_release(&m->layers[i]);
	store_unref(m->raw);
	free(m->bytes);
}

TEST_SLOW(any_chain_reads_and_maps_like_the_oracle)
{
	uint64_t seed = test_seed();

	for (uint64_t round = 0; round < 150; round++) {
		struct model m = { .rng = test_rng_init(seed + round) };
		struct disk *d;

		if (chance(&m, 30))
			add_raw(&m);
		for (uint64_t n = 1 + test_rng_below(&m.rng, LAYERS_MAX); n;
		     n--)
			add_layer(&m);
		d = open_model(&m);
		assert_int_equal(disk_size(d), m.size);
		compare_reads(&m, d);
		check_map(&m, d);
		disk_close(d, NULL);
		model_release(&m);
	}
}

TEST(a_walk_over_a_chain_of_terabyte_holes_is_short)
{
	struct model m = { .rng = test_rng_init(1) };
	struct builder_opts o = { .version = 3,
				  .cluster_bits = 16,
				  .size = UINT64_C(8) << 40 };
	struct qcow2_extent x;
	struct disk *d;

	for (m.n_layers = 0; m.n_layers < LAYERS_MAX; m.n_layers++) {
		struct builder *b = &m.layers[m.n_layers];

		builder_init(b, &o);
		if (m.n_layers) {
			b->backing_file = "below";
			b->backing_format = "qcow2";
		}
		builder_finish(b);
	}
	d = open_model(&m);
	assert_int_equal(disk_map(d, o.size, 0, 0, &x, NULL), 0);
	assert_int_equal(x.len, o.size);
	assert_int_equal(x.flags, QCOW2_EXTENT_ZERO);
	disk_close(d, NULL);
	model_release(&m);
}
