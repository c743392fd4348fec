#include <errno.h>
#include <string.h>

#include "create/create.h"
#include "create/plan.h"
#include "format/limits.h"
#include "support/test.h"

#define EXT QCOW2_CREATE_EXTENDED_L2
#define LAZY QCOW2_CREATE_LAZY_REFCOUNTS
#define RAW QCOW2_CREATE_DATA_FILE_RAW

/* Fields that are not named are zero, the default. */
#define OPTS(...)                                                            \
	{                                                                    \
		.struct_size = sizeof(struct qcow2_create_opts), __VA_ARGS__ \
	}

/* The code of a refusal, and the word that its message must mention. */
struct refusal {
	struct qcow2_create_opts opts;
	int code;
	const char *option;
};

static const struct refusal refusals[] = {
	{ OPTS(.flags = 0x80), -EINVAL, "flags" },
	{ OPTS(.version = 1), -EINVAL, "version" },
	{ OPTS(.version = 4), -EINVAL, "version" },
	{ OPTS(.cluster_size = 256), -EINVAL, "cluster_size" },
	{ OPTS(.cluster_size = 3000), -EINVAL, "cluster_size" },
	{ OPTS(.cluster_size = 4 << 20), -EINVAL, "cluster_size" },
	{ OPTS(.cluster_size = UINT32_C(1) << 31), -EINVAL, "cluster_size" },
	{ OPTS(.refcount_bits = 3), -EINVAL, "refcount_bits" },
	{ OPTS(.refcount_bits = 128), -EINVAL, "refcount_bits" },
	{ OPTS(.compression = (enum qcow2_compression)2), -EINVAL,
	  "compression_type" },
	{ OPTS(.preallocation = (enum qcow2_preallocation)4), -EINVAL,
	  "preallocation" },
	{ OPTS(.version = 2, .refcount_bits = 1), -EINVAL, "refcount_bits" },
	{ OPTS(.version = 2, .flags = LAZY), -EINVAL, "lazy_refcounts" },
	{ OPTS(.version = 2, .flags = EXT), -EINVAL, "extended_l2" },
	{ OPTS(.version = 2, .data_file = "d"), -EINVAL, "data_file" },
	{ OPTS(.version = 2, .compression = QCOW2_COMPRESSION_ZSTD), -EINVAL,
	  "compression_type" },
	{ OPTS(.flags = EXT, .cluster_size = 8192), -EINVAL, "extended_l2" },
	{ OPTS(.flags = RAW), -EINVAL, "data_file_raw" },
	{ OPTS(.flags = RAW, .data_file = "d", .backing_file = "b",
	       .backing_format = "raw"),
	  -EINVAL, "data_file_raw" },
	{ OPTS(.preallocation = QCOW2_PREALLOC_METADATA, .backing_file = "b",
	       .backing_format = "raw"),
	  -EINVAL, "preallocation" },
	{ OPTS(.backing_file = "b"), -EINVAL, "backing_format" },
	{ OPTS(.backing_format = "raw"), -EINVAL, "backing_format" },
	{ OPTS(.backing_file = "b", .backing_format = ""), -EINVAL,
	  "backing_format" },
	{ OPTS(.backing_file = "b", .backing_format = "qcow3"), -EINVAL,
	  "backing_format" },
	{ OPTS(.backing_file = "", .backing_format = "raw"), -EINVAL,
	  "backing_file" },
	{ OPTS(.data_file = ""), -EINVAL, "data_file" },
	{ OPTS(.data_file = "nbd:unix:/tmp/s"), -EINVAL, "data_file" },
	{ OPTS(.data_file = "json:{}"), -EINVAL, "data_file" },
	{ OPTS(.virtual_size = UINT64_MAX), -EFBIG, "size" },
	{ OPTS(.virtual_size = (UINT64_C(2) << 50) + 1), -EFBIG, "size" },
	{ OPTS(.virtual_size = (UINT64_C(1) << 50) + 1, .flags = EXT), -EFBIG,
	  "size" },
	{ OPTS(.virtual_size = 128 * GIB + 1, .cluster_size = 512), -EFBIG,
	  "size" },
	{ OPTS(.virtual_size = (UINT64_C(2) << 60) + 1,
	       .cluster_size = 2 << 20),
	  -EFBIG, "size" },
	/* 64-bit refcounts of 512-byte clusters: 8 MiB of table are 32 GiB. */
	{ OPTS(.virtual_size = 32 * GIB, .cluster_size = 512,
	       .refcount_bits = 64, .preallocation = QCOW2_PREALLOC_METADATA),
	  -EFBIG, "refcount table" },
	{ OPTS(.virtual_size = UINT64_C(1) << 56, .cluster_size = 2 << 20,
	       .preallocation = QCOW2_PREALLOC_METADATA),
	  -EFBIG, "offset" },
	{ OPTS(.virtual_size = UINT64_C(1) << 57, .cluster_size = 2 << 20,
	       .data_file = "d", .preallocation = QCOW2_PREALLOC_METADATA),
	  -EFBIG, "offset" },
};

