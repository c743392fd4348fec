/*
 * The numbers and attributes of defects.def.
 */
#ifndef FORMAT_DEFECT_H
#define FORMAT_DEFECT_H

enum defect {
	DEFECT_NONE = 0,
#define DEFECT(id, name, severity, repair, text) DEFECT_##id,
#include "format/defects.def"
#undef DEFECT
	DEFECT_COUNT
};

enum defect_severity {
	DEFECT_SEVERITY_NONE = 0,
	DEFECT_SEVERITY_LEAK = 1,
	DEFECT_SEVERITY_CORRUPTION = 2,
	DEFECT_SEVERITY_FATAL = 3,
};

enum defect_repair {
	DEFECT_REPAIR_NEVER = 0,
	DEFECT_REPAIR_LEAKS = 1,
	DEFECT_REPAIR_ALL = 2,
};

struct defect_info {
	const char *name;
	const char *text;
	enum defect_severity severity;
	enum defect_repair repair;
};

/* NULL for numbers that name no defect. */
const struct defect_info *defect_info(int defect);

#endif
