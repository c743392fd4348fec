/*
 * Places in a new image: linked at once, written later, in any order.
 */
#include "write/place.h"

#include <stdlib.h>
#include <string.h>

#include "chain/disk.h"
#include "support/test.h"

enum { CLUSTER = 65536, SIZE = 40 * CLUSTER + 5 * 512 };

struct rig {
	struct qcow2_store *store;
	struct disk *disk;
};

static void setup_rig(struct rig *r, uint32_t flags,
		      enum qcow2_preallocation preallocation)
{
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;

	create.virtual_size = SIZE;
	create.flags = flags;
	create.preallocation = preallocation;
	open.flags = QCOW2_OPEN_RDWR;
	assert_int_equal(qcow2_store_new_memory(&r->store, NULL), 0);
	assert_int_equal(qcow2_create_store(r->store, NULL, &create, NULL), 0);
	assert_int_equal(disk_open_store(r->store, &open, &r->disk, NULL), 0);
}

/* The same over a store full of something else, like a block device. */
static void setup_used(struct rig *r, uint32_t flags)
{
	struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;
	uint8_t junk[4096];
	uint64_t off;

	setup_rig(r, flags, QCOW2_PREALLOC_OFF);
	assert_int_equal(disk_close(r->disk, NULL), 0);
	memset(junk, 0xee, sizeof(junk));
	assert_int_equal(qcow2_store_size(r->store, &off, NULL), 0);
	for (; off < 2 * SIZE; off += sizeof(junk))
		assert_int_equal(qcow2_store_pwrite(r->store, junk,
						    sizeof(junk), off, 0, NULL),
				 0);
	open.flags = QCOW2_OPEN_RDWR;
	assert_int_equal(disk_open_store(r->store, &open, &r->disk, NULL), 0);
}

/* Closes the image, which must be sound. */
static void teardown_rig(struct rig *r)
{
	struct qcow2_check_result result = { .struct_size = sizeof(result) };

	assert_int_equal(disk_close(r->disk, NULL), 0);
	assert_int_equal(qcow2_check_store(r->store, NULL, &result, NULL), 0);
	assert_int_equal(result.corruptions, 0);
	assert_int_equal(result.leaks, 0);
	qcow2_store_unref(r->store);
}

static void write_at(struct rig *r, const uint8_t *from, uint64_t len,
		     uint64_t host_off)
{
	struct iovec iov = { (void *)(uintptr_t)from, (size_t)len };

	assert_int_equal(disk_write_placed(r->disk, &iov, 1, host_off, NULL),
			 0);
}

struct part {
	uint64_t off;
	uint64_t len;
	uint64_t host_off;
};

/* Parts of @off on that have places; the rest is written the usual way. */
static unsigned place_all(struct rig *r, const uint8_t *plain, uint64_t len,
			  uint64_t off, struct part *parts)
{
	unsigned n = 0;

	for (uint64_t end = off + len; off < end;) {
		struct part p = { .off = off };
		struct iovec iov;

		assert_int_equal(disk_place(r->disk, end - off, off, &p.len,
					    &p.host_off, NULL),
				 0);
		assert_true(p.len <= end - off);
		if (p.len) {
			parts[n++] = p;
			off += p.len;
			continue;
		}
		iov = (struct iovec){ (void *)(uintptr_t)(plain + off), 512 };
		assert_int_equal(disk_pwritev(r->disk, &iov, 1, off, 0, NULL),
				 0);
		off += 512;
	}
	return n;
}

static void check_reads(struct rig *r, const uint8_t *plain)
{
	uint8_t *buf = malloc(SIZE);

	assert_int_equal(disk_pread(r->disk, buf, SIZE, 0, 0, NULL), 0);
	assert_memory_equal(buf, plain, SIZE);
	free(buf);
}

/* Sectors here and there, the places written from the last to the first. */
static void fill_and_read(uint32_t flags, enum qcow2_preallocation prealloc)
{
	struct test_rng rng = test_rng_init(test_seed());
	uint8_t *plain = calloc(1, SIZE);
	struct part *parts = calloc(SIZE / 512, sizeof(*parts));
	unsigned n = 0;
	struct rig r;

	setup_rig(&r, flags, prealloc);
	for (uint64_t off = 0; off < SIZE;) {
		uint64_t len = 512 * (1 + test_rng_below(&rng, 500));

		len = len < SIZE - off ? len : SIZE - off;
		if (test_rng_below(&rng, 2)) {
			test_rng_fill(&rng, plain + off, len);
			n += place_all(&r, plain, len, off, parts + n);
		}
		off += len;
	}
	while (n--)
		write_at(&r, plain + parts[n].off, parts[n].len,
			 parts[n].host_off);
	check_reads(&r, plain);
	teardown_rig(&r);
	free(parts);
	free(plain);
}

TEST(what_is_written_to_places_is_read)
{
	for (int i = 0; i < 10; i++)
		fill_and_read(0, QCOW2_PREALLOC_OFF);
}

TEST(subclusters_around_a_place_stay_zero)
{
	for (int i = 0; i < 10; i++)
		fill_and_read(QCOW2_CREATE_EXTENDED_L2, QCOW2_PREALLOC_OFF);
}

TEST(clusters_that_are_there_are_their_own_places)
{
	fill_and_read(0, QCOW2_PREALLOC_METADATA);
}

TEST(an_encoded_cluster_gets_a_place_once)
{
	uint8_t *plain = calloc(1, SIZE);
	uint8_t *encoded = malloc(CLUSTER);
	uint64_t host_off, again;
	struct rig r;
	size_t n;

	memset(plain + 3 * CLUSTER, 7, CLUSTER);
	setup_rig(&r, 0, QCOW2_PREALLOC_OFF);
	assert_int_equal(
		disk_encode(r.disk, encoded, plain + 3 * CLUSTER, &n, NULL), 0);
	assert_in_range(n, 1, CLUSTER - 1);
	assert_int_equal(
		disk_place_encoded(r.disk, n, 3 * CLUSTER, &host_off, NULL), 0);
	assert_int_not_equal(host_off, 0);
	write_at(&r, encoded, n, host_off);
	assert_int_equal(
		disk_place_encoded(r.disk, n, 3 * CLUSTER, &again, NULL), 0);
	assert_int_equal(again, 0);
	check_reads(&r, plain);
	teardown_rig(&r);
	free(encoded);
	free(plain);
}

/* The old bytes of the places show nowhere, and the places follow each other as
 * the guest's bytes do. */
TEST(used_space_is_taken_in_order)
{
	static const uint32_t flags[] = { 0, QCOW2_CREATE_EXTENDED_L2 };

	for (unsigned i = 0; i < 2; i++) {
		uint8_t *plain = calloc(1, SIZE);
		uint64_t last = 0;
		struct rig r;

		setup_used(&r, flags[i]);
		for (uint64_t off = CLUSTER; off < 30 * CLUSTER;) {
			uint64_t here, host_off;

			assert_int_equal(disk_place(r.disk, CLUSTER - 1024,
						    off + 512, &here, &host_off,
						    NULL),
					 0);
			assert_int_equal(here, CLUSTER - 1024);
			assert_true(host_off > last);
			memset(plain + off + 512, 7, here);
			write_at(&r, plain + off + 512, here, host_off);
			last = host_off;
			off += CLUSTER;
		}
		check_reads(&r, plain);
		teardown_rig(&r);
		free(plain);
	}
}