TEST(every_contradiction_is_refused_by_name)
{
	size_t n = sizeof(refusals) / sizeof(refusals[0]);

	for (size_t i = 0; i < n; i++) {
		struct qcow2_error err = { 0 };
		int rc = create_check_opts(&refusals[i].opts, &err);

		if (rc != refusals[i].code ||
		    !strstr(err.message, refusals[i].option))
			fail_msg("case %zu (%s): %d, \"%s\"", i,
				 refusals[i].option, rc, err.message);
		assert_int_equal(create_check_opts(&refusals[i].opts, NULL),
				 rc);
	}
}

static const struct qcow2_create_opts accepted[] = {
	OPTS(.version = 0),
	OPTS(.version = 2, .refcount_bits = 16),
	OPTS(.version = 2, .preallocation = QCOW2_PREALLOC_FULL),
	OPTS(.flags = EXT, .cluster_size = 16384),
	OPTS(.flags = EXT, .preallocation = QCOW2_PREALLOC_FALLOC,
	     .backing_file = "b", .backing_format = "raw"),
	OPTS(.data_file = "d", .backing_file = "b", .backing_format = "raw"),
	OPTS(.data_file = "./a:b"),
	OPTS(.data_file = "/dev/disk/by-id/a:b"),
	OPTS(.backing_file = "nbd://host/export", .backing_format = "raw"),
	OPTS(.virtual_size = 0, .preallocation = QCOW2_PREALLOC_FULL),
	OPTS(.virtual_size = UINT64_C(2) << 50),
	OPTS(.virtual_size = 128 * GIB, .cluster_size = 512),
	OPTS(.virtual_size = UINT64_C(2) << 60, .cluster_size = 2 << 20),
	OPTS(.virtual_size = UINT64_C(1) << 60, .cluster_size = 2 << 20,
	     .flags = EXT),
	OPTS(.virtual_size = UINT64_C(1) << 57, .cluster_size = 2 << 20,
	     .data_file = "d"),
};

TEST(what_goes_together_is_accepted)
{
	size_t n = sizeof(accepted) / sizeof(accepted[0]);

	for (size_t i = 0; i < n; i++) {
		struct qcow2_error err = { 0 };

		if (create_check_opts(&accepted[i], &err))
			fail_msg("case %zu: %s", i, err.message);
	}
}

TEST(defaults_are_filled_in)
{
	struct qcow2_create_opts opts = OPTS(.virtual_size = 1);
	struct create_plan plan;

	assert_int_equal(create_plan_make(&plan, &opts, NULL), 0);
	assert_int_equal(plan.opts.version, 3);
	assert_int_equal(plan.opts.cluster_size, 65536);
	assert_int_equal(plan.opts.refcount_bits, 16);
	assert_int_equal(plan.opts.virtual_size, 512);
}

TEST(a_raw_data_file_is_always_mapped)
{
	struct qcow2_create_opts opts =
		OPTS(.data_file = "d", .flags = RAW, .virtual_size = MIB);
	struct create_plan plan;

	assert_int_equal(create_plan_make(&plan, &opts, NULL), 0);
	assert_int_equal(plan.opts.preallocation, QCOW2_PREALLOC_METADATA);
	assert_int_equal(plan.layout.n_l2_entries, 16);
	assert_int_equal(plan.layout.data_off, 0);
}

struct name_limit {
	struct qcow2_create_opts opts;
	size_t longest;
};

/* The largest name that leaves the header, the extensions and the end mark in
 * the first cluster. */
static const struct name_limit backing_limits[] = {
	{ OPTS(.cluster_size = 512), 376 },
	{ OPTS(.cluster_size = 512, .version = 2), 416 },
	{ OPTS(.cluster_size = 512, .data_file = "ddddddddd"), 352 },
	{ OPTS(.cluster_size = 1024), 888 },
	{ OPTS(.cluster_size = 2048), 1023 },
	{ OPTS(.cluster_size = 65536), 1023 },
};

TEST(backing_names_may_fill_the_first_cluster)
{
	size_t n = sizeof(backing_limits) / sizeof(backing_limits[0]);

	for (size_t i = 0; i < n; i++) {
		struct qcow2_create_opts opts = backing_limits[i].opts;
		char name[1100] = { 0 };

		memset(name, 'a', backing_limits[i].longest);
		opts.backing_file = name;
		opts.backing_format = "raw";
		assert_int_equal(create_check_opts(&opts, NULL), 0);
		name[backing_limits[i].longest] = 'a';
		assert_int_equal(create_check_opts(&opts, NULL), -EINVAL);
	}
}

TEST(data_file_names_may_fill_the_first_cluster)
{
	static const uint32_t sizes[] = { 512, 1024, 2048, 65536 };
	static const size_t longest[] = { 384, 896, 1023, 1023 };

	for (size_t i = 0; i < 4; i++) {
		char name[1100] = { 0 };
		struct qcow2_create_opts opts =
			OPTS(.data_file = name, .cluster_size = sizes[i]);

		memset(name, 'a', longest[i]);
		assert_int_equal(create_check_opts(&opts, NULL), 0);
		name[longest[i]] = 'a';
		assert_int_equal(create_check_opts(&opts, NULL), -EINVAL);
	}
}
