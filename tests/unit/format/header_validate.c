/*
 * The second half of header.c: the headers that header_validate() refuses.
 */
#include "base/bytes.h"
#include "format/header.h"
#include "generate.h"

enum { BUF = 512 };

static const uint64_t file_size = 1 << 20;

struct row {
	enum defect want; /* DEFECT_NONE: accepted */
	enum header_field field;
	unsigned bytes; /* of the field */
	uint64_t value;
};

static void run_rows(const struct header *base, uint64_t size,
		     const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct row *r = &rows[i];
		uint8_t buf[BUF] = { 0 };
		struct fault f = { .defect = DEFECT_NONE };
		struct header h;
		enum defect bad;

		assert_true(header_encode(base, buf, sizeof(buf)) > 0);
		if (r->bytes == 1)
			buf[r->field] = (uint8_t)r->value;
		else if (r->bytes == 4)
			put_be32(buf + r->field, (uint32_t)r->value);
		else
			put_be64(buf + r->field, r->value);
		assert_int_equal(header_decode(&h, buf, sizeof(buf), &f), 0);
		bad = header_validate(&h, size, &f);
		if (bad != r->want)
			print_error("row %zu: %s\n", i,
				    bad ? defect_info((int)bad)->name : "ok");
		assert_int_equal(bad, r->want);
		assert_int_equal(f.defect, bad);
		if (bad)
			assert_non_null(f.field);
	}
}

#define RUN_ROWS(base, size, rows) \
	run_rows((base), (size), (rows), sizeof(rows) / sizeof((rows)[0]))

TEST(tables_must_lie_in_the_file_behind_the_header)
{
	static const struct row rows[] = {
		{ DEFECT_NONE, HEADER_OFF_L1_OFF, 8, 0xff000 },
		{ DEFECT_HEADER_L1_OFFSET, HEADER_OFF_L1_OFF, 8, 0 },
		{ DEFECT_HEADER_L1_OFFSET, HEADER_OFF_L1_OFF, 8, 0x3200 },
		{ DEFECT_HEADER_L1_OFFSET, HEADER_OFF_L1_OFF, 8, 0x3001 },
		{ DEFECT_HEADER_L1_OFFSET, HEADER_OFF_L1_OFF, 8, 0x100000 },
		{ DEFECT_HEADER_L1_OFFSET, HEADER_OFF_L1_OFF, 8, 0x1000 },
		{ DEFECT_HEADER_L1_OFFSET, HEADER_OFF_L1_OFF, 8, 1ull << 56 },
		{ DEFECT_HEADER_L1_OFFSET, HEADER_OFF_L1_OFF, 8,
		  0x7fffffffffff0000 },
		{ DEFECT_HEADER_L1_OFFSET, HEADER_OFF_L1_OFF, 8,
		  0xfffffffffffff000 },
		{ DEFECT_HEADER_REFCOUNT_TABLE_OFFSET,
		  HEADER_OFF_REFCOUNT_TABLE_OFF, 8, 0 },
		{ DEFECT_HEADER_REFCOUNT_TABLE_OFFSET,
		  HEADER_OFF_REFCOUNT_TABLE_OFF, 8, 0x1800 },
		{ DEFECT_HEADER_REFCOUNT_TABLE_OFFSET,
		  HEADER_OFF_REFCOUNT_TABLE_OFF, 8, 0x100000 },
		{ DEFECT_HEADER_REFCOUNT_TABLE_OFFSET,
		  HEADER_OFF_REFCOUNT_TABLE_OFF, 8, 0x7fffffffffff0000 },
		{ DEFECT_NONE, HEADER_OFF_REFCOUNT_TABLE_OFF, 8, 0xff000 },
		{ DEFECT_HEADER_L1_OFFSET, HEADER_OFF_REFCOUNT_TABLE_OFF, 8,
		  0x3000 },
	};
	struct header h = small_header(3);

	RUN_ROWS(&h, file_size, rows);
}

TEST(the_last_cluster_of_the_file_may_be_cut)
{
	struct header h = small_header(3);
	struct fault fault;

	h.l1_off = 0xff000;
	assert_int_equal(header_validate(&h, 0xff001, &fault), 0);
	assert_int_equal(header_validate(&h, 0xff000, &fault),
			 DEFECT_HEADER_L1_OFFSET);
	assert_int_equal(header_validate(&h, UINT64_MAX, &fault), 0);
}

