#include "wrong_calls.h"

#include <errno.h>

#include "support/test.h"

#define WRONG(name) static int name(struct targets *t, struct qcow2_error *err)

/* A structure whose size was never set, and one with a number that no version
 * knows in @field. */
#define UNSET(type, macro)             \
	struct qcow2_##type s = macro; \
	s.struct_size = 0
#define BAD(type, macro, field, value) \
	struct qcow2_##type s = macro; \
	s.field = (value)

WRONG(check_without_size_of_the_result)
{
	BAD(check_opts, QCOW2_CHECK_OPTS_INIT, flags, QCOW2_CHECK_REPAIR_ALL);
	struct qcow2_check_result r = { 0 };

	return qcow2_check_store(t->broken, &s, &r, err);
}

WRONG(check_without_result)
{
	BAD(check_opts, QCOW2_CHECK_OPTS_INIT, flags, QCOW2_CHECK_REPAIR_ALL);

	return qcow2_check_store(t->broken, &s, NULL, err);
}

static int check_with(struct targets *t, const struct qcow2_check_opts *s,
		      struct qcow2_error *err)
{
	struct qcow2_check_result r = QCOW2_CHECK_RESULT_INIT;

	return qcow2_check_store(t->broken, s, &r, err);
}

WRONG(check_with_unset_options)
{
	UNSET(check_opts, QCOW2_CHECK_OPTS_INIT);
	s.flags = QCOW2_CHECK_REPAIR_ALL;
	return check_with(t, &s, err);
}

WRONG(check_with_an_unknown_flag)
{
	BAD(check_opts, QCOW2_CHECK_OPTS_INIT, flags,
	    QCOW2_CHECK_REPAIR_ALL | 0x80000000u);
	return check_with(t, &s, err);
}

WRONG(check_with_a_reserved_field)
{
	BAD(check_opts, QCOW2_CHECK_OPTS_INIT, budget.more[3], 1);
	s.flags = QCOW2_CHECK_REPAIR_ALL;
	return check_with(t, &s, err);
}

WRONG(repair_without_lock)
{
	BAD(check_opts, QCOW2_CHECK_OPTS_INIT, flags,
	    QCOW2_CHECK_REPAIR_ALL | QCOW2_CHECK_NO_LOCK);
	return check_with(t, &s, err);
}

static int dump_with(struct targets *t, const struct qcow2_dump_opts *s,
		     struct qcow2_error *err)
{
	return qcow2_dump_store(t->broken, s, err);
}

WRONG(dump_with_unset_options)
{
	UNSET(dump_opts, QCOW2_DUMP_OPTS_INIT);
	return dump_with(t, &s, err);
}

WRONG(dump_with_an_unknown_flag)
{
	BAD(dump_opts, QCOW2_DUMP_OPTS_INIT, flags, 0x80000000u);
	return dump_with(t, &s, err);
}

WRONG(compact_without_size_of_the_result)
{
	struct qcow2_compact_result r = { 0 };

	return qcow2_compact(t->img, NULL, &r, err);
}

static int compact_with(struct targets *t, const struct qcow2_compact_opts *s,
			struct qcow2_error *err)
{
	struct qcow2_compact_result r = QCOW2_COMPACT_RESULT_INIT;

	return qcow2_compact(t->img, s, &r, err);
}

WRONG(compact_with_unset_options)
{
	UNSET(compact_opts, QCOW2_COMPACT_OPTS_INIT);
	return compact_with(t, &s, err);
}

WRONG(compact_with_an_unknown_flag)
{
	BAD(compact_opts, QCOW2_COMPACT_OPTS_INIT, flags, 0x80000000u);
	return compact_with(t, &s, err);
}

WRONG(compact_with_a_level_that_is_none)
{
	BAD(compact_opts, QCOW2_COMPACT_OPTS_INIT, compress_level, 77);
	s.flags = QCOW2_COMPACT_COMPRESS;
	return compact_with(t, &s, err);
}

