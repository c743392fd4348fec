/*
 * Several disks as one: the place of each, and the gaps between them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <qcow2.h>

#include "support/test.h"

enum { FIRST = 1000, SECOND = 70000, THIRD = 513 };

static const uint64_t sizes[] = { FIRST, SECOND, THIRD };
static const uint64_t begins[] = { 0, 1024, 1024 + 70144 };

struct three {
	struct qcow2_store *stores[3];
	struct qcow2_image *images[3];
	struct qcow2_image *all;
};

/* The second is a hole but for its last byte. */
static void setup_three(struct three *t)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	char bytes[FIRST];

	opts.format = QCOW2_FORMAT_RAW;
	for (int i = 0; i < 3; i++) {
		size_t n = i == 1 ? 1 : (size_t)sizes[i];

		memset(bytes, 'a' + i, sizeof(bytes));
		assert_int_equal(qcow2_store_new_memory(&t->stores[i], NULL),
				 0);
		assert_int_equal(qcow2_store_pwrite(t->stores[i], bytes, n,
						    sizes[i] - n, 0, NULL),
				 0);
		assert_int_equal(qcow2_open_store(t->stores[i], &opts,
						  &t->images[i], NULL),
				 0);
	}
	assert_int_equal(qcow2_concat(t->images, 3, &t->all, NULL), 0);
}

static void teardown_three(struct three *t)
{
	qcow2_close(t->all, NULL);
	for (int i = 0; i < 3; i++) {
		qcow2_close(t->images[i], NULL);
		qcow2_store_unref(t->stores[i]);
	}
}

static char expected(uint64_t off)
{
	for (int i = 2; i >= 0; i--) {
		if (off < begins[i])
			continue;
		if (off >= begins[i] + sizes[i])
			return 0;
		if (i == 1 && off != begins[1] + sizes[1] - 1)
			return 0;
		return (char)('a' + i);
	}
	return 0;
}

TEST(disks_begin_at_multiples_of_512)
{
	uint64_t size = begins[2] + sizes[2];
	char *buf = malloc(size);
	struct three t;

	setup_three(&t);
	assert_int_equal(qcow2_size(t.all), size);
	assert_int_equal(qcow2_pread(t.all, buf, size, 0, 0, NULL), 0);
	for (uint64_t i = 0; i < size; i++)
		assert_int_equal(buf[i], expected(i));
	teardown_three(&t);
	free(buf);
}

TEST(any_part_can_be_read)
{
	struct test_rng rng = test_rng_init(test_seed());
	uint64_t size = begins[2] + sizes[2];
	struct three t;
	char buf[3000];

	setup_three(&t);
	for (int i = 0; i < 500; i++) {
		uint64_t off = test_rng_below(&rng, size);
		uint64_t len = 1 + test_rng_below(&rng, sizeof(buf) - 1);

		if (len > size - off)
			len = size - off;
		assert_int_equal(qcow2_pread(t.all, buf, len, off, 0, NULL), 0);
		for (uint64_t j = 0; j < len; j++)
			assert_int_equal(buf[j], expected(off + j));
	}
	teardown_three(&t);
}

TEST(holes_are_seen_through)
{
	uint64_t size = begins[2] + sizes[2];
	struct three t;

	setup_three(&t);
	for (uint64_t off = 0; off < size;) {
		struct qcow2_extent x;

		assert_int_equal(qcow2_map(t.all, size - off, off, 0, &x, NULL),
				 0);
		for (uint64_t i = 0; (x.flags & QCOW2_EXTENT_ZERO) && i < x.len;
		     i++)
			assert_int_equal(expected(off + i), 0);
		off += x.len;
	}
	teardown_three(&t);
}

TEST(nothing_is_no_list)
{
	struct qcow2_image *none[] = { NULL };
	struct qcow2_image *out;

	assert_int_equal(qcow2_concat(none, 0, &out, NULL), -EINVAL);
	assert_int_equal(qcow2_concat(none, 1, &out, NULL), -EINVAL);
	assert_int_equal(qcow2_concat(NULL, 1, &out, NULL), -EINVAL);
}
