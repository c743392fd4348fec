/*
 * Whole checks: images that are clean, the cost of hostile ones, and failures
 * of the store, the budget or the caller.
 */
#include "check/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "check/context.h"
#include "format/defect.h"
#include "format/refcount.h"
#include "rig.h"
#include "stores/count.h"
#include "stores/fault.h"

#define MIB (UINT64_C(1) << 20)
#define TIB (UINT64_C(1) << 40)

/* A bit of everything that the options allow. */
static struct rig *full(const struct rig_opts *opts)
{
	struct rig *r = rig_new(opts);
	struct small s = rig_small(r);
	uint64_t packed = rig_alloc(r, 1);
	uint64_t desc;
	uint64_t l2;

	if (r->geo.refcount_order > 0)
		rig_snapshot(r, &s);
	l2 = rig_l2(r, 3);
	assert_true(compressed_encode(&r->geo, packed + 3, 200, &desc));
	rig_data(r, l2, 7);
	rig_entry(r, l2, 8, desc, 0);
	if (r->header.version > 2)
		rig_bitmap(r, "b");
	rig_finish(r);
	return r;
}

TEST_SLOW(every_geometry_is_clean)
{
	for (uint32_t bits = 9; bits <= 21; bits += 3) {
		struct rig *r = full(&(struct rig_opts){
			.version = 2, .cluster_bits = bits });

		EXPECT_CLEAN(r);
		rig_free(r);
		for (uint32_t order = 0; order <= 6; order++) {
			r = full(&(struct rig_opts){ .cluster_bits = bits,
						     .refcount_order = order,
						     .has_order = true });
			EXPECT_CLEAN(r);
			rig_free(r);
		}
	}
}

TEST(extended_l2_is_clean)
{
	for (uint32_t bits = 14; bits <= 21; bits++) {
		struct rig *r = full(&(struct rig_opts){
			.cluster_bits = bits,
			.incompatible_features = INCOMPAT_EXTENDED_L2 });

		EXPECT_CLEAN(r);
		rig_free(r);
	}
}

TEST(an_empty_disk_is_clean)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	struct outcome *o;

	r->header.size = 0;
	r->header.l1_size = 0;
	rig_finish(r);
	/* The cluster of a table without entries has no reference. */
	rig_poke_refcount(r, r->l1_off, 0);
	EXPECT_CLEAN(r);
	o = check_rig(r);
	assert_int_equal(o->result.total_clusters, 0);
	free(o);
	rig_free(r);
}

/* ---- The cost of hostile images ------------------------------------------ */

struct cost {
	uint64_t reads;
	uint64_t bytes;
	uint64_t extents;
	double cpu_seconds;
	int rc;
};

static struct cost cost_of(struct qcow2_store *s)
{
	struct count count = { 0 };
	struct qcow2_store *counted;
	struct outcome *o;
	struct cost cost;
	clock_t start = clock();

	assert_int_equal(count_store_new(&count, s, &counted), 0);
	o = check_any(counted, NULL);
	cost.cpu_seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
	cost.rc = o->rc;
	cost.reads = count.calls[STORE_OP_READ];
	cost.bytes = count.bytes[STORE_OP_READ];
	cost.extents = count.calls[STORE_OP_EXTENT];
	free(o);
	store_unref(counted);
	return cost;
}

/* An L1 table of @n entries, all of which point to one L2 table that is full
 * of data. */
static void many_entries_to_one_table(uint32_t n)
{
	struct rig *r = rig_new(&(struct rig_opts){ .cluster_bits = 9 });
	struct small s = rig_small(r);
	uint8_t *l1 = malloc(n * 8);
	struct cost cost;
	uint64_t end;

	assert_non_null(l1);
	for (uint32_t i = 3; i < 64; i++)
		rig_data(r, s.l2, i);
	rig_finish(r);
	end = r->n_clusters * r->cs;
	for (uint32_t i = 0; i < n; i++)
		put_be64(l1 + i * 8, s.l2 | ENTRY_COPIED);
	rig_put(r, end, l1, n * 8);
	rig_put32(r, HEADER_OFF_L1_SIZE, n);
	rig_put64(r, HEADER_OFF_L1_OFF, end);
	cost = cost_of(r->store);
	assert_int_equal(cost.rc, 0);
	assert_true(cost.bytes < n * 8 + MIB);
	assert_true(cost.reads < n / 1000 + 50);
	free(l1);
	rig_free(r);
}

TEST_SLOW(a_table_with_many_references_is_read_once)
{
	many_entries_to_one_table(1000);
	many_entries_to_one_table(8000);
	many_entries_to_one_table(4 << 20);
}

