/*
 * A dump as text, one line for each record:
 *
 *	kind@0xOFFSET number=1 bits=0x1 flag text='x' !defect-name
 *
 * with "-" for an offset that is none, and without flags that are not set.
 */
#ifndef UNIT_DUMP_LINES_H
#define UNIT_DUMP_LINES_H

#include "../check/rig.h"

struct lines {
	int rc;
	struct qcow2_error err;
	uint32_t n;
	uint32_t n_max; /* stops there; 0: at no record */
	char *text;
	size_t len;
	size_t room;
};

/* @opts: NULL for the header; report and opaque are set here. */
struct lines *lines_of(struct qcow2_store *s,
		       const struct qcow2_dump_opts *opts);
/* The same, stopped at record @n_max. */
struct lines *lines_stopped(struct rig *r, uint32_t what, uint32_t n_max);
struct lines *lines_of_what(struct rig *r, uint32_t what, uint64_t index);
void lines_free(struct lines *l);

/* The whole text is @want; or one of the lines is. */
void expect_text(const struct lines *l, const char *want);
void expect_line(const struct lines *l, const char *want);
/* Nothing broken is told. */
void expect_no_defect(const struct lines *l);

/* lines_of_what() is exactly @want. */
void expect_dump(struct rig *r, uint32_t what, uint64_t index,
		 const char *want);

#endif
