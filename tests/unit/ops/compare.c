#include "ops/compare.h"

#include <errno.h>
#include <string.h>

#include "fake_disk.h"
#include "sink.h"
#include "watch.h"

#define KIB 1024
#define MIB (1024 * 1024)

struct outcome {
	struct qcow2_compare_result result;
	struct qcow2_error err;
	int rc;
};

static struct outcome compare(struct disk *a, struct disk *b, uint32_t flags,
			      uint32_t n_threads)
{
	struct qcow2_compare_opts opts = QCOW2_COMPARE_OPTS_INIT;
	struct outcome o = { 0 };

	opts.flags = flags;
	opts.n_threads = n_threads;
	o.rc = ops_compare(a, b, &opts, &o.result, &o.err);
	return o;
}

#define assert_outcome(o, want, at) check_outcome(o, want, at, __LINE__)

static void check_outcome(struct outcome o, enum qcow2_difference want,
			  uint64_t off, int line)
{
	if (o.rc || o.result.failed_image || o.result.difference != want ||
	    o.result.offset != off)
		fail_msg("line %d: rc %d, image %u, difference %d at %llu",
			 line, o.rc, o.result.failed_image, o.result.difference,
			 (unsigned long long)o.result.offset);
}

/* A disk with the bytes of @d, cut into other extents. */
static struct disk *same_bytes_of(const struct disk *d, struct test_rng *r)
{
	struct disk *copy = fake_new(65536);

	while (copy->size < d->size) {
		uint64_t off = copy->size;
		uint64_t len = 512 * (1 + test_rng_below(r, 500));
		bool zero = true;

		if (len > d->size - off)
			len = d->size - off;
		for (uint64_t i = 0; i < len; i++)
			zero &= !d->bytes[off + i];
		if (zero && test_rng_below(r, 2)) {
			fake_add(copy, len, FAKE_HOLE);
			continue;
		}
		fake_add(copy, len, FAKE_DATA);
		memcpy(copy->bytes + off, d->bytes + off, len);
	}
	return copy;
}

TEST(equal_bytes_in_any_layout_are_identical)
{
	struct test_rng r = test_rng_init(test_seed());

	for (uint32_t n = 1; n <= 8; n++) {
		struct disk *a = fake_new(512u << test_rng_below(&r, 13));
		struct disk *b;
		struct outcome o;

		fake_add_random(a, &r, 512 * (1 + test_rng_below(&r, 10000)));
		b = same_bytes_of(a, &r);
		o = compare(a, b, 0, n);
		assert_outcome(o, QCOW2_IDENTICAL, 0);
		assert_int_equal(o.result.sizes_differ, 0);
		fake_free(a);
		fake_free(b);
	}
}

/* Changes one byte of data; returns the sector it is in. */
static uint64_t change_a_byte(struct disk *d, struct test_rng *r)
{
	for (;;) {
		uint64_t off = test_rng_below(r, d->size);
		size_t i = 0;

		while (off >= d->extents[i].off + d->extents[i].len)
			i++;
		if (d->extents[i].flags & QCOW2_EXTENT_ZERO)
			continue;
		d->bytes[off] ^= 0x80;
		return off / 512 * 512;
	}
}

TEST_SLOW(the_first_difference_is_found_by_any_threads)
{
	struct test_rng r = test_rng_init(test_seed());

	for (unsigned i = 0; i < 12; i++) {
		uint64_t first = UINT64_MAX;
		struct disk *a = fake_new(65536);
		struct disk *b;

		fake_add_random(a, &r, 6 * MIB);
		fake_add(a, 512, FAKE_DATA);
		b = same_bytes_of(a, &r);
		for (uint64_t k = 0; k < 1 + i % 6; k++) {
			struct disk *d = test_rng_below(&r, 2) ? a : b;
			uint64_t sector = change_a_byte(d, &r);

			if (sector < first)
				first = sector;
		}
		for (uint32_t n = 1; n <= 8; n += 1 + i % 3)
			assert_outcome(compare(a, b, 0, n),
				       QCOW2_DIFFERENT_CONTENT, first);
		fake_free(a);
		fake_free(b);
	}
}

