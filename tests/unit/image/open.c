/*
 * Images that open, images that do not, and the messages of the refusals.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "image/image.h"
#include "store/mem.h"
#include "store/store.h"
#include "support/builder.h"
#include "support/test.h"

static const struct builder_opts plain = { .version = 3,
					   .cluster_bits = 16,
					   .size = 4 << 20 };

static void make(struct builder *b, const struct builder_opts *o)
{
	builder_init(b, o);
	builder_finish(b);
}

static void poke32(struct builder *b, uint64_t off, uint32_t v)
{
	uint8_t raw[4];

	put_be32(raw, v);
	assert_int_equal(store_pwrite(b->file, raw, 4, off, 0, NULL), 0);
}

static void poke64(struct builder *b, uint64_t off, uint64_t v)
{
	poke32(b, off, (uint32_t)(v >> 32));
	poke32(b, off + 4, (uint32_t)v);
}

static int try_open(struct builder *b, const struct qcow2_open_opts *opts,
		    struct qcow2_error *err)
{
	struct qcow2_open_opts defaults = QCOW2_OPEN_OPTS_INIT;
	struct image *img;
	int rc = image_open(b->file, opts ? opts : &defaults, &img, err);

	if (rc == 0)
		image_close(img);
	return rc;
}

struct bad_header {
	uint64_t off;
	uint64_t value;
	bool wide;
	enum defect want;
};

TEST(every_bad_header_field_is_refused_by_name)
{
	static const struct bad_header rows[] = {
		{ HEADER_OFF_MAGIC, 0, false, DEFECT_HEADER_MAGIC },
		{ HEADER_OFF_VERSION, 1, false, DEFECT_HEADER_VERSION },
		{ HEADER_OFF_VERSION, 4, false, DEFECT_HEADER_VERSION },
		{ HEADER_OFF_CLUSTER_BITS, 8, false,
		  DEFECT_HEADER_CLUSTER_BITS },
		{ HEADER_OFF_CLUSTER_BITS, 22, false,
		  DEFECT_HEADER_CLUSTER_BITS },
		{ HEADER_OFF_SIZE, UINT64_MAX, true, DEFECT_HEADER_SIZE },
		{ HEADER_OFF_SIZE, 1ull << 40, true, DEFECT_HEADER_L1_SIZE },
		{ HEADER_OFF_CRYPT_METHOD, 3, false,
		  DEFECT_HEADER_CRYPT_METHOD },
		{ HEADER_OFF_L1_SIZE, 0x7fffffff, false,
		  DEFECT_HEADER_L1_SIZE },
		{ HEADER_OFF_L1_OFF, 512, true, DEFECT_HEADER_L1_OFFSET },
		{ HEADER_OFF_L1_OFF, 0, true, DEFECT_HEADER_L1_OFFSET },
		{ HEADER_OFF_L1_OFF, 0x7fffffffffff0000, true,
		  DEFECT_HEADER_L1_OFFSET },
		{ HEADER_OFF_REFCOUNT_TABLE_OFF, 1ull << 50, true,
		  DEFECT_HEADER_REFCOUNT_TABLE_OFFSET },
		{ HEADER_OFF_REFCOUNT_TABLE_CLUSTERS, 0x20001, false,
		  DEFECT_HEADER_REFCOUNT_TABLE_SIZE },
		{ HEADER_OFF_SNAPSHOT_COUNT, 65537, false,
		  DEFECT_HEADER_SNAPSHOT_COUNT },
		{ HEADER_OFF_HEADER_LENGTH, 105, false, DEFECT_HEADER_LENGTH },
		{ HEADER_OFF_REFCOUNT_ORDER, 7, false,
		  DEFECT_HEADER_REFCOUNT_ORDER },
		{ HEADER_OFF_INCOMPAT, INCOMPAT_COMPRESSION, true,
		  DEFECT_HEADER_COMPRESSION_TYPE },
		{ HEADER_OFF_INCOMPAT, INCOMPAT_DATA_FILE, true,
		  DEFECT_EXTENSION_DATA_FILE },
		{ HEADER_OFF_INCOMPAT, 1ull << 63, true,
		  DEFECT_HEADER_UNKNOWN_FEATURE },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct qcow2_error err = { 0 };
		struct builder b;
		int rc;

		make(&b, &plain);
		if (rows[i].wide)
			poke64(&b, rows[i].off, rows[i].value);
		else
			poke32(&b, rows[i].off, (uint32_t)rows[i].value);
		rc = try_open(&b, NULL, &err);
		if (rc >= 0 || err.defect != (int)rows[i].want)
			fail_msg("row %zu: rc %d, defect %d (%s)", i, rc,
				 err.defect, err.message);
		assert_true(err.message[0]);
		builder_release(&b);
	}
}

TEST(every_truncation_of_the_header_is_refused)
{
	static const uint64_t sizes[] = { 0,  1,   3,   4,   8,  71,
					  72, 103, 104, 105, 111 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct qcow2_error err = { 0 };
		struct builder b;

		make(&b, &plain);
		assert_int_equal(store_truncate(b.file, sizes[i], NULL), 0);
		assert_int_equal(try_open(&b, NULL, &err), -EINVAL);
		builder_release(&b);
	}
}

TEST(unknown_features_are_named_from_the_table)
{
	uint8_t ext[8 + FEATURE_ENTRY_BYTES] = { 0x68, 0x03, 0xf8, 0x57, 0,
						 0,    0,    48,   0,    9 };
	struct qcow2_error err = { 0 };
	struct builder b;

	make(&b, &plain);
	memcpy(ext + 10, "quantum \x1b[31m bits", 18);
	assert_int_equal(store_pwrite(b.file, ext, sizeof(ext), 112, 0, NULL),
			 0);
	poke64(&b, HEADER_OFF_INCOMPAT, 1 << 9);
	assert_int_equal(try_open(&b, NULL, &err), -ENOTSUP);
	assert_non_null(strstr(err.message, "quantum \\x1b[31m bits"));
	builder_release(&b);
}

TEST(dirty_and_corrupt_images_open_for_reading)
{
	struct builder b;

	make(&b, &plain);
	poke64(&b, HEADER_OFF_INCOMPAT, INCOMPAT_DIRTY | INCOMPAT_CORRUPT);
	assert_int_equal(try_open(&b, NULL, NULL), 0);
	builder_release(&b);
}

TEST(encrypted_images_are_never_read_as_ciphertext)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_error err = { 0 };
	struct builder b;

	make(&b, &plain);
	poke32(&b, HEADER_OFF_CRYPT_METHOD, CRYPT_AES);
	assert_int_equal(try_open(&b, NULL, &err), -ENOTSUP);
	assert_non_null(strstr(err.message, "encrypted"));
	opts.flags = QCOW2_OPEN_METADATA_ONLY;
	assert_int_equal(try_open(&b, &opts, NULL), 0);
	builder_release(&b);
}

TEST(budgets_are_kept)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_error err = { 0 };
	struct builder b;

	make(&b, &plain);
	opts.budget.virtual_bytes = plain.size - 1;
	assert_int_equal(try_open(&b, &opts, &err), -E2BIG);
	assert_non_null(strstr(err.message, "4194304"));
	opts.budget.virtual_bytes = plain.size;
	assert_int_equal(try_open(&b, &opts, NULL), 0);
	opts.budget.metadata_bytes = 4096;
	assert_int_equal(try_open(&b, &opts, &err), -E2BIG);
	builder_release(&b);
}

TEST(slice_sizes_are_checked)
{
	static const uint64_t bad[] = { 1, 256, 513, 131072 };
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct builder b;

	make(&b, &plain);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		opts.l2_slice_bytes = bad[i];
		assert_int_equal(try_open(&b, &opts, NULL), -EINVAL);
	}
	for (opts.l2_slice_bytes = 512; opts.l2_slice_bytes <= 65536;
	     opts.l2_slice_bytes *= 2)
		assert_int_equal(try_open(&b, &opts, NULL), 0);
	builder_release(&b);
}

TEST(a_missing_snapshot_is_no_such_entry)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_error err = { 0 };
	struct builder b;

	make(&b, &plain);
	opts.snapshot = "monday";
	assert_int_equal(try_open(&b, &opts, &err), -ENOENT);
	assert_non_null(strstr(err.message, "monday"));
	builder_release(&b);
}

TEST(any_size_reads_to_its_last_byte)
{
	static const uint64_t sizes[] = { 0, 1, 511, 513, 65535, 65537 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
		struct builder_opts o = plain;
		struct image_extent x;
		struct image *img;
		struct builder b;

		o.size = sizes[i];
		make(&b, &o);
		assert_int_equal(image_open(b.file, &opts, &img, NULL), 0);
		assert_int_equal(img->virtual_size, sizes[i]);
		if (sizes[i]) {
			assert_int_equal(
				image_map(img, sizes[i], 0, 0, &x, NULL), 0);
			assert_int_equal(x.len, sizes[i]);
		}
		image_close(img);
		builder_release(&b);
	}
}

/* Bad entries hurt only the guest range they map. */
TEST(damage_is_local)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_error err = { 0 };
	struct image_extent x;
	struct image *img;
	struct builder b;

	builder_init(&b, &plain);
	builder_set_entry(&b, 0,
			  (struct l2_entry){ builder_add_data(&b, NULL), 0 });
	builder_set_entry(&b, 65536, (struct l2_entry){ 0x10200, 0 });
	builder_set_entry(&b, 131072, (struct l2_entry){ 1ull << 40, 0 });
	builder_finish(&b);
	assert_int_equal(image_open(b.file, &opts, &img, NULL), 0);
	assert_int_equal(image_map(img, plain.size, 0, 0, &x, NULL), 0);
	assert_int_equal(x.len, 65536);
	assert_int_equal(image_map(img, 1, 65536, 0, &x, &err), -EIO);
	assert_int_equal(err.defect, DEFECT_L2_ENTRY_UNALIGNED);
	assert_int_equal(image_map(img, 1, 131072, 0, &x, &err), -EIO);
	assert_int_equal(err.defect, DEFECT_L2_ENTRY_BEYOND_EOF);
	assert_int_equal(image_map(img, 1, 196608, 0, &x, NULL), 0);
	image_close(img);
	builder_release(&b);
}
