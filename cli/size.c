#include "size.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Returns the value of a digit in @base, or -1. */
static int digit(char c, unsigned base)
{
	static const char digits[] = "0123456789abcdef";
	const char *p = c ? strchr(digits, tolower((unsigned char)c)) : NULL;

	return p && p < digits + base ? (int)(p - digits) : -1;
}

static int parse_whole(const char **p, unsigned base, uint64_t *value)
{
	uint64_t v = 0;

	if (digit(**p, base) < 0)
		return -EINVAL;
	for (; digit(**p, base) >= 0; (*p)++) {
		if (__builtin_mul_overflow(v, base, &v) ||
		    __builtin_add_overflow(v, (unsigned)digit(**p, base), &v))
			return -ERANGE;
	}
	*value = v;
	return 0;
}

/* Sets the suffix as a power of two; the end of the text means bytes. */
static int parse_suffix(const char *p, unsigned *shift)
{
	static const char suffixes[] = "bkmgtpe";
	const char *s;

	*shift = 0;
	if (!*p)
		return 0;
	s = strchr(suffixes, tolower((unsigned char)*p));
	if (!s || p[1])
		return -EINVAL;
	*shift = 10 * (unsigned)(s - suffixes);
	return 0;
}

/*
 * Returns floor(0.digits * 2^shift), exactly for the first 18 digits; it drops
 * what more digits could add.  It goes bit by bit, as in a long division: the
 * remainder stays below 10^18.
 */
static uint64_t scale_fraction(const char *digits, size_t n, unsigned shift)
{
	uint64_t rest = 0, denominator = 1;
	uint64_t quotient = 0;

	for (size_t i = 0; i < n && i < 18; i++) {
		rest = rest * 10 + (uint64_t)(digits[i] - '0');
		denominator *= 10;
	}
	while (shift--) {
		rest *= 2;
		quotient = quotient * 2 + (rest >= denominator);
		if (rest >= denominator)
			rest -= denominator;
	}
	return quotient;
}

static bool is_zero(const char *digits, size_t n)
{
	return strspn(digits, "0") >= n;
}

static int parse_tail(const char *p, bool may_have_fraction, uint64_t whole,
		      uint64_t *size)
{
	const char *fraction = p;
	size_t n_digits = 0;
	unsigned shift;

	if (*p == '.') {
		if (!may_have_fraction)
			return -EINVAL;
		fraction = p + 1;
		n_digits = strspn(fraction, "0123456789");
		p = fraction + n_digits;
	}
	if (parse_suffix(p, &shift) < 0)
		return -EINVAL;
	if (shift == 0 && !is_zero(fraction, n_digits))
		return -EINVAL;
	if (whole > UINT64_MAX >> shift)
		return -ERANGE;
	*size = (whole << shift) + scale_fraction(fraction, n_digits, shift);
	return 0;
}

int size_parse(const char *text, uint64_t *size)
{
	const char *p = text;
	unsigned base = 10;
	uint64_t whole;
	int ret;

	while (isspace((unsigned char)*p))
		p++;
	if (*p == '+')
		p++;
	if (p[0] == '0' && tolower((unsigned char)p[1]) == 'x') {
		base = 16;
		p += 2;
	}
	ret = parse_whole(&p, base, &whole);
	if (ret < 0)
		return ret;
	return parse_tail(p, base == 10, whole, size);
}

const char *size_text(uint64_t size, char *buf)
{
	static const char *const units[] = { "",   "Ki", "Mi", "Gi",
					     "Ti", "Pi", "Ei" };
	double value = (double)size;
	size_t unit = 0;

	while (value >= 1000 && unit < sizeof(units) / sizeof(units[0]) - 1) {
		value /= 1024;
		unit++;
	}
	snprintf(buf, SIZE_TEXT_MAX, "%.3g %sB", value, units[unit]);
	return buf;
}