TEST(zeros_stored_or_not_are_the_same)
{
	struct disk *a = fake_new(65536);
	struct disk *b = fake_new(65536);

	fake_add(a, 3 * MIB, FAKE_DATA);
	memset(a->bytes, 0, 3 * MIB);
	fake_add(b, MIB, FAKE_HOLE);
	fake_add(b, 2 * MIB, FAKE_ZERO);
	assert_outcome(compare(a, b, 0, 2), QCOW2_IDENTICAL, 0);
	assert_int_equal(b->n_reads, 0);
	a->bytes[2 * MIB + 700] = 1;
	assert_outcome(compare(a, b, 0, 2), QCOW2_DIFFERENT_CONTENT,
		       2 * MIB + 512);
	assert_outcome(compare(b, a, 0, 2), QCOW2_DIFFERENT_CONTENT,
		       2 * MIB + 512);
	fake_free(a);
	fake_free(b);
}

TEST(what_is_past_the_shorter_must_be_zero)
{
	struct disk *a = fake_new(65536);
	struct disk *b = fake_new(65536);
	struct outcome o;

	fake_add(a, MIB, FAKE_DATA);
	fake_add(b, MIB, FAKE_DATA);
	fake_add(b, 3 * MIB, FAKE_DATA);
	memset(b->bytes + MIB, 0, 3 * MIB);
	o = compare(a, b, 0, 3);
	assert_outcome(o, QCOW2_IDENTICAL, 0);
	assert_int_equal(o.result.sizes_differ, 1);
	b->bytes[3 * MIB] = 1;
	assert_outcome(compare(a, b, 0, 3), QCOW2_DIFFERENT_CONTENT, 3 * MIB);
	assert_outcome(compare(b, a, 0, 3), QCOW2_DIFFERENT_CONTENT, 3 * MIB);
	fake_free(a);
	fake_free(b);
}

/* Sizes that are no multiples of a sector: the sector that has the end of the
 * shorter disk in it is compared as if zeros followed. */
TEST(odd_sizes_are_compared_to_the_last_byte)
{
	struct disk *a = fake_new(65536);
	struct disk *b = fake_new(65536);

	fake_add(a, 1000, FAKE_DATA);
	fake_add(b, 1000, FAKE_DATA);
	fake_add(b, 3096, FAKE_DATA);
	memset(b->bytes + 1000, 0, 3096);
	assert_outcome(compare(a, b, 0, 1), QCOW2_IDENTICAL, 0);
	b->bytes[1010] = 1;
	assert_outcome(compare(a, b, 0, 1), QCOW2_DIFFERENT_CONTENT, 512);
	b->bytes[1010] = 0;
	b->bytes[1600] = 1;
	assert_outcome(compare(a, b, 0, 1), QCOW2_DIFFERENT_CONTENT, 1536);
	fake_free(a);
	fake_free(b);
}

/* The end of the shorter disk is compared in a buffer that was in use. */
TEST(nothing_is_left_in_the_buffer_past_an_odd_end)
{
	struct disk *a = fake_new(65536);
	struct disk *b = fake_new(65536);

	fake_add(a, 8 * MIB + 1000, FAKE_DATA);
	fake_add(b, 8 * MIB + 1000, FAKE_DATA);
	fake_add(b, 65536, FAKE_DATA);
	memset(b->bytes + 8 * MIB + 1000, 0, 65536);
	assert_outcome(compare(a, b, 0, 1), QCOW2_IDENTICAL, 0);
	fake_free(a);
	fake_free(b);
}

TEST(sectors_are_counted_from_the_start_of_the_disk)
{
	struct disk *a = fake_new(65536);
	struct disk *b = fake_new(65536);

	fake_add(a, 1000, FAKE_HOLE);
	fake_add(b, 1000, FAKE_HOLE);
	fake_add(b, 65536, FAKE_DATA);
	memset(b->bytes + 1000, 0, 65536);
	b->bytes[1600] = 1;
	assert_outcome(compare(a, b, 0, 1), QCOW2_DIFFERENT_CONTENT, 1536);
	fake_free(a);
	fake_free(b);
}