/* The last of @n snapshots; all have the active L1 table's contents. */
static struct rig *with_snapshots(uint32_t n)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	struct small s = rig_small(r);
	uint8_t entry[72];
	uint64_t l1;
	uint64_t table;
	uint64_t copies;

	l1 = rig_snapshot(r, &s);
	table = rig_alloc(r, n * 72 / r->cs + 1);
	copies = rig_alloc(r, n);
	rig_set_refcount(r, l1, 0);
	rig_set_refcount(r, r->header.snapshots_off, 0);
	assert_int_equal(store_pread(r->store, entry, 72,
				     r->header.snapshots_off, 0, NULL),
			 0);
	for (uint32_t i = 0; i < n; i++) {
		put_be64(entry, copies + i * r->cs);
		rig_put(r, table + i * 72, entry, 72);
		rig_write_l1(r, copies + i * r->cs);
	}
	r->header.n_snapshots = n;
	r->header.snapshots_off = table;
	rig_set_refcount(r, s.l2, n + 1);
	for (uint32_t i = 0; i < 3; i++)
		rig_set_refcount(r, s.data[i], n + 1);
	rig_finish(r);
	return r;
}

TEST(snapshots_that_share_their_tables_are_cheap)
{
	struct rig *r = with_snapshots(5000);
	struct cost cost;

	EXPECT_CLEAN(r);
	cost = cost_of(r->store);
	assert_true(cost.bytes < 5000 * r->cs + 4 * MIB);
	rig_free(r);
}

TEST(snapshots_in_one_place_are_not_followed_each)
{
	struct rig *r = with_snapshots(5000);
	uint64_t table = r->header.snapshots_off;
	struct cost cost;

	for (uint32_t i = 0; i < 5000; i++)
		rig_put64(r, table + i * 72, rig_get64(r, table));
	cost = cost_of(r->store);
	assert_int_equal(cost.rc, 0);
	assert_true(cost.bytes < 4 * MIB);
	rig_free(r);
}

TEST(bitmaps_in_one_place_are_not_followed_each)
{
	struct rig *r = rig_new(
		&(struct rig_opts){ .cluster_bits = 9, .size = 16 << 20 });
	uint32_t n = 20000;
	uint64_t directory;
	uint64_t table = rig_alloc(r, 1);
	uint8_t entry[32] = { 0 };
	struct cost cost;

	directory = rig_alloc(r, n * 32 / r->cs);
	put_be64(entry, table);
	put_be32(entry + 8, 8);
	entry[16] = BITMAP_TYPE_DIRTY;
	entry[17] = 9;
	entry[19] = 1;
	entry[24] = 'b';
	for (uint32_t i = 0; i < n; i++)
		rig_put(r, directory + i * 32, entry, sizeof(entry));
	r->has_bitmaps = true;
	r->header.autoclear_features = AUTOCLEAR_BITMAPS;
	r->bitmaps = (struct bitmaps_ext){ n, n * 32, directory };
	rig_finish(r);
	cost = cost_of(r->store);
	assert_int_equal(cost.rc, 0);
	assert_true(cost.bytes < 8 * MIB);
	rig_free(r);
}

TEST(a_sparse_file_costs_what_is_in_it)
{
	struct rig *r = rig_new(&(struct rig_opts){ .cluster_bits = 16 });
	struct cost cost;
	uint64_t far = 16 * TIB - 65536;

	rig_small(r);
	rig_finish(r);
	rig_put(r, far, "x", 1);
	/* A refcount block in the middle of nowhere, counting the last one. */
	rig_put64(r, r->table_off + ((far >> 16) >> 15) % 8192 * 8, 8 * TIB);
	cost = cost_of(r->store);
	assert_int_equal(cost.rc, 0);
	assert_true(cost.bytes < 2 * MIB);
	assert_true(cost.reads < 40);
	rig_free(r);
}

/* A full L1 table whose L2 tables lie in a hole, in falling order. */
TEST(tables_in_holes_are_not_read)
{
	struct rig *r = rig_new(&(struct rig_opts){ .cluster_bits = 16 });
	uint32_t n = 8192;
	struct cost cost;
	uint64_t l1;

	rig_small(r);
	l1 = rig_alloc(r, 1);
	for (uint32_t i = 0; i < n; i++)
		rig_put64(r, l1 + i * 8, TIB - i * 65536);
	rig_finish(r);
	rig_put32(r, HEADER_OFF_L1_SIZE, n);
	rig_put64(r, HEADER_OFF_L1_OFF, l1);
	assert_int_equal(store_truncate(r->store, 2 * TIB, NULL), 0);
	cost = cost_of(r->store);
	assert_int_equal(cost.rc, 0);
	assert_true(cost.bytes < 4 * MIB);
	rig_free(r);
}

