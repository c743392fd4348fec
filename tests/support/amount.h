/*
 * The amount of work of a long test whose command line does not say it.
 * Programs are several times slower under a sanitizer, so they do less there.
 */
#ifndef SUPPORT_AMOUNT_H
#define SUPPORT_AMOUNT_H

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
	__has_feature(undefined_behavior_sanitizer)
#define TEST_SANITIZED 1
#endif
#endif

/* gcc has no name for its undefined behaviour sanitizer, which costs little. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TEST_SANITIZED 1
#endif

#ifndef TEST_SANITIZED
#define TEST_SANITIZED 0
#endif

/* @usual, or @sanitized under a sanitizer. */
#define TEST_AMOUNT(usual, sanitized) (TEST_SANITIZED ? (sanitized) : (usual))

#endif