WRONG(compare_without_size_of_the_result)
{
	struct qcow2_compare_result r = { 0 };

	return qcow2_compare(t->img, t->dst, NULL, &r, err);
}

WRONG(compare_with_too_many_threads)
{
	struct qcow2_compare_result r = QCOW2_COMPARE_RESULT_INIT;
	BAD(compare_opts, QCOW2_COMPARE_OPTS_INIT, n_threads, UINT32_MAX);

	return qcow2_compare(t->img, t->dst, &s, &r, err);
}

WRONG(info_without_size)
{
	struct qcow2_info s = { 0 };

	return qcow2_get_info(t->img, 0, &s, err);
}

WRONG(info_of_no_layer)
{
	struct qcow2_info s = QCOW2_INFO_INIT;

	return qcow2_get_info(t->img, 1, &s, err);
}

WRONG(snapshot_info_of_none)
{
	struct qcow2_snapshot_info s = QCOW2_SNAPSHOT_INFO_INIT;

	return qcow2_get_snapshot(t->img, 1, &s, err);
}

WRONG(bitmap_info_of_none)
{
	struct qcow2_bitmap_info s = QCOW2_BITMAP_INFO_INIT;

	return qcow2_get_bitmap(t->img, 0, &s, err);
}

WRONG(luks_info_without_size)
{
	struct qcow2_luks_info s = { 0 };

	return qcow2_get_luks(t->img, &s, err);
}

WRONG(map_without_out)
{
	return qcow2_map(t->img, 1, 0, 0, NULL, err);
}

WRONG(map_of_nothing)
{
	struct qcow2_extent x;

	return qcow2_map(t->img, 0, 0, 0, &x, err);
}

WRONG(map_with_an_unknown_flag)
{
	struct qcow2_extent x;

	return qcow2_map(t->img, 1, 0, 0x80000000u, &x, err);
}

WRONG(read_without_buffer)
{
	return qcow2_pread(t->img, NULL, 1, 0, 0, err);
}

WRONG(write_without_buffer)
{
	return qcow2_pwrite(t->img, NULL, 1, 0, 0, err);
}

WRONG(write_past_the_end)
{
	return qcow2_pwrite(t->img, "x", 1, DISK_BYTES, 0, err);
}

WRONG(write_with_a_flag_of_zero)
{
	return qcow2_pwrite(t->img, "x", 1, 0, QCOW2_ZERO_MAY_UNMAP, err);
}

WRONG(zero_with_an_unknown_flag)
{
	return qcow2_zero(t->img, CLUSTER, 0, 0x80000000u, err);
}

WRONG(discard_with_a_flag_of_zero)
{
	return qcow2_discard(t->img, CLUSTER, 0, QCOW2_ZERO_MAY_UNMAP, err);
}

WRONG(discard_past_the_end)
{
	return qcow2_discard(t->img, CLUSTER + 1, DISK_BYTES - CLUSTER, 0, err);
}

WRONG(compressed_write_without_buffer)
{
	return qcow2_write_compressed(t->img, NULL, CLUSTER, 0, 0, err);
}

WRONG(compressed_write_without_waiting)
{
	static const uint8_t cluster[CLUSTER];

	return qcow2_write_compressed(t->img, cluster, CLUSTER, 0, QCOW2_NOWAIT,
				      err);
}

WRONG(compressed_write_of_half_a_cluster)
{
	static const uint8_t cluster[CLUSTER];

	return qcow2_write_compressed(t->img, cluster, CLUSTER / 2, 0, 0, err);
}

WRONG(resize_with_unset_options)
{
	UNSET(resize_opts, QCOW2_RESIZE_OPTS_INIT);
	return qcow2_resize(t->img, 2 * DISK_BYTES, &s, err);
}

WRONG(resize_with_an_unknown_preallocation)
{
	BAD(resize_opts, QCOW2_RESIZE_OPTS_INIT, preallocation, 4);
	return qcow2_resize(t->img, 2 * DISK_BYTES, &s, err);
}