/* A table full of entries that all name one block. */
TEST(one_block_for_all_clusters_is_read_once)
{
	struct rig *r = rig_new(&(struct rig_opts){ .cluster_bits = 9 });
	uint32_t n = 128 << 10;
	uint8_t *table = malloc(n * 8);
	struct cost cost;
	uint64_t end;

	assert_non_null(table);
	rig_finish(r);
	end = r->n_clusters * r->cs;
	for (uint32_t i = 0; i < n; i++)
		put_be64(table + i * 8, r->block_off);
	rig_put(r, end, table, n * 8);
	rig_put64(r, HEADER_OFF_REFCOUNT_TABLE_OFF, end);
	rig_put32(r, HEADER_OFF_REFCOUNT_TABLE_CLUSTERS, n * 8 / 512);
	assert_int_equal(store_truncate(r->store, TIB, NULL), 0);
	cost = cost_of(r->store);
	assert_int_equal(cost.rc, 0);
	assert_true(cost.bytes < 4 * MIB);
	assert_true(cost.reads < 100);
	free(table);
	rig_free(r);
}

/* ---- Failures ------------------------------------------------------------ */

TEST(every_failed_read_is_an_error_or_counted)
{
	struct fault_plan plan = { .ops = FAULT_ON_ALL, .code = -EIO };
	struct rig *r = full(&(struct rig_opts){ .cluster_bits = 9 });
	struct fault_injector fault = FAULT_INIT;
	struct qcow2_store *bad;

	assert_int_equal(fault_store_new(&fault, r->store, &bad), 0);
	for (unsigned persistent = 0; persistent < 2; persistent++) {
		plan.persistent = persistent;
		for (plan.nth = 1;; plan.nth++) {
			struct outcome *o;

			fault_arm(&fault, &plan);
			o = check_any(bad, NULL);
			if (o->rc == 0)
				assert_int_equal(o->result.leaks, 0);
			else
				assert_int_equal(o->rc, -EIO);
			if (persistent && o->rc == 0 && fault_fired(&fault))
				assert_true(o->result.check_errors > 0);
			free(o);
			if (!fault_fired(&fault))
				break;
			assert_true(plan.nth < 1000);
		}
	}
	store_unref(bad);
	rig_free(r);
}

TEST(unreadable_l2_tables_are_counted_and_hide_leaks)
{
	struct rig *r = rig_new(&(struct rig_opts){ .cluster_bits = 16 });
	struct fault_injector fault = FAULT_INIT;
	struct fault_plan plan = { .ops = FAULT_ON(STORE_OP_READ),
				   .code = -EIO,
				   .persistent = true };
	struct qcow2_store *bad;
	struct outcome *o;
	uint64_t n_reads;

	rig_small(r);
	rig_finish(r);
	assert_int_equal(fault_store_new(&fault, r->store, &bad), 0);
	fault_arm(&fault, &plan);
	free(check_any(bad, NULL));
	n_reads = fault_seen(&fault);
	/* The last read of a clean check is the only L2 table. */
	plan.nth = n_reads;
	fault_arm(&fault, &plan);
	o = check_any(bad, NULL);
	assert_int_equal(o->rc, 0);
	assert_int_equal(o->result.check_errors, 1);
	assert_int_equal(o->result.leaks, 0);
	assert_int_equal(o->result.corruptions, 0);
	free(o);
	store_unref(bad);
	rig_free(r);
}

TEST(the_result_is_untouched_on_failure)
{
	struct rig *r = full(&(struct rig_opts){ 0 });
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	struct qcow2_check_result result;
	struct qcow2_check_result before;

	memset(&result, 0x5a, sizeof(result));
	before = result;
	opts.budget.metadata_bytes = 1000;
	assert_int_equal(check_store(r->store, &opts, &result, NULL), -E2BIG);
	assert_memory_equal(&result, &before, sizeof(result));
	rig_free(r);
}

TEST(a_check_has_the_share_of_its_image)
{
	struct rig *r = full(&(struct rig_opts){ 0 });
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	struct qcow2_check_result result = { .struct_size = sizeof(result) };

	opts.budget.total_bytes = 64 * MIB;
	assert_int_equal(check_store(r->store, &opts, &result, NULL), 0);
	opts.budget.total_bytes = 64 * 1000;
	assert_int_equal(check_store(r->store, &opts, &result, NULL), -E2BIG);
	opts.budget.total_bytes = 63;
	assert_int_equal(check_store(r->store, &opts, &result, NULL), -E2BIG);
	opts.budget.total_bytes = 4 * MIB;
	opts.budget.chain_depth = 4;
	assert_int_equal(check_store(r->store, &opts, &result, NULL), 0);
	rig_free(r);
}

