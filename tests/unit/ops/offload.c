#include "ops/offload.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_disk.h"
#include "sink.h"
#include "store/file.h"
#include "store/store.h"

#define MIB (1024 * 1024)

static const struct qcow2_extent whole = {
	.len = MIB,
	.flags = FAKE_DATA | QCOW2_EXTENT_HOST_OFF,
};

/* A file of 1 MiB without a name in the current directory. */
static struct qcow2_store *open_unnamed(uint8_t fill)
{
	char name[] = "offload-test-XXXXXX";
	struct qcow2_store *store;
	char block[65536];
	int fd = mkstemp(name);

	assert_true(fd >= 0);
	unlink(name);
	memset(block, fill, sizeof(block));
	for (unsigned i = 0; i < MIB / sizeof(block); i++)
		assert_int_equal(write(fd, block, sizeof(block)),
				 sizeof(block));
	assert_int_equal(
		store_file_from_fd(fd, name, QCOW2_STORE_RDWR, &store, NULL),
		0);
	return store;
}

TEST(stores_without_a_descriptor_are_not_tried)
{
	struct disk *d = fake_new(65536);
	struct qcow2_store *target;
	struct offload o;
	struct sink s;

	sink_init(&s, &target);
	d->store = target;
	offload_init(&o, d, target, true);
	assert_false(o.usable);
	assert_int_equal(offload_share(&o, &whole), 0);
	sink_release(&s, target);
	fake_free(d);
}

TEST(is_not_tried_unless_wanted)
{
	struct disk *d = fake_new(65536);
	struct qcow2_store *target = open_unnamed(1);
	struct offload o;

	offload_init(&o, d, target, false);
	assert_false(o.usable);
	store_unref(target);
	fake_free(d);
}

/* If the file system shares blocks, the bytes arrive; if not, the first refusal
 * is the last attempt. */
TEST(shares_the_bytes_or_gives_up_for_good)
{
	struct disk *d = fake_new(65536);
	struct qcow2_store *target = open_unnamed(1);
	struct offload o;
	uint8_t got[512];
	uint64_t shared;

	d->store = open_unnamed(2);
	offload_init(&o, d, target, true);
	assert_true(o.usable);
	shared = offload_share(&o, &whole);
	assert_true(shared == 0 || shared == MIB);
	assert_int_equal(o.usable, shared == MIB);
	assert_int_equal(
		store_pread(target, got, sizeof(got), MIB - 512, 0, NULL), 0);
	assert_int_equal(got[511], shared ? 2 : 1);
	store_unref(d->store);
	store_unref(target);
	fake_free(d);
}

TEST(unaligned_and_small_extents_are_left_to_copying)
{
	struct disk *d = fake_new(65536);
	struct qcow2_store *target = open_unnamed(1);
	struct qcow2_extent x = whole;
	struct offload o;

	d->store = open_unnamed(2);
	offload_init(&o, d, target, true);
	x.host_off = 512;
	assert_int_equal(offload_share(&o, &x), 0);
	x.host_off = 0;
	x.off = 512;
	assert_int_equal(offload_share(&o, &x), 0);
	x.off = 0;
	x.len = 4096;
	assert_int_equal(offload_share(&o, &x), 0);
	x = whole;
	x.flags = FAKE_COMPRESSED;
	assert_int_equal(offload_share(&o, &x), 0);
	/* None of these was an attempt that failed. */
	assert_true(o.usable);
	store_unref(d->store);
	store_unref(target);
	fake_free(d);
}