WRONG(resize_to_half_a_sector)
{
	return qcow2_resize(t->img, 2 * DISK_BYTES + 1, NULL, err);
}

WRONG(shrinking_that_was_not_allowed)
{
	return qcow2_resize(t->img, CLUSTER, NULL, err);
}

/* The size is the second thing that amend changes. */
WRONG(amend_to_version_2_and_half_a_sector)
{
	BAD(amend_opts, QCOW2_AMEND_OPTS_INIT, size, DISK_BYTES + 1);
	s.set = QCOW2_AMEND_SIZE | QCOW2_AMEND_REFCOUNT_BITS;
	s.refcount_bits = 32;
	return qcow2_amend(t->img, &s, err);
}

WRONG(amend_with_a_truth_of_two)
{
	BAD(amend_opts, QCOW2_AMEND_OPTS_INIT, lazy_refcounts, 2);
	s.set = QCOW2_AMEND_LAZY_REFCOUNTS;
	return qcow2_amend(t->img, &s, err);
}

WRONG(amend_of_unknown_fields)
{
	BAD(amend_opts, QCOW2_AMEND_OPTS_INIT, set, 0x80000000u);
	return qcow2_amend(t->img, &s, err);
}

WRONG(amend_to_a_backing_file_without_format)
{
	BAD(amend_opts, QCOW2_AMEND_OPTS_INIT, backing_file, "base");
	s.set = QCOW2_AMEND_BACKING | QCOW2_AMEND_REFCOUNT_BITS;
	s.refcount_bits = 32;
	return qcow2_amend(t->img, &s, err);
}

WRONG(snapshot_without_name)
{
	return qcow2_snapshot_create(t->img, NULL, NULL, err);
}

/* D16 */
WRONG(snapshot_with_an_empty_name)
{
	return qcow2_snapshot_create(t->img, "", NULL, err);
}

WRONG(snapshot_whose_name_is_not_utf8)
{
	return qcow2_snapshot_create(t->img, "caf\xe9", NULL, err);
}

WRONG(snapshot_with_unset_options)
{
	UNSET(snapshot_opts, QCOW2_SNAPSHOT_OPTS_INIT);
	return qcow2_snapshot_create(t->img, "a", &s, err);
}

WRONG(snapshot_with_a_flag)
{
	BAD(snapshot_opts, QCOW2_SNAPSHOT_OPTS_INIT, flags, 1);
	return qcow2_snapshot_create(t->img, "a", &s, err);
}

WRONG(vm_state_without_buffer)
{
	return qcow2_vmstate_write(t->img, NULL, 1, 0, err);
}

WRONG(vm_state_past_every_end)
{
	return qcow2_vmstate_write(t->img, "x", 1, UINT64_MAX, err);
}

static int create_with(struct targets *t, const struct qcow2_create_opts *s,
		       struct qcow2_error *err)
{
	int rc = qcow2_create_path(TARGET, s, err);

	assert_int_equal(rc, -EINVAL);
	return qcow2_create_store(t->broken, NULL, s, err);
}

WRONG(create_with_unset_options)
{
	UNSET(create_opts, QCOW2_CREATE_OPTS_INIT);
	s.virtual_size = CLUSTER;
	return create_with(t, &s, err);
}

WRONG(create_with_an_unknown_flag)
{
	BAD(create_opts, QCOW2_CREATE_OPTS_INIT, flags, 0x80000000u);
	s.virtual_size = CLUSTER;
	return create_with(t, &s, err);
}

WRONG(create_with_an_unknown_compression)
{
	BAD(create_opts, QCOW2_CREATE_OPTS_INIT, compression, 7);
	s.virtual_size = CLUSTER;
	return create_with(t, &s, err);
}

static int convert_with(struct targets *t, const struct qcow2_convert_opts *s,
			struct qcow2_error *err)
{
	int rc = qcow2_convert_into(t->img, t->dst, s, err);

