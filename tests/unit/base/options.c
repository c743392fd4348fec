#include <errno.h>
#include <string.h>

#include "base/options.h"
#include "support/test.h"

struct known {
	size_t struct_size;
	uint32_t a;
	uint32_t b;
	const char *c;
};

struct newer {
	struct known known;
	uint64_t d;
};

TEST(null_means_the_defaults)
{
	struct known k = { 1, 2, 3, "x" };

	assert_int_equal(options_copy(&k, sizeof(k), NULL, "k", NULL), 0);
	assert_int_equal(k.struct_size, sizeof(k));
	assert_int_equal(k.a, 0);
	assert_int_equal(k.b, 0);
	assert_null(k.c);
}

TEST(a_structure_of_today_is_copied_whole)
{
	struct known src = { sizeof(src), 2, 3, "x" };
	struct known k;

	assert_int_equal(options_copy(&k, sizeof(k), &src, "k", NULL), 0);
	assert_memory_equal(&k, &src, sizeof(k));
}

TEST(an_older_structure_is_completed_with_zeros)
{
	struct known src = { offsetof(struct known, b), 2, 3, "x" };
	struct known k;

	assert_int_equal(options_copy(&k, sizeof(k), &src, "k", NULL), 0);
	assert_int_equal(k.struct_size, sizeof(k));
	assert_int_equal(k.a, 2);
	assert_int_equal(k.b, 0);
	assert_null(k.c);
}

TEST(a_newer_structure_is_taken_when_the_rest_is_zero)
{
	struct newer src = { { sizeof(src), 2, 3, "x" }, 0 };
	struct known k;

	assert_int_equal(options_copy(&k, sizeof(k), &src, "k", NULL), 0);
	assert_int_equal(k.struct_size, sizeof(k));
	assert_int_equal(k.b, 3);
	assert_string_equal(k.c, "x");
}

TEST(a_newer_structure_that_wants_more_is_refused)
{
	struct newer src = { { sizeof(src), 2, 3, "x" }, 1 };
	struct qcow2_error err = { 0 };
	struct known k;

	assert_int_equal(options_copy(&k, sizeof(k), &src, "some_opts", &err),
			 -EINVAL);
	assert_int_equal(err.code, -EINVAL);
	assert_non_null(strstr(err.message, "some_opts"));
}

TEST(a_size_that_cannot_be_one_is_refused)
{
	const size_t sizes[] = { 0, 1, sizeof(size_t) - 1, 4097, SIZE_MAX };
	struct known k;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct known src = { sizes[i], 2, 3, "x" };

		assert_int_equal(options_copy(&k, sizeof(k), &src, "k", NULL),
				 -EINVAL);
	}
}

TEST(a_result_is_given_as_far_as_the_caller_knows_it)
{
	const struct known full = { sizeof(full), 2, 3, "x" };
	struct newer newer = { { sizeof(newer), 9, 9, NULL }, 9 };
	struct known k = { offsetof(struct known, b), 9, 9, NULL };

	assert_int_equal(options_give(&k, &full, sizeof(full), NULL), 0);
	assert_int_equal(k.struct_size, offsetof(struct known, b));
	assert_int_equal(k.a, 2);
	assert_int_equal(k.b, 9);
	k.struct_size = sizeof(k);
	assert_int_equal(options_give(&k, &full, sizeof(full), NULL), 0);
	assert_memory_equal(&k, &full, sizeof(full));
	assert_int_equal(options_give(&newer, &full, sizeof(full), NULL), 0);
	assert_int_equal(newer.known.struct_size, sizeof(newer));
	assert_int_equal(newer.known.b, 3);
	assert_int_equal(newer.d, 0);
}

TEST(a_result_without_size_is_refused)
{
	const struct known full = { sizeof(full), 2, 3, "x" };
	struct known k = { 0, 9, 9, NULL };

	assert_int_equal(options_give(NULL, &full, sizeof(full), NULL),
			 -EINVAL);
	assert_int_equal(options_give(&k, &full, sizeof(full), NULL), -EINVAL);
	k.struct_size = 4097;
	assert_int_equal(options_give(&k, &full, sizeof(full), NULL), -EINVAL);
	assert_int_equal(k.a, 9);
}
