/*
 * Is this memory all zero?  The question convert asks of every byte.
 */
#ifndef BASE_ZERO_H
#define BASE_ZERO_H

#include <stdbool.h>
#include <stddef.h>

/* True when all @len bytes at @buf are zero; @len 0 is true. */
bool is_zero(const void *buf, size_t len);

/* Bytes of zero at the start of @buf, in whole words of eight: 0 where the
 * first word has a bit set.  @len is a multiple of eight. */
size_t zero_prefix(const void *buf, size_t len);

#endif