	assert_int_equal(rc, -EINVAL);
	return qcow2_convert(t->img, TARGET, s, NULL, err);
}

WRONG(convert_with_unset_options)
{
	UNSET(convert_opts, QCOW2_CONVERT_OPTS_INIT);
	return convert_with(t, &s, err);
}

WRONG(convert_with_a_level_that_is_none)
{
	BAD(convert_opts, QCOW2_CONVERT_OPTS_INIT, compress_level, 77);
	s.flags = QCOW2_CONVERT_COMPRESS;
	return convert_with(t, &s, err);
}

WRONG(convert_with_a_preallocation_that_is_none)
{
	BAD(convert_opts, QCOW2_CONVERT_OPTS_INIT, preallocation, 77);
	return convert_with(t, &s, err);
}

WRONG(convert_with_odd_holes)
{
	BAD(convert_opts, QCOW2_CONVERT_OPTS_INIT, sparse_bytes, 100);
	return convert_with(t, &s, err);
}

WRONG(convert_to_raw_with_a_level)
{
	BAD(convert_opts, QCOW2_CONVERT_OPTS_INIT, compress_level, 1);
	int rc = qcow2_convert_raw_store(t->img, t->broken, &s, err);

	assert_int_equal(rc, -EINVAL);
	return qcow2_convert_raw(t->img, TARGET, &s, err);
}

static int open_with(struct targets *t, const struct qcow2_open_opts *s,
		     struct qcow2_error *err)
{
	struct qcow2_image *img;

	return qcow2_open_store(t->broken, s, &img, err);
}

WRONG(open_without_out)
{
	return qcow2_open_store(t->broken, NULL, NULL, err);
}

WRONG(open_with_unset_options)
{
	UNSET(open_opts, QCOW2_OPEN_OPTS_INIT);
	return open_with(t, &s, err);
}

WRONG(open_with_an_unknown_flag)
{
	BAD(open_opts, QCOW2_OPEN_OPTS_INIT, flags,
	    QCOW2_OPEN_RDWR | 0x80000000u);
	return open_with(t, &s, err);
}

WRONG(open_with_a_reserved_field_of_the_budget)
{
	BAD(open_opts, QCOW2_OPEN_OPTS_INIT, budget.reserved, 1);
	s.flags = QCOW2_OPEN_RDWR;
	return open_with(t, &s, err);
}

/* A dirty image would have been repaired on the way. */
WRONG(open_of_a_snapshot_for_writing)
{
	BAD(open_opts, QCOW2_OPEN_OPTS_INIT, snapshot, "a");
	s.flags = QCOW2_OPEN_RDWR;
	return open_with(t, &s, err);
}

/* D16 */
WRONG(open_of_a_chain_of_metadata_with_data)
{
	BAD(open_opts, QCOW2_OPEN_OPTS_INIT, flags, QCOW2_OPEN_METADATA_CHAIN);
	return open_with(t, &s, err);
}

WRONG(open_with_a_slice_that_is_none)
{
	BAD(open_opts, QCOW2_OPEN_OPTS_INIT, l2_slice_bytes, 513);
	s.flags = QCOW2_OPEN_RDWR;
	return open_with(t, &s, err);
}

WRONG(open_with_an_unset_gate)
{
	struct qcow2_gate gate = { 0 };
	BAD(open_opts, QCOW2_OPEN_OPTS_INIT, gate, &gate);

	s.flags = QCOW2_OPEN_RDWR;
	return open_with(t, &s, err);
}

WRONG(concat_of_nothing)
{
	struct qcow2_image *img;

	(void)t;
	return qcow2_concat(NULL, 0, &img, err);
}

WRONG(store_without_operations)
{
	struct qcow2_store *store;

	(void)t;
	return qcow2_store_new(NULL, NULL, &store, err);
}

