/*
 * The program around the functions that TEST() registers.  In the environment
 * TEST_FILTER=text runs only those that have the text in their names,
 * TEST_PART=quick only those that take little time, TEST_PART=slow the others.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/test.h"

enum { MAX_TESTS = 128 };

static struct {
	struct CMUnitTest tests[MAX_TESTS];
	bool slow[MAX_TESTS];
	size_t n;
	CMFixtureFunction setup, teardown;
} program;

void test_add(struct CMUnitTest test, bool slow)
{
	if (program.n == MAX_TESTS)
		abort();
	program.slow[program.n] = slow;
	program.tests[program.n++] = test;
}

void test_group(CMFixtureFunction setup, CMFixtureFunction teardown)
{
	program.setup = setup;
	program.teardown = teardown;
}

static bool is_wanted(size_t i)
{
	const char *text = getenv("TEST_FILTER");
	const char *part = getenv("TEST_PART");

	if (text && !strstr(program.tests[i].name, text))
		return false;
	return !part || program.slow[i] == !strcmp(part, "slow");
}

static void keep_wanted(void)
{
	size_t n = 0;

	for (size_t i = 0; i < program.n; i++)
		if (is_wanted(i))
			program.tests[n++] = program.tests[i];
	program.n = n;
}

int main(void)
{
	keep_wanted();
	if (!program.n) {
		fprintf(stderr, "TEST_FILTER and TEST_PART leave no test\n");
		return EXIT_FAILURE;
	}
	return _cmocka_run_group_tests("tests", program.tests, program.n,
				       program.setup, program.teardown);
}
