#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "create/create.h"
#include "format/limits.h"
#include "rig.h"
#include "support/test.h"

static const struct qcow2_create_opts varied[] = {
	{ .struct_size = sizeof(struct qcow2_create_opts),
	  .virtual_size = 3 * MIB },
	{ .struct_size = sizeof(struct qcow2_create_opts),
	  .virtual_size = 3 * MIB,
	  .cluster_size = 4096,
	  .backing_file = "a-rather-long-name-of-a-backing-file",
	  .backing_format = "qcow2",
	  .version = 2 },
	{ .struct_size = sizeof(struct qcow2_create_opts),
	  .virtual_size = 3 * MIB + 512,
	  .preallocation = QCOW2_PREALLOC_METADATA,
	  .refcount_bits = 1 },
	{ .struct_size = sizeof(struct qcow2_create_opts),
	  .virtual_size = 3 * MIB,
	  .preallocation = QCOW2_PREALLOC_FULL,
	  .flags = QCOW2_CREATE_EXTENDED_L2,
	  .backing_file = "b",
	  .backing_format = "raw" },
	{ .struct_size = sizeof(struct qcow2_create_opts),
	  .virtual_size = 3 * MIB,
	  .preallocation = QCOW2_PREALLOC_FALLOC,
	  .data_file = "d",
	  .flags = QCOW2_CREATE_DATA_FILE_RAW },
};
#define N_VARIED (sizeof(varied) / sizeof(varied[0]))

TEST(the_same_options_make_the_same_bytes)
{
	for (size_t i = 0; i < N_VARIED; i++) {
		struct qcow2_store *file[2];
		struct qcow2_store *data[2];
		uint8_t *bytes[2];
		uint64_t size[2];

		for (int k = 0; k < 2; k++) {
			create_in_memory(&file[k], &data[k], &varied[i]);
			bytes[k] = slurp(file[k], &size[k]);
		}
		assert_int_equal(size[0], size[1]);
		assert_memory_equal(bytes[0], bytes[1], size[0]);
		for (int k = 0; k < 2; k++) {
			free(bytes[k]);
			store_unref(file[k]);
			store_unref(data[k]);
		}
	}
}

static bool has_magic(struct shim *s)
{
	uint8_t magic[4];

	assert_int_equal(store_pread(s->inner, magic, 4, 0, 0, NULL), 0);
	return get_be32(magic) == HEADER_MAGIC;
}

/* The file is no image before it is one again: over the remains of an old one,
 * on a file and on a device, the n-th call fails. */
static bool fail_nth(const struct qcow2_create_opts *o, unsigned nth,
		     bool device, bool fail_data)
{
	struct shim f = { 0 };
	struct shim d = { 0 };
	CLEANUP_STORE struct qcow2_store *file = shim_store(&f);
	CLEANUP_STORE struct qcow2_store *data = NULL;
	struct qcow2_error err = { 0 };
	int rc;

	if (device)
		shim_become_device(&f, 8 * MIB);
	assert_int_equal(store_pwrite(f.inner, "QFI\xfb", 4, 0, 0, NULL), 0);
	if (o->data_file)
		data = shim_store(&d);
	(fail_data ? &d : &f)->fail_at = nth;
	rc = create_image(file, data, o, &err);
	if (!rc) {
		assert_true(has_magic(&f));
		assert_true((fail_data ? &d : &f)->calls < nth);
		return false;
	}
	assert_int_equal(rc, -EIO);
	assert_int_equal(err.code, -EIO);
	/* The first calls leave the old bytes, the last is after the header. */
	if (f.n_flushes == 1 || f.n_flushes == 2)
		assert_false(has_magic(&f));
	return true;
}

TEST_SLOW(any_failing_call_is_reported_and_leaves_no_image)
{
	for (size_t i = 0; i < N_VARIED; i++)
		for (int variant = 0; variant < 4; variant++) {
			bool fail_data = variant & 2;
			unsigned nth = 1;

			if (fail_data && !varied[i].data_file)
				continue;
			while (fail_nth(&varied[i], nth, variant & 1,
					fail_data))
				nth++;
			assert_true(nth > 3);
		}
}

TEST(the_first_sector_is_written_last_between_flushes)
{
	for (size_t i = 0; i < N_VARIED; i++) {
		struct shim f = { 0 };
		struct shim d = { 0 };
		CLEANUP_STORE struct qcow2_store *file = shim_store(&f);
		CLEANUP_STORE struct qcow2_store *data = NULL;

		if (varied[i].data_file)
			data = shim_store(&d);
		assert_int_equal(create_image(file, data, &varied[i], NULL), 0);
		assert_int_equal(f.last_write_off, 0);
		assert_int_equal(f.last_write_len, 512);
		assert_int_equal(f.flushes_before_last_write, 1);
		assert_int_equal(f.n_flushes, 2);
		assert_int_equal(d.n_flushes, data ? 1 : 0);
	}
}

TEST(an_image_on_a_device_owes_nothing_to_old_bytes)
{
	for (size_t i = 0; i < N_VARIED; i++) {
		struct shim s = { 0 };
		CLEANUP_STORE struct qcow2_store *device = shim_store(&s);
		CLEANUP_STORE struct qcow2_store *data = NULL;
		CLEANUP_STORE struct qcow2_store *file = NULL;
		CLEANUP_STORE struct qcow2_store *file_data = NULL;
		CLEANUP_FREE uint8_t *a = NULL;
		CLEANUP_FREE uint8_t *b = NULL;
		uint64_t size;
		uint64_t device_size;

		shim_become_device(&s, 8 * MIB);
		create_in_memory(&file, &file_data, &varied[i]);
		if (file_data)
			assert_int_equal(store_mem_new(&data, NULL), 0);
		assert_int_equal(create_image(device, data, &varied[i], NULL),
				 0);
		a = slurp(file, &size);
		b = slurp(device, &device_size);
		assert_int_equal(device_size, 8 * MIB);
		assert_memory_equal(a, b, size);
	}
}

TEST(tables_are_written_in_large_pieces)
{
	struct qcow2_create_opts o = { .struct_size = sizeof(o),
				       .virtual_size = 64 * GIB,
				       .preallocation =
					       QCOW2_PREALLOC_METADATA };
	struct shim s = { 0 };
	CLEANUP_STORE struct qcow2_store *file = shim_store(&s);

	assert_int_equal(create_image(file, NULL, &o, NULL), 0);
	/* 8 MiB of L2 tables, 2 MiB of refcount blocks. */
	assert_true(s.bytes_written < 11 * MIB);
	assert_true(s.n_writes < 20);
}

TEST(a_data_store_comes_with_a_data_file_name)
{
	struct qcow2_create_opts o = { .struct_size = sizeof(o) };
	CLEANUP_STORE struct qcow2_store *file = NULL;
	CLEANUP_STORE struct qcow2_store *data = NULL;

	assert_int_equal(store_mem_new(&file, NULL), 0);
	assert_int_equal(store_mem_new(&data, NULL), 0);
	assert_int_equal(create_image(file, data, &o, NULL), -EINVAL);
	o.data_file = "d";
	assert_int_equal(create_image(file, NULL, &o, NULL), -EINVAL);
	assert_int_equal(create_image(file, file, &o, NULL), -EINVAL);
	assert_int_equal(create_image(file, data, &o, NULL), 0);
}
