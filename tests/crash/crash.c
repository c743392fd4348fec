/*
 * The crash suite: runs workloads, enumerates what a crash may leave of them,
 * and judges every state.
 *
 *	crash [OPTION...] SLICE...
 *
 *	--seed N        of everything random; else the clock
 *	--states N      about so many distinct states per slice; 0: no limit;
 *	                else 20000, or 1000 under a sanitizer, where one in
 *	                four of each list is tried too
 *	--config NAME   only this configuration
 *	--ops TEXT      this workload instead of a slice's (see workload.h)
 *	--all N         take all subsets of up to N events
 *	--first         stop at the first violation and shrink nothing
 *	--list          the configurations
 *
 * Slices: special, repairs, changes, snapshots, compactions, scenarios, pairs,
 * triples, random.  A slice may be cut into parts by `NAME/I/N`.  Exit status 1
 * after a violation.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crash/change.h"
#include "crash/generate.h"
#include "crash/repairs.h"
#include "crash/scenarios.h"
#include "crash/snapshots.h"
#include "crash/special.h"
#include "crash/trial.h"
#include "support/amount.h"

enum { VIOLATIONS_MAX = 3, DEFAULT_STATES = TEST_AMOUNT(20000, 1000) };

/* Of lists, which no number of states limits, one in so many is tried. */
enum { SHARE_OF_LISTS = TEST_AMOUNT(1, 4) };

struct run {
	struct trial_env env;
	struct stats stats;
	const char *config; /* NULL: all */
	const char *ops;    /* NULL: what the slice says */
	uint64_t limit;     /* distinct states of one slice; 0: none */
	uint64_t goal;      /* the same as a value of stats.distinct */
	bool first;         /* stop at the first violation, as it is */
	unsigned part;
	unsigned n_parts;
	uint64_t turn; /* counts workloads, to share them out */
};

/* ---- One workload -------------------------------------------------------- */

static bool is_over(const struct run *r)
{
	return r->stats.violations >= (r->first ? 1 : VIOLATIONS_MAX) ||
	       (r->goal && r->stats.distinct >= r->goal);
}

static void report(struct run *r, const struct base *b, struct workload *w,
		   struct failure *f)
{
	char text[WORKLOAD_TEXT_BYTES];

	if (!r->first)
		trial_shrink(&r->env, b, w, f);
	workload_print(w, text, sizeof(text));
	printf("VIOLATION: %s\n"
	       "  run it again: crash --seed %" PRIu64
	       " --config %s --ops '%s'\n"
	       "  pending when it crashed:\n%s",
	       f->why, r->env.seed, b->config->name, text, f->events);
	fflush(stdout);
}

static void run_workload(struct run *r, const struct base *b,
			 const struct workload *w)
{
	struct workload copy = *w;
	struct failure failure;

	if (is_over(r) || r->turn++ % r->n_parts != r->part)
		return;
	if (trial_run(&r->env, b, w, &failure))
		return;
	r->stats.violations++;
	report(r, b, &copy, &failure);
}

/* Others of a list with each seed. */
static bool is_in_turn(const struct run *r, unsigned i)
{
	return (r->env.seed + i) % SHARE_OF_LISTS == 0;
}

static bool is_wanted(const struct run *r, const struct config *c)
{
	return !r->config || strcmp(r->config, c->name) == 0;
}

/* ---- Slices -------------------------------------------------------------- */

/* Runs all of it, whatever the limit. */
static void run_list(struct run *r, const struct scenario *list, unsigned n)
{
	uint64_t goal = r->goal;

	r->goal = 0;
	for (unsigned i = 0; i < n; i++) {
		const struct config *c = config_find(list[i].config);
		struct workload w;
		struct base b;

		if (!c || !workload_parse(&w, list[i].ops)) {
			fprintf(stderr, "crash: scenario %s is wrong\n",
				list[i].name);
			exit(2);
		}
		if (!is_wanted(r, c) || !is_in_turn(r, i))
			continue;
		b = base_new(c);
		run_workload(r, &b, &w);
		base_free(&b);
	}
	r->goal = goal;
}

