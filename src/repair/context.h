/*
 * The state of one repair, and the stages that share it.
 *
 * `c` is the check that was made last.  A stage that changes references sets
 * `stale`; then the check is made again before the next stage.
 */
#ifndef REPAIR_CONTEXT_H
#define REPAIR_CONTEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/validate.h"
#include "check/context.h"
#include "repair/repair.h"

struct repair {
	struct qcow2_store *file;
	const struct qcow2_check_opts *user;
	/* The caller's, with our functions before the caller's. */
	struct qcow2_check_opts silent;
	struct qcow2_check_opts aloud;
	enum repair_what what;
	struct check c;
	struct qcow2_check_result found; /* of the check in `c` */
	struct qcow2_check_result fixed; /* leaks and corruptions repaired */
	bool has_check;
	bool stale;
	bool made_sole;    /* a refcount fell to 1, and a flag
					   * that was right may be so no more */
	uint32_t permille; /* progress told last */
	uint32_t n_checks;
};

VALIDATOR(repair);

/* repair.c: makes the check in r->c.  Only an aloud one tells what it finds, as
 * what is left. */
int repair_look(struct repair *r, struct check_mode mode, bool aloud,
		struct qcow2_error *err);

/* The usual one, silently, where the last one no longer holds. */
int repair_look_again(struct repair *r, struct qcow2_error *err);

/* Tells and counts a finding that is being repaired. */
void repair_tell(struct repair *r, enum defect defect, uint64_t host_off,
		 const char *fmt, ...) PRINTF_LIKE(4, 5);

/* Makes what went before durable, so that what comes may rely on it. */
int repair_barrier(struct repair *r, struct qcow2_error *err);

/* True where nothing but the image's own structure of this kind uses the
 * cluster, so that it may be written in place. */
bool repair_is_sole(const struct repair *r, uint64_t host_off);

/* extensions.c: stage 0. */
int repair_extensions(struct repair *r, struct qcow2_error *err);
/* Clears the autoclear bits that a writer of this version does not keep. */
int repair_autoclear(struct repair *r, struct qcow2_error *err);

/* replace.c: stage 1. */
int repair_replace(struct repair *r, struct qcow2_error *err);

/* entries.c: stage 2. */
int repair_entries(struct repair *r, struct qcow2_error *err);

/* counts.c: stages 3 and 5. */
int repair_raise(struct repair *r, struct qcow2_error *err);
int repair_lower(struct repair *r, bool aloud, struct qcow2_error *err);

/* flags.c: stage 4.  With @later flags follow the refcounts still to come. */
int repair_flags(struct repair *r, bool later, struct qcow2_error *err);

/* header.c: the fields that repair changes. */
struct header_switch {
	uint64_t refcount_table_off;
	uint32_t refcount_table_clusters;
	uint32_t refcount_order;
	uint32_t n_snapshots;
	uint64_t snapshots_off;
	uint64_t clear_autoclear;
};

/* One sector, and a barrier after it. */
int repair_switch(struct repair *r, const struct header_switch *s,
		  struct qcow2_error *err);
/* The number of snapshots, likewise. */
int repair_set_snapshots(struct repair *r, uint32_t n, struct qcow2_error *err);
/* Clears feature bits, likewise.  Nothing is written where none is set. */
int repair_clear_bits(struct repair *r, uint64_t incompatible,
		      uint64_t autoclear, struct qcow2_error *err);

#endif
