#include "stores/fault.h"

#include "base/cleanup.h"

void fault_arm(struct fault_injector *f, const struct fault_plan *plan)
{
	SCOPED_LOCK(&f->lock);

	f->plan = plan ? *plan : (struct fault_plan){ .ops = FAULT_ON_ALL };
	f->n_seen = 0;
	f->n_fired = 0;
	f->n_barriers = 0;
}

uint64_t fault_fired(struct fault_injector *f)
{
	SCOPED_LOCK(&f->lock);

	return f->n_fired;
}

uint64_t fault_barriers(struct fault_injector *f)
{
	SCOPED_LOCK(&f->lock);

	return f->n_barriers;
}

uint64_t fault_seen(struct fault_injector *f)
{
	SCOPED_LOCK(&f->lock);

	return f->n_seen;
}

/* Counts the call and says whether it is one that fails. */
static bool is_hit(struct fault_injector *f, enum store_op op)
{
	const struct fault_plan *p = &f->plan;

	if (!(p->ops & FAULT_ON(op)))
		return false;
	f->n_seen++;
	if (!p->nth || f->n_seen < p->nth)
		return false;
	return f->n_seen - p->nth <= p->more || p->persistent;
}

static struct hook_answer fault_enter(void *opaque,
				      const struct store_call *call)
{
	struct fault_injector *f = opaque;
	struct hook_answer a = { .what = HOOK_PASS };
	SCOPED_LOCK(&f->lock);

	if (!is_hit(f, call->op))
		return a;
	f->n_fired++;
	f->n_barriers += call->op == STORE_OP_FLUSH;
	a.what = f->plan.kind == FAULT_SHORT ? HOOK_SHORT : HOOK_FAIL;
	a.code = f->plan.kind == FAULT_LIE ? 0 : f->plan.code;
	a.part = f->plan.part;
	return a;
}

int fault_store_new(struct fault_injector *f, struct qcow2_store *inner,
		    struct qcow2_store **out)
{
	struct hook hook = { .enter = fault_enter, .opaque = f };

	return hook_store_new(inner, &hook, out);
}
