#include "format/extension.h"

#include "base/bytes.h"
#include "extension_area.h"

/* ---- The walk ------------------------------------------------------------ */

TEST(an_empty_area_has_no_extensions)
{
	struct extensions x;
	struct fault fault;
	struct area a;

	area_init(&a);
	assert_int_equal(decode(&a, &x, &fault), 0);
	assert_int_equal(x.n_total, 0);
	assert_null(x.backing_format);
	assert_null(x.data_file);
	assert_null(x.feature_names);
	assert_false(x.has_bitmaps || x.has_crypto);
	assert_int_equal(
		extensions_decode(&x, &a.h, a.buf, HEADER, FILE_SIZE, &fault),
		0);
	area_release(&a);
}

TEST(the_walk_shows_every_extension_in_order)
{
	struct extension_iter it;
	struct extension e;
	struct fault fault;
	struct area a;

	area_init(&a);
	extension_encode(&a.w, 0x11111111, "abc", 3);
	extension_encode(&a.w, 0x22222222, NULL, 0);
	extension_encode(&a.w, 0x11111111, "12345678", 8);
	extension_encode_end(&a.w);
	extension_encode(&a.w, 0x33333333, "hidden", 6);
	extension_iter_init(&it, &a.h, a.buf, CLUSTER);
	assert_true(extension_next(&it, &e, &fault));
	assert_int_equal(e.type, 0x11111111);
	assert_int_equal(e.len, 3);
	assert_int_equal(e.off, HEADER);
	assert_memory_equal(e.data, "abc", 3);
	assert_true(extension_next(&it, &e, &fault));
	assert_int_equal(e.type, 0x22222222);
	assert_int_equal(e.len, 0);
	assert_int_equal(e.off, HEADER + 16);
	assert_true(extension_next(&it, &e, &fault));
	assert_int_equal(e.len, 8);
	assert_int_equal(e.off, HEADER + 24);
	assert_false(extension_next(&it, &e, &fault));
	assert_int_equal(fault.defect, DEFECT_NONE);
	assert_int_equal(it.n_seen, 3);
	area_release(&a);
}

TEST(an_extension_past_its_area_is_refused)
{
	static const uint32_t lens[] = { CLUSTER - HEADER - 7, CLUSTER,
					 0x7fffffff,           0xfffffff8,
					 0xfffffff9,           0xffffffff };
	struct extensions x;
	struct fault fault;

	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		struct area a;

		area_init(&a);
		put_be32(a.buf + HEADER, 0x12345678);
		put_be32(a.buf + HEADER + 4, lens[i]);
		assert_int_equal(decode(&a, &x, &fault),
				 DEFECT_EXTENSION_LENGTH);
		assert_int_equal(fault.value, lens[i]);
		assert_int_equal(fault.limit, CLUSTER - HEADER - 8);
		area_release(&a);
	}
}

TEST(an_extension_may_fill_the_area_without_end_mark)
{
	struct extensions x;
	struct fault fault;
	struct area a;

	for (uint32_t cut = 0; cut < 8; cut++) {
		area_init(&a);
		put_be32(a.buf + HEADER, 0x12345678);
		put_be32(a.buf + HEADER + 4, CLUSTER - HEADER - 8 - cut);
		assert_int_equal(decode(&a, &x, &fault), 0);
		assert_int_equal(x.n_total, 1);
		area_release(&a);
	}
}

/* No extension fits into 1 to 7 bytes, not even the end mark. */
TEST(a_rest_too_small_for_an_extension_is_damage)
{
	struct extensions x;
	struct fault fault;
	struct area a;

	for (uint32_t rest = 0; rest <= 8; rest++) {
		area_init(&a);
		memset(a.buf + HEADER, 'n', 32);
		if (rest == 8)
			memset(a.buf + HEADER + 16, 0, 8);
		extension_encode(&a.w, 0x12345678, "12345678", 8);
		a.h.backing_off = HEADER + 16 + rest;
		a.h.backing_len = 1;
		assert_int_equal(decode(&a, &x, &fault),
				 rest == 0 || rest == 8
					 ? DEFECT_NONE
					 : DEFECT_EXTENSION_LENGTH);
		area_release(&a);
	}
}

