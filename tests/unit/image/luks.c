#include "image/luks.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "format/defect.h"
#include "store/mem.h"
#include "store/store.h"
#include "stores/fault.h"
#include "support/test.h"

enum {
	AREA_OFF = 3 * 65536,
	AREA_LEN = 32 * 65536,
	KEYS_END = (8 + 504 * 7 + 500) * 512, /* of the last slot */
};

static const struct luks here = { { AREA_OFF, AREA_LEN }, true };

static struct luks_header written(void)
{
	struct luks_header h = {
		.cipher_name = "aes",
		.cipher_mode = "xts-plain64",
		.hash = "sha256",
		.uuid = "00112233-4455-6677-8899-aabbccddeeff",
		.payload_off_sectors = AREA_LEN / 512,
		.key_bytes = 64,
		.digest_iterations = 1000,
	};

	for (uint32_t i = 0; i < LUKS_SLOTS; i++) {
		h.slots[i].state = LUKS_SLOT_INACTIVE;
		h.slots[i].key_off_sectors = 8 + 504 * i;
		h.slots[i].stripes = LUKS_STRIPES;
	}
	return h;
}

/* A file with the header where the area is; the 4 bytes at @at say @value. */
static struct qcow2_store *file_with(size_t at, uint32_t value)
{
	struct luks_header h = written();
	uint8_t buf[LUKS_HEADER_BYTES];
	struct qcow2_store *file;

	assert_int_equal(luks_encode(&h, buf, sizeof(buf)), sizeof(buf));
	put_be32(buf + at, value);
	assert_int_equal(store_mem_new(&file, NULL), 0);
	assert_int_equal(
		store_pwrite(file, buf, sizeof(buf), AREA_OFF, 0, NULL), 0);
	return file;
}

TEST(the_header_is_read_from_its_area)
{
	struct qcow2_store *file = file_with(108, 32);
	struct luks_header want = written(), got;

	assert_int_equal(luks_read(&here, file, &got, NULL), 0);
	assert_int_equal(got.key_bytes, 32);
	assert_string_equal(got.cipher_mode, want.cipher_mode);
	assert_string_equal(got.uuid, want.uuid);
	assert_int_equal(got.slots[7].key_off_sectors, 8 + 504 * 7);
	store_unref(file);
}

TEST(an_image_without_encryption_has_none)
{
	struct qcow2_store *file = file_with(108, 64);
	struct luks absent = here;
	struct luks_header got;
	struct qcow2_error err;

	absent.present = false;
	assert_int_equal(luks_read(&absent, file, &got, &err), -ENOENT);
	assert_non_null(strstr(err.message, "not encrypted"));
	store_unref(file);
}

/* The fault lies in the file, not in the buffer that was decoded. */
TEST(a_broken_header_is_told_with_its_place_in_the_file)
{
	struct qcow2_store *file = file_with(0, 0x4c554b54);
	struct luks_header got;
	struct qcow2_error err;

	assert_int_equal(luks_read(&here, file, &got, &err), -EINVAL);
	assert_int_equal(err.defect, DEFECT_LUKS_HEADER);
	assert_int_equal(err.host_off, AREA_OFF);
	store_unref(file);
}

/* Key material has to lie in the area that the image gives it. */
TEST(the_length_of_the_area_is_the_limit)
{
	struct qcow2_store *file = file_with(108, 64);
	struct luks small = here;
	struct luks_header got;

	small.area.len = KEYS_END;
	assert_int_equal(luks_read(&small, file, &got, NULL), 0);
	small.area.len--;
	assert_int_equal(luks_read(&small, file, &got, NULL), -EINVAL);
	store_unref(file);
}

TEST(a_header_that_cannot_be_read_is_told)
{
	static const struct fault_plan plan = { .ops = FAULT_ON(STORE_OP_READ),
						.nth = 1,
						.code = -EIO };
	struct fault_injector fault = FAULT_INIT;
	struct qcow2_store *file = file_with(108, 64), *failing;
	struct luks_header got;

	assert_int_equal(fault_store_new(&fault, file, &failing), 0);
	fault_arm(&fault, &plan);
	assert_int_equal(luks_read(&here, failing, &got, NULL), -EIO);
	store_unref(failing);
	store_unref(file);
}
