#include "base/text.h"

#include <string.h>

#include "support/test.h"

static void expect(const char *src, size_t len, const char *want)
{
	char dst[256];

	assert_int_equal(text_escape(dst, sizeof(dst), src, len), strlen(want));
	assert_string_equal(dst, want);
}

#define EXPECT(literal, want) expect(literal, sizeof(literal) - 1, want)

TEST(plain_text_stays_as_it_is)
{
	EXPECT("", "");
	EXPECT("disk-1 (copy).qcow2", "disk-1 (copy).qcow2");
	EXPECT("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
	       "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
}

/* D16: not even the terminator has room. */
TEST(no_room_takes_nothing)
{
	char dst[4] = "abc";

	assert_int_equal(text_escape(dst, 0, "xyz", 3), 0);
	assert_string_equal(dst, "abc");
}

TEST(control_characters_and_backslashes_are_escaped)
{
	EXPECT("a\0b", "a\\x00b");
	EXPECT("\x1b[31m\n\t\x7f", "\\x1b[31m\\x0a\\x09\\x7f");
	EXPECT("a\\x41", "a\\x5cx41");
	EXPECT("\xc2\x85", "\\xc2\\x85");
}

TEST(characters_that_hide_or_reorder_are_escaped)
{
	EXPECT("\xe2\x80\xae", "\\xe2\\x80\\xae");
	EXPECT("\xe2\x80\x8b", "\\xe2\\x80\\x8b");
	EXPECT("\xe2\x80\xa8", "\\xe2\\x80\\xa8");
	EXPECT("\xe2\x81\xa6", "\\xe2\\x81\\xa6");
	EXPECT("\xd8\x9c", "\\xd8\\x9c");
	EXPECT("\xef\xbb\xbf", "\\xef\\xbb\\xbf");
}

TEST(invalid_utf8_is_escaped_byte_by_byte)
{
	EXPECT("\xff"
	       "a",
	       "\\xffa");
	EXPECT("\x80", "\\x80");
	EXPECT("\xc3", "\\xc3");
	EXPECT("\xe2\x82", "\\xe2\\x82");
	EXPECT("\xc0\x80", "\\xc0\\x80");
	EXPECT("\xe0\x80\x80", "\\xe0\\x80\\x80");
	EXPECT("\xed\xa0\x80", "\\xed\\xa0\\x80");
	EXPECT("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80");
	EXPECT("\xf5\x80\x80\x80", "\\xf5\\x80\\x80\\x80");
}

TEST(long_text_ends_in_dots)
{
	char dst[8];

	assert_int_equal(text_escape(dst, 8, "abcdefg", 7), 7);
	assert_string_equal(dst, "abcdefg");
	assert_int_equal(text_escape(dst, 8, "abcdefgh", 8), 7);
	assert_string_equal(dst, "abcd...");
	assert_int_equal(text_escape(dst, 8, "abcd\xc3\xa9\xc3\xa9", 8), 7);
	assert_string_equal(dst, "abcd...");
	assert_int_equal(text_escape(dst, 3, "abc", 3), 2);
	assert_string_equal(dst, "..");
	assert_int_equal(text_escape(dst, 1, "abc", 3), 0);
	assert_string_equal(dst, "");
}

TEST(well_formed_utf8_is_told_from_the_rest)
{
	assert_true(text_is_utf8("", 0));
	assert_true(text_is_utf8("abc", 3));
	assert_true(text_is_utf8("\xf0\x9f\x98\x80", 4));
	assert_true(text_is_utf8("\xe2\x80\xae", 3));
	assert_false(text_is_utf8("a\0b", 3));
	assert_false(text_is_utf8("\xf0\x9f\x98", 3));
	assert_false(text_is_utf8("\xed\xbf\xbf", 3));
	assert_false(text_is_utf8("\xc1\xbf", 2));
}

static bool is_safe(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
			return false;
	return text_is_utf8(s, len);
}

/* Any bytes into any room: terminated, inside the room, printable; a cut text
 * says so. */
TEST(any_bytes_become_safe_text)
{
	struct test_rng rng = test_rng_init(test_seed());
	uint8_t *src_end = (uint8_t *)guard_alloc(64) + 64;
	char *dst_end = (char *)guard_alloc(64) + 64;

	for (int i = 0; i < 20000; i++) {
		size_t len = test_rng_below(&rng, 40);
		size_t size = 1 + test_rng_below(&rng, 60);
		uint8_t *src = src_end - len;
		char *dst = dst_end - size;
		char whole[161];
		size_t used;

		test_rng_fill(&rng, src, len);
		for (size_t k = 0; k < len; k++)
			if (test_rng_below(&rng, 2))
				src[k] = "az\xc3\xa9\xe2\x80\xae"[k % 7];
		used = text_escape(dst, size, src, len);
		assert_true(used < size);
		assert_int_equal(strlen(dst), used);
		assert_true(is_safe(dst, used));
		if (text_escape(whole, sizeof(whole), src, len) < size)
			assert_string_equal(dst, whole);
		else if (size > 3)
			assert_string_equal(dst + used - 3, "...");
	}
	guard_free(src_end - 64, 64);
	guard_free(dst_end - 64, 64);
}

TEST(a_text_in_an_expression_is_cut_to_its_buffer)
{
	char name[300];

	memset(name, 'n', sizeof(name));
	assert_string_equal(TEXT("a\nb", 3), "a\\x0ab");
	assert_int_equal(strlen(TEXT(name, sizeof(name))), 159);
}
