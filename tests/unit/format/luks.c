#include "format/luks.h"

#include "base/bytes.h"
#include "generate.h"
#include "support/rules.h"

enum { SLOT = 208, SLOT_BYTES = 48 };

#define AREA_LEN (4040 * UINT64_C(512))

/* The header that QEMU makes for a 512-bit key, with slots 0 and 3 in use. */
static struct luks_header good_header(void)
{
	struct luks_header l = {
		.cipher_name = "aes",
		.cipher_mode = "xts-plain64",
		.hash = "sha256",
		.uuid = "00112233-4455-6677-8899-aabbccddeeff",
		.payload_off_sectors = 4040,
		.key_bytes = 64,
		.digest_iterations = 1000,
	};

	for (uint32_t i = 0; i < LUKS_SLOTS; i++) {
		bool active = i == 0 || i == 3;

		l.slots[i].state = active ? LUKS_SLOT_ACTIVE
					  : LUKS_SLOT_INACTIVE;
		l.slots[i].iterations = active ? 1000 : 0;
		l.slots[i].key_off_sectors = 8 + 504 * i;
		l.slots[i].stripes = LUKS_STRIPES;
		memset(l.slots[i].salt, 'a' + (int)i, 32);
	}
	memset(l.digest, 'd', sizeof(l.digest));
	memset(l.digest_salt, 's', sizeof(l.digest_salt));
	return l;
}

/* The verdict on the good header with @len bytes at @off changed. */
static enum defect with(size_t off, const void *bytes, size_t len)
{
	struct luks_header good = good_header(), l;
	uint8_t *p = guard_alloc(LUKS_HEADER_BYTES);
	struct fault fault;
	enum defect bad;

	assert_int_equal(luks_encode(&good, p, LUKS_HEADER_BYTES),
			 LUKS_HEADER_BYTES);
	memcpy(p + off, bytes, len);
	bad = luks_decode(&l, p, LUKS_HEADER_BYTES, AREA_LEN, &fault);
	if (bad) {
		assert_int_equal(fault.defect, bad);
		assert_non_null(fault.field);
		/* The fault points into the field that was changed. */
		assert_in_range(fault.off, off < 208 ? 0 : 208, 591);
	}
	guard_free(p, LUKS_HEADER_BYTES);
	return bad;
}

static enum defect with32(size_t off, uint32_t value)
{
	uint8_t bytes[4];

	put_be32(bytes, value);
	return with(off, bytes, 4);
}

TEST(every_field_is_at_its_place)
{
	struct luks_header l = good_header();
	uint8_t buf[LUKS_HEADER_BYTES];

	assert_int_equal(luks_encode(&l, buf, sizeof(buf)), 592);
	assert_memory_equal(buf, "LUKS\xba\xbe\0\1", 8);
	assert_string_equal((char *)buf + 8, "aes");
	assert_string_equal((char *)buf + 40, "xts-plain64");
	assert_string_equal((char *)buf + 72, "sha256");
	assert_int_equal(get_be32(buf + 104), 4040);
	assert_int_equal(get_be32(buf + 108), 64);
	assert_int_equal(buf[112], 'd');
	assert_int_equal(buf[131], 'd');
	assert_int_equal(buf[132], 's');
	assert_int_equal(buf[163], 's');
	assert_int_equal(get_be32(buf + 164), 1000);
	assert_string_equal((char *)buf + 168, l.uuid);
	assert_int_equal(get_be32(buf + SLOT), LUKS_SLOT_ACTIVE);
	assert_int_equal(get_be32(buf + SLOT + 4), 1000);
	assert_int_equal(buf[SLOT + 8], 'a');
	assert_int_equal(buf[SLOT + 39], 'a');
	assert_int_equal(get_be32(buf + SLOT + 40), 8);
	assert_int_equal(get_be32(buf + SLOT + 44), 4000);
	assert_int_equal(get_be32(buf + SLOT + SLOT_BYTES), LUKS_SLOT_INACTIVE);
}

