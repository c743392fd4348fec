#include "format/l2.h"

#include "generate.h"
#include "support/rules.h"

#define FILE_SIZE (UINT64_C(1) << 20)

static struct geometry plain_geometry(void)
{
	return gen_geometry(3, 12, 4, 0, 0);
}

static struct geometry extended_geometry(void)
{
	return gen_geometry(3, 16, 4, INCOMPAT_EXTENDED_L2, 0);
}

static struct geometry random_geometry(struct test_rng *rng)
{
	uint32_t bits = 9 + (uint32_t)test_rng_below(rng, 13);
	uint32_t version = 2 + (uint32_t)test_rng_below(rng, 2);
	uint64_t features = version == 3 ? gen_incompatible(rng, bits) : 0;

	return gen_geometry(version, bits, 4, features,
			    test_rng_next(rng) & AUTOCLEAR_KNOWN);
}

/* Entries of all sorts: plausible ones, noise, and a bit of both. */
static struct l2_entry random_entry(struct test_rng *rng,
				    const struct geometry *g)
{
	static const uint64_t flags[] = { 0, ENTRY_COPIED, L2_COMPRESSED,
					  L2_ZERO, ENTRY_COPIED | L2_ZERO };
	struct l2_entry e = { 0 };

	switch (test_rng_below(rng, 4)) {
	case 0:
		e.desc = test_rng_next(rng);
		break;
	case 1:
		e.desc = gen_number(rng);
		break;
	default:
		e.desc = test_rng_below(rng, 2 * FILE_SIZE);
		e.desc = align_down(e.desc, g->cluster_size);
		e.desc |= flags[test_rng_below(rng, 5)];
	}
	if (g->extended_l2 && test_rng_below(rng, 8))
		e.bitmap = test_rng_next(rng);
	if (test_rng_below(rng, 4))
		e.bitmap &= ~(e.bitmap >> 32);
	if (test_rng_below(rng, 4) == 0)
		e.bitmap &= SUB_ALL_ZERO;
	return e;
}

/* ---- L1 ------------------------------------------------------------------ */

