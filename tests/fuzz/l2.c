/*
 * Input: cluster_bits - 9, feature bits, file size, size of the data file,
 * then entries of 24 bytes: guest offset, descriptor, bitmap.
 */
#include "format/l2.h"
#include "fuzz.h"
#include "support/rules.h"

struct sizes {
	uint64_t file;
	uint64_t data;
};

/* Bits 2 to 4 as in the header, bit 0 is version 2, bit 1 a raw data file. */
static struct geometry make_geometry(uint8_t bits, uint8_t features)
{
	struct header h = {
		.version = features & 1 ? 2 : 3,
		.cluster_bits = 9 + bits % 13,
		.refcount_order = 4,
		.autoclear_features = features & 2,
	};
	struct geometry g;

	if (h.version == 3)
		h.incompatible_features = features & INCOMPAT_KNOWN & ~3ull;
	if (h.cluster_bits < CLUSTER_BITS_MIN_EXTENDED_L2)
		h.incompatible_features &= ~INCOMPAT_EXTENDED_L2;
	geometry_init(&g, &h);
	return g;
}

static void check_runs(const struct geometry *g, struct l2_entry e)
{
	unsigned sub = 0;

	while (sub < g->subclusters) {
		enum subcluster_kind kind;
		unsigned n = l2_subcluster_run(g, e, sub, &kind);

		FUZZ_CHECK(n >= 1 && sub + n <= g->subclusters);
		for (unsigned i = sub; i < sub + n; i++)
			FUZZ_CHECK(l2_subcluster_kind(g, e, i) == kind);
		sub += n;
		FUZZ_CHECK(sub == g->subclusters ||
			   l2_subcluster_kind(g, e, sub) != kind);
	}
}

static void check_compressed(const struct geometry *g, struct l2_entry e)
{
	struct compressed c = compressed_decode(g, e.desc), c2;
	uint64_t desc;

	FUZZ_CHECK(c.len >= 1 && (c.host_off + c.len) % 512 == 0);
	if (!compressed_encode(g, c.host_off, c.len, &desc)) {
		FUZZ_CHECK(c.host_off > HOST_OFF_MAX);
		return;
	}
	FUZZ_CHECK(desc == ((e.desc & L2_COMPRESSED_MASK) | L2_COMPRESSED));
	c2 = compressed_decode(g, desc);
	FUZZ_CHECK(c.host_off == c2.host_off && c.len == c2.len);
}

static void check_table(const struct geometry *g, struct l2_entry e)
{
	uint8_t table[2 * L2_ENTRY_BYTES_EXTENDED];
	struct l2_entry d;

	l2_put(g, table, 1, e);
	d = l2_get(g, table, 1);
	FUZZ_CHECK(d.desc == e.desc && d.bitmap == e.bitmap);
}

static void check_rules(const struct geometry *g, struct l2_entry e,
			uint64_t guest_off, const struct sizes *s)
{
	enum defect bad, slow, any;

	bad = l2_entry_unreadable(g, e, guest_off, s->file, s->data);
	slow = l2_odd_entry_unreadable(g, e, guest_off, s->file, s->data);
	any = l2_entry_defect(g, e, guest_off, s->file, s->data);
	FUZZ_CHECK(bad == slow);
	FUZZ_CHECK(!bad || any == bad);
	FUZZ_CHECK(any < DEFECT_COUNT);
	FUZZ_CHECK(bad || rules_readable(g, e, guest_off, s->file, s->data));
}

static void check_l1(const struct geometry *g, uint64_t entry,
		     uint64_t file_size)
{
	uint64_t off = l1_table_off(entry);

	if (l1_entry_defect(g, entry, file_size) == DEFECT_NONE) {
		FUZZ_CHECK((entry & ~(off | ENTRY_COPIED)) == 0);
		FUZZ_CHECK(!off || rules_table(g->cluster_bits, off,
					       g->cluster_size, file_size));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_init(data, size);
	uint8_t bits = read_u8(&r);
	struct geometry g = make_geometry(bits, read_u8(&r));
	struct sizes s;

	s.file = read_be64(&r);
	s.data = read_be64(&r);
	if (!g.has_data_file)
		s.data = s.file;
	while (reader_left(&r) >= 24) {
		uint64_t guest_off = read_be64(&r);
		struct l2_entry e = { read_be64(&r), 0 };

		e.bitmap = read_be64(&r);
		check_l1(&g, e.desc, s.file);
		if (!g.extended_l2)
			e.bitmap = 0;
		check_table(&g, e);
		check_runs(&g, e);
		check_compressed(&g, e);
		check_rules(&g, e, guest_off, &s);
	}
	return 0;
}