static void run_scenarios(struct run *r)
{
	run_list(r, scenarios, n_scenarios);
}

/* The operations between two of a sequence. */
enum { GAPS = 3 };

static void add_gap(struct workload *w, unsigned gap)
{
	for (unsigned i = 0; i < gap; i++)
		workload_add(w, (struct op){ .kind = OP_FLUSH });
}

/* @n operations from the menu, number @index of all sequences. */
static struct workload sequence(const struct workload *menu, unsigned n,
				uint64_t index)
{
	struct workload w = { 0 };

	for (unsigned i = 0; i < n; i++) {
		workload_add(&w, menu->ops[index % menu->n]);
		index /= menu->n;
		add_gap(&w, (unsigned)(index % GAPS));
		index /= GAPS;
	}
	return w;
}

static uint64_t n_sequences(const struct workload *menu, unsigned n)
{
	uint64_t all = 1;

	while (n--)
		all *= menu->n * GAPS;
	return all;
}

/* Runs every sequence once, in an order that the seed decides.  The
 * configurations take turns, so that a limit cuts all of them alike. */
static void run_sequences(struct run *r, unsigned n)
{
	struct base *bases = calloc(n_configs, sizeof(*bases));
	uint64_t most = 0;

	for (unsigned i = 0; i < n_configs; i++) {
		struct workload menu = generate_menu(&configs[i]);

		bases[i] = base_new(&configs[i]);
		if (n_sequences(&menu, n) > most)
			most = n_sequences(&menu, n);
	}
	for (uint64_t at = 0; at < most && !is_over(r); at++) {
		for (unsigned i = 0; i < n_configs; i++) {
			struct workload menu = generate_menu(&configs[i]);
			uint64_t all = n_sequences(&menu, n);
			/* A prime step visits each index once. */
			uint64_t index =
				(at * UINT64_C(1000003) + r->env.seed + i) %
				all;
			struct workload w = sequence(&menu, n, index);

			if (at < all && is_wanted(r, &configs[i]))
				run_workload(r, &bases[i], &w);
		}
	}
	for (unsigned i = 0; i < n_configs; i++)
		base_free(&bases[i]);
	free(bases);
}

static void run_pairs(struct run *r)
{
	run_sequences(r, 2);
}

static void run_triples(struct run *r)
{
	run_sequences(r, 3);
}

static void run_random_one(struct run *r, struct test_rng *rng,
			   const char *kinds)
{
	const struct config *c = &configs[test_rng_below(rng, n_configs)];
	unsigned n = 4 + (unsigned)test_rng_below(rng, kinds ? 8 : 20);
	struct workload w;
	struct base b;

	if (r->config)
		c = config_find(r->config);
	w = kinds ? generate_story(rng, c, n, kinds)
		  : generate_random(rng, c, n);
	b = base_new(c);
	r->turn = r->part;
	run_workload(r, &b, &w);
	base_free(&b);
}

/* With changes of @kinds between, if any. */
static void run_random_until(struct run *r, const char *kinds)
{
	struct test_rng rng = test_rng_init(r->env.seed ^ r->part);

	while (!is_over(r) && (r->limit || r->stats.distinct < 10000000))
		run_random_one(r, &rng, kinds);
}

static void run_random(struct run *r)
{
	run_random_until(r, NULL);
}

static void run_compactions(struct run *r)
{
	run_list(r, compactions, n_compactions);
	run_random_until(r, "kkkkrsaxb");
}

/* Slices that are not about crashes of a workload. */
static void note_special(struct run *r, const struct base *b, bool ok,
			 const struct failure *f)
{
	r->stats.trials++;
	if (ok)
		return;
	r->stats.violations++;
	printf("VIOLATION: %s\n  seed %" PRIu64 ", %s\n%s", f->why, r->env.seed,
	       b->config->name, f->events);
}

enum { READERS = TEST_AMOUNT(60, 15) };

