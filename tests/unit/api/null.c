/*
 * No argument that is NULL crashes a caller: it is -EINVAL, and 0 or NULL where
 * a function returns no error (D16 of the list in tests/regressions.md).
 */
#include <errno.h>
#include <string.h>

#include <qcow2.h>

#include "support/test.h"

#define DISK_BYTES (4 * 65536)

#define ok(expression) assert_int_equal((expression), 0)
#define REFUSED(call) assert_int_equal((call), -EINVAL)

struct fixture {
	struct qcow2_store *store;
	struct qcow2_image *img;
};

static int setup(void **state)
{
	static struct fixture f;
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;

	create.virtual_size = DISK_BYTES;
	opts.flags = QCOW2_OPEN_RDWR;
	ok(qcow2_store_new_memory(&f.store, NULL));
	ok(qcow2_create_store(f.store, NULL, &create, NULL));
	ok(qcow2_open_store(f.store, &opts, &f.img, NULL));
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	ok(qcow2_close(f->img, NULL));
	qcow2_store_unref(f->store);
	return 0;
}

TEST(no_image_to_transfer_with)
{
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct qcow2_extent extent;

	REFUSED(qcow2_pread(NULL, &byte, 1, 0, 0, NULL));
	REFUSED(qcow2_preadv(NULL, &iov, 1, 0, 0, NULL));
	REFUSED(qcow2_pwrite(NULL, &byte, 1, 0, 0, NULL));
	REFUSED(qcow2_pwritev(NULL, &iov, 1, 0, 0, NULL));
	REFUSED(qcow2_zero(NULL, 1, 0, 0, NULL));
	REFUSED(qcow2_discard(NULL, 1, 0, 0, NULL));
	REFUSED(qcow2_write_compressed(NULL, &byte, 1, 0, 0, NULL));
	REFUSED(qcow2_flush(NULL, NULL));
	REFUSED(qcow2_map(NULL, 1, 0, 0, &extent, NULL));
	REFUSED(qcow2_vmstate_read(NULL, &byte, 1, 0, NULL));
	REFUSED(qcow2_vmstate_write(NULL, &byte, 1, 0, NULL));
}

TEST(no_image_to_ask)
{
	struct qcow2_info info = QCOW2_INFO_INIT;
	struct qcow2_snapshot_info snapshot = QCOW2_SNAPSHOT_INFO_INIT;
	struct qcow2_bitmap_info bitmap = QCOW2_BITMAP_INFO_INIT;
	struct qcow2_luks_info luks = QCOW2_LUKS_INFO_INIT;
	struct qcow2_stats stats = QCOW2_STATS_INIT;
	struct qcow2_usage usage = QCOW2_USAGE_INIT;
	struct qcow2_limits limits = QCOW2_LIMITS_INIT;
	struct qcow2_snapshot_list *list;

	REFUSED(qcow2_get_info(NULL, 0, &info, NULL));
	REFUSED(qcow2_get_stats(NULL, 0, &stats, NULL));
	REFUSED(qcow2_get_usage(NULL, 0, &usage, NULL));
	REFUSED(qcow2_get_limits(NULL, &limits, NULL));
	REFUSED(qcow2_recover(NULL, NULL));
	REFUSED(qcow2_get_snapshot(NULL, 0, &snapshot, NULL));
	REFUSED(qcow2_snapshot_list_new(NULL, &list, NULL));
	REFUSED(qcow2_snapshot_list_get(NULL, 0, &snapshot, NULL));
	assert_int_equal(qcow2_snapshot_list_count(NULL), 0);
	qcow2_snapshot_list_free(NULL);
	REFUSED(qcow2_get_bitmap(NULL, 0, &bitmap, NULL));
	REFUSED(qcow2_get_luks(NULL, &luks, NULL));
	assert_int_equal(qcow2_size(NULL), 0);
	assert_int_equal(qcow2_layer_count(NULL), 0);
	assert_null(qcow2_layer_filename(NULL, 0));
	assert_null(qcow2_layer_data_filename(NULL, 0));
	assert_null(qcow2_feature_name(NULL, 0, 0));
	ok(qcow2_close(NULL, NULL));
}

