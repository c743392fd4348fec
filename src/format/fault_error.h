/*
 * From a fault of the format to the caller's struct qcow2_error; for the
 * layers above format/, which itself never prints.
 */
#ifndef FORMAT_FAULT_ERROR_H
#define FORMAT_FAULT_ERROR_H

#include <inttypes.h>

#include "base/error.h"
#include "format/fault.h"

static inline const char *fault_limit_word(const struct fault *f)
{
	return f->defect == DEFECT_HEADER_TOO_SHORT && f->value < f->limit
		       ? "minimum"
		       : "limit";
}

/* @host_base: where in the image file the decoded buffer began. */
static inline int fault_error(struct qcow2_error *err, int code,
			      const struct fault *f, uint64_t host_base)
{
	const struct defect_info *info = defect_info((int)f->defect);

	if (f->defect == DEFECT_HEADER_MAGIC)
		return error_defect(
			err, code, (int)f->defect, host_base + f->off,
			"%s (0x%08" PRIx64 " instead of 0x%08" PRIx64 ")",
			info->text, f->value, f->limit);
	if (f->limit)
		return error_defect(
			err, code, (int)f->defect, host_base + f->off,
			"%s (%s is %" PRIu64 ", %s %" PRIu64 ")", info->text,
			f->field, f->value, fault_limit_word(f), f->limit);
	return error_defect(err, code, (int)f->defect, host_base + f->off,
			    "%s (%s is %" PRIu64 ")", info->text, f->field,
			    f->value);
}

#endif