TEST(table_sizes_have_limits)
{
	static const struct row rows[] = {
		{ DEFECT_HEADER_L1_SIZE, HEADER_OFF_L1_SIZE, 4, 1 },
		{ DEFECT_HEADER_L1_SIZE, HEADER_OFF_L1_SIZE, 4, 0 },
		{ DEFECT_NONE, HEADER_OFF_L1_SIZE, 4, 512 },
		{ DEFECT_NONE, HEADER_OFF_L1_SIZE, 4, (32 << 20) / 8 },
		{ DEFECT_HEADER_L1_SIZE, HEADER_OFF_L1_SIZE, 4,
		  (32 << 20) / 8 + 1 },
		{ DEFECT_HEADER_L1_SIZE, HEADER_OFF_L1_SIZE, 4, 0x7fffffff },
		{ DEFECT_HEADER_L1_SIZE, HEADER_OFF_L1_SIZE, 4, UINT32_MAX },
		{ DEFECT_NONE, HEADER_OFF_REFCOUNT_TABLE_CLUSTERS, 4, 0 },
		{ DEFECT_NONE, HEADER_OFF_REFCOUNT_TABLE_CLUSTERS, 4, 2 },
		{ DEFECT_HEADER_L1_OFFSET, HEADER_OFF_REFCOUNT_TABLE_CLUSTERS,
		  4, 3 },
		{ DEFECT_HEADER_REFCOUNT_TABLE_SIZE,
		  HEADER_OFF_REFCOUNT_TABLE_CLUSTERS, 4, 2049 },
		{ DEFECT_HEADER_REFCOUNT_TABLE_SIZE,
		  HEADER_OFF_REFCOUNT_TABLE_CLUSTERS, 4, 0x00100001 },
		{ DEFECT_HEADER_REFCOUNT_TABLE_SIZE,
		  HEADER_OFF_REFCOUNT_TABLE_CLUSTERS, 4, UINT32_MAX },
		{ DEFECT_NONE, HEADER_OFF_SIZE, 8, 0 },
		{ DEFECT_NONE, HEADER_OFF_SIZE, 8, 511 },
		{ DEFECT_HEADER_L1_SIZE, HEADER_OFF_SIZE, 8, (4 << 20) + 1 },
		{ DEFECT_HEADER_L1_SIZE, HEADER_OFF_SIZE, 8, INT64_MAX },
		{ DEFECT_HEADER_SIZE, HEADER_OFF_SIZE, 8, 1ull << 63 },
		{ DEFECT_HEADER_SIZE, HEADER_OFF_SIZE, 8, UINT64_MAX },
		{ DEFECT_HEADER_SIZE, HEADER_OFF_SIZE, 8, UINT64_MAX - 511 },
	};
	struct header h = small_header(3);

	RUN_ROWS(&h, 1 << 30, rows);
}

TEST(a_refcount_table_of_8_mib_is_the_largest)
{
	struct header h = small_header(3);
	struct fault fault;

	h.refcount_table_off = 0x10000;
	h.refcount_table_clusters = 2048;
	assert_int_equal(header_validate(&h, 1 << 30, &fault), 0);
	h.refcount_table_clusters = 2049;
	assert_int_equal(header_validate(&h, 1 << 30, &fault),
			 DEFECT_HEADER_REFCOUNT_TABLE_SIZE);
	assert_int_equal(fault.limit, 2048);
}

/* Messages are made of these. */
TEST(faults_name_the_limit_that_was_broken)
{
	struct header h = small_header(3);
	struct fault fault;

	h.n_snapshots = 65537;
	header_validate(&h, 1 << 30, &fault);
	assert_int_equal(fault.value, 65537);
	assert_int_equal(fault.limit, 65536);
	h.n_snapshots = 0;
	h.crypt_method = 3;
	header_validate(&h, 1 << 30, &fault);
	assert_int_equal(fault.limit, 2);
	h.crypt_method = 0;
	h.size = UINT64_C(1) << 63;
	header_validate(&h, 1 << 30, &fault);
	assert_true(fault.limit == INT64_MAX);
	h.size = 4 << 20;
	h.l1_size = 1;
	header_validate(&h, 1 << 30, &fault);
	assert_int_equal(fault.limit, 2);
	h.l1_size = 1 << 23;
	header_validate(&h, 1 << 30, &fault);
	assert_int_equal(fault.limit, 1 << 22);
	h.l1_size = 2;
	h.backing_off = 1024;
	h.backing_len = 1024;
	header_validate(&h, 1 << 30, &fault);
	assert_int_equal(fault.limit, 1023);
}

