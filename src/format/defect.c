#include "format/defect.h"

#include <stddef.h>

#define LEAK DEFECT_SEVERITY_LEAK
#define CORRUPTION DEFECT_SEVERITY_CORRUPTION
#define FATAL DEFECT_SEVERITY_FATAL
#define NEVER DEFECT_REPAIR_NEVER
#define LEAKS DEFECT_REPAIR_LEAKS
#define ALL DEFECT_REPAIR_ALL

static const struct defect_info infos[DEFECT_COUNT] = {
#define DEFECT(id, name, severity, repair, text) \
	[DEFECT_##id] = { name, text, severity, repair },
#include "format/defects.def"
#undef DEFECT
};

const struct defect_info *defect_info(int defect)
{
	if (defect <= DEFECT_NONE || defect >= DEFECT_COUNT)
		return NULL;
	return &infos[defect];
}
