#include "format/bitmap.h"

#include "base/bytes.h"
#include "generate.h"
#include "support/rules.h"

enum { BUF = 2048 };

#define FILE_SIZE (UINT64_C(1) << 20)
#define DISK_SIZE (UINT64_C(1) << 30)

/* 1 GiB at 64 KiB for each bit: 2048 bytes, one cluster of 4 KiB. */
static struct bitmap good_bitmap(void)
{
	return (struct bitmap){
		.table_off = 0x5000,
		.table_size = 1,
		.flags = BITMAP_FLAG_AUTO,
		.type = BITMAP_TYPE_DIRTY,
		.granularity_bits = 16,
		.name_len = 4,
		.name = "name",
	};
}

static void assert_same(const struct bitmap *a, const struct bitmap *b)
{
	assert_true(a->table_off == b->table_off);
	assert_int_equal(a->table_size, b->table_size);
	assert_int_equal(a->flags, b->flags);
	assert_int_equal(a->type, b->type);
	assert_int_equal(a->granularity_bits, b->granularity_bits);
	assert_int_equal(a->name_len, b->name_len);
	assert_int_equal(a->extra_len, b->extra_len);
	if (a->name_len)
		assert_memory_equal(a->name, b->name, a->name_len);
	if (a->extra_len)
		assert_memory_equal(a->extra, b->extra, a->extra_len);
}

TEST(every_field_is_at_its_place)
{
	uint8_t buf[48];
	struct reader r = reader_init(buf, sizeof(buf));
	struct fault fault;
	struct bitmap b;

	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)i;
	put_be16(buf + 18, 3);
	put_be32(buf + 20, 9);
	assert_int_equal(bitmap_decode(&b, &r, &fault), 0);
	assert_true(b.table_off == 0x0001020304050607);
	assert_int_equal(b.table_size, 0x08090a0b);
	assert_int_equal(b.flags, 0x0c0d0e0f);
	assert_int_equal(b.type, 16);
	assert_int_equal(b.granularity_bits, 17);
	assert_int_equal(b.name_len, 3);
	assert_int_equal(b.extra_len, 9);
	assert_ptr_equal(b.extra, buf + 24);
	assert_ptr_equal(b.name, buf + 33);
	assert_int_equal(reader_left(&r), 8);
}

TEST(rejects_every_cut_entry)
{
	struct bitmap b = good_bitmap(), d;
	uint8_t buf[64];
	struct byte_writer w = byte_writer_init(buf, sizeof(buf));

	bitmap_encode(&w, &b);
	assert_int_equal(byte_writer_len(&w), 32);
	for (size_t len = 0; len <= 32; len++) {
		uint8_t *p = guard_alloc(len);
		struct reader r = reader_init(p, len);
		struct fault fault;

		memcpy(p, buf, len);
		assert_int_equal(bitmap_decode(&d, &r, &fault),
				 len < 32 ? DEFECT_BITMAP_DIRECTORY
					  : DEFECT_NONE);
		guard_free(p, len);
	}
}

static struct bitmap random_bitmap(struct test_rng *rng, uint8_t *extra,
				   char *name)
{
	struct bitmap b = {
		.table_off = gen_number(rng),
		.table_size = gen_number32(rng),
		.flags = gen_number32(rng),
		.type = (uint8_t)test_rng_next(rng),
		.granularity_bits = (uint8_t)test_rng_next(rng),
		.name_len = (uint16_t)test_rng_below(rng, 200),
		.extra_len = (uint32_t)test_rng_below(rng, 2) *
			     (uint32_t)test_rng_below(rng, 200),
		.extra = extra,
		.name = name,
	};

	test_rng_fill(rng, extra, 200);
	test_rng_fill(rng, name, 200);
	return b;
}

TEST(entries_follow_each_other_padded_to_8)
{
	struct test_rng rng = test_rng_init(test_seed());

	for (int i = 0; i < 5000; i++) {
		uint8_t buf[BUF], extra[3][200];
		struct byte_writer w = byte_writer_init(buf, sizeof(buf));
		struct bitmap b[3], d;
		char name[3][200];
		struct fault fault;
		struct reader r;

		for (int k = 0; k < 3; k++) {
			b[k] = random_bitmap(&rng, extra[k], name[k]);
			bitmap_encode(&w, &b[k]);
			assert_int_equal(byte_writer_len(&w) % 8, 0);
		}
		r = reader_init(buf, byte_writer_len(&w));
		for (int k = 0; k < 3; k++) {
			assert_int_equal(bitmap_decode(&d, &r, &fault), 0);
			assert_same(&d, &b[k]);
		}
		assert_int_equal(reader_left(&r), 0);
	}
}

