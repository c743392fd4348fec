/*
 * The histogram of `qcow2 bench`.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bench.h"

static struct bench_histogram histogram, other;

static void histogram_clear(void)
{
	memset(&histogram, 0, sizeof(histogram));
	memset(&other, 0, sizeof(other));
}

static void a_single_time_is_every_percentile(void **state)
{
	(void)state;
	for (unsigned shift = 0; shift < 64; shift++) {
		uint64_t ns = UINT64_C(1) << shift;

		histogram_clear();
		bench_histogram_add(&histogram, ns);
		assert_int_equal(bench_histogram_permille(&histogram, 500), ns);
		assert_int_equal(bench_histogram_permille(&histogram, 999), ns);
		assert_int_equal(histogram.max_ns, ns);
	}
	bench_histogram_add(&histogram, UINT64_MAX);
	assert_int_equal(bench_histogram_permille(&histogram, 1000),
			 UINT64_MAX);
}

static void times_are_at_most_a_sixteenth_too_long(void **state)
{
	(void)state;
	histogram_clear();
	for (uint64_t ns = 1; ns <= 100000; ns++)
		bench_histogram_add(&histogram, ns);
	for (unsigned permille = 1; permille <= 1000; permille++) {
		uint64_t exact = UINT64_C(100) * permille;
		uint64_t got = bench_histogram_permille(&histogram, permille);

		assert_in_range(got, exact, exact + exact / 16);
	}
}

static void histograms_add_up(void **state)
{
	(void)state;
	histogram_clear();
	bench_histogram_add(&histogram, 10);
	bench_histogram_add(&other, 3000);
	bench_histogram_merge(&histogram, &other);
	assert_int_equal(histogram.n_all, 2);
	assert_int_equal(histogram.max_ns, 3000);
	assert_int_equal(bench_histogram_permille(&histogram, 500), 10);
	assert_int_equal(bench_histogram_permille(&histogram, 990), 3000);
}

static void nothing_takes_no_time(void **state)
{
	(void)state;
	histogram_clear();
	assert_int_equal(bench_histogram_permille(&histogram, 500), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_single_time_is_every_percentile),
		cmocka_unit_test(times_are_at_most_a_sixteenth_too_long),
		cmocka_unit_test(histograms_add_up),
		cmocka_unit_test(nothing_takes_no_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
