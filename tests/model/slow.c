#include "model/slow.h"

#include <assert.h>
#include <stdatomic.h>
#include <time.h>

#include "store/store.h"
#include "stores/hook.h"
#include "support/test.h"

static void dawdle(void)
{
	static _Atomic uint64_t calls;
	struct test_rng rng = test_rng_init(atomic_fetch_add(&calls, 1));
	struct timespec t = { 0, 0 };

	if (test_rng_below(&rng, 4))
		return;
	t.tv_nsec = (long)(1000 << test_rng_below(&rng, 7));
	nanosleep(&t, NULL);
}

static struct hook_answer enter(void *opaque, const struct store_call *call)
{
	(void)opaque;
	(void)call;
	dawdle();
	return (struct hook_answer){ .what = HOOK_PASS };
}

static void leave(void *opaque, const struct store_call *call, void *token,
		  int rc)
{
	(void)opaque;
	(void)call;
	(void)token;
	(void)rc;
	dawdle();
}

void slow_down(struct qcow2_store **store)
{
	struct hook hook = { .enter = enter, .leave = leave };
	struct qcow2_store *fast = *store;
	int rc = hook_store_new(fast, &hook, store);

	assert(rc == 0);
	(void)rc;
	store_unref(fast);
}