TEST(strict_minds_sizes_before_all_else)
{
	struct disk *a = fake_new(65536);
	struct disk *b = fake_new(65536);
	struct outcome o;

	fake_add(a, MIB, FAKE_HOLE);
	fake_add(b, MIB, FAKE_HOLE);
	assert_outcome(compare(a, b, QCOW2_COMPARE_STRICT, 2), QCOW2_IDENTICAL,
		       0);
	fake_add(b, 512, FAKE_HOLE);
	o = compare(a, b, QCOW2_COMPARE_STRICT, 2);
	assert_outcome(o, QCOW2_DIFFERENT_SIZE, 0);
	assert_int_equal(o.result.sizes_differ, 1);
	fake_free(a);
	fake_free(b);
}

TEST(strict_minds_what_is_allocated)
{
	struct disk *a = fake_new(65536);
	struct disk *b = fake_new(65536);

	fake_add(a, MIB, FAKE_DATA);
	fake_add(a, MIB, FAKE_HOLE);
	fake_add(b, MIB, FAKE_DATA);
	fake_add(b, 512 * KIB, FAKE_HOLE);
	fake_add(b, 512 * KIB, FAKE_ZERO);
	assert_outcome(compare(a, b, 0, 2), QCOW2_IDENTICAL, 0);
	assert_outcome(compare(a, b, QCOW2_COMPARE_STRICT, 2),
		       QCOW2_DIFFERENT_ALLOCATION, MIB + 512 * KIB);
	/* A difference before that place wins. */
	b->bytes[MIB - 1]++;
	assert_outcome(compare(a, b, QCOW2_COMPARE_STRICT, 2),
		       QCOW2_DIFFERENT_CONTENT, MIB - 512);
	fake_free(a);
	fake_free(b);
}

TEST(a_failed_read_names_the_image)
{
	struct disk *a = fake_new(65536);
	struct disk *b = fake_new(65536);
	struct outcome o;

	fake_add(a, 8 * MIB, FAKE_DATA);
	fake_add(b, 8 * MIB, FAKE_DATA);
	b->fail_read_off = 5 * MIB;
	o = compare(a, b, 0, 3);
	assert_int_equal(o.rc, -EIO);
	assert_int_equal(o.result.failed_image, 2);
	assert_string_equal(o.err.message, "the fake disk fails");
	o = compare(b, a, 0, 3);
	assert_int_equal(o.result.failed_image, 1);
	/* Both fail: the first is named. */
	a->fail_read_off = 5 * MIB;
	o = compare(a, b, 0, 3);
	assert_int_equal(o.result.failed_image, 1);
	fake_free(a);
	fake_free(b);
}

TEST(a_difference_before_a_failure_is_the_answer)
{
	struct disk *a = fake_new(65536);
	struct disk *b = fake_new(65536);
	struct outcome o;

	fake_add(a, 8 * MIB, FAKE_DATA);
	fake_add(b, 8 * MIB, FAKE_DATA);
	b->fail_read_off = 5 * MIB;
	b->bytes[4 * MIB]++;
	for (uint32_t n = 1; n <= 6; n++)
		assert_outcome(compare(a, b, 0, n), QCOW2_DIFFERENT_CONTENT,
			       4 * MIB);
	b->bytes[4 * MIB]--;
	b->bytes[6 * MIB]++;
	for (uint32_t n = 1; n <= 6; n++) {
		o = compare(a, b, 0, n);
		assert_int_equal(o.rc, -EIO);
		assert_int_equal(o.result.failed_image, 2);
	}
	fake_free(a);
	fake_free(b);
}