static enum defect validate(const struct bitmap *b)
{
	struct geometry g = gen_geometry(3, 12, 4, 0, 0);
	struct fault fault = { .defect = DEFECT_NONE };
	enum defect bad = bitmap_validate(&g, b, DISK_SIZE, FILE_SIZE, &fault);

	assert_int_equal(fault.defect, bad);
	if (bad)
		assert_non_null(fault.field);
	return bad;
}

TEST(reserved_types_and_flags_are_refused)
{
	struct bitmap b = good_bitmap();

	assert_int_equal(validate(&b), 0);
	for (unsigned type = 0; type < 256; type++) {
		b.type = (uint8_t)type;
		assert_int_equal(validate(&b),
				 type == 1 ? DEFECT_NONE : DEFECT_BITMAP_ENTRY);
	}
	b = good_bitmap();
	for (unsigned bit = 0; bit < 32; bit++) {
		b.flags = UINT32_C(1) << bit;
		assert_int_equal(validate(&b),
				 bit < 3 ? DEFECT_NONE : DEFECT_BITMAP_ENTRY);
	}
}

TEST(granularity_is_512_bytes_to_2_gib)
{
	struct bitmap b = good_bitmap();

	b.flags = BITMAP_FLAG_IN_USE;
	for (unsigned bits = 0; bits < 256; bits++) {
		b.granularity_bits = (uint8_t)bits;
		assert_int_equal(validate(&b), bits >= 9 && bits <= 31
						       ? DEFECT_NONE
						       : DEFECT_BITMAP_ENTRY);
	}
}

/* Messages are made of these. */
TEST(faults_name_the_limit_that_was_broken)
{
	struct geometry g = gen_geometry(3, 12, 4, 0, 0);
	struct bitmap b = good_bitmap();
	struct fault fault;

	b.granularity_bits = 8;
	bitmap_validate(&g, &b, DISK_SIZE, FILE_SIZE, &fault);
	assert_int_equal(fault.limit, 9);
	b.granularity_bits = 32;
	bitmap_validate(&g, &b, DISK_SIZE, FILE_SIZE, &fault);
	assert_int_equal(fault.limit, 31);
	b = good_bitmap();
	b.name_len = 1024;
	bitmap_validate(&g, &b, DISK_SIZE, FILE_SIZE, &fault);
	assert_int_equal(fault.limit, 1023);
	b = good_bitmap();
	b.table_size = 2;
	bitmap_validate(&g, &b, DISK_SIZE, FILE_SIZE, &fault);
	assert_int_equal(fault.limit, 1);
}

TEST(names_have_1_to_1023_bytes)
{
	static const uint16_t bad[] = { 0, 1024, 65535 };
	struct bitmap b = good_bitmap();

	for (size_t i = 0; i < 3; i++) {
		b.name_len = bad[i];
		assert_int_equal(validate(&b), DEFECT_BITMAP_ENTRY);
	}
	b.name_len = 1023;
	assert_int_equal(validate(&b), 0);
	b.name_len = 1;
	assert_int_equal(validate(&b), 0);
}

TEST(the_table_has_the_size_that_the_disk_needs)
{
	struct bitmap b = good_bitmap();

	b.table_size = 0;
	assert_int_equal(validate(&b), DEFECT_BITMAP_TABLE);
	b.table_size = 2;
	assert_int_equal(validate(&b), DEFECT_BITMAP_TABLE);
	b.table_size = UINT32_MAX;
	assert_int_equal(validate(&b), DEFECT_BITMAP_TABLE);
	/* A bitmap in use may be of the disk as it was before. */
	b.flags = BITMAP_FLAG_IN_USE;
	assert_int_equal(validate(&b), DEFECT_BITMAP_TABLE);
	b.table_size = 2;
	assert_int_equal(validate(&b), 0);
	b.table_size = 0;
	assert_int_equal(validate(&b), DEFECT_BITMAP_TABLE);
}

TEST(bitmap_data_has_a_limit)
{
	struct geometry g = gen_geometry(3, 12, 4, 0, 0);
	uint32_t max = (uint32_t)(BITMAP_DATA_BYTES_MAX / g.cluster_size);
	struct bitmap b = good_bitmap();
	struct fault fault;

	b.flags = BITMAP_FLAG_IN_USE;
	b.table_size = max;
	assert_int_equal(bitmap_validate(&g, &b, DISK_SIZE, 1 << 24, &fault),
			 0);
	b.table_size = max + 1;
	assert_int_equal(bitmap_validate(&g, &b, DISK_SIZE, 1 << 24, &fault),
			 DEFECT_BITMAP_TABLE);
	assert_int_equal(fault.limit, max);
}

