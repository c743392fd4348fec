/*
 * Input: cluster_bits - 9, disk size, file size, then a bitmap directory.
 */
#include <string.h>

#include "format/bitmap.h"
#include "fuzz.h"
#include "support/rules.h"

static void check_round_trip(const struct bitmap *b, const uint8_t *start,
			     size_t len)
{
	static uint8_t again[FUZZ_INPUT_MAX];
	size_t used =
		(size_t)BITMAP_DIR_ENTRY_BYTES + b->extra_len + b->name_len;
	struct byte_writer w = byte_writer_init(again, sizeof(again));
	struct fault fault;
	struct bitmap d;
	struct reader r;

	bitmap_encode(&w, b);
	FUZZ_CHECK(!w.failed && byte_writer_len(&w) == len);
	FUZZ_CHECK(memcmp(again, start, used) == 0);
	r = reader_init(again, len);
	FUZZ_CHECK(bitmap_decode(&d, &r, &fault) == DEFECT_NONE);
	FUZZ_CHECK(reader_left(&r) == 0);
	FUZZ_CHECK(d.name_len == b->name_len && d.extra_len == b->extra_len);
}

static void check_table_entry(const struct geometry *g, uint64_t entry,
			      uint64_t file_size)
{
	uint64_t off;

	switch (bitmap_table_entry(g, entry, file_size, &off)) {
	case BITMAP_CLUSTER_ZEROS:
		FUZZ_CHECK(entry == 0);
		break;
	case BITMAP_CLUSTER_ONES:
		FUZZ_CHECK(entry == 1);
		break;
	case BITMAP_CLUSTER_STORED:
		FUZZ_CHECK(off == entry);
		FUZZ_CHECK(rules_table(g->cluster_bits, off, g->cluster_size,
				       file_size));
		break;
	case BITMAP_CLUSTER_INVALID:
		FUZZ_CHECK(entry > 1);
		break;
	}
}

static void check_entry(const struct geometry *g, const struct bitmap *b,
			uint64_t disk_size, uint64_t file_size)
{
	struct fault fault;
	enum defect bad = bitmap_validate(g, b, disk_size, file_size, &fault);

	FUZZ_CHECK(!bad || fault.defect == bad);
	FUZZ_CHECK(bad || rules_bitmap(g, b, file_size));
	check_table_entry(g, b->table_off, file_size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader in = reader_init(data, size);
	struct header h = { .version = 3,
			    .cluster_bits = 9 + read_u8(&in) % 13u,
			    .refcount_order = 4 };
	uint64_t disk_size = read_be64(&in);
	uint64_t file_size = read_be64(&in);
	const uint8_t *buf;
	struct geometry g;
	struct reader r;
	size_t len;

	geometry_init(&g, &h);
	buf = fuzz_place(&in, &len);
	r = reader_init(buf, len);
	while (reader_left(&r)) {
		const uint8_t *start = r.pos;
		struct fault fault;
		struct bitmap b;

		if (bitmap_decode(&b, &r, &fault)) {
			FUZZ_CHECK(fault.defect == DEFECT_BITMAP_DIRECTORY);
			break;
		}
		check_round_trip(&b, start, (size_t)(r.pos - start));
		check_entry(&g, &b, disk_size, file_size);
	}
	return 0;
}
