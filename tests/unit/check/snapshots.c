#include <stdlib.h>

#include "format/defect.h"
#include "rig.h"

/* Offsets of fields in a snapshot table entry. */
#define L1_SIZE 8
#define EXTRA_SIZE 36
#define DISK_SIZE 48

struct shot {
	struct rig *r;
	struct small s;
	uint64_t l1;
	uint64_t entry;
};

static struct shot fresh(uint32_t version)
{
	struct shot t = { .r = rig_new(
				  &(struct rig_opts){ .version = version }) };

	t.s = rig_small(t.r);
	t.l1 = rig_snapshot(t.r, &t.s);
	rig_finish(t.r);
	t.entry = t.r->header.snapshots_off;
	return t;
}

TEST(a_snapshot_shares_and_is_clean)
{
	for (uint32_t version = 2; version <= 3; version++) {
		struct shot t = fresh(version);
		struct outcome *o;

		EXPECT_CLEAN(t.r);
		/* Snapshots do not count as allocated. */
		o = check_rig(t.r);
		assert_int_equal(o->result.allocated_clusters, 3);
		free(o);
		rig_free(t.r);
	}
}

TEST(a_refcount_that_forgets_the_snapshot_is_found)
{
	struct shot t = fresh(3);

	rig_poke_refcount(t.r, t.s.l2, 1);
	EXPECT(t.r, { DEFECT_REFCOUNT_TOO_LOW, t.s.l2 },
	       { DEFECT_COPIED_FLAG, t.r->l1_off });
	rig_free(t.r);
}

/* The snapshot's L1 table cannot be where the entry says. */
static void expect_lost(struct shot *t)
{
	EXPECT(t->r, { DEFECT_SNAPSHOT_L1, t->entry },
	       { DEFECT_REFCOUNT_LEAK, t->s.l2 },
	       { DEFECT_REFCOUNT_LEAK, t->s.data[0] },
	       { DEFECT_REFCOUNT_LEAK, t->l1 });
}

TEST(l1_tables_out_of_place_are_found)
{
	struct shot t = fresh(3);

	rig_put64(t.r, t.entry, t.l1 + 512);
	expect_lost(&t);
	rig_put64(t.r, t.entry, UINT64_C(1) << 50);
	expect_lost(&t);
	rig_put64(t.r, t.entry, t.l1);
	rig_put32(t.r, t.entry + L1_SIZE, UINT32_MAX);
	expect_lost(&t);
	rig_free(t.r);
}

TEST(a_disk_larger_than_its_l1_table_is_found)
{
	struct shot t = fresh(3);

	rig_put64(t.r, t.entry + DISK_SIZE, UINT64_C(1) << 60);
	EXPECT(t.r, { DEFECT_SNAPSHOT_DISK_SIZE, t.entry });
	rig_free(t.r);
}

/* An entry without names whose extra data is @len bytes long. */
static void bare_entry(struct shot *t, uint32_t len)
{
	rig_put32(t->r, t->entry + 12, 0);
	rig_put32(t->r, t->entry + EXTRA_SIZE, len);
}

TEST(extra_data_is_required_in_version_3_only)
{
	static const uint32_t short_of_16[] = { 0, 8, 15 };
	struct shot v2 = fresh(2);
	struct shot v3 = fresh(3);

	for (size_t i = 0; i < 3; i++) {
		bare_entry(&v2, short_of_16[i]);
		bare_entry(&v3, short_of_16[i]);
		EXPECT_CLEAN(v2.r);
		EXPECT(v3.r, { DEFECT_SNAPSHOT_EXTRA_MISSING, v3.entry });
	}
	bare_entry(&v3, 24);
	EXPECT_CLEAN(v3.r);
	bare_entry(&v3, 1024);
	EXPECT_CLEAN(v3.r);
	rig_free(v2.r);
	rig_free(v3.r);
}

