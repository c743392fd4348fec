/*
 * Sizes on the command line, and in its output.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "size.h"

#define K UINT64_C(1024)

struct good {
	const char *text;
	uint64_t size;
};

static void reads_what_people_write(void **state)
{
	static const struct good good[] = {
		{ "0", 0 },
		{ "010", 10 },
		{ " +1k", K },
		{ "512", 512 },
		{ "512b", 512 },
		{ "512B", 512 },
		{ "64k", 64 * K },
		{ "64K", 64 * K },
		{ "1m", K * K },
		{ "1G", K * K * K },
		{ "1T", K * K * K * K },
		{ "1P", K * K * K * K * K },
		{ "15E", 15 * K * K * K * K * K * K },
		{ "1.5M", 3 * K * K / 2 },
		{ "1.25k", 1280 },
		{ "1.k", K },
		{ "1.", 1 },
		{ "1.0", 1 },
		{ "0.0000001k", 0 },
		{ "0.9999999999999999999999999k", K - 1 },
		{ "0.000000000000000001E", 1 },
		{ "0x10", 16 },
		{ "0X1fk", 31 * K },
		{ "18446744073709551615", UINT64_MAX },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		uint64_t size = 12345;

		assert_int_equal(size_parse(good[i].text, &size), 0);
		assert_int_equal(size, good[i].size);
	}
}

static void refuses_what_is_no_size(void **state)
{
	static const char *const bad[] = {
		"",     "k",   "-1",     "-0",  "+-1",    ".5M",
		"1 k",  "1k ", "1kB",    "1Z",  "1e3",    "1.5",
		"1.5b", "1.9", "1,5k",   "0x",  "0x1.8k", "0x1p3",
		"nan",  "inf", "1.5e1M", "++1", "1..5k",  "1kk",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint64_t size = 12345;

		assert_int_equal(size_parse(bad[i], &size), -EINVAL);
		assert_int_equal(size, 12345);
	}
}

static void refuses_sizes_of_2_to_the_64_and_more(void **state)
{
	static const char *const large[] = {
		"18446744073709551616",
		"99999999999999999999999999999999",
		"16E",
		"18014398509481984k",
		"0x10000000000000000",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++) {
		uint64_t size;

		assert_int_equal(size_parse(large[i], &size), -ERANGE);
	}
}

static void prints_three_digits_and_a_unit(void **state)
{
	static const struct good texts[] = {
		{ "0 B", 0 },
		{ "512 B", 512 },
		{ "999 B", 999 },
		{ "0.977 KiB", 1000 },
		{ "1 KiB", 1024 },
		{ "1.5 KiB", 1536 },
		{ "976 KiB", 999424 },
		{ "1e+03 KiB", 1023488 },
		{ "0.977 MiB", 1024000 },
		{ "1 MiB", 1048064 },
		{ "118 MiB", 123457024 },
		{ "10 GiB", 10737418240 },
		{ "100 TiB", 109951162777600 },
		{ "1 EiB", UINT64_C(1) << 60 },
		{ "16 EiB", UINT64_MAX },
	};
	char buf[SIZE_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_string_equal(size_text(texts[i].size, buf),
				    texts[i].text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_what_people_write),
		cmocka_unit_test(refuses_what_is_no_size),
		cmocka_unit_test(refuses_sizes_of_2_to_the_64_and_more),
		cmocka_unit_test(prints_three_digits_and_a_unit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
