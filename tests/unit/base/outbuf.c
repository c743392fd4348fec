#include "base/outbuf.h"

#include "support/test.h"

TEST(pieces_follow_each_other)
{
	char dst[64];
	struct outbuf o = outbuf_init(dst, sizeof(dst));

	out_str(&o, "x");
	out_dec(&o, " a=", 0);
	out_dec(&o, " b=", UINT64_MAX);
	out_hex(&o, " c=", 0xdeadbeef);
	out_text(&o, " d=", "e\n", 2);
	assert_string_equal(out_done(&o), "x a=0 b=18446744073709551615 "
					  "c=0xdeadbeef d=e\\x0a");
}

TEST(an_empty_text_is_terminated)
{
	char dst[1] = { 'x' };
	struct outbuf o = outbuf_init(dst, 1);

	assert_string_equal(out_done(&o), "");
	out_str(&o, "abc");
	assert_string_equal(out_done(&o), "");
}

TEST(what_does_not_fit_ends_in_dots)
{
	char dst[8];
	struct outbuf o = outbuf_init(dst, sizeof(dst));

	out_str(&o, "abcdefg");
	assert_string_equal(out_done(&o), "abcdefg");
	out_str(&o, "h");
	assert_string_equal(out_done(&o), "abcd...");
}

/* Cutting must not leave half a character. */
TEST(the_cut_falls_between_characters)
{
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
