#include "base/options.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/zero.h"

/* No structure grows this large; a greater size is memory never set. */
#define OPTIONS_BYTES_MAX 4096

int options_copy(void *dst, size_t dst_size, const void *src, const char *name,
		 struct qcow2_error *err)
{
	size_t size = 0;

	assert(dst_size >= sizeof(size) && dst_size <= OPTIONS_BYTES_MAX);
	memset(dst, 0, dst_size);
	if (src)
		memcpy(&size, src, sizeof(size));
	if (src && (size < sizeof(size) || size > OPTIONS_BYTES_MAX))
		return error_set(err, -EINVAL,
				 "%s: struct_size is %zu, not the size of the "
				 "structure; initialise it with its _INIT "
				 "macro",
				 name, size);
	if (size > dst_size &&
	    !is_zero((const char *)src + dst_size, size - dst_size))
		return error_set(err, -EINVAL,
				 "%s: sets options past byte %zu, which this "
				 "version of the library does not know",
				 name, dst_size);
	if (src)
		memcpy(dst, src, size < dst_size ? size : dst_size);
	memcpy(dst, &dst_size, sizeof(dst_size));
	return 0;
}

int options_check_result(const void *dst, struct qcow2_error *err)
{
	size_t size = 0;

	if (dst)
		memcpy(&size, dst, sizeof(size));
	if (size >= sizeof(size) && size <= OPTIONS_BYTES_MAX)
		return 0;
	return error_set(err, -EINVAL,
			 dst ? "struct_size of the result structure is not "
			       "set; initialise it with its _INIT macro"
			     : "the result structure is NULL");
}

int options_give(void *dst, const void *full, size_t full_size,
		 struct qcow2_error *err)
{
	int rc = options_check_result(dst, err);
	size_t size;
	size_t known;

	if (rc < 0)
		return rc;
	memcpy(&size, dst, sizeof(size));
	known = size < full_size ? size : full_size;
	memcpy((char *)dst + sizeof(size), (const char *)full + sizeof(size),
	       known - sizeof(size));
	memset((char *)dst + known, 0, size - known);
	return 0;
}