TEST(l1_entries_are_aligned_clean_and_in_the_file)
{
	struct geometry g = plain_geometry();
	static const struct {
		uint64_t entry;
		enum defect want;
	} rows[] = {
		{ 0, DEFECT_NONE },
		{ 0x5000, DEFECT_NONE },
		{ 0x5000 | ENTRY_COPIED, DEFECT_NONE },
		{ 0xff000 | ENTRY_COPIED, DEFECT_NONE },
		{ 0x5200, DEFECT_L1_ENTRY_UNALIGNED },
		{ 0x5800 | ENTRY_COPIED, DEFECT_L1_ENTRY_UNALIGNED },
		{ 0x100000, DEFECT_L1_ENTRY_BEYOND_EOF },
		{ 0x00fffffffffff000, DEFECT_L1_ENTRY_BEYOND_EOF },
		{ 0x5001, DEFECT_L1_ENTRY_RESERVED },
		{ 0x5100, DEFECT_L1_ENTRY_RESERVED },
		{ 0x0100000000005000, DEFECT_L1_ENTRY_RESERVED },
		{ 0x4000000000005000, DEFECT_L1_ENTRY_RESERVED },
		{ 0x4000000000000000, DEFECT_L1_ENTRY_RESERVED },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(l1_entry_defect(&g, rows[i].entry, FILE_SIZE),
				 rows[i].want);
	assert_int_equal(l1_entry_defect(&g, 0x5000, 0x5001), DEFECT_NONE);
	assert_int_equal(l1_entry_defect(&g, 0x5000, 0x5000),
			 DEFECT_L1_ENTRY_BEYOND_EOF);
	assert_true(l1_table_off(UINT64_MAX) == ENTRY_OFFSET_MASK);
}

/* ---- Kinds --------------------------------------------------------------- */

TEST(clusters_are_told_apart)
{
	static const struct {
		uint64_t desc;
		enum cluster_kind v2, v3, data_file;
	} rows[] = {
		{ 0, CLUSTER_UNALLOCATED, CLUSTER_UNALLOCATED,
		  CLUSTER_UNALLOCATED },
		{ ENTRY_COPIED, CLUSTER_UNALLOCATED, CLUSTER_UNALLOCATED,
		  CLUSTER_NORMAL },
		{ 0x5000, CLUSTER_NORMAL, CLUSTER_NORMAL, CLUSTER_NORMAL },
		{ 0x5000 | ENTRY_COPIED, CLUSTER_NORMAL, CLUSTER_NORMAL,
		  CLUSTER_NORMAL },
		{ L2_ZERO, CLUSTER_INVALID, CLUSTER_ZERO_PLAIN,
		  CLUSTER_ZERO_PLAIN },
		{ L2_ZERO | ENTRY_COPIED, CLUSTER_INVALID, CLUSTER_ZERO_PLAIN,
		  CLUSTER_ZERO_PLAIN },
		{ 0x5000 | L2_ZERO, CLUSTER_INVALID, CLUSTER_ZERO_ALLOC,
		  CLUSTER_ZERO_ALLOC },
		{ 0x5200, CLUSTER_INVALID, CLUSTER_INVALID, CLUSTER_INVALID },
		{ 0x5200 | L2_ZERO, CLUSTER_INVALID, CLUSTER_INVALID,
		  CLUSTER_INVALID },
		/* Compressed wins over the zero bit and over COPIED. */
		{ L2_COMPRESSED | 0x5201, CLUSTER_COMPRESSED,
		  CLUSTER_COMPRESSED, CLUSTER_COMPRESSED },
		{ L2_COMPRESSED | ENTRY_COPIED | 1, CLUSTER_COMPRESSED,
		  CLUSTER_COMPRESSED, CLUSTER_COMPRESSED },
		/* Reserved bits say nothing. */
		{ 0x50fe, CLUSTER_NORMAL, CLUSTER_NORMAL, CLUSTER_NORMAL },
	};
	struct geometry v2 = gen_geometry(2, 12, 4, 0, 0);
	struct geometry v3 = plain_geometry();
	struct geometry df = gen_geometry(3, 12, 4, INCOMPAT_DATA_FILE, 0);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct l2_entry e = { rows[i].desc, 0 };

		assert_int_equal(l2_cluster_kind(&v2, e), rows[i].v2);
		assert_int_equal(l2_cluster_kind(&v3, e), rows[i].v3);
		assert_int_equal(l2_cluster_kind(&df, e), rows[i].data_file);
	}
}

TEST(extended_entries_have_no_zero_flag)
{
	struct geometry g = extended_geometry();

	assert_int_equal(l2_cluster_kind(&g, (struct l2_entry){ L2_ZERO, 0 }),
			 CLUSTER_UNALLOCATED);
	assert_int_equal(
		l2_cluster_kind(&g, (struct l2_entry){ 0x50000 | L2_ZERO, 0 }),
		CLUSTER_NORMAL);
}

TEST(each_subcluster_has_its_own_kind)
{
	struct geometry g = extended_geometry();
	struct l2_entry here = { 0x50000,
				 SUB_ALLOC(0) | SUB_ZERO(1) | SUB_ALLOC(31) };
	struct l2_entry none = { 0, SUB_ZERO(30) };
	struct l2_entry packed = { L2_COMPRESSED | 0x50000, UINT64_MAX };

	assert_int_equal(l2_subcluster_kind(&g, here, 0), SUBCLUSTER_NORMAL);
	assert_int_equal(l2_subcluster_kind(&g, here, 1),
			 SUBCLUSTER_ZERO_ALLOC);
	assert_int_equal(l2_subcluster_kind(&g, here, 2),
			 SUBCLUSTER_UNALLOCATED_ALLOC);
	assert_int_equal(l2_subcluster_kind(&g, here, 31), SUBCLUSTER_NORMAL);
	assert_int_equal(l2_subcluster_kind(&g, none, 29),
			 SUBCLUSTER_UNALLOCATED_PLAIN);
	assert_int_equal(l2_subcluster_kind(&g, none, 30),
			 SUBCLUSTER_ZERO_PLAIN);
	assert_int_equal(l2_subcluster_kind(&g, packed, 7),
			 SUBCLUSTER_COMPRESSED);
}

