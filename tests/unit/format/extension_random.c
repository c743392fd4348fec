/*
 * The properties of extension.c over random lists.
 */
#include "extension_area.h"
#include "support/rules.h"

/* Every extension, known or not, written again in order gives the same
 * bytes: nothing is lost when a header is rewritten. */
static void assert_rewrites_alike(const struct header *h, const uint8_t *buf,
				  size_t len)
{
	uint8_t again[CLUSTER] = { 0 };
	struct byte_writer w = byte_writer_init(again, sizeof(again));
	struct extension_iter it, check;
	struct extension e, f;
	struct fault fault;
	size_t n = 0;

	extension_iter_init(&it, h, buf, len);
	write_reserve(&w, h->header_length);
	while (extension_next(&it, &e, &fault)) {
		assert_true(e.len == 0 || e.data + e.len <= buf + len);
		extension_encode(&w, e.type, e.data, e.len);
		n++;
	}
	if (fault.defect || w.failed)
		return;
	extension_iter_init(&it, h, buf, len);
	extension_iter_init(&check, h, again, byte_writer_len(&w));
	while (n--) {
		assert_true(extension_next(&it, &e, &fault));
		assert_true(extension_next(&check, &f, &fault));
		assert_int_equal(e.type, f.type);
		assert_int_equal(e.len, f.len);
		assert_memory_equal(e.data, f.data, e.len);
	}
	assert_false(extension_next(&check, &f, &fault));
}

static void write_random_extension(struct test_rng *rng, struct byte_writer *w)
{
	static const uint32_t types[] = { EXT_BACKING_FORMAT, EXT_DATA_FILE,
					  EXT_FEATURE_NAMES, 0x12345678 };
	struct bitmaps_ext b = { 1 + (uint32_t)test_rng_below(rng, 3), 96,
				 0x10000 };
	struct crypto_ext c = { 0x20000, 4096 };
	uint32_t len = (uint32_t)test_rng_below(rng, 20);
	uint8_t data[96];

	test_rng_fill(rng, data, sizeof(data));
	if (test_rng_below(rng, 3))
		memset(data, 'x', sizeof(data));
	switch (test_rng_below(rng, 6)) {
	case 0:
		extension_encode_bitmaps(w, &b);
		break;
	case 1:
		extension_encode_crypto(w, &c);
		break;
	case 2:
		extension_encode_feature_names(w);
		break;
	default:
		extension_encode(w, types[test_rng_below(rng, 4)], data, len);
	}
}

TEST(random_lists_are_safe_and_rewrite_alike)
{
	struct test_rng rng = test_rng_init(test_seed());
	unsigned accepted = 0;
	struct area a;

	area_init(&a);
	for (int i = 0; i < 30000; i++) {
		size_t len = 1024 + test_rng_below(&rng, 64);
		uint8_t *buf = a.buf + CLUSTER - len;
		struct byte_writer w = byte_writer_init(buf, len);
		struct extensions x;
		struct fault fault;
		enum defect bad;

		memset(buf, 0, len);
		a.h.crypt_method = (uint32_t)test_rng_below(&rng, 2) * 2;
		a.h.incompatible_features =
			test_rng_below(&rng, 2) * INCOMPAT_DATA_FILE;
		a.h.backing_off = HEADER + test_rng_below(&rng, 1200);
		a.h.backing_len = (uint32_t)test_rng_below(&rng, 2000);
		if (test_rng_below(&rng, 2))
			a.h.backing_off = 0;
		write_reserve(&w, HEADER);
		for (uint64_t n = test_rng_below(&rng, 5); n; n--)
			write_random_extension(&rng, &w);
		if (i % 2)
			gen_flip(&rng, buf + HEADER,
				 byte_writer_len(&w) - HEADER);
		bad = extensions_decode(&x, &a.h, buf, len, FILE_SIZE, &fault);
		assert_int_equal(bad, fault.defect);
		if (!bad)
			assert_true(rules_extensions(&x, &a.h, FILE_SIZE));
		accepted += !bad;
		assert_rewrites_alike(&a.h, buf, len);
	}
	assert_in_range(accepted, 1000, 29000);
	area_release(&a);
}
