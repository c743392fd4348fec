/*
 * Takes the findings: counts them always, words them only for a listener.
 *
 * The counts are those of `qemu-img check`, so that exit statuses and numbers
 * can be compared; docs/check-differences.md has the exceptions.  A note
 * (severity NONE) is told and not counted.
 */
#ifndef CHECK_REPORT_H
#define CHECK_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#include "base/error.h"
#include "format/defect.h"
#include "format/fault.h"

/* A set of defects. */
struct defect_set {
	uint64_t words[(DEFECT_COUNT + 63) / 64];
};

static inline void defect_set_add(struct defect_set *set, enum defect defect)
{
	set->words[(unsigned)defect / 64] |= UINT64_C(1)
					     << (unsigned)defect % 64;
}

static inline bool defect_set_has(const struct defect_set *set,
				  enum defect defect)
{
	return set->words[(unsigned)defect / 64] >> (unsigned)defect % 64 & 1;
}

struct report {
	const struct qcow2_check_opts *opts;
	struct qcow2_check_result *result;
	/* Tell and count these only; NULL: all. */
	const struct defect_set *only;
	uint32_t action; /* QCOW2_ACTION_*, of what is told */
	/* Findings that would have been told or counted without `only`. */
	struct defect_set found;
	bool noted; /* anything at all was to be told */
	/* Some references could not be read: a cluster without references may
	 * have one, so leaks are no longer reported. */
	bool incomplete;
	uint32_t permille; /* progress told last */
};

#define NOWHERE UINT64_MAX

/* One finding of @defect, of that defect's severity. @host_off: the bytes that
 * are wrong. */
void report_defect(struct report *r, enum defect defect, uint64_t host_off,
		   const char *fmt, ...) PRINTF_LIKE(4, 5);

/* The same for @n clusters of which the first is at @host_off. */
void report_clusters(struct report *r, enum defect defect, uint64_t n,
		     uint64_t host_off, const char *fmt, ...) PRINTF_LIKE(5, 6);

/* A fault that a decoder found in a buffer that began at @host_base; @what
 * names the structure. */
void report_fault(struct report *r, const struct fault *fault,
		  uint64_t host_base, const char *what);

/* Something that is worth knowing and neither a leak nor a corruption. */
void report_note(struct report *r, enum defect defect, uint64_t host_off,
		 const char *fmt, ...) PRINTF_LIKE(4, 5);

/* @n things that could not be checked. */
void report_unchecked(struct report *r, uint64_t n, uint64_t host_off,
		      const char *fmt, ...) PRINTF_LIKE(4, 5);

/* Tells the caller that @permille of the work is done; the number never falls.
 * Returns -ECANCELED when the caller has had enough. */
int report_progress(struct report *r, uint32_t permille,
		    struct qcow2_error *err);

#endif