TEST(an_empty_table_is_nowhere_but_aligned)
{
	struct header h = small_header(3);
	struct fault fault;

	h.size = 0;
	h.l1_size = 0;
	h.l1_off = 0;
	assert_int_equal(header_validate(&h, file_size, &fault), 0);
	h.l1_off = 0x200;
	assert_int_equal(header_validate(&h, file_size, &fault),
			 DEFECT_HEADER_L1_OFFSET);
	h.l1_off = 0;
	h.snapshots_off = 1ull << 40;
	assert_int_equal(header_validate(&h, file_size, &fault), 0);
	h.snapshots_off = 1;
	assert_int_equal(header_validate(&h, file_size, &fault),
			 DEFECT_HEADER_SNAPSHOT_OFFSET);
	h.snapshots_off = UINT64_MAX - 4095;
	assert_int_equal(header_validate(&h, file_size, &fault),
			 DEFECT_HEADER_SNAPSHOT_OFFSET);
}

TEST(snapshots_must_fit_into_the_file)
{
	static const struct row rows[] = {
		{ DEFECT_NONE, HEADER_OFF_SNAPSHOT_COUNT, 4, 102 },
		{ DEFECT_HEADER_SNAPSHOT_OFFSET, HEADER_OFF_SNAPSHOT_COUNT, 4,
		  103 },
		{ DEFECT_HEADER_SNAPSHOT_OFFSET, HEADER_OFF_SNAPSHOT_COUNT, 4,
		  65536 },
		{ DEFECT_HEADER_SNAPSHOT_COUNT, HEADER_OFF_SNAPSHOT_COUNT, 4,
		  65537 },
		{ DEFECT_HEADER_SNAPSHOT_COUNT, HEADER_OFF_SNAPSHOT_COUNT, 4,
		  0x7fffffff },
		{ DEFECT_HEADER_SNAPSHOT_COUNT, HEADER_OFF_SNAPSHOT_COUNT, 4,
		  UINT32_MAX },
		{ DEFECT_HEADER_SNAPSHOT_OFFSET, HEADER_OFF_SNAPSHOTS_OFF, 8,
		  0 },
		{ DEFECT_HEADER_SNAPSHOT_OFFSET, HEADER_OFF_SNAPSHOTS_OFF, 8,
		  0xff100 },
		{ DEFECT_HEADER_SNAPSHOT_OFFSET, HEADER_OFF_SNAPSHOTS_OFF, 8,
		  0x100000 },
		{ DEFECT_HEADER_SNAPSHOT_OFFSET, HEADER_OFF_SNAPSHOTS_OFF, 8,
		  0x7fffffffffff0000 },
		{ DEFECT_HEADER_DATA_FILE_SNAPSHOTS, HEADER_OFF_INCOMPAT, 8,
		  INCOMPAT_DATA_FILE },
	};
	struct header h = small_header(3);

	h.n_snapshots = 1;
	h.snapshots_off = 0xff000;
	RUN_ROWS(&h, file_size, rows);
}

TEST(the_backing_name_lies_between_header_and_cluster_end)
{
	static const struct row rows[] = {
		{ DEFECT_NONE, HEADER_OFF_BACKING_OFF, 8, 112 },
		{ DEFECT_NONE, HEADER_OFF_BACKING_OFF, 8, 4096 - 10 },
		/* No offset: no backing file, and its length is undefined. */
		{ DEFECT_NONE, HEADER_OFF_BACKING_OFF, 8, 0 },
		{ DEFECT_HEADER_BACKING_NAME, HEADER_OFF_BACKING_OFF, 8, 8 },
		{ DEFECT_HEADER_BACKING_NAME, HEADER_OFF_BACKING_OFF, 8, 72 },
		{ DEFECT_HEADER_BACKING_NAME, HEADER_OFF_BACKING_OFF, 8, 111 },
		{ DEFECT_HEADER_BACKING_NAME, HEADER_OFF_BACKING_OFF, 8,
		  4096 - 9 },
		{ DEFECT_HEADER_BACKING_NAME, HEADER_OFF_BACKING_OFF, 8, 4096 },
		{ DEFECT_HEADER_BACKING_NAME, HEADER_OFF_BACKING_OFF, 8,
		  UINT64_MAX },
		{ DEFECT_HEADER_BACKING_NAME, HEADER_OFF_BACKING_OFF, 8,
		  UINT64_MAX - 9 },
		{ DEFECT_NONE, HEADER_OFF_BACKING_LEN, 4, 1023 },
		{ DEFECT_HEADER_BACKING_NAME, HEADER_OFF_BACKING_LEN, 4, 1024 },
		{ DEFECT_HEADER_BACKING_NAME, HEADER_OFF_BACKING_LEN, 4,
		  UINT32_MAX },
		/* F13: a place without a name is no backing file either. */
		{ DEFECT_NONE, HEADER_OFF_BACKING_LEN, 4, 0 },
	};
	struct header h = small_header(3);

	h.backing_off = 1024;
	h.backing_len = 10;
	RUN_ROWS(&h, file_size, rows);
}

