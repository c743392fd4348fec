/*
 * Every allocation fails once: see session.h.  The command line is that of
 * faults-stores.
 */
#include "faults/command.h"
#include "faults/session.h"
#include "faults/wrap_alloc.h"

static const char *const plans[] = { "once", "for-ever" };

static void arm_once(void *self, uint64_t nth)
{
	(void)self;
	wrap_alloc_arm(nth, false);
}

static void arm_for_ever(void *self, uint64_t nth)
{
	(void)self;
	wrap_alloc_arm(nth, true);
}

static uint64_t fired(void *self)
{
	(void)self;
	return wrap_alloc_fired();
}

static int wrap(void *self, struct qcow2_store *inner, struct qcow2_store **out)
{
	(void)self;
	return wrap_alloc_store(inner, out);
}

static uint64_t live(void *self)
{
	(void)self;
	return wrap_alloc_live();
}

static bool run_plan(struct command *cmd, const struct base *b,
		     const struct workload *w, unsigned index)
{
	struct injector in = { .arm = index ? arm_for_ever : arm_once,
			       .fired = fired,
			       .wrap = wrap,
			       .live = live,
			       .persistent = index };

	return command_run(cmd, &in, plans[index], b, w);
}

int main(int argc, char **argv)
{
	return command_main(argc, argv, plans, 2, run_plan);
}
