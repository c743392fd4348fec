/*
 * Every test program starts from this: cmocka with its includes in order, test
 * functions that need no table, a seeded random source, and buffers that end at
 * a guard page.
 */
#ifndef SUPPORT_TEST_H
#define SUPPORT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/*
 * A test function, which registers itself; the functions of a program run in the
 * order in which they are written.
 *
 *	TEST(rejects_every_short_header)
 *	{
 *		...
 *	}
 */
#define TEST(name) TEST_ADD(name, NULL, NULL, false)

/* A test function between @setup_fn and @teardown_fn, which share *state with
 * it. */
#define TEST_WITH(name, setup_fn, teardown_fn) \
	TEST_ADD(name, setup_fn, teardown_fn, false)

/* A test function that takes more than a moment: suite slow runs it, not suite
 * unit.  tests/unit/meson.build lists the programs that have any. */
#define TEST_SLOW(name) TEST_ADD(name, NULL, NULL, true)

#define TEST_ADD(test_name, setup_fn, teardown_fn, slow)                       \
	static void test_name(void **state);                                   \
	__attribute__((constructor)) static void add_##test_name(void)         \
	{                                                                      \
		test_add((struct CMUnitTest){ #test_name, test_name, setup_fn, \
					      teardown_fn, NULL },             \
			 slow);                                                \
	}                                                                      \
	static void test_name(__attribute__((unused)) void **state)

/* Runs @setup_fn before all functions of the program, @teardown_fn after them. */
#define TEST_GROUP(setup_fn, teardown_fn)                        \
	__attribute__((constructor)) static void add_group(void) \
	{                                                        \
		test_group(setup_fn, teardown_fn);               \
	}

void test_add(struct CMUnitTest test, bool slow);
void test_group(CMFixtureFunction setup, CMFixtureFunction teardown);

/* The seed of this run: TEST_SEED from the environment, else the clock.
 * Prints it, so that a failure can be repeated. */
uint64_t test_seed(void);

struct test_rng {
	uint64_t state;
};

struct test_rng test_rng_init(uint64_t seed);
uint64_t test_rng_next(struct test_rng *rng);
/* 0 to @limit - 1; @limit not 0. */
uint64_t test_rng_below(struct test_rng *rng, uint64_t limit);
void test_rng_fill(struct test_rng *rng, void *buf, size_t len);

/* @len bytes whose end is the end of the accessible page, so that reading one
 * byte further is a crash. */
void *guard_alloc(size_t len);
void guard_free(void *p, size_t len);

/*
 * Runs statements in a child process, where an assert must fail.  This shows
 * that a validator finds the damage of the test.  Nothing of it stays in the
 * test, and the message of the assert is not shown.
 *
 *	ASSERT_ABORTS(d.waiting.n++; dirty_validate(&d));
 */
#define ASSERT_ABORTS(...)                     \
	do {                                   \
		if (test_in_child()) {         \
			__VA_ARGS__;           \
			test_child_survived(); \
		}                              \
	} while (0)

/* Returns true in the child; false here, once the child has aborted.  Fails the
 * test if the child ended otherwise. */
bool test_in_child(void);
_Noreturn void test_child_survived(void);

#endif