TEST(features_may_not_contradict_each_other)
{
	static const struct row rows[] = {
		{ DEFECT_NONE, HEADER_OFF_CRYPT_METHOD, 4, CRYPT_LUKS },
		{ DEFECT_HEADER_CRYPT_METHOD, HEADER_OFF_CRYPT_METHOD, 4, 3 },
		{ DEFECT_HEADER_CRYPT_METHOD, HEADER_OFF_CRYPT_METHOD, 4,
		  UINT32_MAX },
		{ DEFECT_HEADER_COMPRESSION_TYPE, HEADER_OFF_COMPRESSION, 1,
		  1 },
		{ DEFECT_HEADER_COMPRESSION_TYPE, HEADER_OFF_COMPRESSION, 1,
		  2 },
		{ DEFECT_HEADER_COMPRESSION_TYPE, HEADER_OFF_COMPRESSION, 1,
		  255 },
		{ DEFECT_HEADER_COMPRESSION_TYPE, HEADER_OFF_INCOMPAT, 8,
		  INCOMPAT_COMPRESSION },
		{ DEFECT_HEADER_EXTENDED_L2_CLUSTER, HEADER_OFF_INCOMPAT, 8,
		  INCOMPAT_EXTENDED_L2 },
		{ DEFECT_NONE, HEADER_OFF_INCOMPAT, 8,
		  INCOMPAT_DIRTY | INCOMPAT_CORRUPT | INCOMPAT_DATA_FILE },
		/* The caller names unknown bits; here they break nothing. */
		{ DEFECT_NONE, HEADER_OFF_INCOMPAT, 8, 1ull << 63 },
		{ DEFECT_NONE, HEADER_OFF_COMPAT, 8, UINT64_MAX },
		{ DEFECT_NONE, HEADER_OFF_AUTOCLEAR, 8, UINT64_MAX },
	};
	struct header h = small_header(3);

	RUN_ROWS(&h, file_size, rows);
}

TEST(zstd_needs_both_the_type_and_the_bit)
{
	static const struct row rows[] = {
		{ DEFECT_NONE, HEADER_OFF_COMPRESSION, 1, 1 },
		{ DEFECT_HEADER_COMPRESSION_TYPE, HEADER_OFF_COMPRESSION, 1,
		  0 },
		{ DEFECT_HEADER_COMPRESSION_TYPE, HEADER_OFF_COMPRESSION, 1,
		  2 },
		{ DEFECT_HEADER_COMPRESSION_TYPE, HEADER_OFF_INCOMPAT, 8, 0 },
	};
	struct header h = small_header(3);

	h.incompatible_features = INCOMPAT_COMPRESSION;
	h.compression_type = COMPRESSION_ZSTD;
	RUN_ROWS(&h, file_size, rows);
}

TEST(extended_l2_needs_clusters_of_16_kib)
{
	struct header h = small_header(3);
	struct fault fault;

	h.incompatible_features = INCOMPAT_EXTENDED_L2;
	for (h.cluster_bits = 9; h.cluster_bits <= 21; h.cluster_bits++) {
		h.l1_off = 2ull << h.cluster_bits;
		h.refcount_table_off = 1ull << h.cluster_bits;
		h.size = 512;
		assert_int_equal(header_validate(&h, 1 << 24, &fault),
				 h.cluster_bits < 14
					 ? DEFECT_HEADER_EXTENDED_L2_CLUSTER
					 : DEFECT_NONE);
	}
}

TEST(a_raw_data_file_has_no_backing_file)
{
	struct header h = small_header(3);
	struct fault fault;

	h.incompatible_features = INCOMPAT_DATA_FILE;
	h.backing_off = 1024;
	h.backing_len = 10;
	assert_int_equal(header_validate(&h, file_size, &fault), 0);
	h.autoclear_features = AUTOCLEAR_DATA_FILE_RAW;
	assert_int_equal(header_validate(&h, file_size, &fault),
			 DEFECT_HEADER_DATA_FILE_BACKING);
	h.incompatible_features = 0;
	assert_int_equal(header_validate(&h, file_size, &fault), 0);
}
