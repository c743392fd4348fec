#include "format/header.h"

#include "base/bytes.h"
#include "generate.h"
#include "support/rules.h"

enum { BUF = 512 };

/* Field by field: the bytes between fields have no meaning. */
static void assert_same_header(const struct header *a, const struct header *b)
{
#define SAME(field) assert_true(a->field == b->field)
	SAME(version);
	SAME(cluster_bits);
	SAME(backing_off);
	SAME(backing_len);
	SAME(crypt_method);
	SAME(size);
	SAME(l1_off);
	SAME(l1_size);
	SAME(refcount_table_clusters);
	SAME(refcount_table_off);
	SAME(snapshots_off);
	SAME(n_snapshots);
	SAME(refcount_order);
	SAME(incompatible_features);
	SAME(compatible_features);
	SAME(autoclear_features);
	SAME(header_length);
	SAME(compression_type);
	SAME(tail_len);
#undef SAME
	if (a->tail_len)
		assert_memory_equal(a->tail, b->tail, a->tail_len);
}

TEST(every_field_is_at_its_place)
{
	uint8_t buf[120];
	struct header h;
	struct fault fault;

	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)i;
	put_be32(buf, HEADER_MAGIC);
	put_be32(buf + 4, 3);
	put_be32(buf + 20, 16);
	put_be32(buf + 96, 6);
	put_be32(buf + 100, 120);
	assert_int_equal(header_decode(&h, buf, sizeof(buf), &fault), 0);
	assert_int_equal(h.version, 3);
	assert_true(h.backing_off == 0x08090a0b0c0d0e0f);
	assert_int_equal(h.backing_len, 0x10111213);
	assert_int_equal(h.cluster_bits, 16);
	assert_true(h.size == 0x18191a1b1c1d1e1f);
	assert_int_equal(h.crypt_method, 0x20212223);
	assert_int_equal(h.l1_size, 0x24252627);
	assert_true(h.l1_off == 0x28292a2b2c2d2e2f);
	assert_true(h.refcount_table_off == 0x3031323334353637);
	assert_int_equal(h.refcount_table_clusters, 0x38393a3b);
	assert_int_equal(h.n_snapshots, 0x3c3d3e3f);
	assert_true(h.snapshots_off == 0x4041424344454647);
	assert_true(h.incompatible_features == 0x48494a4b4c4d4e4f);
	assert_true(h.compatible_features == 0x5051525354555657);
	assert_true(h.autoclear_features == 0x58595a5b5c5d5e5f);
	assert_int_equal(h.refcount_order, 6);
	assert_int_equal(h.header_length, 120);
	assert_int_equal(h.compression_type, 104);
	assert_ptr_equal(h.tail, buf + 105);
	assert_int_equal(h.tail_len, 15);
}

TEST(rejects_every_short_header)
{
	uint8_t full[BUF] = { 0 };
	struct fault fault;
	struct header h;

	for (uint32_t version = 2; version <= 3; version++) {
		struct header good = small_header(version);
		size_t want = header_encode(&good, full, sizeof(full));

		for (size_t len = 0; len < want; len++) {
			uint8_t *p = guard_alloc(len);

			memcpy(p, full, len);
			assert_int_equal(header_decode(&h, p, len, &fault),
					 DEFECT_HEADER_TOO_SHORT);
			assert_int_equal(fault.defect, DEFECT_HEADER_TOO_SHORT);
			assert_int_equal(fault.value, len);
			assert_true(fault.limit > len);
			guard_free(p, len);
		}
		assert_int_equal(header_decode(&h, full, want, &fault), 0);
	}
}

/* One 32-bit field of the header set to @value. */
static enum defect decode_with(uint32_t version, enum header_field field,
			       uint32_t value, struct fault *fault)
{
	struct header good = small_header(version);
	uint8_t *p = guard_alloc(BUF);
	enum defect bad;
	struct header h;

	memset(p, 0, BUF);
	assert_true(header_encode(&good, p, BUF) > 0);
	put_be32(p + field, value);
	bad = header_decode(&h, p, BUF, fault);
	if (bad) {
		assert_int_equal(fault->defect, bad);
		assert_int_equal(fault->off, field);
		assert_int_equal(fault->value, value);
		assert_non_null(fault->field);
	}
	guard_free(p, BUF);
	return bad;
}

