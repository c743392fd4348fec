/*
 * Sorting of large arrays by a number.
 */
#ifndef BASE_SORT_H
#define BASE_SORT_H

#include <stddef.h>

/*
 * Puts @n items of @item_bytes each in the order of the uint64_t that every
 * item begins with.  @item_bytes is a multiple of four.  Time is proportional
 * to @n where the numbers lie close together, as cluster indexes do.
 */
void sort_by_number(void *items, size_t n, size_t item_bytes);

#endif
