/*
 * The encryption header as a dump tells it: enough to see what is wrong, and
 * nothing that helps to open it.
 */
#include <string.h>

#include "format/luks.h"
#include "lines.h"

enum { SALT = 'S' };

static struct luks_header good(void)
{
	struct luks_header l = {
		.cipher_name = "aes",
		.cipher_mode = "xts-plain64",
		.hash = "sha256",
		.uuid = "00112233-4455-6677-8899-aabbccddeeff",
		.payload_off_sectors = 4096,
		.key_bytes = 64,
		.digest_iterations = 1000,
	};

	memset(l.digest, SALT, sizeof(l.digest));
	memset(l.digest_salt, SALT, sizeof(l.digest_salt));
	for (uint32_t i = 0; i < LUKS_SLOTS; i++) {
		l.slots[i].state = i == 2 ? LUKS_SLOT_ACTIVE
					  : LUKS_SLOT_INACTIVE;
		l.slots[i].iterations = i == 2 ? 2000 : 0;
		l.slots[i].key_off_sectors = 8 + i * 504;
		l.slots[i].stripes = LUKS_STRIPES;
		memset(l.slots[i].salt, SALT, sizeof(l.slots[i].salt));
	}
	return l;
}

/* The header lies at 0x5000, behind a table and three clusters of data. */
static struct rig *encrypted(const struct luks_header *l)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	uint8_t buf[LUKS_HEADER_BYTES];

	rig_small(r);
	r->header.crypt_method = CRYPT_LUKS;
	r->has_crypto = true;
	r->crypto.len = 2 << 20;
	r->crypto.off = rig_alloc(r, r->crypto.len / r->cs);
	assert_int_equal(r->crypto.off, 0x5000);
	assert_int_equal(luks_encode(l, buf, sizeof(buf)), sizeof(buf));
	rig_put(r, r->crypto.off, buf, sizeof(buf));
	rig_finish(r);
	return r;
}

TEST(tells_the_header_and_its_slots)
{
	struct luks_header h = good();
	struct rig *r = encrypted(&h);
	struct lines *l = lines_of(r->store, NULL);

	expect_no_defect(l);
	expect_line(l, "luks@0x5000 cipher='aes' mode='xts-plain64'"
		       " hash='sha256'"
		       " uuid='00112233-4455-6677-8899-aabbccddeeff'"
		       " key-bytes=64 payload-sector=4096"
		       " digest-iterations=1000");
	expect_line(l, "luks-slot@0x50d0 slot=0 state=0xdead iterations=0"
		       " key-sector=8 stripes=4000");
	expect_line(l, "luks-slot@0x5130 slot=2 state=0xac71f3 active"
		       " iterations=2000 key-sector=1016 stripes=4000");
	expect_line(l, "luks-slot@0x5220 slot=7 state=0xdead iterations=0"
		       " key-sector=3536 stripes=4000");
	lines_free(l);
	rig_free(r);
}

TEST(neither_salts_nor_digests_are_told)
{
	struct luks_header h = good();
	struct rig *r = encrypted(&h);
	struct lines *l = lines_of(r->store, NULL);

	assert_int_equal(l->rc, 0);
	assert_null(strstr(l->text, "SSSS"));
	assert_null(strstr(l->text, "5353"));
	lines_free(l);
	rig_free(r);
}

TEST(a_broken_header_is_told_all_the_same)
{
	struct luks_header h = good();
	struct rig *r = encrypted(&h);
	struct lines *l;

	rig_put(r, r->crypto.off, "X", 1);
	/* Text fields may hold any bytes. */
	rig_put(r, r->crypto.off + 8, "a\n", 2);
	l = lines_of(r->store, NULL);
	expect_line(l, "luks@0x5000 cipher='a\\x0as' mode='xts-plain64'"
		       " hash='sha256'"
		       " uuid='00112233-4455-6677-8899-aabbccddeeff'"
		       " key-bytes=64 payload-sector=4096"
		       " digest-iterations=1000 !luks-header");
	lines_free(l);
	rig_free(r);
}

TEST(a_broken_slot_is_told)
{
	struct luks_header h = good();
	struct rig *r = encrypted(&h);
	struct lines *l;

	rig_put32(r, r->crypto.off + LUKS_OFF_SLOTS, 7);
	l = lines_of(r->store, NULL);
	assert_non_null(strstr(l->text, "!luks-slot\n"));
	expect_line(l, "luks-slot@0x50d0 slot=0 state=0x7 iterations=0"
		       " key-sector=8 stripes=4000");
	lines_free(l);
	rig_free(r);
}

TEST(a_header_that_the_file_does_not_have_is_left_out)
{
	struct luks_header h = good();
	struct rig *r = encrypted(&h);
	struct lines *l;

	assert_int_equal(store_truncate(r->store,
					r->crypto.off + LUKS_HEADER_BYTES - 1,
					NULL),
			 0);
	l = lines_of(r->store, NULL);
	assert_int_equal(l->rc, 0);
	assert_null(strstr(l->text, "luks@"));
	assert_null(strstr(l->text, "luks-slot@"));
	lines_free(l);
	rig_free(r);
}
