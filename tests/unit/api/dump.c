#include <errno.h>

#include "support/test.h"

#include <qcow2.h>

static int refuse(void *opaque, const struct qcow2_dump_record *record)
{
	(void)opaque;
	(void)record;
	fail();
	return 1;
}

/* An option that would have no effect is refused, before anything is read. */
TEST(options_that_make_no_sense_are_refused)
{
	static const struct {
		uint32_t what;
		uint64_t index;
		uint64_t offset;
		const char *snapshot;
	} rows[] = {
		{ QCOW2_DUMP_ENTRY + 1, 0, 0, NULL },
		{ QCOW2_DUMP_HEADER, 1, 0, NULL },
		{ QCOW2_DUMP_SNAPSHOTS, 1, 0, NULL },
		{ QCOW2_DUMP_BITMAPS, 1, 0, NULL },
		{ QCOW2_DUMP_ENTRY, 1, 0, NULL },
		{ QCOW2_DUMP_L2, 0, 1, NULL },
		{ QCOW2_DUMP_ENTRY, 0, UINT64_C(1) << 63, NULL },
		{ QCOW2_DUMP_HEADER, 0, 0, "s" },
		{ QCOW2_DUMP_REFCOUNTS, 0, 0, "s" },
	};
	struct qcow2_store *store;

	assert_int_equal(qcow2_store_new_memory(&store, NULL), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct qcow2_dump_opts opts = QCOW2_DUMP_OPTS_INIT;

		opts.what = rows[i].what;
		opts.index = rows[i].index;
		opts.offset = rows[i].offset;
		opts.snapshot = rows[i].snapshot;
		opts.report = refuse;
		assert_int_equal(qcow2_dump_store(store, &opts, NULL), -EINVAL);
	}
	qcow2_store_unref(store);
}