TEST(rejects_wrong_magic_and_version)
{
	static const uint32_t versions[] = { 0, 1, 4, 0x02000000, UINT32_MAX };
	struct fault f;

	assert_int_equal(decode_with(3, HEADER_OFF_MAGIC, 0x514649fa, &f),
			 DEFECT_HEADER_MAGIC);
	assert_int_equal(decode_with(3, HEADER_OFF_MAGIC, 0xfb494651, &f),
			 DEFECT_HEADER_MAGIC);
	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++)
		assert_int_equal(
			decode_with(3, HEADER_OFF_VERSION, versions[i], &f),
			DEFECT_HEADER_VERSION);
}

TEST(cluster_bits_are_9_to_21)
{
	static const uint32_t bad[] = {
		0, 8, 22, 31, 32, 40, 63, 64, UINT32_MAX
	};
	struct fault f;

	for (uint32_t bits = 9; bits <= 21; bits++)
		assert_int_equal(
			decode_with(3, HEADER_OFF_CLUSTER_BITS, bits, &f), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(
			decode_with(2, HEADER_OFF_CLUSTER_BITS, bad[i], &f),
			DEFECT_HEADER_CLUSTER_BITS);
		assert_int_equal(f.limit, bad[i] < 9 ? 9 : 21);
	}
}

