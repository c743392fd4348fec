#include <string.h>

#include "lines.h"

static struct lines *way_to(struct rig *r, uint64_t offset)
{
	struct qcow2_dump_opts opts = QCOW2_DUMP_OPTS_INIT;

	opts.what = QCOW2_DUMP_ENTRY;
	opts.offset = offset;
	return lines_of(r->store, &opts);
}

static void expect_way(struct rig *r, uint64_t offset, const char *want)
{
	struct lines *l = way_to(r, offset);

	expect_text(l, want);
	lines_free(l);
}

static struct rig *fresh(struct small *s)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });

	*s = rig_small(r);
	rig_finish(r);
	return r;
}

#define BLOCK                                                \
	"refcount-block@0x6000 index=0 of-clusters-from=0x0" \
	" entry=0x7000 block=0x7000\n"
#define TO_TABLE                                                   \
	"l1-entry@0x5000 index=0 guest-offset=0x0"                 \
	" entry=0x8000000000001000 l2-table=0x1000 copied\n" BLOCK \
	"refcount@0x7002 of-cluster=0x1000 index=1 refcount=1\n"

TEST(tells_the_whole_way)
{
	struct small s;
	struct rig *r = fresh(&s);

	expect_way(r, 0x1234,
		   "guest@- guest-offset=0x1234 disk-size=16777216 l1-index=0"
		   " l2-index=1\n" TO_TABLE
		   "l2-entry@0x1008 index=1 guest-offset=0x1000"
		   " entry=0x8000000000003000 kind='normal'"
		   " host-offset=0x3000 copied\n"
		   "data@0x3234\n" BLOCK
		   "refcount@0x7006 of-cluster=0x3000 index=3 refcount=1\n");
	rig_free(r);
}

TEST(the_way_ends_where_nothing_is)
{
	struct small s;
	struct rig *r = fresh(&s);

	expect_way(r, 0x3000,
		   "guest@- guest-offset=0x3000 disk-size=16777216 l1-index=0"
		   " l2-index=3\n" TO_TABLE
		   "l2-empty@0x1018 index=3 guest-offset=0x3000\n");
	expect_way(r, 0x200000,
		   "guest@- guest-offset=0x200000 disk-size=16777216"
		   " l1-index=1 l2-index=0\n"
		   "l1-empty@0x5008 index=1 guest-offset=0x200000\n");
	expect_way(r, INT64_MAX,
		   "guest@- guest-offset=0x7fffffffffffffff"
		   " disk-size=16777216 past-end-of-disk"
		   " l1-index=4398046511103 l2-index=511\n"
		   "unread@- index=4398046511103 past-end-of-table\n");
	rig_free(r);
}

TEST(flags_are_held_against_refcounts)
{
	struct small s;
	struct rig *r = fresh(&s);
	struct lines *l;

	rig_poke_refcount(r, s.l2, 2);
	rig_poke_refcount(r, s.data[0], 0);
	l = way_to(r, 0);
	expect_line(l, "refcount@0x7002 of-cluster=0x1000 index=1 refcount=2"
		       " !copied-flag");
	expect_line(l, "refcount@0x7004 of-cluster=0x2000 index=2 refcount=0"
		       " !refcount-too-low !copied-flag");
	lines_free(l);
	rig_put64(r, r->table_off, 0);
	l = way_to(r, 0);
	expect_line(l, "refcount-empty@0x6000 index=0 of-clusters-from=0x0"
		       " !refcount-too-low");
	lines_free(l);
	rig_free(r);
}

/* Its flag says nothing, and it may lie in any number of clusters. */
TEST(compressed_data_has_the_refcounts_of_its_clusters)
{
	struct small s;
	struct rig *r = fresh(&s);
	struct lines *l;
	uint64_t desc;

	assert_true(compressed_encode(&r->geo, 0x3e00, 1024, &desc));
	rig_entry(r, s.l2, 0, desc, 0);
	l = way_to(r, 0);
	expect_no_defect(l);
	expect_line(l, "refcount@0x7006 of-cluster=0x3000 index=3 refcount=1");
	expect_line(l, "refcount@0x7008 of-cluster=0x4000 index=4 refcount=1");
	lines_free(l);
	rig_free(r);
}

/* The end and the refcounts of a data file are not known here. */
TEST(a_data_file_has_an_offset_and_no_refcount)
{
	struct rig *r = rig_new(&(struct rig_opts){
		.incompatible_features = INCOMPAT_DATA_FILE });
	uint64_t l2 = rig_l2(r, 0);
	struct lines *l;

	r->data_file = "data";
	rig_finish(r);
	rig_entry(r, l2, 0, ENTRY_COPIED, 0);
	l = way_to(r, 5);
	expect_no_defect(l);
	expect_line(l, "data@- in-data-file data-file-offset=0x5");
	assert_null(strstr(l->text, "of-cluster=0x0"));
	lines_free(l);
	rig_free(r);
}
