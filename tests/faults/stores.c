/*
 * Every store call fails once: see session.h.
 *
 *	faults-stores [--seed N] [--part I/N] [--sample N]
 *		      [--config NAME] [--plan NAME] [--ops TEXT] [--nth N]
 *
 * --sample is one in N of the part, else one in 5, or in 25 under a
 * sanitizer.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faults/command.h"
#include "faults/session.h"
#include "stores/fault.h"

#define ALL FAULT_ON_ALL
#define SPACE                                                     \
	(FAULT_ON(STORE_OP_WRITE) | FAULT_ON(STORE_OP_TRUNCATE) | \
	 FAULT_ON(STORE_OP_ZERO))
#define TRANSFERS (FAULT_ON(STORE_OP_READ) | FAULT_ON(STORE_OP_WRITE))
#define EVERYTHING UINT64_MAX

static const struct plan {
	const char *name;
	struct fault_plan plan;
} plans[] = {
	{ "eio", { .ops = ALL, .code = -EIO } },
	{ "eio-changes-for-ever",
	  { .ops = FAULT_ON_CHANGES, .code = -EIO, .persistent = true } },
	{ "enospc", { .ops = SPACE, .code = -ENOSPC } },
	{ "enospc-for-ever",
	  { .ops = SPACE, .code = -ENOSPC, .persistent = true } },
	/* D5: there is no room for a while, and then there is. */
	{ "edquot-for-a-while", { .ops = SPACE, .code = -EDQUOT, .more = 6 } },
	{ "half-written-for-a-while",
	  { .ops = FAULT_ON(STORE_OP_WRITE),
	    .kind = FAULT_SHORT,
	    .code = -ENOSPC,
	    .part = MODEL_SECTOR,
	    .more = 3 } },
	/* The call had part of its effect, or all of it, though it failed. */
	{ "short",
	  { .ops = TRANSFERS,
	    .kind = FAULT_SHORT,
	    .code = -EIO,
	    .part = MODEL_SECTOR } },
	{ "happened",
	  { .ops = FAULT_ON_CHANGES,
	    .kind = FAULT_SHORT,
	    .code = -EIO,
	    .part = EVERYTHING } },
	/* A store that forgets that its flush failed. */
	{ "flush", { .ops = FAULT_ON(STORE_OP_FLUSH), .code = -EIO } },
};

enum { N_PLANS = sizeof(plans) / sizeof(plans[0]) };

struct plan_injector {
	struct fault_injector fault;
	struct fault_plan plan;
};

static void plan_arm(void *self, uint64_t nth)
{
	struct plan_injector *p = self;

	p->plan.nth = nth;
	fault_arm(&p->fault, &p->plan);
}

static uint64_t plan_fired(void *self)
{
	struct plan_injector *p = self;

	return fault_fired(&p->fault);
}

static uint64_t plan_barriers(void *self)
{
	struct plan_injector *p = self;

	return fault_barriers(&p->fault);
}

static int plan_wrap(void *self, struct qcow2_store *inner,
		     struct qcow2_store **out)
{
	struct plan_injector *p = self;

	return fault_store_new(&p->fault, inner, out);
}

static bool run_plan(struct command *cmd, const struct base *b,
		     const struct workload *w, unsigned index)
{
	struct plan_injector p = { FAULT_INIT, plans[index].plan };
	struct injector in = {
		.arm = plan_arm,
		.fired = plan_fired,
		.barriers_failed = plan_barriers,
		.wrap = plan_wrap,
		.self = &p,
		.persistent = p.plan.persistent,
		.barriers = p.plan.ops == FAULT_ON(STORE_OP_FLUSH),
	};

	return command_run(cmd, &in, plans[index].name, b, w);
}

int main(int argc, char **argv)
{
	const char *names[N_PLANS];

	for (unsigned i = 0; i < N_PLANS; i++)
		names[i] = plans[i].name;
	return command_main(argc, argv, names, N_PLANS, run_plan);
}