TEST(rejects_every_short_header)
{
	struct luks_header good = good_header(), l;
	uint8_t buf[LUKS_HEADER_BYTES];
	struct fault fault;

	luks_encode(&good, buf, sizeof(buf));
	for (size_t len = 0; len < sizeof(buf); len++) {
		uint8_t *p = guard_alloc(len);

		memcpy(p, buf, len);
		assert_int_equal(luks_decode(&l, p, len, AREA_LEN, &fault),
				 DEFECT_LUKS_HEADER);
		assert_int_equal(luks_encode(&good, p, len), 0);
		guard_free(p, len);
	}
	assert_int_equal(luks_decode(&l, buf, sizeof(buf), AREA_LEN, &fault),
			 0);
}

TEST(rejects_wrong_magic_and_version)
{
	assert_int_equal(with(0, "LUKS\xba\xbf", 6), DEFECT_LUKS_HEADER);
	assert_int_equal(with(0, "luks", 4), DEFECT_LUKS_HEADER);
	assert_int_equal(with(6, "\0\0", 2), DEFECT_LUKS_HEADER);
	assert_int_equal(with(6, "\0\2", 2), DEFECT_LUKS_HEADER);
	assert_int_equal(with(6, "\1\0", 2), DEFECT_LUKS_HEADER);
	assert_int_equal(with(6, "\xff\xff", 2), DEFECT_LUKS_HEADER);
}

TEST(names_of_algorithms_end_inside_their_field)
{
	char text[40];

	memset(text, 'x', sizeof(text));
	for (size_t off = 8; off <= 72; off += 32) {
		assert_int_equal(with(off, text, 32), DEFECT_LUKS_HEADER);
		assert_int_equal(with(off, text, 31), DEFECT_NONE);
	}
	/* Nothing depends on the UUID. */
	assert_int_equal(with(168, text, 40), DEFECT_NONE);
}

TEST(keys_have_1_to_64_bytes)
{
	assert_int_equal(with32(108, 0), DEFECT_LUKS_HEADER);
	assert_int_equal(with32(108, 65), DEFECT_LUKS_HEADER);
	assert_int_equal(with32(108, 64), 0);
	assert_int_equal(with32(108, 0x80000000), DEFECT_LUKS_HEADER);
	assert_int_equal(with32(108, 1), 0);
	assert_int_equal(with32(108, 16), 0);
}

TEST(the_payload_lies_behind_the_keys)
{
	assert_int_equal(with32(104, 0), DEFECT_LUKS_HEADER);
	assert_int_equal(with32(104, 1), DEFECT_LUKS_HEADER);
	assert_int_equal(with32(104, 2), DEFECT_LUKS_SLOT);
	assert_int_equal(with32(104, 4035), DEFECT_LUKS_SLOT);
	assert_int_equal(with32(104, 4036), 0);
	assert_int_equal(with32(104, UINT32_MAX), 0);
}

TEST(iteration_counts_are_not_zero_where_they_are_used)
{
	assert_int_equal(with32(164, 0), DEFECT_LUKS_HEADER);
	assert_int_equal(with32(SLOT + 4, 0), DEFECT_LUKS_SLOT);
	assert_int_equal(with32(SLOT + SLOT_BYTES + 4, 0), 0);
	assert_int_equal(with32(164, UINT32_MAX), 0);
}

TEST(slots_are_active_or_not)
{
	assert_int_equal(with32(SLOT, LUKS_SLOT_INACTIVE), 0);
	assert_int_equal(with32(SLOT, 0), DEFECT_LUKS_SLOT);
	assert_int_equal(with32(SLOT + 7 * SLOT_BYTES, 1), DEFECT_LUKS_SLOT);
}

TEST(stripes_are_4000)
{
	static const uint32_t bad[] = { 0, 1, 3999, 4001, 0x80000000 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(with32(SLOT + 44, bad[i]), DEFECT_LUKS_SLOT);
		assert_int_equal(with32(SLOT + 5 * SLOT_BYTES + 44, bad[i]),
				 DEFECT_LUKS_SLOT);
	}
}

TEST(key_material_has_its_own_place)
{
	/* The header, slot 0 from first to last sector, slot 2, slot 7, the
	 * payload. */
	static const uint32_t bad[] = { 0,    1,    8,        507,       517,
					3700, 4040, 0x7fffff, UINT32_MAX };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(with32(SLOT + SLOT_BYTES + 40, bad[i]),
				 DEFECT_LUKS_SLOT);
	/* 256,000 bytes are 500 sectors exactly. */
	assert_int_equal(with32(SLOT + SLOT_BYTES + 40, 508), 0);
	assert_int_equal(with32(SLOT + SLOT_BYTES + 40, 516), 0);
	assert_int_equal(with32(SLOT + 40, 2), 0);
	assert_int_equal(with32(SLOT + 40, 1), DEFECT_LUKS_SLOT);
}

