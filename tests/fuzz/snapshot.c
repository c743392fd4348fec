/*
 * Input: disk size, file size, then a snapshot table.
 */
#include <string.h>

#include "format/snapshot.h"
#include "fuzz.h"
#include "support/rules.h"

static bool same_bytes(const void *a, size_t a_len, const void *b, size_t b_len)
{
	return a_len == b_len && (!a_len || memcmp(a, b, a_len) == 0);
}

static bool same(const struct snapshot *a, const struct snapshot *b)
{
	return a->l1_off == b->l1_off && a->l1_size == b->l1_size &&
	       a->date_sec == b->date_sec && a->date_nsec == b->date_nsec &&
	       a->vm_clock_nsec == b->vm_clock_nsec &&
	       a->vm_state_size == b->vm_state_size &&
	       a->disk_size == b->disk_size && a->icount == b->icount &&
	       same_bytes(a->id, a->id_len, b->id, b->id_len) &&
	       same_bytes(a->name, a->name_len, b->name, b->name_len) &&
	       same_bytes(a->unknown_extra, a->unknown_extra_len,
			  b->unknown_extra, b->unknown_extra_len);
}

static void check_round_trip(const struct snapshot *s)
{
	static uint8_t again[FUZZ_INPUT_MAX * 4], third[FUZZ_INPUT_MAX * 4];
	struct byte_writer w = byte_writer_init(again, sizeof(again));
	struct reader r;
	struct fault fault;
	struct snapshot d;
	size_t len;

	snapshot_encode(&w, s);
	len = byte_writer_len(&w);
	FUZZ_CHECK(!w.failed && len % 8 == 0);
	FUZZ_CHECK(snapshot_entry_bytes(again) == len);
	r = reader_init(again, len);
	/* A written entry tells its own disk size. */
	FUZZ_CHECK(snapshot_decode(&d, &r, 0, &fault) == DEFECT_NONE);
	FUZZ_CHECK(reader_left(&r) == 0 && same(s, &d));
	FUZZ_CHECK(!snapshot_lacks_extra(&d, 3));
	w = byte_writer_init(third, sizeof(third));
	snapshot_encode(&w, &d);
	FUZZ_CHECK(byte_writer_len(&w) == len &&
		   memcmp(again, third, len) == 0);
}

static void check_l1(const struct snapshot *s, uint64_t file_size)
{
	struct header h = { .version = 3,
			    .cluster_bits = 16,
			    .refcount_order = 4 };
	struct geometry g;

	geometry_init(&g, &h);
	if (snapshot_l1_defect(&g, s, file_size) == DEFECT_NONE) {
		h.size = s->disk_size;
		h.l1_off = s->l1_off;
		h.l1_size = s->l1_size;
		FUZZ_CHECK(rules_header_l1(&h, file_size));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader in = reader_init(data, size);
	uint64_t disk_size = read_be64(&in);
	uint64_t file_size = read_be64(&in);
	const uint8_t *buf;
	struct reader r;
	size_t len;

	buf = fuzz_place(&in, &len);
	r = reader_init(buf, len);
	while (reader_left(&r)) {
		const uint8_t *start = r.pos;
		struct fault fault;
		struct snapshot s;
		enum defect bad = snapshot_decode(&s, &r, disk_size, &fault);

		if (bad) {
			FUZZ_CHECK(fault.defect == bad);
			break;
		}
		FUZZ_CHECK(r.pos > start);
		FUZZ_CHECK(s.extra_len <= SNAPSHOT_EXTRA_BYTES_MAX);
		FUZZ_CHECK(snapshot_entry_bytes(start) >=
			   (uint64_t)(r.pos - start));
		check_round_trip(&s);
		check_l1(&s, file_size);
	}
	return 0;
}
