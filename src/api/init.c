/*
 * The defaults of the public structures, for languages that do not reach the
 * _INIT macros.  Zero is the default of every field.
 */
#include <string.h>

#include <qcow2.h>

static void init(void *s, size_t size)
{
	if (size < sizeof(size))
		return;
	memset(s, 0, size);
	memcpy(s, &size, sizeof(size));
}

#define DEFINE_INIT(name)                                             \
	void qcow2_##name##_init(struct qcow2_##name *s, size_t size) \
	{                                                             \
		init(s, size);                                        \
	}

DEFINE_INIT(open_opts)
DEFINE_INIT(gate)
DEFINE_INIT(store_ops)
DEFINE_INIT(snapshot_opts)
DEFINE_INIT(create_opts)
DEFINE_INIT(resize_opts)
DEFINE_INIT(amend_opts)
DEFINE_INIT(compact_opts)
DEFINE_INIT(check_opts)
DEFINE_INIT(dump_opts)
DEFINE_INIT(compare_opts)
DEFINE_INIT(placement)
DEFINE_INIT(convert_opts)
DEFINE_INIT(info)
DEFINE_INIT(snapshot_info)
DEFINE_INIT(bitmap_info)
DEFINE_INIT(luks_info)
DEFINE_INIT(limits)
DEFINE_INIT(stats)
DEFINE_INIT(pool_opts)
DEFINE_INIT(queue_opts)
DEFINE_INIT(request)
DEFINE_INIT(completion)
DEFINE_INIT(queue_info)
DEFINE_INIT(usage)
DEFINE_INIT(diff_extent)
DEFINE_INIT(compact_result)
DEFINE_INIT(check_result)
DEFINE_INIT(compare_result)