TEST(the_table_lies_in_the_file)
{
	static const uint64_t bad[] = { 0,
					0x5200,
					0x100000,
					0x7fffffffffff0000,
					0xfffffffffffff000,
					UINT64_C(1) << 56 };
	struct bitmap b = good_bitmap();

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		b.table_off = bad[i];
		assert_int_equal(validate(&b), DEFECT_BITMAP_TABLE);
	}
	b.table_off = 0xff000;
	assert_int_equal(validate(&b), 0);
}

/* One bit for each started granule, a table entry for each started cluster of
 * bits. */
TEST(table_sizes_round_up_without_overflow)
{
	struct geometry g = gen_geometry(3, 9, 4, 0, 0);

	assert_int_equal(bitmap_table_entries(&g, 0, 9), 0);
	assert_int_equal(bitmap_table_entries(&g, 1, 9), 1);
	assert_int_equal(bitmap_table_entries(&g, 4096 * 512, 9), 1);
	assert_int_equal(bitmap_table_entries(&g, 4096 * 512 + 1, 9), 2);
	assert_true(bitmap_table_entries(&g, UINT64_MAX, 9) == UINT64_C(1)
								       << 43);
	assert_int_equal(bitmap_table_entries(&g, UINT64_MAX, 63), 1);
	assert_true(bitmap_table_entries(&g, UINT64_MAX, 0) == UINT64_C(1)
								       << 52);
}

TEST(table_entries_are_zeros_ones_or_clusters)
{
	struct geometry g = gen_geometry(3, 12, 4, 0, 0);
	static const struct {
		uint64_t entry;
		enum bitmap_cluster_kind want;
	} rows[] = {
		{ 0, BITMAP_CLUSTER_ZEROS },
		{ 1, BITMAP_CLUSTER_ONES },
		{ 0x5000, BITMAP_CLUSTER_STORED },
		{ 0xff000, BITMAP_CLUSTER_STORED },
		{ 0x5001, BITMAP_CLUSTER_INVALID },
		{ 2, BITMAP_CLUSTER_INVALID },
		{ 3, BITMAP_CLUSTER_INVALID },
		{ 0x100, BITMAP_CLUSTER_INVALID },
		{ 0x5200, BITMAP_CLUSTER_INVALID },
		{ 0x100000, BITMAP_CLUSTER_INVALID },
		{ UINT64_C(1) << 56, BITMAP_CLUSTER_INVALID },
		{ UINT64_C(1) << 63, BITMAP_CLUSTER_INVALID },
		{ 0x8000000000005000, BITMAP_CLUSTER_INVALID },
		{ UINT64_MAX, BITMAP_CLUSTER_INVALID },
	};
	uint64_t off;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(
			bitmap_table_entry(&g, rows[i].entry, FILE_SIZE, &off),
			rows[i].want);
		if (rows[i].want == BITMAP_CLUSTER_STORED)
			assert_true(off == rows[i].entry);
	}
	assert_int_equal(bitmap_table_entry(&g, 0x5000, 0x5001, &off),
			 BITMAP_CLUSTER_STORED);
	assert_int_equal(bitmap_table_entry(&g, 0x5000, 0x5000, &off),
			 BITMAP_CLUSTER_INVALID);
}

TEST(hostile_directories_do_no_harm)
{
	struct test_rng rng = test_rng_init(test_seed());
	struct geometry g = gen_geometry(3, 12, 4, 0, 0);
	uint8_t *end = (uint8_t *)guard_alloc(BUF) + BUF;
	unsigned decoded = 0, valid = 0;

	for (int i = 0; i < 50000; i++) {
		size_t len = 32 + test_rng_below(&rng, 3) * 8;
		uint8_t *p = end - len, again[BUF];
		struct bitmap b = good_bitmap(), d;
		struct byte_writer w = byte_writer_init(p, len);
		struct reader r = reader_init(p, len);
		struct fault fault;

		test_rng_fill(&rng, p, len);
		if (i % 8)
			bitmap_encode(&w, &b);
		gen_flip(&rng, p, len);
		if (bitmap_decode(&b, &r, &fault)) {
			assert_int_equal(fault.defect, DEFECT_BITMAP_DIRECTORY);
			continue;
		}
		decoded++;
		w = byte_writer_init(again, sizeof(again));
		bitmap_encode(&w, &b);
		assert_false(w.failed);
		r = reader_init(again, byte_writer_len(&w));
		assert_int_equal(bitmap_decode(&d, &r, &fault), 0);
		assert_same(&b, &d);
		if (!bitmap_validate(&g, &b, DISK_SIZE, FILE_SIZE, &fault)) {
			assert_true(rules_bitmap(&g, &b, FILE_SIZE));
			valid++;
		}
	}
	assert_in_range(decoded, 5000, 49000);
	assert_in_range(valid, 500, 45000);
	guard_free(end - BUF, BUF);
}
