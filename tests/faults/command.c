#include "faults/command.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faults/workloads.h"
#include "support/amount.h"

enum { VIOLATIONS_MAX = 5 };

bool command_run(struct command *cmd, const struct injector *in,
		 const char *plan, const struct base *b,
		 const struct workload *w)
{
	char why[WHY_BYTES], text[WORKLOAD_TEXT_BYTES];
	uint64_t nth = cmd->nth;
	bool reached;
	bool ok = nth ? session_run(in, b, w, nth, &reached, why)
		      : session_run_all(in, b, w, &cmd->stats, &nth, why);

	if (ok)
		return true;
	workload_print(w, text, sizeof(text));
	printf("VIOLATION: %s\n  run it again: --seed %" PRIu64
	       " --config %s --plan %s --nth %" PRIu64 " --ops '%s'\n",
	       why, cmd->seed, b->config->name, plan, nth, text);
	fflush(stdout);
	cmd->violations++;
	return false;
}

/* The sample is another one with each seed. */
static bool is_mine(struct command *cmd)
{
	uint64_t turn = cmd->turn++;

	return turn % cmd->n_parts == cmd->part &&
	       (turn / cmd->n_parts + cmd->seed) % cmd->sample == 0 &&
	       cmd->violations < VIOLATIONS_MAX;
}

static struct workload workload_of(const struct command *cmd,
				   const struct config *c, unsigned index)
{
	struct test_rng rng = test_rng_init(cmd->seed + cmd->turn + index);
	struct workload w;

	if (!cmd->ops)
		return workloads_get(c, index, &rng);
	if (!workload_parse(&w, cmd->ops)) {
		fprintf(stderr, "faults: not a workload: %s\n", cmd->ops);
		exit(2);
	}
	return w;
}

static void run_config(struct command *cmd, const struct config *c,
		       const char *const *plans, unsigned n_plans,
		       command_plan_fn *run)
{
	unsigned n = cmd->ops ? 1 : WORKLOADS_N;
	struct base b = base_new(c);

	for (unsigned i = 0; i < n; i++) {
		struct workload w = workload_of(cmd, c, i);

		for (unsigned p = 0; p < n_plans; p++)
			if ((!cmd->plan || !strcmp(cmd->plan, plans[p])) &&
			    is_mine(cmd))
				run(cmd, &b, &w, p);
	}
	base_free(&b);
}

static void parse(struct command *cmd, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "part", required_argument, NULL, 'r' },
		{ "sample", required_argument, NULL, 'S' },
		{ "config", required_argument, NULL, 'c' },
		{ "plan", required_argument, NULL, 'p' },
		{ "ops", required_argument, NULL, 'o' },
		{ "nth", required_argument, NULL, 'n' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 's')
			cmd->seed = strtoull(optarg, NULL, 0);
		else if (c == 'c')
			cmd->config = optarg;
		else if (c == 'p')
			cmd->plan = optarg;
		else if (c == 'o')
			cmd->ops = optarg;
		else if (c == 'n')
			cmd->nth = strtoull(optarg, NULL, 0);
		else if (c == 'S')
			cmd->sample = (unsigned)atoi(optarg);
		else if (c != 'r' || sscanf(optarg, "%u/%u", &cmd->part,
					    &cmd->n_parts) != 2)
			exit(2);
	}
}

/* No power of 5 shares a factor with the number of plans, so each is met.  A
 * workload that is asked for is not left out. */
static unsigned usual_sample(const struct command *cmd)
{
	return cmd->ops ? 1 : TEST_AMOUNT(5, 125);
}

int command_main(int argc, char **argv, const char *const *plans,
		 unsigned n_plans, command_plan_fn *run)
{
	struct command cmd = { .n_parts = 1 };

	parse(&cmd, argc, argv);
	if (!cmd.sample)
		cmd.sample = usual_sample(&cmd);
	if (!cmd.seed)
		cmd.seed = test_seed();
	for (unsigned i = 0; i < n_configs; i++)
		if (!cmd.config || !strcmp(cmd.config, configs[i].name))
			run_config(&cmd, &configs[i], plans, n_plans, run);
	printf("%" PRIu64 " sessions, %" PRIu64 " faults, %u violations\n",
	       cmd.stats.sessions, cmd.stats.faults, cmd.violations);
	return cmd.violations ? 1 : 0;
}
