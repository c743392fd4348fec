#include "stores/count.h"

static struct hook_answer count_enter(void *opaque,
				      const struct store_call *call)
{
	struct count *c = opaque;

	atomic_fetch_add(&c->calls[call->op], 1);
	atomic_fetch_add(&c->bytes[call->op], call->len);
	return (struct hook_answer){ .what = HOOK_PASS };
}

int count_store_new(struct count *c, struct qcow2_store *inner,
		    struct qcow2_store **out)
{
	struct hook hook = { .enter = count_enter, .opaque = c };

	return hook_store_new(inner, &hook, out);
}