TEST(no_image_to_work_on)
{
	struct fixture *f = *state;
	struct qcow2_compact_result compacted = QCOW2_COMPACT_RESULT_INIT;
	struct qcow2_compare_result compared = QCOW2_COMPARE_RESULT_INIT;
	struct qcow2_diff_extent diff = QCOW2_DIFF_EXTENT_INIT;
	struct qcow2_image *none = NULL;
	struct qcow2_image *img;

	REFUSED(qcow2_snapshot_create(NULL, "s", NULL, NULL));
	REFUSED(qcow2_snapshot_apply(NULL, "s", NULL));
	REFUSED(qcow2_snapshot_delete(NULL, "s", NULL));
	REFUSED(qcow2_resize(NULL, 512, NULL, NULL));
	REFUSED(qcow2_amend(NULL, NULL, NULL));
	REFUSED(qcow2_compact(NULL, NULL, &compacted, NULL));
	REFUSED(qcow2_dump_store(NULL, NULL, NULL));
	REFUSED(qcow2_diff(NULL, f->img, 1, 0, 0, &diff, NULL));
	REFUSED(qcow2_diff(f->img, NULL, 1, 0, 0, &diff, NULL));
	REFUSED(qcow2_compare(NULL, f->img, NULL, &compared, NULL));
	REFUSED(qcow2_compare(f->img, NULL, NULL, &compared, NULL));
	REFUSED(qcow2_convert(NULL, "x", NULL, NULL, NULL));
	REFUSED(qcow2_convert_into(NULL, f->img, NULL, NULL));
	REFUSED(qcow2_convert_into(f->img, NULL, NULL, NULL));
	REFUSED(qcow2_convert_raw(NULL, "x", NULL, NULL));
	REFUSED(qcow2_convert_raw_store(NULL, f->store, NULL, NULL));
	REFUSED(qcow2_concat(&none, 1, &img, NULL));
	REFUSED(qcow2_concat(NULL, 1, &img, NULL));
}

TEST(no_buffer)
{
	struct fixture *f = *state;
	struct iovec iov = { NULL, 1 };

	REFUSED(qcow2_pread(f->img, NULL, 1, 0, 0, NULL));
	REFUSED(qcow2_preadv(f->img, &iov, 1, 0, 0, NULL));
	REFUSED(qcow2_preadv(f->img, NULL, 1, 0, 0, NULL));
	REFUSED(qcow2_pwrite(f->img, NULL, 1, 0, 0, NULL));
	REFUSED(qcow2_pwritev(f->img, &iov, 1, 0, 0, NULL));
	REFUSED(qcow2_write_compressed(f->img, NULL, 65536, 0, 0, NULL));
	REFUSED(qcow2_vmstate_read(f->img, NULL, 1, 0, NULL));
	REFUSED(qcow2_vmstate_write(f->img, NULL, 1, 0, NULL));
	REFUSED(qcow2_store_pread(f->store, NULL, 1, 0, 0, NULL));
	REFUSED(qcow2_store_pwrite(f->store, NULL, 1, 0, 0, NULL));
	/* A transfer of nothing needs no buffer. */
	ok(qcow2_pread(f->img, NULL, 0, 0, 0, NULL));
	ok(qcow2_pwrite(f->img, NULL, 0, 0, 0, NULL));
	ok(qcow2_preadv(f->img, NULL, 0, 0, 0, NULL));
}

