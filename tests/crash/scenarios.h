/*
 * Workloads with a story: cases in which other programs lost data, and cases in
 * which the order of our own steps is most delicate.
 */
#ifndef CRASH_SCENARIOS_H
#define CRASH_SCENARIOS_H

struct scenario {
	const char *name;
	const char *config;
	const char *ops;
};

extern const struct scenario scenarios[];
extern const unsigned n_scenarios;

/* The stories in which images are changed, grouped by the change. */
extern const struct scenario compactions[];
extern const unsigned n_compactions;
extern const struct scenario changes[];
extern const unsigned n_changes;
extern const struct scenario snapshot_stories[];
extern const unsigned n_snapshot_stories;

#endif
