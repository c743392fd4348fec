/*
 * The lock of a check, and the cases in which it repairs.
 */
#include "repair/check.h"

#include <errno.h>

#include "format/defect.h"
#include "mend.h"
#include "store/hold.h"

static int ask(struct rig *r, uint32_t flags, struct qcow2_check_result *result)
{
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;

	opts.flags = flags;
	*result = (struct qcow2_check_result)QCOW2_CHECK_RESULT_INIT;
	return repair_check_store(r->store, &opts, result, NULL);
}

/* Whole, but for a cluster that leaks. */
static struct rig *leaking(void)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });

	rig_small(r);
	rig_alloc(r, 1);
	rig_finish(r);
	return r;
}

TEST(it_repairs_what_the_flags_name)
{
	struct qcow2_check_result result;
	struct rig *r = leaking();

	assert_int_equal(ask(r, 0, &result), 0);
	assert_int_equal(result.leaks, 1);
	assert_int_equal(ask(r, QCOW2_CHECK_REPAIR_LEAKS, &result), 0);
	assert_int_equal(result.leaks, 0);
	assert_int_equal(result.leaks_fixed, 1);
	assert_int_equal(ask(r, QCOW2_CHECK_REPAIR_ALL, &result), 0);
	assert_int_equal(result.leaks_fixed, 0);
	rig_free(r);
}

TEST(readers_stop_a_repair_and_writers_a_check)
{
	struct qcow2_check_result result;
	struct store_hold other = { 0 };
	struct rig *r = leaking();

	assert_int_equal(store_hold(&other, r->store, HOLD_READ, NULL), 0);
	assert_int_equal(ask(r, 0, &result), 0);
	assert_int_equal(ask(r, QCOW2_CHECK_REPAIR_LEAKS, &result), -EBUSY);
	store_release(&other);
	assert_int_equal(store_hold(&other, r->store, HOLD_WRITE, NULL), 0);
	assert_int_equal(ask(r, 0, &result), -EBUSY);
	assert_int_equal(ask(r, QCOW2_CHECK_NO_LOCK, &result), 0);
	assert_int_equal(result.leaks, 1);
	store_release(&other);
	rig_free(r);
}

TEST(it_keeps_no_lock)
{
	struct qcow2_check_result result;
	struct store_hold other = { 0 };
	struct rig *r = leaking();

	assert_int_equal(ask(r, QCOW2_CHECK_REPAIR_ALL, &result), 0);
	assert_int_equal(store_hold(&other, r->store, HOLD_WRITE, NULL), 0);
	store_release(&other);
	rig_free(r);
}

TEST(a_path_that_is_not_there_is_an_error)
{
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	struct qcow2_check_result result = QCOW2_CHECK_RESULT_INIT;

	assert_int_equal(
		repair_check_path("no/such/image", &opts, &result, NULL),
		-ENOENT);
}
