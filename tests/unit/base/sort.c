#include "base/sort.h"

#include <stdlib.h>
#include <string.h>

#include "support/test.h"

enum { N_MAX = 3000, WORDS_MAX = 3 };

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The other words of an item tell its number; sum() tells whether each
 * item is still there exactly once. */
static void fill(struct test_rng *rng, uint64_t *items, size_t n, size_t words,
		 uint64_t mask)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t number = test_rng_next(rng) & mask;

		items[i * words] = number;
		for (size_t w = 1; w < words; w++)
			items[i * words + w] = number + w;
	}
}

static void check(const uint64_t *items, size_t n, size_t words)
{
	for (size_t i = 0; i < n; i++) {
		if (i)
			assert_true(items[(i - 1) * words] <= items[i * words]);
		for (size_t w = 1; w < words; w++)
			assert_int_equal(items[i * words + w],
					 items[i * words] + w);
	}
}

static uint64_t sum(const uint64_t *items, size_t n, size_t words)
{
	uint64_t total = 0;

	for (size_t i = 0; i < n; i++)
		total += items[i * words] * items[i * words];
	return total;
}

struct odd_item {
	uint64_t number;
	uint32_t same; /* as the low half of it */
} __attribute__((packed));

/* D6: items have such sizes where 64-bit numbers are aligned to four bytes. */
TEST(items_of_twelve_bytes_come_in_order)
{
	struct test_rng rng = test_rng_init(test_seed());
	struct odd_item *items = malloc(N_MAX * sizeof(*items));

	assert_int_equal(sizeof(*items), 12);
	assert_non_null(items);
	for (size_t i = 0; i < N_MAX; i++) {
		items[i].number = test_rng_next(&rng);
		items[i].same = (uint32_t)items[i].number;
	}
	sort_by_number(items, N_MAX, sizeof(*items));
	for (size_t i = 0; i < N_MAX; i++) {
		assert_int_equal(items[i].same, (uint32_t)items[i].number);
		if (i)
			assert_true(items[i - 1].number <= items[i].number);
	}
	free(items);
}

TEST(items_of_any_size_and_number_come_in_order)
{
	static const uint64_t masks[] = { 0, 0xff, 0xfff000, 0x3ffffff,
					  UINT64_MAX };
	static const size_t counts[] = { 0, 1, 2, 7, 255, 256, 257, N_MAX };
	struct test_rng rng = test_rng_init(test_seed());
	uint64_t *items = malloc(N_MAX * WORDS_MAX * sizeof(*items));

	assert_non_null(items);
	for (size_t m = 0; m < COUNT(masks); m++)
		for (size_t c = 0; c < COUNT(counts); c++)
			for (size_t words = 1; words <= WORDS_MAX; words++) {
				size_t n = counts[c];
				uint64_t before;

				fill(&rng, items, n, words, masks[m]);
				before = sum(items, n, words);
				sort_by_number(items, n, words * 8);
				check(items, n, words);
				assert_int_equal(sum(items, n, words), before);
			}
	free(items);
}

TEST(what_is_in_order_stays_as_it_is)
{
	uint64_t items[600];
	uint64_t copy[600];

	for (size_t i = 0; i < 300; i++) {
		items[2 * i] = i / 3;
		items[2 * i + 1] = i;
	}
	memcpy(copy, items, sizeof(items));
	sort_by_number(items, 300, 16);
	assert_memory_equal(items, copy, sizeof(items));
}
