/*
 * The refusal of a pure decoder: the rule that was broken and the numbers.
 *
 * format/ has no printf; the function that reports turns a fault into a struct
 * qcow2_error with fault_error() from format/fault_error.h.
 */
#ifndef FORMAT_FAULT_H
#define FORMAT_FAULT_H

#include <stdint.h>

#include "format/defect.h"

struct fault {
	enum defect defect;
	const char *field; /* static, as the specification spells it */
	uint64_t off;      /* bytes from the start of the decoded buffer */
	uint64_t value;    /* what was found */
	uint64_t limit;    /* what the value was held against, 0 if nothing */
};

static inline enum defect fault_set(struct fault *f, enum defect defect,
				    const char *field, uint64_t off,
				    uint64_t value, uint64_t limit)
{
	*f = (struct fault){ defect, field, off, value, limit };
	return defect;
}

#endif
