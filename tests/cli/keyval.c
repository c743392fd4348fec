/*
 * Lists of options in one argument.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "keyval.h"

static void expect(char **text, const char *key, const char *value)
{
	struct keyval kv;

	assert_true(keyval_next(text, &kv));
	assert_string_equal(kv.key, key);
	if (value)
		assert_string_equal(kv.value, value);
	else
		assert_null(kv.value);
}

static void expect_end(char **text)
{
	struct keyval kv;

	assert_false(keyval_next(text, &kv));
}

static void pairs_are_separated_by_commas(void **state)
{
	char list[] = "a=1,b=two,c=";
	char *text = list;

	(void)state;
	expect(&text, "a", "1");
	expect(&text, "b", "two");
	expect(&text, "c", "");
	expect_end(&text);
}

static void two_commas_in_a_value_are_one(void **state)
{
	char list[] = "file=a,,b,,,next=c,,";
	char *text = list;

	(void)state;
	expect(&text, "file", "a,b,");
	expect(&text, "next", "c,");
	expect_end(&text);
}

static void further_equal_signs_belong_to_the_value(void **state)
{
	char list[] = "a=b=c,d==";
	char *text = list;

	(void)state;
	expect(&text, "a", "b=c");
	expect(&text, "d", "=");
	expect_end(&text);
}

static void a_key_may_stand_alone(void **state)
{
	char list[] = "a,b=1,c";
	char *text = list;

	(void)state;
	expect(&text, "a", NULL);
	expect(&text, "b", "1");
	expect(&text, "c", NULL);
	expect_end(&text);
}

static void nothing_is_in_an_empty_list(void **state)
{
	char list[] = "";
	char *text = list;

	(void)state;
	expect_end(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pairs_are_separated_by_commas),
		cmocka_unit_test(two_commas_in_a_value_are_one),
		cmocka_unit_test(further_equal_signs_belong_to_the_value),
		cmocka_unit_test(a_key_may_stand_alone),
		cmocka_unit_test(nothing_is_in_an_empty_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