static void run_special(struct run *r)
{
	for (unsigned i = 0; i < n_configs && !is_over(r); i++) {
		const struct config *c = &configs[i];
		struct failure f;
		struct base b;

		if (!is_wanted(r, c))
			continue;
		b = base_new(c);
		for (uint64_t n = 0; n < READERS && !is_over(r); n++)
			note_special(r, &b, special_reader(&r->env, &b, n, &f),
				     &f);
		if (strcmp(c->name, "4k-used") == 0)
			note_special(r, &b, special_corrupt(&r->env, &b, &f),
				     &f);
		base_free(&b);
	}
}

/* ---- Cases with one operation each --------------------------------------- */

struct cases {
	unsigned n;
	const char *(*config)(unsigned i);
	bool (*run)(const struct trial_env *env, const struct base *b,
		    unsigned i, struct failure *f);
	void (*describe)(unsigned i);
};

static const char *repair_config(unsigned i)
{
	return repair_cases[i].config;
}

static bool repair_run(const struct trial_env *env, const struct base *b,
		       unsigned i, struct failure *f)
{
	return repairs_run(env, b, &repair_cases[i], f);
}

static void repair_describe(unsigned i)
{
	printf("repair of `%s`", repair_cases[i].name);
}

static const char *change_config(unsigned i)
{
	return change_cases[i].config;
}

static bool change_case_run(const struct trial_env *env, const struct base *b,
			    unsigned i, struct failure *f)
{
	return change_run(env, b, change_cases[i].change, f);
}

static void change_describe(unsigned i)
{
	printf("change `%s`", change_cases[i].change);
}

static const char *snapshot_config(unsigned i)
{
	return snapshot_cases[i].config;
}

static bool snapshot_run(const struct trial_env *env, const struct base *b,
			 unsigned i, struct failure *f)
{
	return snapshots_run(env, b, &snapshot_cases[i], f);
}

static void snapshot_describe(unsigned i)
{
	printf("after `%s`: `%s`", snapshot_cases[i].before,
	       snapshot_cases[i].step);
}

static void run_cases(struct run *r, const struct cases *cases)
{
	for (unsigned i = 0; i < cases->n && !is_over(r); i++) {
		const struct config *config = config_find(cases->config(i));
		struct failure f;
		struct base b;

		if (!is_wanted(r, config) || !is_in_turn(r, i))
			continue;
		b = base_new(config);
		if (!cases->run(&r->env, &b, i, &f)) {
			r->stats.violations++;
			printf("VIOLATION: %s\n  seed %" PRIu64 ", %s, ", f.why,
			       r->env.seed, config->name);
			cases->describe(i);
			printf("\n%s", f.events);
		}
		base_free(&b);
	}
}

/* The number of states does not limit these. */
static void run_all_cases(struct run *r, const struct cases *cases)
{
	uint64_t goal = r->goal;

	r->goal = 0;
	run_cases(r, cases);
	r->goal = goal;
}

static void run_repairs(struct run *r)
{
	struct cases c = { n_repair_cases, repair_config, repair_run,
			   repair_describe };

	run_all_cases(r, &c);
}

static void run_changes(struct run *r)
{
	struct cases c = { n_change_cases, change_config, change_case_run,
			   change_describe };

	run_all_cases(r, &c);
	run_list(r, changes, n_changes);
	run_random_until(r, "rrrgbb");
}

static void run_snapshots(struct run *r)
{
	struct cases c = { n_snapshot_cases, snapshot_config, snapshot_run,
			   snapshot_describe };

	run_all_cases(r, &c);
	run_list(r, snapshot_stories, n_snapshot_stories);
	run_random_until(r, "sssaxr");
}

/* ---- Slices -------------------------------------------------------------- */

static const struct {
	const char *name;
	void (*run)(struct run *r);
} slices[] = {
	{ "special", run_special },
	{ "repairs", run_repairs },
	{ "changes", run_changes },
	{ "snapshots", run_snapshots },
	{ "compactions", run_compactions },
	{ "scenarios", run_scenarios },
	{ "pairs", run_pairs },
	{ "triples", run_triples },
	{ "random", run_random },
};