TEST(conflicts_make_the_whole_cluster_invalid)
{
	struct geometry g = extended_geometry();
	struct l2_entry both = { 0x50000, SUB_ALLOC(5) | SUB_ZERO(5) };
	struct l2_entry nowhere = { 0, SUB_ALLOC(5) };
	struct l2_entry unaligned = { 0x50200, SUB_ALLOC(5) };
	enum subcluster_kind kind;

	for (unsigned i = 0; i < 32; i++) {
		assert_int_equal(l2_subcluster_run(&g, both, i, &kind), 32 - i);
		assert_int_equal(kind, SUBCLUSTER_INVALID);
		assert_int_equal(l2_subcluster_kind(&g, nowhere, i),
				 SUBCLUSTER_INVALID);
		assert_int_equal(l2_subcluster_kind(&g, unaligned, i),
				 SUBCLUSTER_INVALID);
	}
}

/* The specification's word on one subcluster, bit by bit. */
static enum subcluster_kind slow_kind(const struct geometry *g,
				      struct l2_entry e, unsigned i)
{
	bool alloc = e.bitmap & SUB_ALLOC(i);
	bool zero = e.bitmap & SUB_ZERO(i);

	switch (l2_cluster_kind(g, e)) {
	case CLUSTER_COMPRESSED:
		return SUBCLUSTER_COMPRESSED;
	case CLUSTER_INVALID:
		return SUBCLUSTER_INVALID;
	case CLUSTER_ZERO_PLAIN:
		return SUBCLUSTER_ZERO_PLAIN;
	case CLUSTER_ZERO_ALLOC:
		return SUBCLUSTER_ZERO_ALLOC;
	case CLUSTER_NORMAL:
		if (!g->extended_l2)
			return SUBCLUSTER_NORMAL;
		return zero    ? SUBCLUSTER_ZERO_ALLOC
		       : alloc ? SUBCLUSTER_NORMAL
			       : SUBCLUSTER_UNALLOCATED_ALLOC;
	case CLUSTER_UNALLOCATED:
		return zero ? SUBCLUSTER_ZERO_PLAIN
			    : SUBCLUSTER_UNALLOCATED_PLAIN;
	}
	return SUBCLUSTER_INVALID;
}

static bool is_conflict(const struct geometry *g, struct l2_entry e)
{
	enum cluster_kind kind = l2_cluster_kind(g, e);
	bool conflict = false;

	if (!g->extended_l2 || kind == CLUSTER_COMPRESSED)
		return false;
	for (unsigned i = 0; i < 32; i++) {
		bool alloc = e.bitmap & SUB_ALLOC(i);

		conflict |= alloc && (e.bitmap & SUB_ZERO(i));
		conflict |= alloc && kind == CLUSTER_UNALLOCATED;
	}
	return conflict;
}

TEST(runs_are_what_a_loop_would_count)
{
	struct test_rng rng = test_rng_init(test_seed());

	for (int k = 0; k < 100000; k++) {
		struct geometry g = random_geometry(&rng);
		struct l2_entry e = random_entry(&rng, &g);
		bool conflict = is_conflict(&g, e);
		unsigned sub = (unsigned)test_rng_below(&rng, g.subclusters);
		unsigned n = 1;
		enum subcluster_kind want, kind;

		want = conflict ? SUBCLUSTER_INVALID : slow_kind(&g, e, sub);
		while (sub + n < g.subclusters &&
		       (conflict || slow_kind(&g, e, sub + n) == want))
			n++;
		assert_int_equal(l2_subcluster_run(&g, e, sub, &kind), n);
		assert_int_equal(kind, want);
		assert_int_equal(l2_subcluster_kind(&g, e, sub), want);
	}
}

