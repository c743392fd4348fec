#include "format/snapshot.h"

#include "base/bytes.h"
#include "generate.h"

enum { BUF = 4096 };

#define DISK_SIZE UINT64_C(123456789)

/* Pointers of a snapshot lead into these. */
struct texts {
	uint8_t extra[SNAPSHOT_EXTRA_BYTES_MAX];
	char id[300];
	char name[300];
};

static struct snapshot random_snapshot(struct test_rng *rng, struct texts *t)
{
	struct snapshot s = {
		.l1_off = gen_number(rng),
		.l1_size = gen_number32(rng),
		.date_sec = gen_number32(rng),
		.date_nsec = gen_number32(rng),
		.id_len = (uint16_t)test_rng_below(rng, sizeof(t->id)),
		.name_len = (uint16_t)test_rng_below(rng, sizeof(t->name)),
		.vm_clock_nsec = gen_number(rng),
		.vm_state_size = gen_number(rng),
		.disk_size = gen_number(rng),
		.icount = UINT64_MAX,
		.id = t->id,
		.name = t->name,
	};

	test_rng_fill(rng, t, sizeof(*t));
	s.extra_len = SNAPSHOT_EXTRA_BYTES_ICOUNT;
	if (test_rng_below(rng, 2))
		return s;
	s.icount = gen_number(rng);
	s.unknown_extra_len = (uint32_t)test_rng_below(rng, 3) *
			      (uint32_t)test_rng_below(rng, 501);
	s.unknown_extra = s.unknown_extra_len ? t->extra : NULL;
	s.extra_len = SNAPSHOT_EXTRA_BYTES_ICOUNT + s.unknown_extra_len;
	return s;
}

static void assert_same(const struct snapshot *a, const struct snapshot *b)
{
	struct snapshot x = *a, y = *b;

	assert_int_equal(x.id_len, y.id_len);
	assert_int_equal(x.name_len, y.name_len);
	assert_int_equal(x.unknown_extra_len, y.unknown_extra_len);
	if (x.id_len)
		assert_memory_equal(x.id, y.id, x.id_len);
	if (x.name_len)
		assert_memory_equal(x.name, y.name, x.name_len);
	if (x.unknown_extra_len)
		assert_memory_equal(x.unknown_extra, y.unknown_extra,
				    x.unknown_extra_len);
	x.id = x.name = y.id = y.name = NULL;
	x.unknown_extra = y.unknown_extra = NULL;
	assert_true(x.l1_off == y.l1_off && x.l1_size == y.l1_size);
	assert_true(x.date_sec == y.date_sec && x.date_nsec == y.date_nsec);
	assert_true(x.vm_clock_nsec == y.vm_clock_nsec);
	assert_true(x.vm_state_size == y.vm_state_size);
	assert_true(x.disk_size == y.disk_size && x.icount == y.icount);
}

TEST(every_field_is_at_its_place)
{
	uint8_t buf[80];
	struct reader r = reader_init(buf, sizeof(buf));
	struct snapshot s;
	struct fault fault;

	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)i;
	put_be16(buf + 12, 2);
	put_be16(buf + 14, 3);
	put_be32(buf + 36, 26);
	assert_int_equal(snapshot_decode(&s, &r, DISK_SIZE, &fault), 0);
	assert_true(s.l1_off == 0x0001020304050607);
	assert_int_equal(s.l1_size, 0x08090a0b);
	assert_int_equal(s.date_sec, 0x10111213);
	assert_int_equal(s.date_nsec, 0x14151617);
	assert_true(s.vm_clock_nsec == 0x18191a1b1c1d1e1f);
	assert_true(s.vm_state_size == 0x28292a2b2c2d2e2f);
	assert_true(s.disk_size == 0x3031323334353637);
	assert_true(s.icount == 0x38393a3b3c3d3e3f);
	assert_int_equal(s.extra_len, 26);
	assert_int_equal(s.unknown_extra_len, 2);
	assert_ptr_equal(s.unknown_extra, buf + 64);
	assert_ptr_equal(s.id, buf + 66);
	assert_ptr_equal(s.name, buf + 68);
	assert_int_equal(snapshot_entry_bytes(buf), 72);
	assert_int_equal(reader_left(&r), 8);
}

/* An entry with @extra_len bytes of extra data, all 0x11. */
static enum defect decode_extra(uint32_t extra_len, struct snapshot *s)
{
	static uint8_t buf[2048];
	struct reader r = reader_init(buf, sizeof(buf));
	struct fault fault;
	enum defect bad;

	memset(buf, 0x11, sizeof(buf));
	put_be32(buf + 12, 0);
	put_be32(buf + 32, 77);
	put_be32(buf + 36, extra_len);
	bad = snapshot_decode(s, &r, DISK_SIZE, &fault);
	if (bad)
		assert_int_equal(fault.defect, bad);
	if (bad == DEFECT_SNAPSHOT_EXTRA_SIZE)
		assert_true(fault.value == extra_len && fault.limit == 1024);
	return bad;
}

