#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/zero.h"
#include "create/plan.h"
#include "rig.h"

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

static void a_file_becomes_zeros_of_the_size(void **state)
{
	static const uint64_t old_sizes[] = { 1, SIZE / 2, SIZE, SIZE * 3 };

	(void)state;
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

static void a_new_file_needs_no_flush(void **state)
{
	struct shim s = { 0 };
	CLEANUP_STORE struct qcow2_store *store = shim_store(&s);
	bool zeroed = false;

	(void)state;
	assert_int_equal(create_space_empty(store, SIZE, &zeroed, NULL), 0);
	assert_true(zeroed);
	assert_int_equal(size_of(store), SIZE);
	assert_int_equal(s.n_flushes, 0);
}

static void a_device_loses_its_magic_first(void **state)
{
	struct shim s = { 0 };
	CLEANUP_STORE struct qcow2_store *store = shim_store(&s);
	bool zeroed = true;

	(void)state;
	shim_become_device(&s, SIZE * 2);
	assert_int_equal(create_space_empty(store, SIZE, &zeroed, NULL), 0);
	assert_false(zeroed);
	assert_true(reads_as_zeros(store, 512));
	assert_false(reads_as_zeros(store, 513));
	assert_int_equal(s.n_flushes, 1);
}

static void a_device_that_is_too_small_is_refused(void **state)
{
	struct shim s = { 0 };
	CLEANUP_STORE struct qcow2_store *store = shim_store(&s);
	bool zeroed;

	(void)state;
	shim_become_device(&s, SIZE - 1);
	assert_int_equal(create_space_empty(store, SIZE, &zeroed, NULL),
			 -ENOSPC);
}

static void a_store_without_truncate_grows_by_a_write(void **state)
{
	struct shim s = { .no_truncate = true };
	CLEANUP_STORE struct qcow2_store *store = shim_store(&s);
	bool zeroed = false;

	(void)state;
	assert_int_equal(create_space_empty(store, SIZE, &zeroed, NULL), 0);
	assert_true(zeroed);
	assert_int_equal(size_of(store), SIZE);
	assert_int_equal(create_space_empty(store, SIZE, &zeroed, NULL), 0);
	assert_false(zeroed);
	assert_int_equal(size_of(store), SIZE);
}

static void every_mode_leaves_zeros_on_a_device(void **state)
{
	static const enum qcow2_preallocation modes[] = {
		QCOW2_PREALLOC_OFF,
		QCOW2_PREALLOC_METADATA,
		QCOW2_PREALLOC_FALLOC,
		QCOW2_PREALLOC_FULL,
	};

	(void)state;
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

static void full_writes_every_byte(void **state)
{
	struct shim s = { 0 };
	CLEANUP_STORE struct qcow2_store *store = shim_store(&s);
	bool zeroed;

	(void)state;
	assert_int_equal(create_space_empty(store, 9 * MIB + 1, &zeroed, NULL),
			 0);
	assert_int_equal(create_space_fill(store, 9 * MIB + 1, zeroed,
					   QCOW2_PREALLOC_FULL, NULL),
			 0);
	assert_int_equal(s.bytes_written, 9 * MIB + 1);
	assert_int_equal(size_of(store), 9 * MIB + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_becomes_zeros_of_the_size),
		cmocka_unit_test(a_new_file_needs_no_flush),
		cmocka_unit_test(a_device_loses_its_magic_first),
		cmocka_unit_test(a_device_that_is_too_small_is_refused),
		cmocka_unit_test(a_store_without_truncate_grows_by_a_write),
		cmocka_unit_test(every_mode_leaves_zeros_on_a_device),
		cmocka_unit_test(full_writes_every_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