TEST(ranges_of_subclusters_are_made_of_single_ones)
{
	for (unsigned from = 0; from <= 32; from++)
		for (unsigned to = from; to <= 32; to++) {
			uint64_t alloc = 0, zero = 0;

			for (unsigned i = from; i < to; i++) {
				alloc |= SUB_ALLOC(i);
				zero |= SUB_ZERO(i);
			}
			assert_true(SUB_ALLOC_RANGE(from, to) == alloc);
			assert_true(SUB_ZERO_RANGE(from, to) == zero);
		}
	assert_true(SUB_ALLOC_RANGE(0, 32) == SUB_ALL_ALLOC);
	assert_true(SUB_ZERO_RANGE(0, 32) == SUB_ALL_ZERO);
}

/* ---- Rules --------------------------------------------------------------- */

struct rule_row {
	struct l2_entry e;
	enum defect unreadable;
	enum defect defect;
};

static void run_rules(const struct geometry *g, uint64_t guest_off,
		      const struct rule_row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(l2_entry_unreadable(g, rows[i].e, guest_off,
						     FILE_SIZE, FILE_SIZE),
				 rows[i].unreadable);
		assert_int_equal(l2_entry_defect(g, rows[i].e, guest_off,
						 FILE_SIZE, FILE_SIZE),
				 rows[i].defect);
	}
}

#define RUN_RULES(g, guest_off, rows) \
	run_rules((g), (guest_off), (rows), sizeof(rows) / sizeof((rows)[0]))
#define BOTH(defect) (defect), (defect)
#define CHECK_ONLY(defect) DEFECT_NONE, (defect)

TEST(standard_entries_keep_the_rules)
{
	struct geometry g = plain_geometry();
	static const struct rule_row rows[] = {
		{ { 0, 0 }, BOTH(DEFECT_NONE) },
		{ { 0x5000 | ENTRY_COPIED, 0 }, BOTH(DEFECT_NONE) },
		{ { 0xff000, 0 }, BOTH(DEFECT_NONE) },
		{ { L2_ZERO, 0 }, BOTH(DEFECT_NONE) },
		{ { 0x5000 | L2_ZERO, 0 }, BOTH(DEFECT_NONE) },
		{ { 0x5200, 0 }, BOTH(DEFECT_L2_ENTRY_UNALIGNED) },
		{ { 0x5200 | L2_ZERO, 0 }, BOTH(DEFECT_L2_ENTRY_UNALIGNED) },
		{ { 0x100000, 0 }, BOTH(DEFECT_L2_ENTRY_BEYOND_EOF) },
		{ { 0x00fffffffffff000, 0 }, BOTH(DEFECT_L2_ENTRY_BEYOND_EOF) },
		/* Nothing is read from there. */
		{ { 0x100000 | L2_ZERO, 0 },
		  CHECK_ONLY(DEFECT_L2_ENTRY_BEYOND_EOF) },
		{ { 0x5002, 0 }, CHECK_ONLY(DEFECT_L2_ENTRY_RESERVED) },
		{ { 0x5100, 0 }, CHECK_ONLY(DEFECT_L2_ENTRY_RESERVED) },
		{ { 0x0100000000005000, 0 }, BOTH(DEFECT_L2_ENTRY_RESERVED) },
		{ { 0x2000000000000000, 0 }, BOTH(DEFECT_L2_ENTRY_RESERVED) },
		{ { ENTRY_COPIED, 0 },
		  CHECK_ONLY(DEFECT_L2_ENTRY_COPIED_WITHOUT_OFFSET) },
	};

	RUN_RULES(&g, 0x7000, rows);
}

