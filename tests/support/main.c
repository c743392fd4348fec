/*
 * The program around the functions that TEST() registers.  TEST_FILTER=text in
 * the environment runs only those that have the text in their names.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/test.h"

enum { MAX_TESTS = 128 };

static struct {
	struct CMUnitTest tests[MAX_TESTS];
	size_t n;
	CMFixtureFunction setup, teardown;
} program;

void test_add(struct CMUnitTest test)
{
	if (program.n == MAX_TESTS)
		abort();
	program.tests[program.n++] = test;
}

void test_group(CMFixtureFunction setup, CMFixtureFunction teardown)
{
	program.setup = setup;
	program.teardown = teardown;
}

static void keep_named(const char *text)
{
	size_t n = 0;

	for (size_t i = 0; i < program.n; i++)
		if (strstr(program.tests[i].name, text))
			program.tests[n++] = program.tests[i];
	program.n = n;
}

int main(void)
{
	const char *filter = getenv("TEST_FILTER");

	if (filter)
		keep_named(filter);
	if (!program.n) {
		fprintf(stderr, "no test function has '%s' in its name\n",
			filter ? filter : "");
		return EXIT_FAILURE;
	}
	return _cmocka_run_group_tests("tests", program.tests, program.n,
				       program.setup, program.teardown);
}
