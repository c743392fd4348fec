/* Arguments of the whole-disk jobs, over raw disks in memory. */
#include <errno.h>
#include <string.h>

#include <qcow2.h>

#include "support/test.h"

#define DISK_BYTES 65536

static struct qcow2_image *open_disk(struct qcow2_store **store, uint8_t fill)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_image *img;
	uint8_t bytes[DISK_BYTES];

	memset(bytes, fill, sizeof(bytes));
	assert_int_equal(qcow2_store_new_memory(store, NULL), 0);
	assert_int_equal(
		qcow2_store_pwrite(*store, bytes, sizeof(bytes), 0, 0, NULL),
		0);
	opts.format = QCOW2_FORMAT_RAW;
	assert_int_equal(qcow2_open_store(*store, &opts, &img, NULL), 0);
	return img;
}

struct fixture {
	struct qcow2_store *store;
	struct qcow2_store *target;
	struct qcow2_image *img;
	struct qcow2_convert_opts convert;
	struct qcow2_compare_opts compare;
	struct qcow2_compare_result result;
};

static int setup(void **state)
{
	static struct fixture f;

	f = (struct fixture){
		.convert = QCOW2_CONVERT_OPTS_INIT,
		.compare = QCOW2_COMPARE_OPTS_INIT,
		.result = { .struct_size = sizeof(f.result) },
	};
	f.img = open_disk(&f.store, 7);
	*state = &f;
	return qcow2_store_new_memory(&f.target, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	qcow2_store_unref(f->target);
	qcow2_close(f->img, NULL);
	qcow2_store_unref(f->store);
	return 0;
}

static int convert(struct fixture *f)
{
	return qcow2_convert_raw_store(f->img, f->target, &f->convert, NULL);
}

static int compare(struct fixture *f)
{
	return qcow2_compare(f->img, f->img, &f->compare, &f->result, NULL);
}

TEST_WITH(converts_with_default_options, setup, teardown)
{
	struct fixture *f = *state;
	uint8_t last = 0;
	uint64_t size;

	assert_int_equal(qcow2_convert_raw_store(f->img, f->target, NULL, NULL),
			 0);
	assert_int_equal(qcow2_store_size(f->target, &size, NULL), 0);
	assert_int_equal(size, DISK_BYTES);
	assert_int_equal(
		qcow2_store_pread(f->target, &last, 1, DISK_BYTES - 1, 0, NULL),
		0);
	assert_int_equal(last, 7);
}

TEST_WITH(compares_with_default_options, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_store *store;
	struct qcow2_image *other = open_disk(&store, 8);

	assert_int_equal(qcow2_compare(f->img, f->img, NULL, &f->result, NULL),
			 0);
	assert_int_equal(f->result.difference, QCOW2_IDENTICAL);
	assert_int_equal(qcow2_compare(f->img, other, NULL, &f->result, NULL),
			 0);
	assert_int_equal(f->result.difference, QCOW2_DIFFERENT_CONTENT);
	assert_int_equal(f->result.struct_size, sizeof(f->result));
	qcow2_close(other, NULL);
	qcow2_store_unref(store);
}

TEST_WITH(refuses_missing_arguments, setup, teardown)
{
	struct fixture *f = *state;

	assert_int_equal(qcow2_convert_raw(NULL, "x", NULL, NULL), -EINVAL);
	assert_int_equal(qcow2_convert_raw(f->img, NULL, NULL, NULL), -EINVAL);
	assert_int_equal(qcow2_convert_raw_store(f->img, NULL, NULL, NULL),
			 -EINVAL);
	assert_int_equal(qcow2_convert_raw_store(NULL, f->target, NULL, NULL),
			 -EINVAL);
	assert_int_equal(qcow2_compare(f->img, NULL, NULL, &f->result, NULL),
			 -EINVAL);
	assert_int_equal(qcow2_compare(NULL, f->img, NULL, &f->result, NULL),
			 -EINVAL);
	assert_int_equal(qcow2_compare(f->img, f->img, NULL, NULL, NULL),
			 -EINVAL);
	f->result.struct_size = 0;
	assert_int_equal(compare(f), -EINVAL);
}

TEST_WITH(refuses_flags_it_does_not_know, setup, teardown)
{
	struct fixture *f = *state;

	f->convert.flags = 0x8;
	assert_int_equal(convert(f), -EINVAL);
	f->compare.flags = 0x2;
	assert_int_equal(compare(f), -EINVAL);
}

TEST_WITH(limits_the_number_of_threads, setup, teardown)
{
	struct fixture *f = *state;

	f->convert.n_threads = 1024;
	f->compare.n_threads = 1024;
	assert_int_equal(convert(f), 0);
	assert_int_equal(compare(f), 0);
	f->convert.n_threads = 1025;
	f->compare.n_threads = 1025;
	assert_int_equal(convert(f), -EINVAL);
	assert_int_equal(compare(f), -EINVAL);
}

TEST_WITH(limits_sparse_bytes, setup, teardown)
{
	static const struct {
		uint64_t sparse_bytes;
		int rc;
	} cases[] = {
		{ 0, 0 },
		{ 512, 0 },
		{ 1536, 0 },
		{ 16 * 1024 * 1024, 0 },
		{ QCOW2_CONVERT_NOT_SPARSE, 0 },
		{ 1, -EINVAL },
		{ 4097, -EINVAL },
		{ 16 * 1024 * 1024 + 512, -EINVAL },
		{ UINT64_MAX - 511, -EINVAL },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		f->convert.sparse_bytes = cases[i].sparse_bytes;
		assert_int_equal(convert(f), cases[i].rc);
	}
}

TEST_WITH(a_store_cannot_become_direct, setup, teardown)
{
	struct fixture *f = *state;

	f->convert.flags = QCOW2_CONVERT_DIRECT;
	assert_int_equal(convert(f), -EINVAL);
}

TEST_WITH(takes_options_of_older_callers, setup, teardown)
{
	struct fixture *f = *state;

	f->convert.struct_size = offsetof(struct qcow2_convert_opts, n_threads);
	f->convert.n_threads = 5000; /* not part of that structure */
	assert_int_equal(convert(f), 0);
}

TEST_WITH(refuses_a_target_that_cannot_be_written, setup, teardown)
{
	struct fixture *f = *state;

	assert_int_equal(qcow2_convert_raw(f->img, "/dev/null", NULL, NULL),
			 -EINVAL);
	assert_int_equal(qcow2_convert_raw(f->img, "no/such/dir/x", NULL, NULL),
			 -ENOENT);
}