TEST(version_2_has_no_zero_flag)
{
	struct geometry g = gen_geometry(2, 12, 4, 0, 0);
	static const struct rule_row rows[] = {
		{ { L2_ZERO, 0 }, BOTH(DEFECT_L2_ENTRY_ZERO_V2) },
		{ { 0x5001, 0 }, BOTH(DEFECT_L2_ENTRY_ZERO_V2) },
		{ { 0x5000, 0 }, BOTH(DEFECT_NONE) },
	};

	RUN_RULES(&g, 0, rows);
}

TEST(the_tail_of_the_file_may_be_cut)
{
	struct geometry g = plain_geometry();
	struct l2_entry e = { 0x5000, 0 };

	assert_int_equal(l2_entry_unreadable(&g, e, 0, 0x5001, 0x5001),
			 DEFECT_NONE);
	assert_int_equal(l2_entry_defect(&g, e, 0, 0x5001, 0x5001),
			 DEFECT_NONE);
	assert_int_equal(l2_entry_unreadable(&g, e, 0, 0x5000, 0x5000),
			 DEFECT_L2_ENTRY_BEYOND_EOF);
	assert_int_equal(
		l2_entry_unreadable(&g, (struct l2_entry){ 0, 0 }, 0, 0, 0),
		DEFECT_NONE);
}

TEST(subcluster_bitmaps_keep_the_rules)
{
	struct geometry g = extended_geometry();
	static const struct rule_row rows[] = {
		{ { 0, 0 }, BOTH(DEFECT_NONE) },
		{ { 0, SUB_ALL_ZERO }, BOTH(DEFECT_NONE) },
		{ { 0x50000, SUB_ALL_ALLOC }, BOTH(DEFECT_NONE) },
		{ { 0x50000, 0 }, BOTH(DEFECT_NONE) },
		{ { 0x50000, SUB_ALLOC(3) | SUB_ZERO(4) }, BOTH(DEFECT_NONE) },
		{ { 0x50000, SUB_ALLOC(31) | SUB_ZERO(31) },
		  BOTH(DEFECT_L2_BITMAP_CONFLICT) },
		{ { 0, SUB_ALLOC(31) | SUB_ZERO(31) },
		  BOTH(DEFECT_L2_BITMAP_CONFLICT) },
		{ { 0, SUB_ALLOC(0) }, BOTH(DEFECT_L2_BITMAP_WITHOUT_OFFSET) },
		{ { ENTRY_COPIED, SUB_ALLOC(0) },
		  BOTH(DEFECT_L2_BITMAP_WITHOUT_OFFSET) },
		{ { 0x50200, SUB_ALLOC(0) }, BOTH(DEFECT_L2_ENTRY_UNALIGNED) },
		{ { 0x50000 | L2_ZERO, SUB_ALLOC(0) },
		  CHECK_ONLY(DEFECT_L2_ENTRY_RESERVED) },
		{ { 0x100000, SUB_ALLOC(0) },
		  BOTH(DEFECT_L2_ENTRY_BEYOND_EOF) },
		{ { 0x100000, SUB_ZERO(0) },
		  CHECK_ONLY(DEFECT_L2_ENTRY_BEYOND_EOF) },
		{ { L2_COMPRESSED | 0x50000, 1 },
		  CHECK_ONLY(DEFECT_L2_BITMAP_COMPRESSED) },
		{ { L2_COMPRESSED | 0x50000, 0 }, BOTH(DEFECT_NONE) },
	};

	RUN_RULES(&g, 0x70000, rows);
}

