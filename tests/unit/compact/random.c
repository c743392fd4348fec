/*
 * Images that were written to, discarded from, compressed into and snapshotted
 * at random, then compacted: nobody can tell but by the size of the file.
 */
#include "rig.h"

#include <errno.h>

enum { N_CLUSTERS = 160, N_STEPS = 60, N_SNAPSHOTS = 3, ROUNDS = 4 };

static const struct qcow2_create_opts kinds[] = {
	{ .cluster_size = 512, .version = 2 },
	{ .cluster_size = 512, .version = 3 },
	{ .cluster_size = 512, .version = 3, .refcount_bits = 64 },
	{ .cluster_size = 1024, .version = 3, .refcount_bits = 1 },
	{ .cluster_size = 2048, .version = 3, .refcount_bits = 2 },
	{ .cluster_size = 4096, .version = 3, .refcount_bits = 4 },
	{ .cluster_size = 4096, .version = 2 },
	{ .cluster_size = 4096, .version = 3, .refcount_bits = 1 },
	{ .cluster_size = 16384,
	  .version = 3,
	  .flags = QCOW2_CREATE_EXTENDED_L2 },
	{ .cluster_size = 65536, .version = 3 },
	{ .cluster_size = 65536, .version = 3, .refcount_bits = 64 },
};

struct story {
	struct rig r;
	struct test_rng rng;
	uint8_t *views[N_SNAPSHOTS]; /* contents of snapshot "a" ...; or NULL */
};

static void write_some(struct story *s, uint64_t first, uint64_t n)
{
	uint8_t value = (uint8_t)test_rng_below(&s->rng, 256);
	uint64_t size = s->r.create.cluster_size;

	switch (test_rng_below(&s->rng, 8)) {
	case 0:
	case 1:
		compact_write(&s->r, first, n, value);
		break;
	case 2:
		rig_write(&s->r, value, size / 4, first * size + size / 2);
		break;
	case 3:
	case 4:
		compact_discard(&s->r, first, n);
		break;
	default:
		compact_write_compressed(&s->r, first, n, value,
					 test_rng_below(&s->rng, size / 2));
	}
}

/* A refcount that is at its maximum refuses. */
static void snapshot_some(struct story *s)
{
	uint64_t i = test_rng_below(&s->rng, N_SNAPSHOTS);
	char name[] = { (char)('a' + i), 0 };
	int rc;

	if (s->views[i]) {
		rig_delete(&s->r, name);
		free(s->views[i]);
		s->views[i] = NULL;
		return;
	}
	rc = qcow2_snapshot_create(s->r.img, name, NULL, NULL);
	assert_true(rc == 0 || (rc == -ERANGE && s->r.create.refcount_bits));
	if (rc == 0)
		s->views[i] = rig_copy(&s->r);
}

static void tell(struct story *s)
{
	for (int i = 0; i < N_STEPS; i++) {
		uint64_t first = test_rng_below(&s->rng, N_CLUSTERS);
		uint64_t n = 1 + test_rng_below(&s->rng, 16);

		if (n > N_CLUSTERS - first)
			n = N_CLUSTERS - first;
		if (test_rng_below(&s->rng, 12) == 0)
			snapshot_some(s);
		else
			write_some(s, first, n);
		if (test_rng_below(&s->rng, 10) == 0)
			assert_int_equal(qcow2_flush(s->r.img, NULL), 0);
	}
}

static void expect_views(struct story *s)
{
	for (int i = 0; i < N_SNAPSHOTS; i++) {
		char name[] = { (char)('a' + i), 0 };

		if (s->views[i])
			rig_expect_view(&s->r, name, s->views[i], s->r.size);
	}
}

static void run(const struct qcow2_create_opts *kind, uint64_t seed)
{
	struct story s = { .rng = test_rng_init(seed) };

	rig_init(&s.r, N_CLUSTERS * (uint64_t)kind->cluster_size, kind);
	/* The image that was compacted goes on living. */
	for (int i = 0; i < 3; i++) {
		tell(&s);
		rig_close(&s.r);
		rig_check(&s.r);
		compact_all(&s.r);
		expect_views(&s);
		rig_open(&s.r);
	}
	for (int i = 0; i < N_SNAPSHOTS; i++)
		free(s.views[i]);
	rig_release(&s.r);
}

TEST(contents_survive_compaction)
{
	uint64_t seed = test_seed();

	for (int round = 0; round < ROUNDS; round++)
		for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
			run(&kinds[k], seed + (uint64_t)round * 100 + k);
}