/* NAME or NAME/I/N. */
static bool run_slice(struct run *r, const char *text)
{
	size_t len = strcspn(text, "/");

	r->part = 0;
	r->n_parts = 1;
	r->turn = 0;
	if (text[len] &&
	    (sscanf(text + len, "/%u/%u", &r->part, &r->n_parts) != 2 ||
	     r->part >= r->n_parts))
		return false;
	r->goal = r->limit ? r->stats.distinct + r->limit : 0;
	for (size_t i = 0; i < sizeof(slices) / sizeof(slices[0]); i++) {
		if (strlen(slices[i].name) != len ||
		    strncmp(slices[i].name, text, len))
			continue;
		slices[i].run(r);
		return true;
	}
	return false;
}

static bool run_ops(struct run *r)
{
	const struct config *c = r->config ? config_find(r->config) : NULL;
	struct workload w;
	struct base b;

	if (!c || !workload_parse(&w, r->ops))
		return false;
	r->n_parts = 1;
	b = base_new(c);
	run_workload(r, &b, &w);
	base_free(&b);
	return true;
}

/* ---- Command line -------------------------------------------------------- */

static void list_configs(void)
{
	for (unsigned i = 0; i < n_configs; i++)
		printf("%s\n", configs[i].name);
}

static uint64_t clock_seed(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return ((uint64_t)now.tv_sec * 1000003 + (uint64_t)now.tv_nsec) %
	       1000000007;
}

static bool parse_options(struct run *r, int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "states", required_argument, NULL, 'n' },
		{ "config", required_argument, NULL, 'c' },
		{ "ops", required_argument, NULL, 'o' },
		{ "all", required_argument, NULL, 'a' },
		{ "first", no_argument, NULL, 'f' },
		{ "list", no_argument, NULL, 'l' },
		{ NULL, 0, NULL, 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 's')
			r->env.seed = strtoull(optarg, NULL, 0);
		else if (opt == 'n')
			r->limit = strtoull(optarg, NULL, 0);
		else if (opt == 'c')
			r->config = optarg;
		else if (opt == 'o')
			r->ops = optarg;
		else if (opt == 'a')
			r->env.effort.all_max = (unsigned)atoi(optarg);
		else if (opt == 'f')
			r->first = true;
		else if (opt == 'l')
			list_configs();
		else
			return false;
	}
	return true;
}

static void print_totals(const struct run *r, const struct timespec *began)
{
	struct timespec now;
	double s;

	clock_gettime(CLOCK_MONOTONIC, &now);
	s = (double)(now.tv_sec - began->tv_sec) +
	    1e-9 * (double)(now.tv_nsec - began->tv_nsec);
	printf("seed %" PRIu64 ": %" PRIu64 " trials, %" PRIu64
	       " states, %" PRIu64 " distinct, %" PRIu64
	       " crashed again, %" PRIu64 " violations, %.1f s\n",
	       r->env.seed, r->stats.trials, r->stats.states, r->stats.distinct,
	       r->stats.again, r->stats.violations, s);
}

int main(int argc, char **argv)
{
	const char *env_seed = getenv("TEST_SEED");
	struct run r = { .limit = DEFAULT_STATES, .n_parts = 1 };
	struct timespec began;
	bool ok;

	r.env.seed = env_seed ? strtoull(env_seed, NULL, 0) : clock_seed();
	r.env.effort = (struct effort){ 12, 4, 40 };
	clock_gettime(CLOCK_MONOTONIC, &began);
	ok = parse_options(&r, argc, argv);
	r.env.stats = &r.stats;
	r.env.seen = seen_new();
	if (ok && r.ops)
		ok = run_ops(&r);
	for (int i = optind; ok && i < argc; i++)
		ok = run_slice(&r, argv[i]);
	seen_free(r.env.seen);
	if (!ok) {
		fprintf(stderr, "crash: wrong arguments; see crash.c\n");
		return 2;
	}
	print_totals(&r, &began);
	return r.stats.violations ? 1 : 0;
}
