#include "api/target.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/path.h"
#include "base/text.h"
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

int target_check_backing(const struct publish *file, const char *image_path,
			 const struct qcow2_create_opts *opts,
			 struct qcow2_error *err)
{
	const char *name = opts->backing_file;
	CLEANUP_FREE char *path = NULL;

	if (!name)
		return 0;
	path = path_join(image_path, name);
	if (!path)
		return error_nomem(err, "the path of the backing file",
				   strlen(image_path) + strlen(name));
	if (!publish_leads_to(file, path))
		return 0;
	return error_set(err, -EINVAL,
			 "backing_file %s is the very file that is to be made",
			 TEXT(name, strlen(name)));
}

int target_check_data(const struct publish *image, const char *path,
		      struct qcow2_error *err)
{
	if (!publish_leads_to(image, path))
		return 0;
	return error_set(err, -EINVAL, "data_file is the image itself");
}
