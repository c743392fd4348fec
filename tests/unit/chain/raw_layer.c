/*
 * A raw layer as the top of a disk: its abilities, and its refusals.
 */
#include <errno.h>
#include <string.h>

#include "chain/disk_impl.h"
#include "chain/snapshot_list.h"
#include "store/mem.h"
#include "store/store.h"
#include "stores/count.h"
#include "support/test.h"

enum { SIZE = 1 << 20 };

static void ok(int rc)
{
	assert_int_equal(rc, 0);
}

/* A raw disk of 0x11 in memory, and the calls that its changes cost. */
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

static void refused(int rc, int want, struct qcow2_error *err,
		    const char *message)
{
	assert_int_equal(rc, want);
	assert_string_equal(err->message, message);
	*err = (struct qcow2_error){ 0 };
}

TEST(compression_is_refused)
{
	static const char message[] = "a raw image cannot be compressed";
	struct qcow2_error err = { 0 };
	uint8_t cluster[512] = { 0 };
	uint8_t dst[512];
	struct rig r;
	size_t n;

	rig_open(&r, QCOW2_OPEN_RDWR);
	refused(disk_write_compressed(r.disk, cluster, 512, 0, 0, &err),
		-ENOTSUP, &err, message);
	refused(disk_encode(r.disk, dst, cluster, &n, &err), -ENOTSUP, &err,
		message);
	refused(disk_write_encoded(r.disk, dst, 8, cluster, 0, &err), -ENOTSUP,
		&err, message);
	refused(disk_set_level(r.disk, 1, NULL, &err), -ENOTSUP, &err, message);
	assert_false(disk_gives_places(r.disk));
	assert_bytes(&r, 0, 64, 0x11);
	rig_close(&r);
}

TEST(snapshots_are_refused)
{
	static const char message[] = "a raw image has no snapshots";
	struct qcow2_snapshot_info info = { .struct_size = sizeof(info) };
	struct qcow2_snapshot_list *list;
	struct qcow2_error err = { 0 };
	uint8_t buf[8] = { 0 };
	struct rig r;

	rig_open(&r, QCOW2_OPEN_RDWR);
	refused(disk_snapshot_create(r.disk, "s", NULL, &err), -ENOTSUP, &err,
		message);
	refused(disk_snapshot_apply(r.disk, "s", &err), -ENOTSUP, &err,
		message);
	refused(disk_snapshot_delete(r.disk, "s", &err), -ENOTSUP, &err,
		message);
	refused(disk_vmstate_write(r.disk, buf, 8, 0, &err), -ENOTSUP, &err,
		message);
	refused(disk_vmstate_read(r.disk, buf, 8, 0, &err), -ENOTSUP, &err,
		message);
	refused(disk_get_snapshot(r.disk, 0, &info, &err), -EINVAL, &err,
		message);
	ok(snapshot_list_new(r.disk, &list, NULL));
	assert_int_equal(snapshot_list_count(list), 0);
	snapshot_list_free(list);
	rig_close(&r);
}

TEST(whatever_else_only_qcow2_has_is_refused)
{
	struct qcow2_amend_opts amend = QCOW2_AMEND_OPTS_INIT;
	struct qcow2_compact_opts compact = QCOW2_COMPACT_OPTS_INIT;
	struct qcow2_compact_result result = { 0 };
	struct qcow2_bitmap_info bitmap = { .struct_size = sizeof(bitmap) };
	struct qcow2_luks_info luks = { .struct_size = sizeof(luks) };
	struct qcow2_error err = { 0 };
	struct rig r;

	rig_open(&r, QCOW2_OPEN_RDWR);
	refused(disk_amend(r.disk, &amend, &err), -ENOTSUP, &err,
		"a raw image has no options to amend");
	refused(disk_compact(r.disk, &compact, &result, &err), -ENOTSUP, &err,
		"a raw image has nothing to compact");
	refused(disk_get_bitmap(r.disk, 0, &bitmap, &err), -EINVAL, &err,
		"there is no bitmap number 0");
	refused(disk_get_luks(r.disk, &luks, &err), -ENOENT, &err,
		"a raw image has no LUKS header");
	assert_null(disk_get_feature_name(r.disk, 0, 0));
	rig_close(&r);
}

TEST(it_grows_and_shrinks_with_its_file)
{
	struct qcow2_resize_opts opts = QCOW2_RESIZE_OPTS_INIT;
	struct qcow2_error err = { 0 };
	uint64_t size;
	struct rig r;

	rig_open(&r, QCOW2_OPEN_RDWR);
	ok(disk_resize(r.disk, 2 * SIZE, &opts, NULL));
	assert_int_equal(disk_size(r.disk), 2 * SIZE);
	assert_bytes(&r, SIZE, 64, 0);
	refused(disk_resize(r.disk, SIZE, &opts, &err), -EINVAL, &err,
		"the new size is smaller: what lies beyond it would be lost, "
		"which has to be allowed");
	opts.flags = QCOW2_RESIZE_SHRINK;
	ok(disk_resize(r.disk, SIZE / 2, &opts, NULL));
	assert_int_equal(disk_size(r.disk), SIZE / 2);
	ok(store_size(r.mem, &size, NULL));
	assert_int_equal(size, SIZE / 2);
	opts.preallocation = QCOW2_PREALLOC_METADATA;
	refused(disk_resize(r.disk, SIZE, &opts, &err), -ENOTSUP, &err,
		"a raw image has no metadata to preallocate");
	rig_close(&r);
}

TEST(it_tells_of_its_file)
{
	struct qcow2_info info = { .struct_size = sizeof(info) };
	struct qcow2_extent x;
	struct rig r;

	rig_open(&r, 0);
	ok(disk_get_info(r.disk, 0, &info, NULL));
	assert_int_equal(info.format, QCOW2_FORMAT_RAW);
	assert_int_equal(info.virtual_size, SIZE);
	assert_int_equal(info.file_size, SIZE);
	assert_int_equal(info.self_contained, 1);
	assert_int_equal(disk_cluster_size(r.disk), 65536);
	ok(disk_map(r.disk, SIZE, 0, 0, &x, NULL));
	assert_int_equal(x.len, SIZE);
	assert_int_equal(x.host_off, 0);
	assert_ptr_equal(disk_extent_store(r.disk, &x), r.store);
	assert_null(disk_layer_data_filename(r.disk, 0));
	rig_close(&r);
}

TEST(its_validator_knows_no_layer_below)
{
	struct layer *l;
	struct rig r;

	rig_open(&r, QCOW2_OPEN_RDWR);
	l = &r.disk->layers[0];
	disk_validate(r.disk);
	ASSERT_ABORTS(l->below = l; layer_validate(l));
	ASSERT_ABORTS(l->below_unknown = true; layer_validate(l));
	ASSERT_ABORTS(l->data = NULL; layer_validate(l));
	ASSERT_ABORTS(r.disk->metadata_only = true; disk_validate(r.disk));
	rig_close(&r);
}