/* Raw or not, the specification wants host and guest offset to be the same. */
TEST(a_data_file_maps_every_cluster_to_its_own_offset)
{
	static const struct rule_row rows[] = {
		{ { 0, 0 }, BOTH(DEFECT_NONE) },
		{ { 0x7000 | ENTRY_COPIED, 0 }, BOTH(DEFECT_NONE) },
		{ { 0x7000 | L2_ZERO, 0 }, BOTH(DEFECT_NONE) },
		{ { ENTRY_COPIED | L2_ZERO, 0 }, BOTH(DEFECT_NONE) },
		{ { 0x5000 | ENTRY_COPIED, 0 },
		  BOTH(DEFECT_L2_ENTRY_DATA_FILE_OFFSET) },
		{ { 0x5000 | L2_ZERO, 0 },
		  BOTH(DEFECT_L2_ENTRY_DATA_FILE_OFFSET) },
		{ { ENTRY_COPIED, 0 }, BOTH(DEFECT_L2_ENTRY_DATA_FILE_OFFSET) },
		{ { L2_COMPRESSED | 0x7000, 0 },
		  BOTH(DEFECT_L2_ENTRY_COMPRESSED_DATA_FILE) },
	};
	static const struct rule_row first[] = {
		{ { ENTRY_COPIED, 0 }, BOTH(DEFECT_NONE) },
		{ { 0, 0 }, BOTH(DEFECT_NONE) },
	};
	struct geometry g;

	for (uint64_t raw = 0; raw <= AUTOCLEAR_DATA_FILE_RAW; raw += 2) {
		g = gen_geometry(3, 12, 4, INCOMPAT_DATA_FILE, raw);
		RUN_RULES(&g, 0x7abc, rows);
		RUN_RULES(&g, 0x123, first);
		assert_int_equal(l2_entry_unreadable(
					 &g,
					 (struct l2_entry){ ENTRY_COPIED, 0 },
					 0, FILE_SIZE, 0),
				 DEFECT_L2_ENTRY_BEYOND_EOF);
	}
}

/* ---- Any entry ----------------------------------------------------------- */

TEST(entries_survive_their_table)
{
	struct test_rng rng = test_rng_init(test_seed());

	for (uint32_t bits = 9; bits <= 21; bits++)
		for (int ext = 0; ext <= (bits >= 14); ext++) {
			struct geometry g = gen_geometry(
				3, bits, 4, ext ? INCOMPAT_EXTENDED_L2 : 0, 0);
			uint64_t n = geometry_l2_entries(&g);
			uint8_t *table = guard_alloc(g.cluster_size);
			uint64_t seed = test_rng_next(&rng);
			struct test_rng a = { seed }, b = { seed };

			for (uint64_t i = 0; i < n; i++) {
				struct l2_entry e;

				e.desc = test_rng_next(&a);
				e.bitmap = test_rng_next(&a);
				l2_put(&g, table, i, e);
			}
			for (uint64_t i = 0; i < n; i++) {
				struct l2_entry e = l2_get(&g, table, i);
				uint64_t desc = test_rng_next(&b);
				uint64_t bitmap = test_rng_next(&b);

				assert_true(e.desc == desc);
				assert_true(e.bitmap == (ext ? bitmap : 0));
			}
			guard_free(table, g.cluster_size);
		}
}

TEST(readable_entries_keep_their_promises)
{
	struct test_rng rng = test_rng_init(test_seed());
	unsigned readable = 0;

	for (int i = 0; i < 300000; i++) {
		struct geometry g = random_geometry(&rng);
		struct l2_entry e = random_entry(&rng, &g);
		uint64_t file_size = test_rng_below(&rng, 2 * FILE_SIZE);
		uint64_t data_size = g.has_data_file ? gen_number(&rng) >> 1
						     : file_size;
		uint64_t guest = test_rng_below(&rng, 2) ? l2_host_off(e) + 5
							 : gen_number(&rng);
		enum defect bad =
			l2_entry_unreadable(&g, e, guest, file_size, data_size);

		/* The inline case is a shortcut, not another rule. */
		assert_int_equal(bad,
				 l2_odd_entry_unreadable(&g, e, guest,
							 file_size, data_size));
		if (bad) {
			assert_int_equal(l2_entry_defect(&g, e, guest,
							 file_size, data_size),
					 bad);
			continue;
		}
		readable++;
		assert_true(rules_readable(&g, e, guest, file_size, data_size));
	}
	assert_in_range(readable, 30000, 270000);
}
