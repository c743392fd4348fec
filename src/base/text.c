/*
 * Escaping of untrusted text.  Pure: no allocation, no locale.
 */
#include "base/text.h"

#include <stdint.h>
#include <string.h>

/* Length of the well-formed UTF-8 sequence at @s and its code point, or 0. */
static size_t utf8_decode(const uint8_t *s, size_t left, uint32_t *cp)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = s[0] < 0x80   ? 1
		   : s[0] < 0xc2 ? 0
		   : s[0] < 0xe0 ? 2
		   : s[0] < 0xf0 ? 3
		   : s[0] < 0xf5 ? 4
				 : 0;
	uint32_t v;

	if (n == 0 || n > left)
		return 0;
	v = n == 1 ? s[0] : s[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		v = v << 6 | (s[i] & 0x3f);
	}
	if (n > 1 && v < smallest[n])
		return 0;
	if (v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
		return 0;
	*cp = v;
	return n;
}

/* Characters that move the cursor, reorder text or hide. */
static bool is_printable(uint32_t cp)
{
	if (cp < 0x20 || cp == 0x7f || cp == '\\')
		return false;
	if (cp >= 0x80 && cp < 0xa0)
		return false;
	if (cp == 0x061c || cp == 0xfeff || (cp >= 0x200b && cp <= 0x200f))
		return false;
	if (cp >= 0x2028 && cp <= 0x202e)
		return false;
	return !(cp >= 0x2060 && cp <= 0x206f);
}

bool text_is_utf8(const void *src, size_t len)
{
	const uint8_t *s = src;
	uint32_t cp;

	while (len) {
		size_t n = utf8_decode(s, len, &cp);

		if (n == 0 || cp == 0)
			return false;
		s += n;
		len -= n;
	}
	return true;
}

static void put_hex(char *dst, uint8_t byte)
{
	static const char digits[] = "0123456789abcdef";

	dst[0] = '\\';
	dst[1] = 'x';
	dst[2] = digits[byte >> 4];
	dst[3] = digits[byte & 15];
}

/* Ends a cut text: the last three characters that fit become dots. */
static size_t text_cut(char *dst, size_t dst_size, size_t safe)
{
	size_t dots = dst_size - 1 < 3 ? dst_size - 1 : 3;

	memset(dst + safe, '.', dots);
	dst[safe + dots] = '\0';
	return safe + dots;
}

size_t text_escape(char *dst, size_t dst_size, const void *src, size_t len)
{
	const uint8_t *s = src;
	size_t room = dst_size ? dst_size - 1 : 0;
	size_t used = 0;
	size_t safe = 0; /* dots still fit from here */

	if (!dst_size)
		return 0;
	while (len) {
		uint32_t cp = 0;
		size_t n = utf8_decode(s, len, &cp);
		bool plain = n && is_printable(cp);
		size_t take = n ? n : 1;
		size_t need = plain ? n : 4 * take;

		if (need > room - used)
			return text_cut(dst, dst_size, safe);
		if (plain)
			memcpy(dst + used, s, n);
		for (size_t i = 0; !plain && i < take; i++)
			put_hex(dst + used + 4 * i, s[i]);
		used += need;
		s += take;
		len -= take;
		if (used + 3 <= room)
			safe = used;
	}
	dst[used] = '\0';
	return used;
}
