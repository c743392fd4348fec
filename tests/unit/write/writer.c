#include "unit/snapshot/rig.h"

#include <errno.h>

#include "format/limits.h"
#include "stores/fault.h"

static uint64_t file_size(struct rig *r)
{
	uint64_t size;

	assert_int_equal(store_size(r->store, &size, NULL), 0);
	return size;
}

/* A file may end within its last cluster.  Once such an end was cut off when
 * the cluster before it was free. */
TEST(the_end_of_the_file_stays_within_its_cluster)
{
	struct rig r;
	uint64_t size;

	rig_init(&r, MIB, NULL);
	rig_write(&r, 1, 65536, 0);
	rig_write(&r, 2, 512, 65536);
	memset(r.disk, 0, 65536);
	assert_int_equal(qcow2_discard(r.img, 65536, 0, 0, NULL), 0);
	rig_close(&r);
	size = file_size(&r);
	assert_int_equal(store_truncate(r.store, size - 65536 + 512, NULL), 0);
	rig_open(&r);
	rig_expect(&r);
	rig_close(&r);
	rig_check(&r);
	rig_open(&r);
	rig_expect(&r);
	rig_release(&r);
}

TEST(what_is_free_at_the_end_is_cut_off)
{
	struct rig r;
	uint64_t before;

	rig_init(&r, MIB, NULL);
	rig_close(&r);
	before = file_size(&r);
	rig_open(&r);
	rig_write(&r, 1, 65536, 0);
	assert_int_equal(qcow2_discard(r.img, 65536, 0, 0, NULL), 0);
	rig_close(&r);
	/* The L2 table stays. */
	assert_int_equal(file_size(&r), before + 65536);
	rig_check(&r);
	rig_release(&r);
}

/* Space that was claimed and not used is given back before anything is written:
 * a full host had no other room for tables, and all data was lost. */
TEST(a_full_host_has_room_before_tables_are_written)
{
	const struct fault_plan full = { .ops = FAULT_ON(STORE_OP_WRITE),
					 .nth = 1,
					 .persistent = true,
					 .code = -ENOSPC };
	struct fault_injector fault = FAULT_INIT;
	struct qcow2_store *below;
	uint64_t before;
	struct rig r;

	rig_init(&r, MIB, NULL);
	rig_close(&r);
	before = file_size(&r);
	below = r.store;
	fault_arm(&fault, NULL);
	assert_int_equal(fault_store_new(&fault, below, &r.store), 0);
	rig_open(&r);
	rig_write(&r, 1, 65536, 0);
	assert_true(file_size(&r) > before + 2 * 65536);
	fault_arm(&fault, &full);
	assert_int_equal(qcow2_close(r.img, NULL), -ENOSPC);
	r.img = NULL;
	/* The L2 table and the data. */
	assert_int_equal(file_size(&r), before + 2 * 65536);
	rig_release(&r);
	qcow2_store_unref(below);
}

/* Once a close stepped back through it cluster by cluster. */
TEST(a_long_sparse_tail_is_cut_off_at_once)
{
	struct rig r;
	uint64_t size;

	rig_init(&r, MIB, NULL);
	rig_write(&r, 1, 65536, 0);
	rig_close(&r);
	size = file_size(&r);
	assert_int_equal(store_truncate(r.store, INT64_MAX, NULL), 0);
	rig_open(&r);
	rig_write(&r, 2, 65536, 0);
	rig_write(&r, 3, 65536, 65536);
	assert_int_equal(qcow2_discard(r.img, 65536, 65536, 0, NULL), 0);
	memset(r.disk + 65536, 0, 65536);
	rig_close(&r);
	assert_true(file_size(&r) <= size + 65536);
	rig_check(&r);
	rig_open(&r);
	rig_expect(&r);
	rig_release(&r);
}
