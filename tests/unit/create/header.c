#include <string.h>

#include "format/extension.h"
#include "format/header.h"
#include "rig.h"
#include "support/test.h"

TEST(backing_names_are_recorded)
{
	struct qcow2_create_opts o = {
		.struct_size = sizeof(o),
		.virtual_size = MIB,
		.backing_file = "dir/base",
		.backing_format = "qcow2",
	};
	struct qcow2_store *file;
	struct qcow2_store *data;
	struct extensions x;
	struct fault fault;
	struct header h;
	uint64_t size;
	uint8_t *bytes;

	create_in_memory(&file, &data, &o);
	bytes = slurp(file, &size);
	assert_int_equal(header_decode(&h, bytes, 65536, &fault), 0);
	assert_int_equal(extensions_decode(&x, &h, bytes, 65536, size, &fault),
			 0);
	assert_int_equal(h.backing_len, 8);
	assert_memory_equal(bytes + h.backing_off, "dir/base", 8);
	assert_int_equal(x.backing_format_len, 5);
	assert_memory_equal(x.backing_format, "qcow2", 5);
	free(bytes);
	store_unref(file);
}

TEST(feature_bits_follow_the_options)
{
	struct qcow2_create_opts o = {
		.struct_size = sizeof(o),
		.flags = QCOW2_CREATE_EXTENDED_L2 | QCOW2_CREATE_DATA_FILE_RAW |
			 QCOW2_CREATE_LAZY_REFCOUNTS,
		.data_file = "d",
		.compression = QCOW2_COMPRESSION_ZSTD,
	};
	struct qcow2_store *file;
	struct qcow2_store *data;
	struct fault fault;
	struct header h;
	uint64_t size;
	uint8_t *bytes;

	create_in_memory(&file, &data, &o);
	bytes = slurp(file, &size);
	assert_int_equal(header_decode(&h, bytes, 65536, &fault), 0);
	assert_int_equal(h.incompatible_features, INCOMPAT_DATA_FILE |
							  INCOMPAT_COMPRESSION |
							  INCOMPAT_EXTENDED_L2);
	assert_int_equal(h.compatible_features, COMPAT_LAZY_REFCOUNTS);
	assert_int_equal(h.autoclear_features, AUTOCLEAR_DATA_FILE_RAW);
	assert_int_equal(h.compression_type, COMPRESSION_ZSTD);
	assert_int_equal(h.header_length, 112);
	free(bytes);
	store_unref(file);
	store_unref(data);
}
