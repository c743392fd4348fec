/*
 * Changes in words, and the properties of an image that show from outside.
 */
#ifndef CRASH_CHANGE_OPS_H
#define CRASH_CHANGE_OPS_H

#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

/* The properties that a change may change, compared as text. */
struct change_facts {
	uint64_t size;
	char text[1600];
};

void change_facts_get(struct change_facts *f, struct qcow2_image *img);
bool change_facts_equal(const struct change_facts *a,
			const struct change_facts *b);

/*
 *	resize SECTORS              grow MODE SECTORS, with preallocation
 *	amend version N             amend refcount_bits N
 *	amend lazy 0|1              amend raw 0
 *	amend size SECTORS
 *	amend backing FORMAT NAME   amend no backing
 */
int change_perform(struct qcow2_image *img, const char *text,
		   struct qcow2_error *err);

#endif
