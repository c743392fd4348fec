#include "cache/writes.h"

#include "unit/counts/rig.h"

TEST(neighbours_go_out_in_one_write)
{
	struct writes w = { 0 };
	uint8_t got[2048];
	struct rig t;
	size_t from;

	rig_init(&t);
	memset(got, 7, sizeof(got));
	from = record_n_events(t.log);
	assert_int_equal(writes_add(&w, got, 512, 1 << 20, NULL), 0);
	assert_int_equal(writes_add(&w, got, 512, (1 << 20) + 1024, NULL), 0);
	assert_int_equal(writes_add(&w, got, 512, (1 << 20) + 512, NULL), 0);
	assert_int_equal(writes_add(&w, got, 512, 3 << 20, NULL), 0);
	assert_int_equal(writes_submit(&w, t.file, NULL), 0);
	assert_int_equal(rig_events(&t, from, STORE_OP_WRITE), 2);
	assert_int_equal(record_event(t.log, from)->len, 1536);
	assert_int_equal(record_event(t.log, from)->off, 1 << 20);
	writes_release(&w);
	rig_release(&t);
}

TEST(bytes_are_those_of_the_time_they_were_added)
{
	struct writes w = { 0 };
	uint8_t byte = 1;
	struct rig t;

	rig_init(&t);
	assert_int_equal(writes_add(&w, &byte, 1, 5 << 20, NULL), 0);
	byte = 2;
	assert_int_equal(writes_submit(&w, t.file, NULL), 0);
	assert_int_equal(store_pread(t.mem, &byte, 1, 5 << 20, 0, NULL), 0);
	assert_int_equal(byte, 1);
	writes_release(&w);
	rig_release(&t);
}

TEST(any_number_fits)
{
	struct writes w = { 0 };
	struct rig t;

	rig_init(&t);
	for (uint64_t i = 0; i < 1000; i++) {
		uint8_t raw[8];

		put_be64(raw, i);
		assert_int_equal(
			writes_add(&w, raw, 8, (1 << 20) + (999 - i) * 8, NULL),
			0);
	}
	assert_int_equal(writes_submit(&w, t.file, NULL), 0);
	for (uint64_t i = 0; i < 1000; i++)
		assert_int_equal(rig_read64(&t, (1 << 20) + (999 - i) * 8), i);
	writes_release(&w);
	assert_int_equal(w.n, 0);
	rig_release(&t);
}

TEST(the_first_error_ends_it)
{
	struct qcow2_error err = { 0 };
	struct writes w = { 0 };
	uint8_t byte = 1;
	struct rig t;

	rig_init(&t);
	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(writes_add(&w, &byte, 1, (i + 1) << 20, NULL),
				 0);
	rig_fail(&t, STORE_OP_WRITE, 2);
	assert_int_equal(writes_submit(&w, t.file, &err), -EIO);
	assert_int_equal(err.code, -EIO);
	assert_int_equal(fault_seen(&t.fault), 2);
	writes_release(&w);
	rig_release(&t);
}

TEST(a_batch_that_lost_its_bytes_is_noticed)
{
	struct writes w = { 0 };
	uint8_t byte = 1;

	assert_int_equal(writes_add(&w, &byte, 1, 1 << 20, NULL), 0);
	writes_validate(&w);
	ASSERT_ABORTS(w.n = w.capacity + 1; writes_validate(&w));
	ASSERT_ABORTS(w.capacity = 0; writes_validate(&w));
	ASSERT_ABORTS(w.list = NULL; writes_validate(&w));
	ASSERT_ABORTS(w.list[0].bytes = NULL; writes_validate(&w));
	ASSERT_ABORTS(w.list[0].len = 0; writes_validate(&w));
	ASSERT_ABORTS(w.list[0].host_off = UINT64_MAX; writes_validate(&w));
	writes_release(&w);
	writes_validate(&w);
}
