#include "base/outbuf.h"

#include "support/test.h"

static void pieces_follow_each_other(void **state)
{
	char dst[64];
	struct outbuf o = outbuf_init(dst, sizeof(dst));

	(void)state;
	out_str(&o, "x");
	out_dec(&o, " a=", 0);
	out_dec(&o, " b=", UINT64_MAX);
	out_hex(&o, " c=", 0xdeadbeef);
	out_text(&o, " d=", "e\n", 2);
	assert_string_equal(out_done(&o), "x a=0 b=18446744073709551615 "
					  "c=0xdeadbeef d=e\\x0a");
}

static void an_empty_text_is_terminated(void **state)
{
	char dst[1] = { 'x' };
	struct outbuf o = outbuf_init(dst, 1);

	(void)state;
	assert_string_equal(out_done(&o), "");
	out_str(&o, "abc");
	assert_string_equal(out_done(&o), "");
}

static void what_does_not_fit_ends_in_dots(void **state)
{
	char dst[8];
	struct outbuf o = outbuf_init(dst, sizeof(dst));

	(void)state;
	out_str(&o, "abcdefg");
	assert_string_equal(out_done(&o), "abcdefg");
	out_str(&o, "h");
	assert_string_equal(out_done(&o), "abcd...");
}

/* Cutting must not leave half a character. */
static void the_cut_falls_between_characters(void **state)
{
	(void)state;
	for (size_t size = 1; size < 40; size++) {
		char *dst = guard_alloc(size);
		struct outbuf o = outbuf_init(dst, size);

		out_text(&o, "n=",
			 "\xf0\x9f\x98\x80\xc3\xa9\xe2\x82\xac"
			 "\xf0\x9f\x98\x80",
			 13);
		out_dec(&o, " size=", 1234567);
		out_done(&o);
		assert_true(strlen(dst) < size);
		assert_true(text_is_utf8(dst, strlen(dst)));
		guard_free(dst, size);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_follow_each_other),
		cmocka_unit_test(an_empty_text_is_terminated),
		cmocka_unit_test(what_does_not_fit_ends_in_dots),
		cmocka_unit_test(the_cut_falls_between_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
