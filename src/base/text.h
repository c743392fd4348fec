/*
 * Untrusted text made safe to print.
 */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Copies @len bytes of @src into @dst (of @dst_size bytes, at least 1) as
 * printable UTF-8: control characters, DEL, invalid UTF-8, bidirectional
 * overrides and backslash become \xHH per byte.  Always terminates; text that
 * does not fit ends in "...".  Returns the number of bytes before the NUL.
 */
size_t text_escape(char *dst, size_t dst_size, const void *src, size_t len);

/* True when @len bytes at @src are well-formed UTF-8 without NUL. */
bool text_is_utf8(const void *src, size_t len);

/* Escaped copy in an expression: TEXT(name, len) lives until the end of the
 * enclosing block. */
struct text_buf {
	char s[160];
};

static inline const char *text_into(struct text_buf *b, const void *src,
				    size_t len)
{
	text_escape(b->s, sizeof(b->s), src, len);
	return b->s;
}

#define TEXT(src, len) text_into(&(struct text_buf){ { 0 } }, (src), (len))

#endif
