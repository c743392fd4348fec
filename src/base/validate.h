/*
 * Validators: the prose of a type's header as asserts.
 *
 * Every stateful type T has T_validate(): it walks the state and asserts what
 * the header of T promises.  It changes nothing, takes no lock, and says in its
 * header which locks the caller must hold.
 *
 *	VALIDATOR(cache_shard);                      declares it, in the header
 *	void cache_shard_validate(const struct cache_shard *sh) { ... }
 *
 * The public functions of T run it where they begin and where they end, while
 * they hold the locks it needs:
 *
 *	SCOPED_LOCK(&sh->lock);
 *	SCOPED_VALIDATE(cache_shard, sh);            now, and before unlocking
 *
 *	VALIDATE(dirty, d);                          only now
 *	IF_VALIDATING(shard_validate(c, sh));        one that takes more
 *
 * They do nothing unless the build has -Dvalidate=true, so a validator may cost
 * what the state costs.  The meson option is on by itself in builds for
 * debugging and in those with a sanitizer.  A test that costs next to nothing
 * belongs in a plain assert where it matters: those stay on in every build.
 *
 * Validators are compiled always.  Unit tests call them directly, when they
 * take down what they have set up, and tests/support/test.h has ASSERT_ABORTS()
 * to show that one can fail.
 */
#ifndef BASE_VALIDATE_H
#define BASE_VALIDATE_H

#ifdef NDEBUG
#error "asserts stay on in every build: do not define NDEBUG"
#endif

#include <assert.h>

#include "base/cleanup.h"

/* Declares type##_validate(), and what runs it at the end of a block. */
#define VALIDATOR(type)                                    \
	void type##_validate(const struct type *);         \
	static inline void type##_validate_end(            \
		const struct type *const *type##_to_check) \
	{                                                  \
		type##_validate(*type##_to_check);         \
	}                                                  \
	_Static_assert(1, "a semicolon follows")

#ifdef QCOW2_VALIDATE
#define IF_VALIDATING(call) call
#define VALIDATE(type, p) type##_validate(p)
#define VALIDATED_NAME2(line) validated_##line
#define VALIDATED_NAME(line) VALIDATED_NAME2(line)
#define SCOPED_VALIDATE(type, p)                                 \
	CLEANUP(type##_validate_end)                             \
	const struct type *const VALIDATED_NAME(__LINE__) = (p); \
	type##_validate(VALIDATED_NAME(__LINE__))
#else
/* The compiler looks at the call all the same. */
#define IF_VALIDATING(call)   \
	do {                  \
		if (0)        \
			call; \
	} while (0)
#define VALIDATE(type, p) IF_VALIDATING(type##_validate(p))
#define SCOPED_VALIDATE(type, p) VALIDATE(type, p)
#endif

/* "@a means @b": reads like the prose it comes from. */
#define implies(a, b) (!(a) || (b))

#endif