TEST(key_material_lies_in_the_area)
{
	struct luks_header good = good_header(), l;
	uint8_t buf[LUKS_HEADER_BYTES];
	uint64_t need = (8 + 504 * 7 + 500) * UINT64_C(512);
	struct fault fault;

	luks_encode(&good, buf, sizeof(buf));
	assert_int_equal(luks_decode(&l, buf, sizeof(buf), need, &fault), 0);
	assert_int_equal(luks_decode(&l, buf, sizeof(buf), need - 1, &fault),
			 DEFECT_LUKS_SLOT);
	assert_int_equal(luks_decode(&l, buf, sizeof(buf), 592, &fault),
			 DEFECT_LUKS_SLOT);
	assert_int_equal(luks_decode(&l, buf, sizeof(buf), 0, &fault),
			 DEFECT_LUKS_SLOT);
}

static struct luks_header random_header(struct test_rng *rng)
{
	struct luks_header l = good_header();
	uint64_t first = test_rng_below(rng, 8);

	l.key_bytes = 1 + (uint32_t)test_rng_below(rng, 64);
	l.digest_iterations = 1 + gen_number32(rng) / 2;
	l.payload_off_sectors += gen_number32(rng) / 2;
	test_rng_fill(rng, l.digest, sizeof(l.digest));
	test_rng_fill(rng, l.digest_salt, sizeof(l.digest_salt));
	test_rng_fill(rng, l.uuid, sizeof(l.uuid) - 1);
	memset(l.hash, 'h', 1 + test_rng_below(rng, 31));
	for (unsigned i = 0; i < LUKS_SLOTS; i++) {
		l.slots[i].iterations = 1 + gen_number32(rng) / 2;
		l.slots[i].key_off_sectors =
			8 + 504 * (uint32_t)((i + first) % 8);
		test_rng_fill(rng, l.slots[i].salt, sizeof(l.slots[i].salt));
	}
	return l;
}

TEST(what_is_encoded_is_decoded_alike)
{
	struct test_rng rng = test_rng_init(test_seed());

	for (int i = 0; i < 10000; i++) {
		uint8_t buf[LUKS_HEADER_BYTES], again[LUKS_HEADER_BYTES];
		struct luks_header l = random_header(&rng), d;
		struct fault fault;

		assert_int_equal(luks_encode(&l, buf, sizeof(buf)), 592);
		assert_int_equal(
			luks_decode(&d, buf, sizeof(buf), AREA_LEN, &fault), 0);
		assert_memory_equal(&l, &d, sizeof(l));
		assert_int_equal(luks_encode(&d, again, sizeof(again)), 592);
		assert_memory_equal(again, buf, sizeof(buf));
	}
}

TEST(hostile_headers_do_no_harm)
{
	struct test_rng rng = test_rng_init(test_seed());
	uint8_t *p = guard_alloc(LUKS_HEADER_BYTES);
	unsigned accepted = 0;

	for (int i = 0; i < 50000; i++) {
		struct luks_header l = random_header(&rng);
		uint8_t again[LUKS_HEADER_BYTES];
		struct fault fault;
		enum defect bad;

		luks_encode(&l, p, LUKS_HEADER_BYTES);
		gen_flip(&rng, p, LUKS_HEADER_BYTES);
		if (i % 16 == 0)
			test_rng_fill(&rng, p + 8, LUKS_HEADER_BYTES - 8);
		bad = luks_decode(&l, p, LUKS_HEADER_BYTES, AREA_LEN, &fault);
		if (bad) {
			assert_int_equal(fault.defect, bad);
			continue;
		}
		accepted++;
		assert_true(rules_luks(&l, AREA_LEN));
		assert_int_equal(luks_encode(&l, again, sizeof(again)), 592);
		assert_memory_equal(again, p, LUKS_HEADER_BYTES);
	}
	assert_in_range(accepted, 5000, 45000);
	guard_free(p, LUKS_HEADER_BYTES);
}
