#include <string.h>

#include "crash/base.h"

#define PUNCH (QCOW2_DISCARD_REQUEST | QCOW2_DISCARD_OTHER)
#define LONG_50 "a-directory-with-a-long-name-as-people-like-them-/"
#define LONG_200 LONG_50 LONG_50 LONG_50 LONG_50
#define LONG_NAME LONG_200 LONG_200 LONG_50 LONG_50
#define HALF_512 "w 0 9; w 20 4; w 60 8"
#define HALF_4K "w 0 24; w 40 3; w 96 16"
#define COMPRESSED_512 "c 0 8; c 20 4; w 30 3"
#define COMPRESSED_4K "c 0 32; c 64 8; w 80 8"

/* One configuration, a line or two. */
/* clang-format off */
const struct config configs[] = {
	/* 512-byte clusters: everything happens in a few sectors. */
	{ .name = "512", .cluster = 512, .sectors = 100, .ahead = 2 },
	{ .name = "512-used", .cluster = 512, .sectors = 100, .ahead = 1,
	  .prefill = HALF_512 },
	{ .name = "512-punch", .cluster = 512, .sectors = 100, .ahead = 1,
	  .prefill = HALF_512, .discard = PUNCH },
	{ .name = "512-v2", .cluster = 512, .sectors = 100, .version = 2,
	  .ahead = 2, .prefill = HALF_512 },
	{ .name = "512-rc64", .cluster = 512, .sectors = 100,
	  .refcount_bits = 64, .ahead = 3 },
	{ .name = "512-rc1", .cluster = 512, .sectors = 100,
	  .refcount_bits = 1, .ahead = 2, .prefill = HALF_512 },
	{ .name = "512-plain", .cluster = 512, .sectors = 100 },
	{ .name = "512-block", .cluster = 512, .sectors = 100,
	  .refcount_bits = 64, .ahead = 2, .fill = FILL_BLOCK },
	{ .name = "512-table", .cluster = 512, .sectors = 100,
	  .refcount_bits = 64, .ahead = 2, .fill = FILL_TABLE },
	{ .name = "512-holes", .cluster = 512, .sectors = 100, .ahead = 1,
	  .prefill = HALF_512, .fill = FILL_HOLES },
	{ .name = "512-backing", .cluster = 512, .sectors = 100, .ahead = 2,
	  .backing = BACKING_QCOW2, .backing_sectors = 70 },
	{ .name = "512-compressed", .cluster = 512, .sectors = 100,
	  .ahead = 1, .prefill = COMPRESSED_512 },
	{ .name = "512-snapshot", .cluster = 512, .sectors = 100, .ahead = 1,
	  .prefill = HALF_512, .snapshot = true },
	{ .name = "512-v2-snapshot", .cluster = 512, .sectors = 100,
	  .version = 2, .ahead = 1, .prefill = HALF_512, .snapshot = true,
	  .old_snapshot = true },
	{ .name = "512-snapshot-fresh", .cluster = 512, .sectors = 100,
	  .ahead = 4, .prefill = HALF_512, .snapshot = true,
	  .fill = FILL_FILE },
	{ .name = "512-wide", .cluster = 512, .sectors = 400, .ahead = 3,
	  .prefill = HALF_512, .fill = FILL_FILE },
	{ .name = "512-lazy", .cluster = 512, .sectors = 100, .ahead = 2,
	  .prefill = HALF_512,
	  .create_flags = QCOW2_CREATE_LAZY_REFCOUNTS },
	{ .name = "512-autoclear", .cluster = 512, .sectors = 100, .ahead = 2,
	  .autoclear = true },

	{ .name = "512-low", .cluster = 512, .sectors = 100, .ahead = 1,
	  .prefill = HALF_512, .snapshot = true, .fill = FILL_LOW },
	{ .name = "512-low-v2", .cluster = 512, .sectors = 100, .version = 2,
	  .ahead = 2, .prefill = COMPRESSED_512, .fill = FILL_LOW },
	{ .name = "512-low-rc64", .cluster = 512, .sectors = 100,
	  .refcount_bits = 64, .ahead = 2, .prefill = HALF_512,
	  .fill = FILL_LOW, .discard = PUNCH },

	{ .name = "512-zeros", .cluster = 512, .sectors = 100, .ahead = 2,
	  .prefill = HALF_512 "; z 0 3; u 21 2; z 70 9" },

	/* 4 KiB: copy-on-write inside a cluster. */
	{ .name = "4k", .cluster = 4096, .sectors = 131, .ahead = 2 },
	{ .name = "4k-used", .cluster = 4096, .sectors = 131, .ahead = 1,
	  .prefill = HALF_4K },
	{ .name = "4k-punch", .cluster = 4096, .sectors = 131, .ahead = 1,
	  .prefill = HALF_4K, .discard = PUNCH },
	{ .name = "4k-keep", .cluster = 4096, .sectors = 131, .ahead = 1,
	  .prefill = HALF_4K,
	  .discard = QCOW2_DISCARD_NO_UNREF | QCOW2_DISCARD_REQUEST },
	{ .name = "4k-v2-backing", .cluster = 4096, .sectors = 131,
	  .version = 2, .ahead = 2, .backing = BACKING_RAW,
	  .backing_sectors = 60 },
	{ .name = "4k-backing", .cluster = 4096, .sectors = 131, .ahead = 2,
	  .backing = BACKING_QCOW2, .backing_sectors = 131 },
	{ .name = "4k-raw-backing", .cluster = 4096, .sectors = 131,
	  .ahead = 1, .backing = BACKING_RAW, .backing_sectors = 85,
	  .prefill = "w 8 9", .discard = PUNCH },
	{ .name = "4k-rc1", .cluster = 4096, .sectors = 131,
	  .refcount_bits = 1, .ahead = 1 },
	{ .name = "4k-rc64", .cluster = 4096, .sectors = 131,
	  .refcount_bits = 64, .ahead = 1, .prefill = HALF_4K },
	{ .name = "4k-lazy", .cluster = 4096, .sectors = 131, .ahead = 2,
	  .prefill = HALF_4K, .backing = BACKING_RAW, .backing_sectors = 131,
	  .create_flags = QCOW2_CREATE_LAZY_REFCOUNTS },
	{ .name = "4k-prealloc", .cluster = 4096, .sectors = 131, .ahead = 1,
	  .prealloc = QCOW2_PREALLOC_METADATA },
	{ .name = "4k-compressed", .cluster = 4096, .sectors = 131,
	  .ahead = 1, .prefill = COMPRESSED_4K },
	{ .name = "4k-compressed-punch", .cluster = 4096, .sectors = 131,
	  .ahead = 1, .prefill = COMPRESSED_4K, .discard = PUNCH },
	{ .name = "4k-snapshot", .cluster = 4096, .sectors = 131, .ahead = 1,
	  .prefill = HALF_4K, .snapshot = true, .discard = PUNCH },
	{ .name = "4k-snapshot-backing", .cluster = 4096, .sectors = 131,
	  .ahead = 1, .prefill = HALF_4K, .snapshot = true,
	  .backing = BACKING_QCOW2, .backing_sectors = 131 },
	{ .name = "4k-data", .cluster = 4096, .sectors = 131, .ahead = 2,
	  .data = DATA_FILE },
	{ .name = "4k-data-backing", .cluster = 4096, .sectors = 131,
	  .ahead = 2, .data = DATA_FILE, .backing = BACKING_RAW,
	  .backing_sectors = 131, .discard = PUNCH },
	{ .name = "4k-data-raw", .cluster = 4096, .sectors = 131,
	  .ahead = 2, .data = DATA_FILE_RAW },

	{ .name = "4k-zeros-backing", .cluster = 4096, .sectors = 131,
	  .ahead = 1, .prefill = HALF_4K "; z 0 8; u 40 8; z 64 16",
	  .backing = BACKING_RAW, .backing_sectors = 131 },
	{ .name = "4k-zeros-snapshot", .cluster = 4096, .sectors = 131,
	  .ahead = 1, .prefill = HALF_4K "; z 0 8; u 40 8; z 64 16",
	  .snapshot = true, .backing = BACKING_RAW, .backing_sectors = 131 },

	{ .name = "4k-zeros-shared", .cluster = 4096, .sectors = 131,
	  .ahead = 1, .prefill = HALF_4K, .snapshot = true, .after = "w 8 1",
	  .zeros_over_shared = true, .backing = BACKING_RAW,
	  .backing_sectors = 131 },
	{ .name = "4k-long-name", .cluster = 4096, .sectors = 131, .ahead = 2,
	  .backing = BACKING_RAW, .backing_sectors = 20,
	  .backing_name = LONG_NAME },

	/* 64 KiB, the usual size. */
	{ .name = "64k", .cluster = 65536, .sectors = 389 },
	{ .name = "64k-used", .cluster = 65536, .sectors = 389, .ahead = 1,
	  .prefill = "w 0 140", .discard = PUNCH },
	{ .name = "64k-backing", .cluster = 65536, .sectors = 389, .ahead = 2,
	  .backing = BACKING_QCOW2, .backing_sectors = 300 },

	/* Extended L2 entries: 32 subclusters of 512 bytes. */
	{ .name = "sub", .cluster = 16384, .sectors = 101, .ahead = 2,
	  .create_flags = QCOW2_CREATE_EXTENDED_L2 },
	{ .name = "sub-used", .cluster = 16384, .sectors = 101, .ahead = 1,
	  .prefill = "w 0 40; w 66 5; z 70 4",
	  .create_flags = QCOW2_CREATE_EXTENDED_L2, .discard = PUNCH },
	{ .name = "sub-backing", .cluster = 16384, .sectors = 101, .ahead = 2,
	  .create_flags = QCOW2_CREATE_EXTENDED_L2,
	  .backing = BACKING_QCOW2, .backing_sectors = 80 },
	{ .name = "sub-snapshot", .cluster = 16384, .sectors = 101,
	  .ahead = 1, .prefill = "w 0 40; w 66 5; z 70 4", .snapshot = true,
	  .create_flags = QCOW2_CREATE_EXTENDED_L2 },
	{ .name = "sub-prealloc", .cluster = 16384, .sectors = 101,
	  .ahead = 1, .prealloc = QCOW2_PREALLOC_METADATA,
	  .create_flags = QCOW2_CREATE_EXTENDED_L2 },
	{ .name = "sub-data", .cluster = 16384, .sectors = 101, .ahead = 1,
	  .create_flags = QCOW2_CREATE_EXTENDED_L2, .data = DATA_FILE,
	  .backing = BACKING_QCOW2, .backing_sectors = 101 },
	{ .name = "sub-data-raw", .cluster = 16384, .sectors = 101,
	  .ahead = 1, .create_flags = QCOW2_CREATE_EXTENDED_L2,
	  .data = DATA_FILE_RAW },
};
/* clang-format on */

const unsigned n_configs = sizeof(configs) / sizeof(configs[0]);

const struct config *config_find(const char *name)
{
	for (unsigned i = 0; i < n_configs; i++)
		if (strcmp(configs[i].name, name) == 0)
			return &configs[i];
	return NULL;
}
