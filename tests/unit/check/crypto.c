/*
 * The encryption header: its clusters are in use, and its contents hold.
 */
#include <stdlib.h>
#include <string.h>

#include "format/defect.h"
#include "format/luks.h"
#include "rig.h"

static struct luks_header good_luks(void)
{
	struct luks_header l = {
		.cipher_name = "aes",
		.cipher_mode = "xts-plain64",
		.hash = "sha256",
		.uuid = "00000000-0000-0000-0000-000000000000",
		.payload_off_sectors = 4096,
		.key_bytes = 64,
		.digest_iterations = 1000,
	};

	for (uint32_t i = 0; i < LUKS_SLOTS; i++)
		l.slots[i] = (struct luks_slot){
			.state = LUKS_SLOT_INACTIVE,
			.key_off_sectors = 8 + i * 504,
			.stripes = 4000,
		};
	return l;
}

static struct rig *encrypted(const struct luks_header *l)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	uint8_t buf[LUKS_HEADER_BYTES];

	rig_small(r);
	r->header.crypt_method = CRYPT_LUKS;
	r->has_crypto = true;
	r->crypto.len = 2 << 20;
	r->crypto.off = rig_alloc(r, r->crypto.len / r->cs);
	assert_int_equal(luks_encode(l, buf, sizeof(buf)), sizeof(buf));
	rig_put(r, r->crypto.off, buf, sizeof(buf));
	rig_finish(r);
	return r;
}

TEST(the_encryption_header_is_in_use)
{
	struct luks_header l = good_luks();
	struct rig *r = encrypted(&l);

	EXPECT_CLEAN(r);
	rig_poke_refcount(r, r->crypto.off + 5 * r->cs, 0);
	EXPECT(r, { DEFECT_REFCOUNT_TOO_LOW, r->crypto.off + 5 * r->cs });
	rig_free(r);
}

TEST(a_broken_luks_header_is_found)
{
	struct luks_header l = good_luks();
	struct rig *r = encrypted(&l);

	rig_put(r, r->crypto.off, "X", 1);
	EXPECT(r, { DEFECT_LUKS_HEADER, ANYWHERE });
	rig_free(r);
}

TEST(a_broken_key_slot_is_found)
{
	struct luks_header l = good_luks();
	struct rig *r;

	l.slots[3].state = 5;
	r = encrypted(&l);
	EXPECT(r, { DEFECT_LUKS_SLOT, ANYWHERE });
	rig_free(r);
}

TEST(an_encryption_header_over_a_refcount_block_is_not_decoded)
{
	struct luks_header l = good_luks();
	struct rig *r = encrypted(&l);
	struct outcome *o;

	rig_put64(r, HEADER_LENGTH_V3 + 8, r->block_off);
	assert_int_equal(
		store_truncate(r->store, r->block_off + r->crypto.len, NULL),
		0);
	o = check_rig(r);
	assert_int_equal(o->rc, 0);
	assert_int_equal(o->found[0].defect, DEFECT_CLUSTER_OVERLAP);
	for (size_t i = 0; i < o->n; i++)
		assert_int_not_equal(o->found[i].defect, DEFECT_LUKS_HEADER);
	/* The area's old clusters may still be meant. */
	assert_int_equal(o->result.leaks, 0);
	free(o);
	rig_free(r);
}
