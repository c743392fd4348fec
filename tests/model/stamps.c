#include "model/stamps.h"

#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"
#include "support/test.h"

enum { NUMBER = 0, LBA = 8, SUM = 16, REST = 24 };

static uint64_t sum_of(uint32_t lba, uint32_t number)
{
	struct test_rng rng = test_rng_init((uint64_t)lba << 32 | number);

	return test_rng_next(&rng);
}

/* The rest repeats the sum, so that a torn sector shows and a cluster of them
 * can be compressed. */
void stamp_write(uint8_t *sector, uint32_t lba, uint32_t number)
{
	uint64_t sum = sum_of(lba, number);

	put_be64(sector + NUMBER, number);
	put_be64(sector + LBA, lba);
	put_be64(sector + SUM, sum);
	for (unsigned at = REST; at < STAMP_SECTOR; at += 8)
		put_be64(sector + at, sum);
}

static bool all_zeros(const uint8_t *sector)
{
	return sector[0] == 0 &&
	       memcmp(sector, sector + 1, STAMP_SECTOR - 1) == 0;
}

uint32_t stamp_read(const uint8_t *sector, uint32_t lba)
{
	uint64_t number = get_be64(sector + NUMBER);
	uint8_t want[STAMP_SECTOR];

	if (all_zeros(sector))
		return STAMP_ZERO;
	if (number == 0 || number >= UINT32_MAX)
		return STAMP_FOREIGN;
	stamp_write(want, lba, (uint32_t)number);
	return memcmp(sector, want, STAMP_SECTOR) ? STAMP_FOREIGN
						  : (uint32_t)number;
}