TEST(a_backing_name_is_text)
{
	struct extensions x;
	struct fault fault;
	struct area a;

	area_init(&a);
	memcpy(a.buf + CLUSTER - 8, "base.raw", 8);
	a.h.backing_off = CLUSTER - 8;
	a.h.backing_len = 8;
	assert_int_equal(decode(&a, &x, &fault), 0);
	/* F13: NULs may fill it up, but not divide it. */
	a.buf[CLUSTER - 1] = 0;
	assert_int_equal(decode(&a, &x, &fault), 0);
	a.buf[CLUSTER - 3] = 0;
	assert_int_equal(decode(&a, &x, &fault), DEFECT_HEADER_BACKING_TEXT);
	a.h.backing_len = 9;
	decode(&a, &x, &fault);
	a.h.backing_off = UINT64_MAX;
	a.h.backing_len = UINT32_MAX;
	decode(&a, &x, &fault);
	area_release(&a);
}

TEST(the_backing_name_ends_the_area)
{
	struct extensions x;
	struct fault fault;
	struct area a;

	area_init(&a);
	a.h.backing_off = HEADER + 16;
	a.h.backing_len = 8;
	extension_encode(&a.w, EXT_BACKING_FORMAT, "raw", 3);
	write_bytes(&a.w, "base.raw", 8);
	assert_int_equal(decode(&a, &x, &fault), 0);
	assert_int_equal(x.n_total, 1);
	a.h.backing_off = HEADER + 8;
	assert_int_equal(decode(&a, &x, &fault), DEFECT_EXTENSION_LENGTH);
	assert_int_equal(fault.off, HEADER + 4);
	area_release(&a);
}

TEST(the_name_may_follow_without_padding_or_extensions)
{
	struct extensions x;
	struct fault fault;
	struct area a;

	area_init(&a);
	a.h.backing_off = HEADER + 11;
	a.h.backing_len = 8;
	extension_encode(&a.w, EXT_BACKING_FORMAT, "raw", 3);
	memcpy(a.buf + HEADER + 11, "base.raw", 8);
	assert_int_equal(decode(&a, &x, &fault), 0);
	assert_int_equal(x.n_total, 1);
	a.h.backing_off = HEADER + 13;
	a.h.backing_len = 6;
	assert_int_equal(decode(&a, &x, &fault), 0);
	assert_int_equal(x.n_total, 1);
	a.h.backing_off = HEADER;
	memset(a.buf + HEADER, 'n', 8);
	assert_int_equal(decode(&a, &x, &fault), 0);
	assert_int_equal(x.n_total, 0);
	area_release(&a);
}

TEST(more_extensions_than_any_image_has_are_refused)
{
	struct extensions x;
	struct fault fault;
	uint8_t *buf = calloc(1, 65536);
	struct header h = small_header(3);

	h.cluster_bits = 16;
	for (uint32_t n = EXTENSIONS_MAX; n <= EXTENSIONS_MAX + 1; n++) {
		struct byte_writer w = byte_writer_init(buf, 65536);

		write_reserve(&w, HEADER);
		for (uint32_t i = 0; i < n; i++)
			extension_encode(&w, 0x12345678, NULL, 0);
		assert_int_equal(extensions_decode(&x, &h, buf, 65536,
						   FILE_SIZE, &fault),
				 n > EXTENSIONS_MAX ? DEFECT_EXTENSION_COUNT
						    : DEFECT_NONE);
	}
	assert_int_equal(fault.limit, 1024);
	free(buf);
}

