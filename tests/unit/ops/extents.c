#include "ops/extents.h"

#include <errno.h>

#include "fake_disk.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define PIB (UINT64_C(1) << 50)

TEST(what_is_left_of_an_extent_is_not_looked_up_again)
{
	struct disk *d = fake_new(65536);
	struct qcow2_extent x;
	struct extents e;

	fake_add(d, MIB, FAKE_DATA | QCOW2_EXTENT_HOST_OFF);
	fake_add(d, MIB, FAKE_HOLE);
	extents_init(&e, d, UINT64_MAX);
	for (uint64_t pos = 0; pos < MIB; pos += 65536) {
		assert_int_equal(extents_at(&e, pos, &x, NULL), 0);
		assert_int_equal(x.off, pos);
		assert_int_equal(x.host_off, pos);
		assert_int_equal(x.len, MIB - pos);
	}
	assert_int_equal(d->n_maps, 1);
	assert_int_equal(extents_at(&e, MIB, &x, NULL), 0);
	assert_int_equal(x.flags, FAKE_HOLE);
	assert_int_equal(d->n_maps, 2);
	fake_free(d);
}

TEST(past_the_end_there_are_zeros_without_asking)
{
	struct disk *d = fake_new(65536);
	struct qcow2_extent x;
	struct extents e;

	fake_add(d, 512, FAKE_DATA);
	extents_init(&e, d, UINT64_MAX);
	assert_int_equal(extents_at(&e, 512, &x, NULL), 0);
	assert_int_equal(x.off, 512);
	assert_int_equal(x.flags, QCOW2_EXTENT_ZERO);
	assert_true(x.len > PIB);
	assert_int_equal(d->n_maps, 0);
	fake_free(d);
}

/* Walks to the end; returns how many look-ups that took. */
static unsigned walk(struct disk *d)
{
	struct qcow2_extent x;
	struct extents e;

	extents_init(&e, d, UINT64_MAX);
	for (uint64_t pos = 0; pos < d->size; pos += x.len)
		assert_int_equal(extents_at(&e, pos, &x, NULL), 0);
	return d->n_maps;
}

TEST(petabytes_of_holes_take_few_look_ups)
{
	struct disk *d = fake_new(65536);

	fake_add(d, 4096 * PIB, FAKE_HOLE);
	assert_true(walk(d) < 64);
	fake_free(d);
}

TEST(over_data_look_ups_stay_short)
{
	struct disk *d = fake_new(65536);
	struct qcow2_extent x;
	struct extents e;

	fake_add(d, 64 * GIB, FAKE_HOLE);
	d->size = 128 * GIB; /* data that nobody reads */
	d->extents[0].len = 64 * GIB;
	fake_add(d, 0, FAKE_DATA);
	d->extents[1].off = 64 * GIB;
	d->extents[1].len = 64 * GIB;
	extents_init(&e, d, UINT64_MAX);
	for (uint64_t pos = 0; pos < d->size; pos += x.len) {
		assert_int_equal(extents_at(&e, pos, &x, NULL), 0);
		/* One long look may follow the holes. */
		if (pos > 100 * GIB)
			assert_true(x.len <= GIB);
	}
	fake_free(d);
}

TEST(a_failed_look_up_is_told)
{
	struct disk *d = fake_new(65536);
	struct qcow2_error err = { 0 };
	struct qcow2_extent x;
	struct extents e;

	fake_add(d, MIB, FAKE_DATA);
	d->fail_map_off = 0;
	extents_init(&e, d, UINT64_MAX);
	assert_int_equal(extents_at(&e, 0, &x, &err), -EIO);
	assert_int_equal(err.code, -EIO);
	fake_free(d);
}

/* ---- Its validator ------------------------------------------------------- */

TEST(an_extent_behind_the_disk_is_found)
{
	struct extents e = { .size = 4096, .ask_bytes = UINT64_C(1) << 30 };

	extents_validate(&e);
	ASSERT_ABORTS(e.ask_bytes--; extents_validate(&e));
	ASSERT_ABORTS(e.current.off = 4097; extents_validate(&e));
	ASSERT_ABORTS(e.current.off = 1; e.current.len = 4096;
		      extents_validate(&e));
}
