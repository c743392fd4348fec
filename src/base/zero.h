/*
 * Is this memory all zero?  The question convert asks of every byte.
 */
#ifndef BASE_ZERO_H
#define BASE_ZERO_H

#include <stdbool.h>
#include <stddef.h>

/* True when all @len bytes at @buf are zero; @len 0 is true. */
bool is_zero(const void *buf, size_t len);

#endif
