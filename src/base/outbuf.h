/*
 * Text put together in a caller's buffer without printf, so that pure code can
 * do it.  What does not fit is cut and the text ends in "...".
 */
#ifndef BASE_OUTBUF_H
#define BASE_OUTBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/text.h"

struct outbuf {
	char *dst;
	size_t size; /* at least 1 */
	size_t len;  /* without the NUL */
	bool cut;
};

static inline struct outbuf outbuf_init(char *dst, size_t size)
{
	dst[0] = '\0';
	return (struct outbuf){ .dst = dst, .size = size };
}

static inline void out_bytes(struct outbuf *o, const char *s, size_t n)
{
	if (n > o->size - 1 - o->len) {
		n = o->size - 1 - o->len;
		o->cut = true;
	}
	memcpy(o->dst + o->len, s, n);
	o->len += n;
	o->dst[o->len] = '\0';
}

static inline void out_str(struct outbuf *o, const char *s)
{
	out_bytes(o, s, strlen(s));
}

static inline void out_number(struct outbuf *o, uint64_t v, unsigned base)
{
	char digits[20];
	size_t n = sizeof(digits);

	do {
		digits[--n] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	out_bytes(o, digits + n, sizeof(digits) - n);
}

/* " name=123" and " name=0x7b" */
static inline void out_dec(struct outbuf *o, const char *name, uint64_t v)
{
	out_str(o, name);
	out_number(o, v, 10);
}

static inline void out_hex(struct outbuf *o, const char *name, uint64_t v)
{
	out_str(o, name);
	out_str(o, "0x");
	out_number(o, v, 16);
}

static inline void out_text(struct outbuf *o, const char *name,
			    const void *text, size_t len)
{
	char escaped[160];
	size_t n = text_escape(escaped, sizeof(escaped), text, len);

	out_str(o, name);
	out_bytes(o, escaped, n);
}

/* Marks a cut text, at the start of a character, and returns it. */
static inline const char *out_done(struct outbuf *o)
{
	size_t dots = o->size - 1 < 3 ? o->size - 1 : 3;
	size_t at = o->size - 1 - dots;

	if (!o->cut)
		return o->dst;
	while (at > 0 && ((uint8_t)o->dst[at] & 0xc0) == 0x80)
		at--;
	memset(o->dst + at, '.', dots);
	o->dst[at + dots] = '\0';
	return o->dst;
}

#endif