TEST(every_budget_is_kept_or_named)
{
	struct rig *r = full(&(struct rig_opts){ 0 });
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	uint64_t enough = 0;

	for (uint64_t limit = 1; limit < MIB; limit += 1009) {
		struct outcome *o;

		opts.budget.metadata_bytes = limit;
		o = check_any(r->store, &opts);
		if (o->rc == 0 && !enough)
			enough = limit;
		if (o->rc < 0) {
			assert_int_equal(o->rc, -E2BIG);
			assert_non_null(
				strstr(o->err.message, "metadata_bytes"));
			assert_int_equal(o->err.reason, QCOW2_REASON_BUDGET);
			assert_false(enough);
		}
		free(o);
	}
	assert_true(enough > 0 && enough < 512 << 10);
	rig_free(r);
}

struct patience {
	uint64_t last;
	unsigned left;
	unsigned heard;
};

static int count_down(void *opaque, uint64_t done, uint64_t total)
{
	struct patience *p = opaque;

	assert_true(done >= p->last && done <= total);
	p->last = done;
	p->heard++;
	return p->left-- == 0;
}

TEST(progress_rises_to_its_total)
{
	struct rig *r = full(&(struct rig_opts){ 0 });
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	struct qcow2_check_result result = { .struct_size = sizeof(result) };
	struct patience p = { .left = 1000 };

	opts.progress = count_down;
	opts.opaque = &p;
	assert_int_equal(check_store(r->store, &opts, &result, NULL), 0);
	assert_int_equal(p.last, 1000);
	rig_free(r);
}

TEST(the_caller_can_stop_it_at_any_step)
{
	struct rig *r = full(&(struct rig_opts){ 0 });
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	struct qcow2_check_result result = { .struct_size = sizeof(result) };
	unsigned n;

	opts.progress = count_down;
	for (n = 0;; n++) {
		struct patience p = { .left = n };
		int rc;

		opts.opaque = &p;
		rc = check_store(r->store, &opts, &result, NULL);
		if (rc == 0)
			break;
		assert_int_equal(rc, -ECANCELED);
		assert_int_equal(result.image_end_off, 0);
	}
	assert_true(n >= 3);
	rig_free(r);
}

TEST(nobody_has_to_listen)
{
	struct rig *r = full(&(struct rig_opts){ 0 });
	struct qcow2_check_result result = { .struct_size = sizeof(result) };

	rig_poke_refcount(r, 0, 0);
	assert_int_equal(check_store(r->store, NULL, &result, NULL), 0);
	assert_int_equal(result.corruptions, 1);
	assert_int_equal(result.struct_size, sizeof(result));
	rig_free(r);
}

/* With any damage to the metadata the check ends and says something sane. */
TEST_SLOW(random_damage_is_survived)
{
	struct test_rng rng = test_rng_init(test_seed());

	for (unsigned round = 0; round < 2000; round++) {
		struct rig *r = full(&(struct rig_opts){ .cluster_bits = 9 });
		uint64_t n_words = r->n_clusters * r->cs / 8;
		struct outcome *o;

		for (uint64_t n = test_rng_below(&rng, 8) + 1; n; n--) {
			uint64_t at = test_rng_below(&rng, n_words) * 8;
			uint64_t v = rig_get64(r, at);

			v ^= test_rng_below(&rng, 4)
				     ? UINT64_C(1) << test_rng_below(&rng, 64)
				     : test_rng_next(&rng);
			rig_put64(r, at, v);
		}
		o = check_rig(r);
		assert_true(o->rc <= 0);
		if (o->rc == 0)
			assert_true(o->result.image_end_off <=
				    (r->n_clusters + 1) * r->cs);
		free(o);
		rig_free(r);
	}
}

/* ---- Its validator ------------------------------------------------------- */

TEST(a_check_whose_parts_disagree_is_found)
{
	struct qcow2_check_result result = { .struct_size = sizeof(result) };
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	struct check c;
	struct budget other;

	check_begin(&c, r->store, NULL, &result);
	check_validate(&c);
	ASSERT_ABORTS(c.file = NULL; check_validate(&c));
	ASSERT_ABORTS(c.report.result = NULL; check_validate(&c));
	ASSERT_ABORTS(c.l1_tables.n = 1; check_validate(&c));
	ASSERT_ABORTS(c.refblocks.n = 1; check_validate(&c));
	ASSERT_ABORTS(c.refs.budget = &other; check_validate(&c));
	ASSERT_ABORTS(c.budget.used_bytes = UINT64_MAX; check_validate(&c));
	check_end(&c);
	rig_free(r);
}
