/*
 * The writer of JSON and of outlines.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "json.h"

/* The text that is written between open_text() and expect(). */
struct text {
	char *buf;
	size_t len;
	struct json j;
};

static void open_text(struct text *t, enum json_style style)
{
	t->buf = NULL;
	json_init(&t->j, open_memstream(&t->buf, &t->len), style);
	assert_non_null(t->j.out);
}

static void expect(struct text *t, const char *text)
{
	assert_int_equal(fclose(t->j.out), 0);
	assert_string_equal(t->buf, text);
	free(t->buf);
}

static void write_sample(struct json *j)
{
	json_object(j, NULL);
	json_string(j, "some-text", "x");
	json_list(j, "list");
	json_u64(j, NULL, 1);
	json_object(j, NULL);
	json_bool(j, "yes", true);
	json_null(j, "none");
	json_end(j);
	json_end(j);
	json_list(j, "empty");
	json_end(j);
	json_end(j);
}

static void pretty_json_is_indented_by_four(void **state)
{
	struct text t;

	(void)state;
	open_text(&t, JSON_PRETTY);
	write_sample(&t.j);
	expect(&t, "{\n"
		   "    \"some-text\": \"x\",\n"
		   "    \"list\": [\n"
		   "        1,\n"
		   "        {\n"
		   "            \"yes\": true,\n"
		   "            \"none\": null\n"
		   "        }\n"
		   "    ],\n"
		   "    \"empty\": [\n"
		   "    ]\n"
		   "}\n");
}

static void a_line_of_json_is_one_line(void **state)
{
	struct text t;

	(void)state;
	open_text(&t, JSON_LINE);
	write_sample(&t.j);
	expect(&t, "{\"some-text\": \"x\", \"list\": [1, {\"yes\": true, "
		   "\"none\": null}], \"empty\": []}\n");
}

static void an_outline_has_keys_without_dashes_and_numbered_items(void **state)
{
	struct text t;

	(void)state;
	open_text(&t, JSON_OUTLINE);
	write_sample(&t.j);
	expect(&t, "    some text: x\n"
		   "    list:\n"
		   "        [0]: 1\n"
		   "        [1]:\n"
		   "            yes: true\n"
		   "            none: null\n"
		   "    empty:\n");
}

static void expect_text(const char *value, const char *json)
{
	struct text t;

	open_text(&t, JSON_LINE);
	json_list(&t.j, NULL);
	json_string(&t.j, NULL, value);
	json_end(&t.j);
	expect(&t, json);
}

static void strings_are_plain_ascii(void **state)
{
	(void)state;
	expect_text("a\"\\/\b\f\n\r\t", "[\"a\\\"\\\\/\\b\\f\\n\\r\\t\"]\n");
	expect_text("\x01\x1f\x7f", "[\"\\u0001\\u001F\\u007F\"]\n");
	expect_text("\xc3\xa9\xe2\x82\xac", "[\"\\u00E9\\u20AC\"]\n");
	expect_text("\xf0\x9f\x98\x80", "[\"\\uD83D\\uDE00\"]\n");
	expect_text("\xf4\x8f\xbf\xbd", "[\"\\uDBFF\\uDFFD\"]\n");
}

static void what_is_no_utf8_becomes_a_replacement(void **state)
{
	(void)state;
	expect_text("a\xffz", "[\"a\\uFFFDz\"]\n");
	expect_text("\xc3z", "[\"\\uFFFDz\"]\n");
	expect_text("\xc3", "[\"\\uFFFD\"]\n");
	expect_text("\xf0\x9f\x98", "[\"\\uFFFD\"]\n");
	expect_text("\x80\x80", "[\"\\uFFFD\\uFFFD\"]\n");
	expect_text("\xed\xa0\x80", "[\"\\uFFFD\"]\n");
	expect_text("\xc0\x80", "[\"\\uFFFD\"]\n");
	expect_text("\xe0\x80\x80", "[\"\\uFFFD\"]\n");
	expect_text("\xf4\x90\x80\x80", "[\"\\uFFFD\"]\n");
	expect_text("\xef\xbf\xbe", "[\"\\uFFFD\"]\n");
	expect_text("\xff\xfe", "[\"\\uFFFD\\uFFFD\"]\n");
}

static void numbers_are_exact(void **state)
{
	struct text t;

	(void)state;
	open_text(&t, JSON_LINE);
	json_list(&t.j, NULL);
	json_u64(&t.j, NULL, UINT64_MAX);
	json_u64(&t.j, NULL, 0);
	json_percent(&t.j, NULL, 12.346);
	json_end(&t.j);
	expect(&t, "[18446744073709551615, 0, 12.35]\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pretty_json_is_indented_by_four),
		cmocka_unit_test(a_line_of_json_is_one_line),
		cmocka_unit_test(
			an_outline_has_keys_without_dashes_and_numbered_items),
		cmocka_unit_test(strings_are_plain_ascii),
		cmocka_unit_test(what_is_no_utf8_becomes_a_replacement),
		cmocka_unit_test(numbers_are_exact),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