TEST(extra_data_counts_as_far_as_it_goes)
{
	struct snapshot s;

	for (uint32_t len = 0; len <= SNAPSHOT_EXTRA_BYTES_MAX; len++) {
		assert_int_equal(decode_extra(len, &s), 0);
		assert_true(s.vm_state_size ==
			    (len < 8 ? 77 : 0x1111111111111111));
		assert_true(s.disk_size ==
			    (len < 16 ? DISK_SIZE : 0x1111111111111111));
		assert_true(s.icount ==
			    (len < 24 ? UINT64_MAX : 0x1111111111111111));
		assert_int_equal(s.unknown_extra_len, len > 24 ? len - 24 : 0);
		assert_int_equal(snapshot_lacks_extra(&s, 3), len < 16);
		assert_false(snapshot_lacks_extra(&s, 2));
	}
}

TEST(too_much_extra_data_is_refused)
{
	static const uint32_t lens[] = { 1025, 65536, INT32_MAX, UINT32_MAX };
	struct snapshot s;

	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++)
		assert_int_equal(decode_extra(lens[i], &s),
				 DEFECT_SNAPSHOT_EXTRA_SIZE);
}

TEST(an_l1_table_of_32_mib_is_the_largest)
{
	struct geometry g = gen_geometry(3, 12, 4, 0, 0);
	struct snapshot s = { .l1_off = 0x5000, .l1_size = (32 << 20) / 8 };

	assert_int_equal(snapshot_l1_defect(&g, &s, 1 << 30), 0);
	s.l1_size++;
	assert_int_equal(snapshot_l1_defect(&g, &s, 1 << 30),
			 DEFECT_SNAPSHOT_L1);
}

TEST(rejects_every_cut_entry)
{
	struct test_rng rng = test_rng_init(test_seed());
	struct texts t;
	struct snapshot s = random_snapshot(&rng, &t), d;
	uint8_t buf[BUF];
	struct byte_writer w = byte_writer_init(buf, sizeof(buf));
	size_t used;

	snapshot_encode(&w, &s);
	used = (size_t)SNAPSHOT_HEADER_BYTES + s.extra_len + s.id_len +
	       s.name_len;
	for (size_t len = 0; len <= byte_writer_len(&w); len++) {
		uint8_t *p = guard_alloc(len);
		struct reader r = reader_init(p, len);
		struct fault fault;

		memcpy(p, buf, len);
		/* Only the padding of the last entry may be missing. */
		assert_int_equal(snapshot_decode(&d, &r, DISK_SIZE, &fault),
				 len < used ? DEFECT_SNAPSHOT_TABLE
					    : DEFECT_NONE);
		guard_free(p, len);
	}
}

TEST(entries_follow_each_other_padded_to_8)
{
	struct test_rng rng = test_rng_init(test_seed());

	for (int i = 0; i < 5000; i++) {
		struct texts t[2];
		struct snapshot s[2], d;
		uint8_t buf[BUF];
		struct byte_writer w = byte_writer_init(buf, sizeof(buf));
		struct fault fault;
		struct reader r;

		for (int k = 0; k < 2; k++) {
			size_t before = byte_writer_len(&w);

			s[k] = random_snapshot(&rng, &t[k]);
			snapshot_encode(&w, &s[k]);
			assert_int_equal(byte_writer_len(&w) % 8, 0);
			assert_int_equal(snapshot_entry_bytes(buf + before),
					 byte_writer_len(&w) - before);
		}
		r = reader_init(buf, byte_writer_len(&w));
		for (int k = 0; k < 2; k++) {
			assert_int_equal(
				snapshot_decode(&d, &r, DISK_SIZE, &fault), 0);
			assert_same(&d, &s[k]);
			assert_int_equal(d.extra_len, s[k].extra_len);
		}
		assert_int_equal(reader_left(&r), 0);
	}
}

TEST(the_size_of_an_entry_is_bounded)
{
	uint8_t fixed[SNAPSHOT_HEADER_BYTES];

	memset(fixed, 0, sizeof(fixed));
	assert_int_equal(snapshot_entry_bytes(fixed), 40);
	put_be32(fixed + 36, UINT32_MAX);
	assert_int_equal(snapshot_entry_bytes(fixed), 40 + 1024);
	put_be16(fixed + 12, 8);
	assert_int_equal(snapshot_entry_bytes(fixed), 40 + 1024 + 8);
	memset(fixed, 0xff, sizeof(fixed));
	assert_int_equal(snapshot_entry_bytes(fixed),
			 (40 + 1024 + 2 * 65535 + 7) / 8 * 8);
}

TEST(a_small_buffer_fails_the_writer)
{
	struct test_rng rng = test_rng_init(test_seed());
	struct texts t;
	struct snapshot s = random_snapshot(&rng, &t);
	uint8_t *p = guard_alloc(55);
	struct byte_writer w = byte_writer_init(p, 55);

	snapshot_encode(&w, &s);
	assert_true(w.failed);
	guard_free(p, 55);
}

