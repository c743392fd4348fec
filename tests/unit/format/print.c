#include "format/print.h"

#include "base/text.h"
#include "generate.h"

#define EXPECT(call, want)                        \
	do {                                      \
		char dst[512];                    \
		const char *got = (call);         \
                                                  \
		assert_ptr_equal(got, dst);       \
		assert_string_equal(dst, (want)); \
	} while (0)

TEST(headers_show_every_field)
{
	struct header h = small_header(3);

	h.backing_off = 0x200;
	h.backing_len = 8;
	h.incompatible_features = INCOMPAT_DIRTY;
	EXPECT(header_to_text(&h, dst, sizeof(dst)),
	       "header v3 cluster_bits=12 size=4194304 crypt=0 l1=2@0x3000 "
	       "refcount_table=1@0x1000 snapshots=0@0x0 backing=8@0x200 "
	       "incompatible=0x1 compatible=0x0 autoclear=0x0 "
	       "refcount_order=4 length=112 compression=0");
}

TEST(extensions_show_type_and_text)
{
	static const struct {
		uint32_t type;
		const char *want;
	} rows[] = {
		{ EXT_BACKING_FORMAT, "extension backing format type=0xe2792aca"
				      " length=4@0x70 text=r\\x1baw" },
		{ EXT_DATA_FILE, "extension data file type=0x44415441 "
				 "length=4@0x70 text=r\\x1baw" },
		{ EXT_FEATURE_NAMES, "extension feature names type=0x6803f857 "
				     "length=4@0x70" },
		{ EXT_BITMAPS,
		  "extension bitmaps type=0x23852875 length=4@0x70" },
		{ EXT_CRYPTO, "extension encryption header type=0x537be77 "
			      "length=4@0x70" },
		{ 0x1234, "extension unknown type=0x1234 length=4@0x70" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct extension x = { .type = rows[i].type,
				       .len = 4,
				       .off = 0x70,
				       .data = (const uint8_t *)"r\x1b"
								"aw" };

		EXPECT(extension_to_text(&x, dst, sizeof(dst)), rows[i].want);
	}
}

TEST(table_entries_show_flags_and_reserved_bits)
{
	EXPECT(l1_entry_to_text(0, dst, sizeof(dst)), "unallocated");
	EXPECT(l1_entry_to_text(0x8000000000005001, dst, sizeof(dst)),
	       "L2 table @0x5000 copied reserved=0x1");
	EXPECT(l1_entry_to_text(0x5000, dst, sizeof(dst)), "L2 table @0x5000");
	EXPECT(refcount_table_entry_to_text(0x5000, dst, sizeof(dst)),
	       "refcount block @0x5000");
	EXPECT(refcount_table_entry_to_text(0, dst, sizeof(dst)),
	       "no refcount block");
	EXPECT(refcount_table_entry_to_text(0x5001, dst, sizeof(dst)),
	       "refcount block @0x5000 reserved=0x1");
}

TEST(l2_entries_show_their_kind)
{
	struct geometry g = gen_geometry(3, 12, 4, 0, 0);
	struct geometry x = gen_geometry(3, 16, 4, INCOMPAT_EXTENDED_L2, 0);
	struct l2_entry e = { 0, 0 };

	EXPECT(l2_entry_to_text(&g, e, dst, sizeof(dst)), "unallocated");
	e.desc = 0x5000;
	EXPECT(l2_entry_to_text(&g, e, dst, sizeof(dst)), "normal @0x5000");
	e.desc = 0x5002 | ENTRY_COPIED;
	EXPECT(l2_entry_to_text(&g, e, dst, sizeof(dst)),
	       "normal @0x5000 copied reserved=0x2");
	e.desc = L2_ZERO;
	EXPECT(l2_entry_to_text(&g, e, dst, sizeof(dst)), "zero");
	e.desc = L2_COMPRESSED | 0x5001;
	EXPECT(l2_entry_to_text(&g, e, dst, sizeof(dst)),
	       "compressed 511@0x5001");
	e = (struct l2_entry){ 0x50000, SUB_ALLOC(0) | SUB_ZERO(31) };
	EXPECT(l2_entry_to_text(&x, e, dst, sizeof(dst)),
	       "normal @0x50000 alloc=0x1 zero=0x80000000");
}

TEST(every_kind_has_a_name)
{
	for (int k = CLUSTER_UNALLOCATED; k <= CLUSTER_INVALID; k++)
		assert_true(strlen(cluster_kind_name((enum cluster_kind)k)));
	for (int k = 0; k <= SUBCLUSTER_INVALID; k++)
		assert_true(
			strlen(subcluster_kind_name((enum subcluster_kind)k)));
}

TEST(names_from_images_are_escaped)
{
	struct snapshot s = { .id = "1",
			      .id_len = 1,
			      .name = "a\nb",
			      .name_len = 3,
			      .icount = UINT64_MAX,
			      .l1_size = 2,
			      .l1_off = 0x5000 };
	struct bitmap b = { .name = "\x1b[m",
			    .name_len = 3,
			    .type = 1,
			    .granularity_bits = 16,
			    .table_size = 1,
			    .table_off = 0x5000 };
	struct luks_header l = { .cipher_name = "aes\n",
				 .cipher_mode = "xts-plain64",
				 .hash = "sha256",
				 .uuid = "u",
				 .key_bytes = 64 };

	l.slots[3].state = LUKS_SLOT_ACTIVE;
	EXPECT(snapshot_to_text(&s, dst, sizeof(dst)),
	       "snapshot id=1 name=a\\x0ab l1=2@0x5000 date=0 disk_size=0 "
	       "vm_state=0 vm_clock=0 extra=0");
	s.icount = 7;
	EXPECT(snapshot_to_text(&s, dst, sizeof(dst)),
	       "snapshot id=1 name=a\\x0ab l1=2@0x5000 date=0 disk_size=0 "
	       "vm_state=0 vm_clock=0 icount=7 extra=0");
	EXPECT(bitmap_to_text(&b, dst, sizeof(dst)),
	       "bitmap name=\\x1b[m type=1 granularity_bits=16 flags=0x0 "
	       "table=1@0x5000 extra=0");
	EXPECT(luks_to_text(&l, dst, sizeof(dst)),
	       "luks cipher=aes\\x0a-xts-plain64 hash=sha256 uuid=u "
	       "key_bytes=64 payload_sector=0 active_slots=1");
}

/* Into any room, from any bytes: terminated, printable, and marked when it was
 * cut. */
TEST(texts_fit_any_room)
{
	struct test_rng rng = test_rng_init(test_seed());
	char *end = (char *)guard_alloc(512) + 512;

	for (int i = 0; i < 20000; i++) {
		size_t size = 1 + test_rng_below(&rng, 300);
		char *dst = end - size, name[40], whole[512];
		struct snapshot s = { .icount = test_rng_next(&rng),
				      .name = name,
				      .id = name };

		test_rng_fill(&rng, name, sizeof(name));
		if (i % 2)
			memcpy(name, "\xf0\x9f\x98\x80\xc3\xa9\xe2\x82\xac", 9);
		s.name_len = s.id_len = (uint16_t)test_rng_below(&rng, 40);
		snapshot_to_text(&s, dst, size);
		snapshot_to_text(&s, whole, sizeof(whole));
		assert_true(strlen(dst) < size);
		assert_true(text_is_utf8(dst, strlen(dst)));
		if (strlen(whole) < size)
			assert_string_equal(dst, whole);
		else if (size > 3)
			assert_string_equal(dst + strlen(dst) - 3, "...");
	}
	guard_free(end - 512, 512);
}
