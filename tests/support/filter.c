/*
 * TEST_FILTER=text runs only the test functions that have the text in their
 * names; * and ? stand for any characters and for one.
 */
#include <stdio.h>
#include <stdlib.h>

#include "support/test.h"

/* cmocka keeps the pointer. */
static char pattern[128];

__attribute__((constructor)) static void filter_tests(void)
{
	const char *text = getenv("TEST_FILTER");

	if (!text || !*text)
		return;
	snprintf(pattern, sizeof(pattern), "*%s*", text);
	cmocka_set_test_filter(pattern);
}