/* The rest of the table is unknown, so nothing is called a leak. */
TEST(too_much_extra_data_ends_the_table)
{
	struct shot t = fresh(3);
	struct outcome *o;

	bare_entry(&t, UINT32_MAX);
	EXPECT(t.r, { DEFECT_SNAPSHOT_EXTRA_SIZE, t.entry });
	o = check_rig(t.r);
	assert_int_equal(o->result.check_errors, 1);
	assert_int_equal(o->result.leaks, 0);
	free(o);
	rig_free(t.r);
}

/* As long as the entry ends inside the file, its names and what follows it are
 * where its length says. */
TEST(extra_data_that_is_too_long_is_passed_over)
{
	struct shot t = fresh(3);
	struct outcome *o;

	bare_entry(&t, 1025);
	EXPECT(t.r, { DEFECT_SNAPSHOT_EXTRA_SIZE, t.entry });
	o = check_rig(t.r);
	assert_int_equal(o->result.check_errors, 0);
	free(o);
	rig_free(t.r);
}

/* Zeros decode as entries, until the file ends before their number. */
TEST(a_table_that_runs_out_of_the_file_is_found)
{
	struct shot t = fresh(3);
	uint64_t end = t.r->n_clusters * t.r->cs;
	uint8_t entry[72];
	struct outcome *o;

	assert_int_equal(
		store_pread(t.r->store, entry, sizeof(entry), t.entry, 0, NULL),
		0);
	rig_put(t.r, end, entry, sizeof(entry));
	assert_int_equal(store_truncate(t.r->store, end + t.r->cs, NULL), 0);
	rig_poke_refcount(t.r, t.entry, 0);
	rig_poke_refcount(t.r, end, 1);
	t.entry = end;
	bare_entry(&t, 1016);
	rig_put64(t.r, HEADER_OFF_SNAPSHOTS_OFF, end);
	rig_put32(t.r, HEADER_OFF_SNAPSHOT_COUNT, 100);
	o = check_rig(t.r);
	assert_int_equal(o->rc, 0);
	assert_int_equal(o->result.corruptions, 76 + 1);
	assert_int_equal(o->found[0].defect, DEFECT_SNAPSHOT_EXTRA_MISSING);
	assert_int_equal(o->found[0].host_off, end + 1056);
	assert_int_equal(o->result.check_errors, 1);
	assert_int_equal(o->result.leaks, 0);
	free(o);
	rig_free(t.r);
}

TEST(a_name_that_runs_out_of_the_file_is_found)
{
	struct shot t = fresh(3);

	rig_put32(t.r, t.entry + 12, 0xffff);
	EXPECT(t.r, { DEFECT_SNAPSHOT_TABLE, HEADER_OFF_SNAPSHOTS_OFF },
	       { DEFECT_REFCOUNT_LEAK, t.entry });
	rig_free(t.r);
}

TEST(snapshots_with_one_l1_table_are_an_overlap)
{
	struct shot t = fresh(3);
	uint8_t entry[72];

	assert_int_equal(
		store_pread(t.r->store, entry, sizeof(entry), t.entry, 0, NULL),
		0);
	rig_put(t.r, t.entry + 72, entry, sizeof(entry));
	rig_put32(t.r, HEADER_OFF_SNAPSHOT_COUNT, 2);
	EXPECT(t.r, { DEFECT_CLUSTER_OVERLAP, t.l1 });
	rig_free(t.r);
}

/* T4: nothing of it is read, but QEMU's check calls it corrupt. */
TEST(an_empty_l1_table_in_no_place_is_found)
{
	struct shot t = fresh(3);
	struct outcome *o;

	rig_put32(t.r, t.entry + 8, 0);
	rig_put64(t.r, t.entry + 48, 0);
	rig_put64(t.r, t.entry, t.l1 + 8);
	o = check_rig(t.r);
	assert_int_equal(o->found[0].defect, DEFECT_SNAPSHOT_L1_EMPTY);
	assert_int_equal(o->found[0].host_off, t.entry);
	assert_int_equal(o->result.corruptions, 1);
	free(o);
	rig_free(t.r);
}