TEST(large_vm_states_leave_the_small_field_empty)
{
	struct snapshot s = { .vm_state_size = UINT64_C(1) << 32,
			      .icount = UINT64_MAX };
	uint8_t buf[64];
	struct byte_writer w = byte_writer_init(buf, sizeof(buf));

	snapshot_encode(&w, &s);
	assert_int_equal(get_be32(buf + 32), 0);
	assert_true(get_be64(buf + 40) == UINT64_C(1) << 32);
	w = byte_writer_init(buf, sizeof(buf));
	s.vm_state_size = UINT32_MAX;
	snapshot_encode(&w, &s);
	assert_int_equal(get_be32(buf + 32), UINT32_MAX);
}

/* An icount of all ones means that there is none, but it takes its place when
 * something follows it. */
TEST(unknown_extra_data_stays_behind_an_absent_icount)
{
	struct snapshot s = { .icount = UINT64_MAX,
			      .unknown_extra_len = 4,
			      .unknown_extra = (const uint8_t *)"more" };
	uint8_t buf[80];
	struct byte_writer w = byte_writer_init(buf, sizeof(buf));
	struct reader r;
	struct snapshot d;
	struct fault fault;

	snapshot_encode(&w, &s);
	r = reader_init(buf, byte_writer_len(&w));
	assert_int_equal(snapshot_decode(&d, &r, DISK_SIZE, &fault), 0);
	assert_same(&d, &s);
	assert_int_equal(d.extra_len, 28);
}

TEST(the_l1_table_of_a_snapshot_keeps_the_rules)
{
	struct geometry g = gen_geometry(3, 12, 4, 0, 0);
	static const struct {
		uint64_t off;
		uint32_t size;
		uint64_t disk_size;
		enum defect want;
	} rows[] = {
		{ 0x5000, 2, 4 << 20, DEFECT_NONE },
		{ 0x5000, 3, 4 << 20, DEFECT_NONE },
		{ 0x5000, 1, 4 << 20, DEFECT_SNAPSHOT_DISK_SIZE },
		{ 0x5000, 2, (4 << 20) + 1, DEFECT_SNAPSHOT_DISK_SIZE },
		{ 0x5000, 2, UINT64_C(1) << 63, DEFECT_SNAPSHOT_DISK_SIZE },
		{ 0x5000, 2, UINT64_MAX, DEFECT_SNAPSHOT_DISK_SIZE },
		{ 0, 0, 0, DEFECT_NONE },
		{ 7, 0, 0, DEFECT_NONE },
		{ 0, 0, 1, DEFECT_SNAPSHOT_DISK_SIZE },
		{ 0, 2, 4 << 20, DEFECT_SNAPSHOT_L1 },
		{ 0x5200, 2, 4 << 20, DEFECT_SNAPSHOT_L1 },
		{ 0xff000, 512, 4 << 20, DEFECT_NONE },
		{ 0xff000, 513, 4 << 20, DEFECT_SNAPSHOT_L1 },
		{ 0x100000, 2, 4 << 20, DEFECT_SNAPSHOT_L1 },
		{ 0x7fffffffffff0000, 2, 4 << 20, DEFECT_SNAPSHOT_L1 },
		{ 0xfffffffffffff000, 2, 4 << 20, DEFECT_SNAPSHOT_L1 },
		{ 0x5000, UINT32_MAX, 4 << 20, DEFECT_SNAPSHOT_L1 },
		{ 0x5000, (32 << 20) / 8 + 1, 4 << 20, DEFECT_SNAPSHOT_L1 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct snapshot s = { .l1_off = rows[i].off,
				      .l1_size = rows[i].size,
				      .disk_size = rows[i].disk_size };

		assert_int_equal(snapshot_l1_defect(&g, &s, 1 << 20),
				 rows[i].want);
	}
}

/* Random tables: nothing outside the buffer is read, and entries that decode
 * are the same after being written again. */
TEST(hostile_tables_do_no_harm)
{
	struct test_rng rng = test_rng_init(test_seed());
	uint8_t *end = (uint8_t *)guard_alloc(BUF) + BUF;
	unsigned accepted = 0;

	for (int i = 0; i < 50000; i++) {
		struct texts t;
		struct snapshot s = random_snapshot(&rng, &t), d;
		uint8_t *p = end - 200 - test_rng_below(&rng, 600);
		size_t len = (size_t)(end - p);
		struct byte_writer w = byte_writer_init(p, len);
		struct reader r = reader_init(p, len);
		uint8_t again[BUF];
		struct fault fault;
		enum defect bad;

		test_rng_fill(&rng, p, len);
		if (i % 8)
			snapshot_encode(&w, &s);
		gen_flip(&rng, p, i % 2 ? 40 : len);
		bad = snapshot_decode(&s, &r, DISK_SIZE, &fault);
		if (bad) {
			assert_int_equal(fault.defect, bad);
			continue;
		}
		accepted++;
		assert_true(s.extra_len <= SNAPSHOT_EXTRA_BYTES_MAX);
		w = byte_writer_init(again, sizeof(again));
		snapshot_encode(&w, &s);
		assert_false(w.failed);
		r = reader_init(again, byte_writer_len(&w));
		assert_int_equal(snapshot_decode(&d, &r, 0, &fault), 0);
		assert_same(&s, &d);
	}
	assert_in_range(accepted, 5000, 45000);
	guard_free(end - BUF, BUF);
}
