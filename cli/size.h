/*
 * Sizes as people write them.
 */
#ifndef CLI_SIZE_H
#define CLI_SIZE_H

#include <stdint.h>

/*
 * Reads a whole number of bytes: decimal with an optional fraction and one of
 * the suffixes b k M G T P E (either case, powers of 1024), or hexadecimal
 * with 0x.  Blanks and a plus sign may stand before it, nothing may stand
 * after it.  A fraction without a suffix must be zero; bytes that a fraction
 * leaves over are dropped.
 *
 * Returns 0, -EINVAL for anything else and -ERANGE from 2^64 on.
 */
int size_parse(const char *text, uint64_t *size);

/* "1.5 GiB": three significant digits and the largest unit that leaves a
 * number not much below one.  @buf has room for SIZE_TEXT_MAX. */
#define SIZE_TEXT_MAX 32
const char *size_text(uint64_t size, char *buf);

#endif
