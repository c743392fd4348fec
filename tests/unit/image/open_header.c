/*
 * The header is told where the file has no more than that; and a disk is not
 * refused for parts that nobody asks for.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "format/defect.h"
#include "format/extension.h"
#include "store/mem.h"
#include "store/store.h"
#include "support/test.h"

#include <qcow2.h>

#include "format/header.h"

#define DISK (UINT64_C(10) << 30)
#define CLUSTER 65536u
#define BACKING "/images/base-with-a-long-name.qcow2"

static struct qcow2_store *make(const char *backing)
{
	struct qcow2_create_opts o = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_store *s;

	o.virtual_size = DISK;
	o.backing_file = backing;
	o.backing_format = backing ? "qcow2" : NULL;
	assert_int_equal(qcow2_store_new_memory(&s, NULL), 0);
	assert_int_equal(qcow2_create_store(s, NULL, &o, NULL), 0);
	return s;
}

static int open_as(struct qcow2_store *s, uint32_t flags, const char *snapshot,
		   struct qcow2_image **img, struct qcow2_error *err)
{
	struct qcow2_open_opts o = QCOW2_OPEN_OPTS_INIT;

	o.flags = flags;
	o.snapshot = snapshot;
	return qcow2_open_store(s, &o, img, err);
}

static struct qcow2_info info_of(struct qcow2_image *img)
{
	struct qcow2_info info = QCOW2_INFO_INIT;

	assert_int_equal(qcow2_get_info(img, 0, &info, NULL), 0);
	return info;
}

/* F07: from the fixed part of the header on. */
TEST(the_first_bytes_of_an_image_say_what_it_is)
{
	static const uint64_t sizes[] = {
		104, 105,  111,  112,     113,         120,        200,
		511, 4096, 4097, CLUSTER, CLUSTER + 1, 2 * CLUSTER
	};
	const uint32_t tables = QCOW2_LACKS_L1_TABLE |
				QCOW2_LACKS_REFCOUNT_TABLE;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct qcow2_store *s = make(NULL);
		struct qcow2_error err;
		struct qcow2_image *img;
		struct qcow2_extent x;
		struct qcow2_info info;

		assert_int_equal(store_truncate(s, sizes[i], NULL), 0);
		assert_int_equal(
			open_as(s, QCOW2_OPEN_METADATA_ONLY, NULL, &img, NULL),
			0);
		info = info_of(img);
		assert_int_equal(info.virtual_size, DISK);
		assert_int_equal(info.cluster_size, CLUSTER);
		assert_int_equal(info.lacks & QCOW2_LACKS_L1_TABLE,
				 QCOW2_LACKS_L1_TABLE);
		if (sizes[i] <= CLUSTER)
			assert_int_equal(info.lacks & tables, tables);
		assert_int_equal(qcow2_map(img, DISK, 0, 0, &x, &err), -EIO);
		assert_int_equal(err.defect, DEFECT_HEADER_L1_OFFSET);
		assert_int_equal(qcow2_close(img, NULL), 0);
		/* A caller that wants the data gets no zeros instead. */
		assert_int_equal(open_as(s, 0, NULL, &img, &err), -EINVAL);
		qcow2_store_unref(s);
	}
}

TEST(fewer_bytes_are_no_image)
{
	for (uint64_t size = 0; size < 104; size++) {
		struct qcow2_store *s = make(NULL);
		struct qcow2_image *img;

		assert_int_equal(store_truncate(s, size, NULL), 0);
		assert_int_equal(
			open_as(s, QCOW2_OPEN_METADATA_ONLY, NULL, &img, NULL),
			-EINVAL);
		qcow2_store_unref(s);
	}
}

/* F07: a name is told whole or not at all, and a caller that asks whether the
 * image stands alone is not told that it does. */
TEST(a_name_that_is_cut_off_is_not_told)
{
	for (uint64_t size = 104; size < 1024; size++) {
		struct qcow2_store *s = make(BACKING);
		struct qcow2_image *img;
		struct qcow2_info info;

		assert_int_equal(store_truncate(s, size, NULL), 0);
		assert_int_equal(
			open_as(s, QCOW2_OPEN_METADATA_ONLY, NULL, &img, NULL),
			0);
		info = info_of(img);
		assert_int_equal(info.self_contained, 0);
		if (info.backing_file)
			assert_string_equal(info.backing_file, BACKING);
		else
			assert_true(info.lacks & QCOW2_LACKS_NAMES);
		if (info.backing_format)
			assert_string_equal(info.backing_format, "qcow2");
		assert_int_equal(qcow2_close(img, NULL), 0);
		qcow2_store_unref(s);
	}
}

static void put(struct qcow2_store *s, uint64_t off, uint64_t value)
{
	uint8_t raw[8];

	put_be64(raw, value);
	assert_int_equal(store_pwrite(s, raw, sizeof(raw), off, 0, NULL), 0);
}

/* S8: the disk is read, and kept from harm. */
TEST(a_snapshot_table_past_the_end_hides_the_snapshots_only)
{
	static const uint64_t places[] = { 0, UINT64_C(1) << 40,
					   5 * UINT64_C(65536) };
	char buf[512];

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		struct qcow2_snapshot_info snap = { .struct_size =
							    sizeof(snap) };
		struct qcow2_snapshot_list *list;
		struct qcow2_store *s = make(NULL);
		struct qcow2_image *img;
		struct qcow2_error err;

		put(s, HEADER_OFF_REFCOUNT_TABLE_CLUSTERS,
		    UINT64_C(0x0000000100000003));
		put(s, HEADER_OFF_SNAPSHOTS_OFF, places[i]);
		assert_int_equal(open_as(s, 0, NULL, &img, NULL), 0);
		assert_int_equal(qcow2_pread(img, buf, sizeof(buf), 0, 0, NULL),
				 0);
		assert_int_equal(info_of(img).n_snapshots, 0);
		assert_int_equal(info_of(img).lacks,
				 QCOW2_LACKS_SNAPSHOT_TABLE);
		assert_int_equal(qcow2_get_snapshot(img, 0, &snap, &err),
				 -EINVAL);
		assert_int_equal(err.defect, DEFECT_SNAPSHOT_TABLE);
		err.defect = 0;
		assert_int_equal(qcow2_snapshot_list_new(img, &list, &err),
				 -EINVAL);
		assert_int_equal(err.defect, DEFECT_SNAPSHOT_TABLE);
		assert_int_equal(qcow2_close(img, NULL), 0);
		assert_int_equal(open_as(s, 0, "1", &img, &err), -EINVAL);
		assert_int_equal(err.defect, DEFECT_SNAPSHOT_TABLE);
		assert_int_equal(open_as(s, QCOW2_OPEN_RDWR, NULL, &img, &err),
				 -EROFS);
		assert_int_equal(err.defect, DEFECT_SNAPSHOT_TABLE);
		qcow2_store_unref(s);
	}
}