/* S8: QEMU reads them so too. */
TEST(the_last_of_equal_extensions_counts)
{
	static const uint32_t types[] = { EXT_BACKING_FORMAT, EXT_FEATURE_NAMES,
					  EXT_BITMAPS, EXT_DATA_FILE,
					  EXT_CRYPTO };
	struct extensions x;
	struct fault fault;

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		uint8_t data[16] = { 0 };
		uint32_t again;
		struct area a;

		put_be64(data, 0x10000);
		put_be64(data + 8, 4096);
		area_init(&a);
		a.h.crypt_method = types[i] == EXT_CRYPTO ? CRYPT_LUKS
							  : CRYPT_NONE;
		extension_encode(&a.w, types[i], data,
				 types[i] == EXT_CRYPTO ? 16 : 0);
		assert_int_equal(decode(&a, &x, &fault), 0);
		assert_int_equal(x.repeated_off, 0);
		extension_encode(&a.w, 0x12345678, NULL, 0);
		again = (uint32_t)(a.w.pos - a.buf);
		put_be64(data + 8, 8192);
		extension_encode(&a.w, types[i], data,
				 types[i] == EXT_CRYPTO ? 16 : 0);
		assert_int_equal(decode(&a, &x, &fault), 0);
		assert_int_equal(x.repeated_off, again);
		if (types[i] == EXT_CRYPTO)
			assert_int_equal(x.crypto.len, 8192);
		area_release(&a);
	}
}

TEST(a_later_name_hides_an_earlier_one)
{
	struct extensions x;
	struct fault fault;
	struct area a;

	area_init(&a);
	extension_encode(&a.w, EXT_BACKING_FORMAT, "raw", 3);
	extension_encode(&a.w, EXT_DATA_FILE, "old", 3);
	extension_encode(&a.w, EXT_BACKING_FORMAT, "qcow2", 5);
	extension_encode(&a.w, EXT_DATA_FILE, "", 0);
	assert_int_equal(decode(&a, &x, &fault), 0);
	assert_int_equal(x.backing_format_len, 5);
	assert_null(x.data_file);
	area_release(&a);
}

/* ---- Pointers ------------------------------------------------------------ */

struct pointer_row {
	uint64_t off;
	uint64_t len;
	bool good;
};

TEST(the_bitmap_directory_fits_or_bitmaps_are_bad)
{
	static const struct pointer_row rows[] = {
		{ 0x10000, 64, true },
		{ 0x10000, 48, true },
		{ 0x10000, 47, false },
		{ 0x10000, 0, false },
		{ 0x10000, 67107840, false },
		{ 0x10200, 64, false },
		{ 0, 64, false },
		{ 0xff000, 4096, true },
		{ 0xff000, 4097, false },
		{ 0x100000, 64, false },
		{ 0x3000, 64, false },
		{ 0x1000, 64, false },
		{ UINT64_MAX - 4095, 8192, false },
		{ 0x10000, UINT64_MAX, false },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bitmaps_ext b = { 2, rows[i].len, rows[i].off };
		struct extensions x;
		struct fault fault;
		struct area a;

		area_init(&a);
		extension_encode_bitmaps(&a.w, &b);
		assert_int_equal(decode(&a, &x, &fault), 0);
		assert_true(x.has_bitmaps);
		assert_int_equal(x.bad_bitmaps, !rows[i].good);
		area_release(&a);
	}
}

TEST(the_bitmaps_extension_has_limits)
{
	struct extensions x;
	uint8_t data[32] = { 0 };

	put_be32(data, 65535);
	put_be64(data + 8, 65535 * 24);
	put_be64(data + 16, 0x10000);
	assert_int_equal(one(EXT_BITMAPS, data, 24, &x), 0);
	assert_true(x.bad_bitmaps); /* larger than the file */
	put_be32(data, 1);
	put_be64(data + 8, 32);
	assert_int_equal(one(EXT_BITMAPS, data, 24, &x), 0);
	assert_false(x.bad_bitmaps);
	for (uint32_t len = 0; len <= 32; len++) {
		assert_int_equal(one(EXT_BITMAPS, data, len, &x), 0);
		assert_int_equal(x.bad_bitmaps, len != 24);
	}
	put_be32(data, 0);
	assert_int_equal(one(EXT_BITMAPS, data, 24, &x), 0);
	assert_true(x.bad_bitmaps);
	put_be32(data, 65536);
	assert_int_equal(one(EXT_BITMAPS, data, 24, &x), 0);
	assert_true(x.bad_bitmaps);
	put_be32(data, 1);
	data[7] = 1;
	assert_int_equal(one(EXT_BITMAPS, data, 24, &x), 0);
	assert_true(x.bad_bitmaps);
}

