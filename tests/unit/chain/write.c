/*
 * Writing to a disk whose top layer is raw; qcow2 is for tests/unit/image.
 */
#include <errno.h>
#include <string.h>

#include "chain/disk.h"
#include "store/mem.h"
#include "store/store.h"
#include "stores/count.h"
#include "support/test.h"

enum { SIZE = 1 << 20 };

static void ok(int rc)
{
	assert_int_equal(rc, 0);
}

/* A raw disk of 0x11 in memory, and what it costs to change it. */
struct rig {
	struct qcow2_store *mem;
	struct qcow2_store *store;
	struct count count;
	struct disk *disk;
};

static void rig_open(struct rig *r, uint32_t flags)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	static uint8_t bytes[SIZE];

	memset(r, 0, sizeof(*r));
	memset(bytes, 0x11, sizeof(bytes));
	ok(store_mem_new(&r->mem, NULL));
	ok(store_pwrite(r->mem, bytes, SIZE, 0, 0, NULL));
	ok(count_store_new(&r->count, r->mem, &r->store));
	opts.format = QCOW2_FORMAT_RAW;
	opts.flags = flags;
	ok(disk_open_store(r->store, &opts, &r->disk, NULL));
	assert_int_equal(disk_size(r->disk), SIZE);
}

static void rig_close(struct rig *r)
{
	ok(disk_close(r->disk, NULL));
	store_unref(r->store);
	store_unref(r->mem);
}

static uint64_t calls(const struct rig *r, enum store_op op)
{
	return r->count.calls[op];
}

/* [off, off+len) holds @byte, in the file and for readers. */
static void assert_bytes(struct rig *r, uint64_t off, size_t len, int byte)
{
	uint8_t in_file[64], read[64];

	assert_true(len <= sizeof(read));
	ok(store_pread(r->mem, in_file, len, off, 0, NULL));
	ok(disk_pread(r->disk, read, len, off, 0, NULL));
	for (size_t i = 0; i < len; i++) {
		assert_int_equal(in_file[i], byte);
		assert_int_equal(read[i], byte);
	}
}

static int write_byte(struct rig *r, int byte, size_t len, uint64_t off,
		      unsigned flags)
{
	uint8_t buf[64];
	struct iovec iov[2] = { { buf, 1 }, { buf + 1, len - 1 } };

	memset(buf, byte, len);
	return disk_pwritev(r->disk, iov, 2, off, flags, NULL);
}

TEST(a_write_reaches_the_file_and_nothing_around_it)
{
	struct rig r;

	rig_open(&r, QCOW2_OPEN_RDWR);
	ok(write_byte(&r, 0x22, 33, 1001, 0));
	assert_bytes(&r, 1000, 1, 0x11);
	assert_bytes(&r, 1001, 33, 0x22);
	assert_bytes(&r, 1034, 1, 0x11);
	ok(write_byte(&r, 0x33, 10, SIZE - 10, 0));
	assert_bytes(&r, SIZE - 10, 10, 0x33);
	assert_int_equal(calls(&r, STORE_OP_FLUSH), 0);
	rig_close(&r);
}

TEST(zeros_are_zeros_with_every_flag)
{
	static const unsigned flags[] = { 0, QCOW2_ZERO_MAY_UNMAP,
					  QCOW2_ZERO_MAY_UNMAP |
						  QCOW2_ZERO_NO_FALLBACK };
	struct rig r;

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		rig_open(&r, QCOW2_OPEN_RDWR);
		ok(disk_zero(r.disk, 5000, 4000, flags[i], NULL));
		assert_bytes(&r, 3999, 1, 0x11);
		assert_bytes(&r, 4000, 64, 0);
		assert_bytes(&r, 8999, 1, 0);
		assert_bytes(&r, 9000, 1, 0x11);
		rig_close(&r);
	}
}

TEST(a_discard_harms_nothing_outside_and_never_fails)
{
	struct rig r;

	rig_open(&r, QCOW2_OPEN_RDWR);
	ok(disk_discard(r.disk, 65536, 65536, 0, NULL));
	assert_bytes(&r, 65535, 1, 0x11);
	assert_bytes(&r, 131072, 1, 0x11);
	rig_close(&r);
}

TEST(durable_changes_are_flushed_and_others_are_not)
{
	struct rig r;

	rig_open(&r, QCOW2_OPEN_RDWR);
	ok(write_byte(&r, 1, 8, 0, QCOW2_FUA));
	assert_int_equal(calls(&r, STORE_OP_FLUSH), 1);
	ok(disk_zero(r.disk, 8, 8, QCOW2_FUA, NULL));
	assert_int_equal(calls(&r, STORE_OP_FLUSH), 2);
	ok(disk_discard(r.disk, 4096, 4096, QCOW2_FUA, NULL));
	assert_int_equal(calls(&r, STORE_OP_FLUSH), 3);
	ok(disk_zero(r.disk, 8, 8, 0, NULL));
	ok(disk_discard(r.disk, 4096, 4096, 0, NULL));
	assert_int_equal(calls(&r, STORE_OP_FLUSH), 3);
	ok(disk_flush(r.disk, NULL));
	assert_int_equal(calls(&r, STORE_OP_FLUSH), 4);
	rig_close(&r);
}

TEST(a_disk_opened_for_reading_is_not_changed)
{
	struct rig r;

	rig_open(&r, 0);
	assert_int_equal(write_byte(&r, 1, 8, 0, 0), -EBADF);
	assert_int_equal(disk_zero(r.disk, 8, 8, 0, NULL), -EBADF);
	assert_int_equal(disk_discard(r.disk, 8, 8, 0, NULL), -EBADF);
	ok(disk_flush(r.disk, NULL));
	assert_bytes(&r, 0, 64, 0x11);
	assert_int_equal(calls(&r, STORE_OP_FLUSH), 0);
	rig_close(&r);
}

TEST(what_only_qcow2_has_is_refused)
{
	uint8_t cluster[512] = { 0 };
	struct rig r;

	rig_open(&r, QCOW2_OPEN_RDWR);
	assert_int_equal(disk_write_compressed(r.disk, cluster, 512, 0, NULL),
			 -ENOTSUP);
	assert_int_equal(disk_set_level(r.disk, 1, NULL), -ENOTSUP);
	assert_bytes(&r, 0, 64, 0x11);
	rig_close(&r);
}
