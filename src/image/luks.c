#include "image/luks.h"

#include <errno.h>

#include "base/error.h"
#include "format/fault_error.h"
#include "store/store.h"

int luks_read(const struct luks *l, struct qcow2_store *file,
	      struct luks_header *out, struct qcow2_error *err)
{
	uint8_t buf[LUKS_HEADER_BYTES];
	struct fault fault;
	int rc;

	if (!l->present)
		return error_set(err, -ENOENT,
				 "the image is not encrypted with LUKS");
	rc = store_pread(file, buf, sizeof(buf), l->area.off, 0, err);
	if (rc < 0)
		return rc;
	if (luks_decode(out, buf, sizeof(buf), l->area.len, &fault))
		return fault_error(err, -EINVAL, &fault, l->area.off);
	return 0;
}
