#include "ops/room.h"

#include "fake_disk.h"

#define MIB (UINT64_C(1) << 20)
#define PIB (UINT64_C(1) << 50)

TEST(an_empty_disk_takes_nothing)
{
	struct disk *d = fake_new(65536);

	assert_int_equal(room_for_data(d), 0);
	fake_add(d, PIB, FAKE_HOLE);
	assert_int_equal(room_for_data(d), 0);
	fake_free(d);
}

TEST(data_counts_and_zeros_of_every_kind_do_not)
{
	struct disk *d = fake_new(65536);

	fake_add(d, MIB, FAKE_DATA);
	fake_add(d, 3 * MIB, FAKE_HOLE);
	fake_add(d, 2 * MIB, FAKE_COMPRESSED);
	fake_add(d, 5 * MIB, FAKE_ZERO);
	fake_add(d, 512, FAKE_DATA);
	assert_int_equal(room_for_data(d), 3 * MIB + 512);
	assert_int_equal(d->n_reads, 0);
	fake_free(d);
}

/* The answer is then a number that no free space is enough for. */
TEST(a_disk_that_cannot_be_mapped_takes_all_there_is)
{
	struct disk *d = fake_new(65536);

	fake_add(d, MIB, FAKE_DATA);
	fake_add(d, MIB, FAKE_HOLE);
	d->fail_map_off = MIB;
	assert_true(room_for_data(d) == UINT64_MAX);
	fake_free(d);
}