TEST(a_damaged_map_names_the_image)
{
	struct disk *a = fake_new(65536);
	struct disk *b = fake_new(65536);
	struct outcome o;

	fake_add(a, MIB, FAKE_DATA);
	fake_add(a, MIB, FAKE_DATA);
	fake_add(b, 2 * MIB, FAKE_DATA);
	a->fail_map_off = MIB;
	o = compare(a, b, 0, 2);
	assert_int_equal(o.rc, -EIO);
	assert_int_equal(o.result.failed_image, 1);
	assert_int_equal(o.result.offset, MIB);
	a->bytes[MIB - 1]++;
	assert_outcome(compare(a, b, 0, 2), QCOW2_DIFFERENT_CONTENT, MIB - 512);
	fake_free(a);
	fake_free(b);
}

/* Overlays of one backing file: bytes that both take from the same place of it
 * are not read; differences around them still count. */
TEST(the_same_place_of_the_same_store_is_not_read)
{
	struct disk *a = fake_new(65536);
	struct disk *b = fake_new(65536);
	struct qcow2_store *store;
	struct sink s;

	sink_init(&s, &store);
	fake_add(a, 8 * MIB, FAKE_DATA | QCOW2_EXTENT_HOST_OFF);
	fake_add(a, 65536, FAKE_DATA);
	fake_add(b, 8 * MIB, FAKE_DATA | QCOW2_EXTENT_HOST_OFF);
	fake_add(b, 65536, FAKE_DATA);
	a->store = store;
	b->store = store;
	assert_outcome(compare(a, b, 0, 2), QCOW2_IDENTICAL, 0);
	assert_int_equal(a->n_reads, 1);
	b->bytes[8 * MIB + 512]++;
	assert_outcome(compare(a, b, 0, 2), QCOW2_DIFFERENT_CONTENT,
		       8 * MIB + 512);
	b->extents[0].host_off = 65536;
	b->bytes[7]++;
	assert_outcome(compare(a, b, 0, 2), QCOW2_DIFFERENT_CONTENT, 0);
	sink_release(&s, store);
	fake_free(a);
	fake_free(b);
}

/* A small shared place between zeros must not be taken for zeros. */
TEST(shared_places_are_not_taken_for_zeros)
{
	struct disk *a = fake_new(512);
	struct disk *b = fake_new(512);
	struct qcow2_store *store;
	struct sink s;

	sink_init(&s, &store);
	for (unsigned i = 0; i < 200; i++) {
		fake_add(a, 20 * KIB, FAKE_DATA);
		memset(a->bytes + a->size - 20 * KIB, 0, 20 * KIB);
		fake_add(a, (i + 1) * 512, FAKE_DATA | QCOW2_EXTENT_HOST_OFF);
		fake_add(b, 20 * KIB, FAKE_HOLE);
		fake_add(b, (i + 1) * 512, FAKE_DATA | QCOW2_EXTENT_HOST_OFF);
	}
	a->store = store;
	b->store = store;
	assert_outcome(compare(a, b, 0, 2), QCOW2_IDENTICAL, 0);
	assert_outcome(compare(b, a, 0, 2), QCOW2_IDENTICAL, 0);
	sink_release(&s, store);
	fake_free(a);
	fake_free(b);
}

TEST(progress_rises_to_the_total_and_can_cancel)
{
	struct qcow2_compare_opts opts = QCOW2_COMPARE_OPTS_INIT;
	struct qcow2_compare_result result;
	struct watcher w = { .stop_at = UINT64_MAX };
	struct disk *a = fake_new(65536);
	struct disk *b = fake_new(65536);

	fake_add(a, 4 * MIB, FAKE_DATA);
	fake_add(b, 4 * MIB, FAKE_DATA);
	fake_add(b, 4 * MIB, FAKE_HOLE);
	opts.n_threads = 3;
	opts.progress = watch;
	opts.opaque = &w;
	assert_int_equal(ops_compare(a, b, &opts, &result, NULL), 0);
	assert_false(w.wrong);
	assert_int_equal(w.last, 8 * MIB);
	assert_int_equal(w.total, 8 * MIB);
	w = (struct watcher){ .stop_at = 1 };
	assert_int_equal(ops_compare(a, b, &opts, &result, NULL), -ECANCELED);
	assert_int_equal(result.failed_image, 0);
	fake_free(a);
	fake_free(b);
}