TEST(no_name)
{
	struct fixture *f = *state;
	struct qcow2_check_result found = QCOW2_CHECK_RESULT_INIT;
	struct qcow2_image *img;
	struct qcow2_store *s;

	REFUSED(qcow2_open_path(NULL, NULL, &img, NULL));
	REFUSED(qcow2_create_path(NULL, NULL, NULL));
	REFUSED(qcow2_create_open_path(NULL, NULL, NULL, &img, NULL));
	REFUSED(qcow2_check_path(NULL, NULL, &found, NULL));
	REFUSED(qcow2_convert(f->img, NULL, NULL, NULL, NULL));
	REFUSED(qcow2_convert_raw(f->img, NULL, NULL, NULL));
	REFUSED(qcow2_store_open_file(NULL, 0, &s, NULL));
	REFUSED(qcow2_store_new_memory_named(NULL, &s, NULL));
	REFUSED(qcow2_store_open_fd(0, NULL, 0, &s, NULL));
	REFUSED(qcow2_snapshot_create(f->img, NULL, NULL, NULL));
	REFUSED(qcow2_snapshot_apply(f->img, NULL, NULL));
	REFUSED(qcow2_snapshot_delete(f->img, NULL, NULL));
}

TEST(no_store)
{
	struct fixture *f = *state;
	struct qcow2_check_result found = QCOW2_CHECK_RESULT_INIT;
	struct qcow2_image *img;
	uint64_t size;
	char byte = 0;

	REFUSED(qcow2_store_pread(NULL, &byte, 1, 0, 0, NULL));
	REFUSED(qcow2_store_pwrite(NULL, &byte, 1, 0, 0, NULL));
	REFUSED(qcow2_store_size(NULL, &size, NULL));
	REFUSED(qcow2_open_store(NULL, NULL, &img, NULL));
	REFUSED(qcow2_create_store(NULL, NULL, NULL, NULL));
	REFUSED(qcow2_create_open_store(NULL, NULL, NULL, NULL, &img, NULL));
	REFUSED(qcow2_check_store(NULL, NULL, &found, NULL));
	REFUSED(qcow2_convert_raw_store(f->img, NULL, NULL, NULL));
	assert_null(qcow2_store_ref(NULL));
	qcow2_store_unref(NULL);
}

TEST(nowhere_to_answer)
{
	struct fixture *f = *state;
	const struct qcow2_store_ops ops = { .struct_size = sizeof(ops) };

	REFUSED(qcow2_open_path("x", NULL, NULL, NULL));
	REFUSED(qcow2_open_store(f->store, NULL, NULL, NULL));
	REFUSED(qcow2_map(f->img, 1, 0, 0, NULL, NULL));
	REFUSED(qcow2_snapshot_list_new(f->img, NULL, NULL));
	REFUSED(qcow2_get_info(f->img, 0, NULL, NULL));
	REFUSED(qcow2_get_stats(f->img, 0, NULL, NULL));
	REFUSED(qcow2_get_usage(f->img, 0, NULL, NULL));
	REFUSED(qcow2_diff(f->img, f->img, 1, 0, 0, NULL, NULL));
	REFUSED(qcow2_gate_default(NULL, NULL, NULL, NULL));
	REFUSED(qcow2_get_limits(f->img, NULL, NULL));
	REFUSED(qcow2_compare(f->img, f->img, NULL, NULL, NULL));
	REFUSED(qcow2_compact(f->img, NULL, NULL, NULL));
	REFUSED(qcow2_check_path("x", NULL, NULL, NULL));
	REFUSED(qcow2_check_store(f->store, NULL, NULL, NULL));
	REFUSED(qcow2_concat(&f->img, 1, NULL, NULL));
	REFUSED(qcow2_store_new(&ops, NULL, NULL, NULL));
	REFUSED(qcow2_store_new_memory(NULL, NULL));
	REFUSED(qcow2_store_new_memory_named("x", NULL, NULL));
	REFUSED(qcow2_store_open_file("x", 0, NULL, NULL));
	REFUSED(qcow2_store_open_fd(0, "x", 0, NULL, NULL));
	REFUSED(qcow2_store_size(f->store, NULL, NULL));
}

TEST_GROUP(setup, teardown)
