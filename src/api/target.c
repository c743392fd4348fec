#include "api/target.h"

#include <errno.h>
#include <stddef.h>

#include "base/error.h"
#include "store/publish.h"

int target_flags(uint32_t create_flags, uint32_t convert_flags, unsigned *out,
		 struct qcow2_error *err)
{
	static const struct {
		uint32_t create, convert;
		unsigned publish;
	} same[] = {
		{ 0, QCOW2_CONVERT_DIRECT, PUBLISH_DIRECT },
		{ QCOW2_CREATE_EXCL, QCOW2_CONVERT_EXCL, PUBLISH_EXCL },
		{ QCOW2_CREATE_IN_PLACE, QCOW2_CONVERT_IN_PLACE,
		  PUBLISH_IN_PLACE },
		{ QCOW2_CREATE_REPLACE, QCOW2_CONVERT_REPLACE,
		  PUBLISH_REPLACE },
	};
	const unsigned both = PUBLISH_IN_PLACE | PUBLISH_REPLACE;

	*out = 0;
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		if (create_flags & same[i].create ||
		    convert_flags & same[i].convert)
			*out |= same[i].publish;
	if ((*out & both) != both)
		return 0;
	return error_set(err, -EINVAL,
			 "a file is either replaced or written in place");
}
