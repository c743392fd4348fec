#include <string.h>

#include "base/zero.h"
#include "create/plan.h"
#include "rig.h"
#include "support/test.h"

#define SIZE 10000

static void put(struct qcow2_store *store, uint64_t off, char c)
{
	assert_int_equal(store_pwrite(store, &c, 1, off, 0, NULL), 0);
}

static uint64_t size_of(struct qcow2_store *store)
{
	uint64_t size = 0;

	assert_int_equal(store_size(store, &size, NULL), 0);
	return size;
}

static bool reads_as_zeros(struct qcow2_store *store, uint64_t len)
{
	CLEANUP_FREE uint8_t *buf = malloc(len);

	assert_non_null(buf);
	assert_int_equal(store_pread(store, buf, len, 0, 0, NULL), 0);
	return is_zero(buf, len);
}

TEST(a_file_becomes_zeros_of_the_size)
{
	static const uint64_t old_sizes[] = { 1, SIZE / 2, SIZE, SIZE * 3 };

	for (size_t i = 0; i < 4; i++) {
		struct shim s = { 0 };
		CLEANUP_STORE struct qcow2_store *store = shim_store(&s);
		bool zeroed = false;

		put(store, 0, 'Q');
		put(store, old_sizes[i] - 1, 'x');
		assert_int_equal(create_space_empty(store, SIZE, &zeroed, NULL),
				 0);
		assert_true(zeroed);
		assert_int_equal(size_of(store), SIZE);
		assert_true(reads_as_zeros(store, SIZE));
		assert_int_equal(s.n_flushes, 1);
	}
}

TEST(a_new_file_needs_no_flush)
{
	struct shim s = { 0 };
	CLEANUP_STORE struct qcow2_store *store = shim_store(&s);
	bool zeroed = false;

	assert_int_equal(create_space_empty(store, SIZE, &zeroed, NULL), 0);
	assert_true(zeroed);
	assert_int_equal(size_of(store), SIZE);
	assert_int_equal(s.n_flushes, 0);
}

TEST(a_device_loses_its_magic_first)
{
	struct shim s = { 0 };
	CLEANUP_STORE struct qcow2_store *store = shim_store(&s);
	bool zeroed = true;

	shim_become_device(&s, SIZE * 2);
	assert_int_equal(create_space_empty(store, SIZE, &zeroed, NULL), 0);
	assert_false(zeroed);
	assert_true(reads_as_zeros(store, 512));
	assert_false(reads_as_zeros(store, 513));
	assert_int_equal(s.n_flushes, 1);
}

TEST(a_device_that_is_too_small_is_refused)
{
	struct shim s = { 0 };
	CLEANUP_STORE struct qcow2_store *store = shim_store(&s);
	bool zeroed;

	shim_become_device(&s, SIZE - 1);
	assert_int_equal(create_space_empty(store, SIZE, &zeroed, NULL),
			 -ENOSPC);
}

TEST(a_store_without_truncate_grows_by_a_write)
{
	struct shim s = { .no_truncate = true };
	CLEANUP_STORE struct qcow2_store *store = shim_store(&s);
	bool zeroed = false;

	assert_int_equal(create_space_empty(store, SIZE, &zeroed, NULL), 0);
	assert_true(zeroed);
	assert_int_equal(size_of(store), SIZE);
	assert_int_equal(create_space_empty(store, SIZE, &zeroed, NULL), 0);
	assert_false(zeroed);
	assert_int_equal(size_of(store), SIZE);
}

TEST(every_mode_leaves_zeros_on_a_device)
{
	static const enum qcow2_preallocation modes[] = {
		QCOW2_PREALLOC_OFF,
		QCOW2_PREALLOC_METADATA,
		QCOW2_PREALLOC_FALLOC,
		QCOW2_PREALLOC_FULL,
	};

	for (size_t i = 0; i < 4; i++) {
		struct shim s = { 0 };
		CLEANUP_STORE struct qcow2_store *store = shim_store(&s);

		shim_become_device(&s, SIZE * 2);
		assert_int_equal(
			create_space_fill(store, SIZE, false, modes[i], NULL),
			0);
		assert_true(reads_as_zeros(store, SIZE));
		assert_false(reads_as_zeros(store, SIZE + 1));
	}
}

TEST(full_writes_every_byte)
{
	struct shim s = { 0 };
	CLEANUP_STORE struct qcow2_store *store = shim_store(&s);
	bool zeroed;

	assert_int_equal(create_space_empty(store, 9 * MIB + 1, &zeroed, NULL),
			 0);
	assert_int_equal(create_space_fill(store, 9 * MIB + 1, zeroed,
					   QCOW2_PREALLOC_FULL, NULL),
			 0);
	assert_int_equal(s.bytes_written, 9 * MIB + 1);
	assert_int_equal(size_of(store), 9 * MIB + 1);
}