WRONG(store_read_past_every_end)
{
	uint8_t byte;

	return qcow2_store_pread(t->broken, &byte, 1, UINT64_MAX, 0, err);
}

WRONG(store_write_without_buffer)
{
	return qcow2_store_pwrite(t->broken, NULL, 1, 0, 0, err);
}

WRONG(store_write_with_an_unknown_flag)
{
	return qcow2_store_pwrite(t->broken, "x", 1, 0, 0x80000000u, err);
}

WRONG(store_file_created_for_reading)
{
	struct qcow2_store *store;

	(void)t;
	return qcow2_store_open_file(TARGET, QCOW2_STORE_CREATE, &store, err);
}

#define CALL(name)          \
	{                   \
#name, name \
	}

const struct wrong_call wrong_calls[] = {
	CALL(check_without_size_of_the_result),
	CALL(check_without_result),
	CALL(check_with_unset_options),
	CALL(check_with_an_unknown_flag),
	CALL(check_with_a_reserved_field),
	CALL(repair_without_lock),
	CALL(dump_with_unset_options),
	CALL(dump_with_an_unknown_flag),
	CALL(compact_without_size_of_the_result),
	CALL(compact_with_unset_options),
	CALL(compact_with_an_unknown_flag),
	CALL(compact_with_a_level_that_is_none),
	CALL(compare_without_size_of_the_result),
	CALL(compare_with_too_many_threads),
	CALL(info_without_size),
	CALL(info_of_no_layer),
	CALL(snapshot_info_of_none),
	CALL(bitmap_info_of_none),
	CALL(luks_info_without_size),
	CALL(map_without_out),
	CALL(map_of_nothing),
	CALL(map_with_an_unknown_flag),
	CALL(read_without_buffer),
	CALL(write_without_buffer),
	CALL(write_past_the_end),
	CALL(write_with_a_flag_of_zero),
	CALL(zero_with_an_unknown_flag),
	CALL(discard_with_a_flag_of_zero),
	CALL(discard_past_the_end),
	CALL(compressed_write_without_buffer),
	CALL(compressed_write_without_waiting),
	CALL(compressed_write_of_half_a_cluster),
	CALL(resize_with_unset_options),
	CALL(resize_with_an_unknown_preallocation),
	CALL(resize_to_half_a_sector),
	CALL(shrinking_that_was_not_allowed),
	CALL(amend_to_version_2_and_half_a_sector),
	CALL(amend_with_a_truth_of_two),
	CALL(amend_of_unknown_fields),
	CALL(amend_to_a_backing_file_without_format),
	CALL(snapshot_without_name),
	CALL(snapshot_with_an_empty_name),
	CALL(snapshot_whose_name_is_not_utf8),
	CALL(snapshot_with_unset_options),
	CALL(snapshot_with_a_flag),
	CALL(vm_state_without_buffer),
	CALL(vm_state_past_every_end),
	CALL(create_with_unset_options),
	CALL(create_with_an_unknown_flag),
	CALL(create_with_an_unknown_compression),
	CALL(convert_with_unset_options),
	CALL(convert_with_a_level_that_is_none),
	CALL(convert_with_a_preallocation_that_is_none),
	CALL(convert_with_odd_holes),
	CALL(convert_to_raw_with_a_level),
	CALL(open_without_out),
	CALL(open_with_unset_options),
	CALL(open_with_an_unknown_flag),
	CALL(open_with_a_reserved_field_of_the_budget),
	CALL(open_of_a_snapshot_for_writing),
	CALL(open_of_a_chain_of_metadata_with_data),
	CALL(open_with_a_slice_that_is_none),
	CALL(open_with_an_unset_gate),
	CALL(concat_of_nothing),
	CALL(store_without_operations),
	CALL(store_read_past_every_end),
	CALL(store_write_without_buffer),
	CALL(store_write_with_an_unknown_flag),
	CALL(store_file_created_for_reading),
};

const size_t n_wrong_calls = sizeof(wrong_calls) / sizeof(*wrong_calls);