TEST(refcount_order_is_at_most_6)
{
	static const uint32_t bad[] = { 7, 8, 31, 63, 255, UINT32_MAX };
	struct fault f;

	for (uint32_t order = 0; order <= 6; order++)
		assert_int_equal(
			decode_with(3, HEADER_OFF_REFCOUNT_ORDER, order, &f),
			0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(
			decode_with(3, HEADER_OFF_REFCOUNT_ORDER, bad[i], &f),
			DEFECT_HEADER_REFCOUNT_ORDER);
	assert_int_equal(f.limit, 6);
}

TEST(header_length_is_a_multiple_of_8_within_the_cluster)
{
	static const uint32_t bad[] = { 0,         71,   72,      96,
					103,       105,  107,     108,
					4097,      4104, 512 + 4, INT32_MAX,
					UINT32_MAX };
	struct fault f;

	for (uint32_t len = 104; len <= BUF; len += 8)
		assert_int_equal(
			decode_with(3, HEADER_OFF_HEADER_LENGTH, len, &f), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(
			decode_with(3, HEADER_OFF_HEADER_LENGTH, bad[i], &f),
			DEFECT_HEADER_LENGTH);
}

TEST(a_header_may_fill_the_smallest_cluster)
{
	struct header good = small_header(3), h;
	uint8_t buf[BUF + 8] = { 0 };
	struct fault fault;

	good.cluster_bits = 9;
	header_encode(&good, buf, sizeof(buf));
	put_be32(buf + HEADER_OFF_HEADER_LENGTH, 512);
	assert_int_equal(header_decode(&h, buf, sizeof(buf), &fault), 0);
	put_be32(buf + HEADER_OFF_HEADER_LENGTH, 520);
	assert_int_equal(header_decode(&h, buf, sizeof(buf), &fault),
			 DEFECT_HEADER_LENGTH);
	assert_int_equal(fault.limit, 512);
	put_be32(buf + HEADER_OFF_HEADER_LENGTH, 96);
	header_decode(&h, buf, sizeof(buf), &fault);
	assert_int_equal(fault.limit, 104);
}

TEST(a_header_longer_than_the_buffer_is_too_short_a_buffer)
{
	struct header good = small_header(3);
	uint8_t *p = guard_alloc(BUF);
	struct fault fault;
	struct header h;

	memset(p, 0, BUF);
	header_encode(&good, p, BUF);
	put_be32(p + HEADER_OFF_HEADER_LENGTH, BUF + 8);
	assert_int_equal(header_decode(&h, p, BUF, &fault),
			 DEFECT_HEADER_TOO_SHORT);
	assert_int_equal(fault.limit, BUF + 8);
	guard_free(p, BUF);
}

TEST(version_2_ends_at_byte_72)
{
	struct header good = small_header(2);
	struct test_rng rng = test_rng_init(test_seed());
	struct fault fault;
	struct header h;
	uint8_t buf[BUF];

	for (int i = 0; i < 1000; i++) {
		test_rng_fill(&rng, buf, sizeof(buf));
		assert_int_equal(header_encode(&good, buf, sizeof(buf)), 72);
		assert_int_equal(header_decode(&h, buf, sizeof(buf), &fault),
				 0);
		assert_same_header(&h, &good);
		assert_int_equal(header_validate(&h, UINT64_C(1) << 20, &fault),
				 0);
	}
}

TEST(a_header_of_104_bytes_has_no_compression_type)
{
	uint8_t buf[BUF] = { 0 };
	struct header h = small_header(3);
	struct fault fault;

	h.header_length = HEADER_LENGTH_V3_MIN;
	assert_int_equal(header_encode(&h, buf, sizeof(buf)), 104);
	buf[HEADER_OFF_COMPRESSION] = COMPRESSION_ZSTD;
	assert_int_equal(header_decode(&h, buf, sizeof(buf), &fault), 0);
	assert_int_equal(h.compression_type, COMPRESSION_ZLIB);
	assert_int_equal(h.tail_len, 0);
}

TEST(encode_refuses_a_wrong_length_and_a_small_buffer)
{
	struct header h = small_header(3);
	uint8_t *p = guard_alloc(HEADER_LENGTH_V3);

	assert_int_equal(header_encode(&h, p, HEADER_LENGTH_V3), 112);
	assert_int_equal(header_encode(&h, p + 1, HEADER_LENGTH_V3 - 1), 0);
	h.header_length = 120;
	assert_int_equal(header_encode(&h, p, HEADER_LENGTH_V3), 0);
	h = small_header(2);
	h.header_length = 104;
	assert_int_equal(header_encode(&h, p, HEADER_LENGTH_V3), 0);
	guard_free(p, HEADER_LENGTH_V3);
}

TEST(what_is_decoded_is_encoded_alike)
{
	struct test_rng rng = test_rng_init(test_seed());
	uint8_t tail[64], buf[BUF], again[BUF];

	for (int i = 0; i < 20000; i++) {
		uint32_t bits = 9 + (uint32_t)test_rng_below(&rng, 13);
		uint32_t order = (uint32_t)test_rng_below(&rng, 7);
		struct fault fault;
		struct header h, d;
		uint64_t size;
		size_t len;

		test_rng_fill(&rng, tail, sizeof(tail));
		h = gen_header(&rng, 2 + (uint32_t)test_rng_below(&rng, 2),
			       bits, order, tail, &size);
		len = header_encode(&h, buf, sizeof(buf));
		assert_int_equal(len, h.header_length);
		assert_int_equal(header_decode(&d, buf, len, &fault), 0);
		assert_int_equal(header_validate(&d, size, &fault), 0);
		assert_same_header(&h, &d);
		assert_int_equal(header_encode(&d, again, sizeof(again)), len);
		assert_memory_equal(again, buf, len);
	}
}

/* ---- Hostile input ------------------------------------------------------- */

/* Returns whether the bytes were accepted. */
static bool judge(const uint8_t *p, size_t len, uint64_t size)
{
	uint8_t again[BUF];
	struct fault fault;
	struct header h;
	enum defect bad = header_decode(&h, p, len, &fault);

	if (bad) {
		assert_int_equal(fault.defect, bad);
		return false;
	}
	assert_true(rules_header_decoded(&h, len));
	assert_int_equal(header_encode(&h, again, sizeof(again)),
			 h.header_length);
	assert_memory_equal(again, p, h.header_length);
	bad = header_validate(&h, size, &fault);
	if (bad)
		assert_int_equal(fault.defect, bad);
	else
		assert_true(rules_header_valid(&h, size));
	return !bad;
}

TEST(random_bytes_do_no_harm)
{
	struct test_rng rng = test_rng_init(test_seed());
	uint8_t *end = (uint8_t *)guard_alloc(BUF) + BUF;

	for (int i = 0; i < 100000; i++) {
		size_t len = test_rng_below(&rng, 160);
		uint8_t *p = end - len;

		test_rng_fill(&rng, p, len);
		if (len >= 8 && test_rng_below(&rng, 8)) {
			put_be32(p, HEADER_MAGIC);
			put_be32(p + 4, 2 + (i & 1));
		}
		if (len >= 24 && test_rng_below(&rng, 8))
			put_be32(p + 20,
				 9 + (uint32_t)test_rng_below(&rng, 13));
		if (len >= 104 && test_rng_below(&rng, 8)) {
			put_be32(p + 96, (uint32_t)test_rng_below(&rng, 7));
			put_be32(p + 100, 104);
		}
		judge(p, len, gen_number(&rng) >> 1);
	}
	guard_free(end - BUF, BUF);
}

TEST(flipped_bits_do_no_harm)
{
	struct test_rng rng = test_rng_init(test_seed());
	uint8_t *end = (uint8_t *)guard_alloc(BUF) + BUF;
	uint8_t tail[64];
	unsigned accepted = 0;

	test_rng_fill(&rng, tail, sizeof(tail));
	for (int i = 0; i < 100000; i++) {
		uint64_t size;
		struct header h = gen_header(
			&rng, 2 + (i & 1),
			9 + (uint32_t)test_rng_below(&rng, 13),
			(uint32_t)test_rng_below(&rng, 7), tail, &size);
		uint8_t *p = end - h.header_length;

		assert_int_equal(header_encode(&h, p, h.header_length),
				 h.header_length);
		gen_flip(&rng, p, h.header_length);
		accepted += judge(p, h.header_length, size);
	}
	assert_in_range(accepted, 10000, 90000);
	guard_free(end - BUF, BUF);
}

static struct header_peek peek_at(uint32_t version, uint64_t incompat,
				  uint32_t cluster_bits)
{
	uint8_t raw[HEADER_PEEK_BYTES] = { 0 };

	put_be32(raw, HEADER_MAGIC);
	put_be32(raw + HEADER_OFF_VERSION, version);
	put_be32(raw + HEADER_OFF_CLUSTER_BITS, cluster_bits);
	put_be64(raw + HEADER_OFF_INCOMPAT, incompat);
	return header_peek(raw);
}

TEST(a_peek_knows_the_magic)
{
	uint8_t raw[HEADER_PEEK_BYTES] = { 0 };

	assert_false(header_peek(raw).is_qcow2);
	put_be64(raw + HEADER_OFF_INCOMPAT, INCOMPAT_DIRTY);
	put_be32(raw + HEADER_OFF_VERSION, 3);
	assert_false(header_peek(raw).is_dirty);
	assert_true(peek_at(2, 0, 16).is_qcow2);
	assert_true(peek_at(9, UINT64_MAX, 0).is_qcow2);
}

TEST(a_peek_tells_dirty_from_corrupt)
{
	assert_true(peek_at(3, INCOMPAT_DIRTY, 16).is_dirty);
	assert_true(
		peek_at(3, INCOMPAT_DIRTY | INCOMPAT_DATA_FILE, 16).is_dirty);
	assert_false(peek_at(3, 0, 16).is_dirty);
	assert_false(
		peek_at(3, INCOMPAT_DIRTY | INCOMPAT_CORRUPT, 16).is_dirty);
	/* Version 2 has no features: these bytes may be anything. */
	assert_false(peek_at(2, INCOMPAT_DIRTY, 16).is_dirty);
}

TEST(a_peek_takes_no_impossible_cluster_size)
{
	assert_int_equal(peek_at(3, 0, 8).cluster_size, 0);
	assert_int_equal(peek_at(3, 0, 9).cluster_size, 512);
	assert_int_equal(peek_at(3, 0, 21).cluster_size, 2 * MIB);
	assert_int_equal(peek_at(3, 0, 22).cluster_size, 0);
	assert_int_equal(peek_at(3, 0, UINT32_MAX).cluster_size, 0);
}
