#include <errno.h>
#include <string.h>

#include "lines.h"

/* See rig.h: the L1 table of the snapshot at 0x5000, the snapshot table at
 * 0x6000, the active L1 table at 0x7000. */
static struct rig *fresh(void)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	struct small s = rig_small(r);

	assert_int_equal(rig_snapshot(r, &s), 0x5000);
	rig_finish(r);
	assert_int_equal(r->header.snapshots_off, 0x6000);
	return r;
}

#define GOOD                                                              \
	"snapshot@0x6000 index=0 id='1' name='snap' id-length=1"          \
	" name-length=4 l1-table=0x5000 l1-entries=8 date-sec=0"          \
	" date-nsec=0 vm-clock-nsec=0 extra-data-size=24 vm-state-size=0" \
	" disk-size=16777216"

TEST(tells_what_a_snapshot_has)
{
	struct rig *r = fresh();

	expect_dump(r, QCOW2_DUMP_SNAPSHOTS, 0,
		    "snapshot-table@0x6000 snapshots=1\n" GOOD "\n");
	rig_free(r);
}

TEST(tells_what_a_snapshot_breaks)
{
	struct rig *r = fresh();
	struct lines *l;

	rig_put64(r, 0x6000, 0x5001);
	l = lines_of_what(r, QCOW2_DUMP_SNAPSHOTS, 0);
	assert_non_null(strstr(l->text, " !snapshot-l1\n"));
	lines_free(l);
	/* The length of the extra data. */
	rig_put32(r, 0x6000 + 36, 1025);
	l = lines_of_what(r, QCOW2_DUMP_SNAPSHOTS, 0);
	expect_line(l, "snapshot@0x6000 index=0 id-length=1 name-length=4"
		       " l1-table=0x5001 l1-entries=8 date-sec=0 date-nsec=0"
		       " vm-clock-nsec=0 extra-data-size=1025"
		       " !snapshot-extra-size");
	lines_free(l);
	rig_free(r);
}

TEST(entries_that_cannot_be_found_are_told)
{
	struct rig *r = fresh();
	struct lines *l;

	rig_put32(r, HEADER_OFF_SNAPSHOT_COUNT, UINT32_MAX);
	rig_put32(r, 0x6000 + 36, 0x7fffffff);
	l = lines_of_what(r, QCOW2_DUMP_SNAPSHOTS, 0);
	expect_line(l, "header@0x3c nb_snapshots=4294967295"
		       " !header-snapshot-count");
	expect_line(l, "unread@0x80006030 index=1 count=4294967294"
		       " past-end-of-file !snapshot-table");
	lines_free(l);
	rig_put64(r, HEADER_OFF_SNAPSHOTS_OFF, UINT64_MAX);
	l = lines_of_what(r, QCOW2_DUMP_SNAPSHOTS, 0);
	expect_line(l, "unread@- index=0 count=4294967295"
		       " past-end-of-file !snapshot-table");
	lines_free(l);
	rig_free(r);
}

/* Zeros are snapshots without names: there are as many of them as there may
 * be. */
TEST(there_is_an_end_to_a_table_of_zeros)
{
	struct rig *r = fresh();
	struct lines *l;

	assert_int_equal(store_truncate(r->store, 8 << 20, NULL), 0);
	rig_put32(r, HEADER_OFF_SNAPSHOT_COUNT, 70000);
	rig_put64(r, HEADER_OFF_SNAPSHOTS_OFF, 0x100000);
	l = lines_of_what(r, QCOW2_DUMP_SNAPSHOTS, 0);
	assert_int_equal(l->rc, 0);
	assert_int_equal(l->n, 2 + 65536 + 1);
	lines_free(l);
	rig_free(r);
}

static struct lines *of_snapshot(struct rig *r, const char *snapshot)
{
	struct qcow2_dump_opts opts = QCOW2_DUMP_OPTS_INIT;

	opts.what = QCOW2_DUMP_L1;
	opts.snapshot = snapshot;
	return lines_of(r->store, &opts);
}

TEST(tables_of_a_snapshot_are_found_by_id_and_name)
{
	static const char *const names[] = { "1", "snap" };
	struct rig *r = fresh();
	struct lines *l;

	for (int i = 0; i < 2; i++) {
		l = of_snapshot(r, names[i]);
		expect_line(l, "l1-entry@0x5000 index=0 guest-offset=0x0"
			       " entry=0x1000 l2-table=0x1000");
		lines_free(l);
	}
	l = of_snapshot(r, "sna");
	assert_int_equal(l->rc, -ENOENT);
	lines_free(l);
	rig_free(r);
}
