/*
 * Feature bits: opening for writing, guest changes and long operations change
 * them, and the change is on the disk when it has to be.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "format/header.h"
#include "image/image.h"
#include "store/mem.h"
#include "store/store.h"
#include "stores/count.h"
#include "support/test.h"
#include "write/features.h"
#include "write/writer.h"

#define UNKNOWN_AUTOCLEAR (UINT64_C(1) << 40)

struct rig {
	struct qcow2_store *mem;
	struct qcow2_store *file; /* counts */
	struct count count;
	struct image *img;
};

static uint64_t word(struct rig *r, uint64_t off)
{
	uint8_t raw[8];

	assert_int_equal(store_pread(r->mem, raw, 8, off, 0, NULL), 0);
	return get_be64(raw);
}

static void put_word(struct rig *r, uint64_t off, uint64_t v)
{
	uint8_t raw[8];

	put_be64(raw, v);
	assert_int_equal(store_pwrite(r->mem, raw, 8, off, 0, NULL), 0);
}

static void make(struct rig *r, uint32_t version)
{
	struct qcow2_create_opts opts = QCOW2_CREATE_OPTS_INIT;

	memset(r, 0, sizeof(*r));
	opts.virtual_size = 1 << 20;
	opts.version = version;
	assert_int_equal(qcow2_store_new_memory(&r->mem, NULL), 0);
	assert_int_equal(qcow2_create_store(r->mem, NULL, &opts, NULL), 0);
	assert_int_equal(count_store_new(&r->count, r->mem, &r->file), 0);
}

static void open_rw(struct rig *r)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;

	opts.flags = QCOW2_OPEN_RDWR;
	assert_int_equal(image_open(r->file, &opts, &r->img, NULL), 0);
	assert_int_equal(writer_open(r->img, &opts, NULL), 0);
}

static void end(struct rig *r)
{
	assert_int_equal(writer_close(r->img, NULL), 0);
	image_close(r->img);
	store_unref(r->file);
	store_unref(r->mem);
}

static int write_sector(struct rig *r)
{
	uint8_t sector[512] = { 1 };
	struct iovec iov = { sector, sizeof(sector) };

	return image_pwritev(r->img, &iov, 1, 0, 0, NULL);
}

TEST(unknown_autoclear_bits_go_when_an_image_opens_for_writing)
{
	struct rig r;

	make(&r, 3);
	put_word(&r, HEADER_OFF_AUTOCLEAR,
		 UNKNOWN_AUTOCLEAR | AUTOCLEAR_BITMAPS |
			 AUTOCLEAR_DATA_FILE_RAW);
	open_rw(&r);
	assert_int_equal(word(&r, HEADER_OFF_AUTOCLEAR), AUTOCLEAR_BITMAPS);
	assert_true(r.count.calls[STORE_OP_FLUSH] > 0);
	end(&r);
}

TEST(bitmaps_stay_valid_until_guest_data_changes)
{
	struct rig r;

	make(&r, 3);
	put_word(&r, HEADER_OFF_AUTOCLEAR, AUTOCLEAR_BITMAPS);
	open_rw(&r);
	assert_int_equal(image_flush(r.img, NULL), 0);
	assert_int_equal(word(&r, HEADER_OFF_AUTOCLEAR), AUTOCLEAR_BITMAPS);
	assert_int_equal(write_sector(&r), 0);
	assert_int_equal(word(&r, HEADER_OFF_AUTOCLEAR), 0);
	end(&r);
}

TEST(every_kind_of_guest_change_drops_the_bitmaps)
{
	uint8_t *cluster = calloc(1, 65536);

	assert_non_null(cluster);
	for (int kind = 0; kind < 3; kind++) {
		struct rig r;
		int rc;

		make(&r, 3);
		put_word(&r, HEADER_OFF_AUTOCLEAR, AUTOCLEAR_BITMAPS);
		open_rw(&r);
		rc = kind == 0   ? image_zero(r.img, 512, 0, 0, NULL)
		     : kind == 1 ? image_discard(r.img, 65536, 0, 0, NULL)
				 : image_write_compressed(r.img, cluster, 65536,
							  0, NULL);
		assert_int_equal(rc, 0);
		assert_int_equal(word(&r, HEADER_OFF_AUTOCLEAR), 0);
		end(&r);
	}
	free(cluster);
}

TEST(the_dirty_bit_lasts_as_long_as_there_is_a_reason)
{
	struct rig r;

	make(&r, 3);
	open_rw(&r);
	assert_int_equal(features_begin_dirty(r.img, DIRTY_LAZY, NULL), 0);
	assert_int_equal(word(&r, HEADER_OFF_INCOMPAT), INCOMPAT_DIRTY);
	assert_int_equal(features_begin_dirty(r.img, DIRTY_OPERATION, NULL), 0);
	assert_int_equal(features_end_dirty(r.img, DIRTY_LAZY, NULL), 0);
	assert_int_equal(word(&r, HEADER_OFF_INCOMPAT), INCOMPAT_DIRTY);
	assert_int_equal(features_end_dirty(r.img, DIRTY_OPERATION, NULL), 0);
	assert_int_equal(word(&r, HEADER_OFF_INCOMPAT), 0);
	end(&r);
}

TEST(the_dirty_bit_costs_nothing_while_it_is_set)
{
	struct rig r;
	uint64_t flushes;

	make(&r, 3);
	open_rw(&r);
	assert_int_equal(features_begin_dirty(r.img, DIRTY_LAZY, NULL), 0);
	flushes = r.count.calls[STORE_OP_FLUSH];
	assert_int_equal(features_begin_dirty(r.img, DIRTY_LAZY, NULL), 0);
	assert_int_equal(r.count.calls[STORE_OP_FLUSH], flushes);
	assert_int_equal(features_end_dirty(r.img, DIRTY_LAZY, NULL), 0);
	end(&r);
}

TEST(version_2_has_no_bits_to_write)
{
	struct rig r;
	uint64_t writes;

	make(&r, 2);
	open_rw(&r);
	writes = r.count.calls[STORE_OP_WRITE];
	assert_int_equal(features_begin_dirty(r.img, DIRTY_LAZY, NULL), 0);
	assert_int_equal(features_end_dirty(r.img, DIRTY_LAZY, NULL), 0);
	assert_int_equal(features_mark_corrupt(r.img, -EIO), -EIO);
	assert_int_equal(r.count.calls[STORE_OP_WRITE], writes);
	assert_int_equal(write_sector(&r), -EIO);
	assert_int_not_equal(writer_close(r.img, NULL), 0);
	image_close(r.img);
	store_unref(r.file);
	store_unref(r.mem);
}

TEST(a_corrupt_image_takes_no_more_writes)
{
	struct rig r;

	make(&r, 3);
	open_rw(&r);
	assert_int_equal(features_mark_corrupt(r.img, -EIO), -EIO);
	assert_int_equal(word(&r, HEADER_OFF_INCOMPAT), INCOMPAT_CORRUPT);
	assert_int_equal(write_sector(&r), -EIO);
	assert_int_not_equal(writer_close(r.img, NULL), 0);
	image_close(r.img);
	store_unref(r.file);
	store_unref(r.mem);
}