TEST(a_directory_of_65535_bitmaps_is_the_largest)
{
	struct extensions x;
	struct fault fault;

	for (uint32_t n = BITMAPS_MAX - 1; n <= BITMAPS_MAX + 1; n++) {
		struct bitmaps_ext b = { n, BITMAP_DIRECTORY_BYTES_MAX,
					 0x10000 };
		struct area a;

		area_init(&a);
		extension_encode_bitmaps(&a.w, &b);
		assert_int_equal(extensions_decode(&x, &a.h, a.buf, CLUSTER,
						   1 << 28, &fault),
				 0);
		assert_int_equal(x.bad_bitmaps, n > BITMAPS_MAX);
		put_be64(a.buf + HEADER + 16, BITMAP_DIRECTORY_BYTES_MAX + 1);
		assert_int_equal(extensions_decode(&x, &a.h, a.buf, CLUSTER,
						   1 << 28, &fault),
				 0);
		assert_true(x.bad_bitmaps);
		area_release(&a);
	}
}

TEST(the_encryption_header_has_a_limit)
{
	struct extensions x;
	struct fault fault;

	for (uint64_t over = 0; over <= 1; over++) {
		struct crypto_ext c = { 0x10000,
					LUKS_CRYPTO_AREA_BYTES_MAX + over };
		struct area a;

		area_init(&a);
		a.h.crypt_method = CRYPT_LUKS;
		extension_encode_crypto(&a.w, &c);
		assert_int_equal(extensions_decode(&x, &a.h, a.buf, CLUSTER,
						   1 << 28, &fault),
				 over ? DEFECT_EXTENSION_CRYPTO : DEFECT_NONE);
		if (over) {
			assert_int_equal(fault.limit,
					 LUKS_CRYPTO_AREA_BYTES_MAX);
			assert_int_equal(fault.off, HEADER + 16);
		}
		area_release(&a);
	}
}

TEST(the_encryption_header_fits_or_the_image_is_refused)
{
	static const struct pointer_row rows[] = {
		{ 0x10000, 592, true },
		{ 0x10000, 591, false },
		{ 0x10000, 0, false },
		{ 0x10000, 0xf0000, true },
		{ 0x10000, 0xf0001, false },
		{ 0x10200, 592, false },
		{ 0, 592, false },
		{ 0x100000, 592, false },
		{ 0x3000, 592, false },
		{ 0x1000, 592, false },
		{ 0x10000, UINT64_MAX, false },
		{ UINT64_MAX - 4095, 592, false },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct crypto_ext c = { rows[i].off, rows[i].len };
		struct extensions x;
		struct fault fault;
		struct area a;

		area_init(&a);
		a.h.crypt_method = CRYPT_LUKS;
		extension_encode_crypto(&a.w, &c);
		assert_int_equal(decode(&a, &x, &fault),
				 rows[i].good ? DEFECT_NONE
					      : DEFECT_EXTENSION_CRYPTO);
		area_release(&a);
	}
}

TEST(luks_and_its_header_need_each_other)
{
	static const uint32_t methods[] = { CRYPT_NONE, CRYPT_AES };
	struct crypto_ext c = { 0x10000, 4096 };
	struct extensions x;
	struct fault fault;
	struct area a;

	area_init(&a);
	a.h.crypt_method = CRYPT_LUKS;
	assert_int_equal(decode(&a, &x, &fault), DEFECT_HEADER_CRYPT_METHOD);
	extension_encode_crypto(&a.w, &c);
	assert_int_equal(decode(&a, &x, &fault), 0);
	for (unsigned i = 0; i < 2; i++) {
		a.h.crypt_method = methods[i];
		assert_int_equal(decode(&a, &x, &fault),
				 DEFECT_HEADER_CRYPT_METHOD);
	}
	a.h.crypt_method = CRYPT_LUKS;
	for (uint32_t len = 0; len <= 24; len++) {
		put_be32(a.buf + HEADER + 4, len);
		assert_int_equal(decode(&a, &x, &fault),
				 len == 16 ? DEFECT_NONE
					   : DEFECT_EXTENSION_CRYPTO);
	}
	area_release(&a);
}
