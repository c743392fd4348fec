/*
 * Input: refcount order, cluster_bits - 9, file size, then operations of 10
 * bytes: index and value.  Each value is put into a block and kept in an
 * array; in the end both must agree.  It also serves as a table entry.
 */
#include <string.h>

#include "format/refcount.h"
#include "fuzz.h"
#include "support/rules.h"

enum { BLOCK = 512 };

static void check_entry(const struct geometry *g, uint64_t entry,
			uint64_t file_size)
{
	if (refcount_table_entry_defect(g, entry, file_size) == DEFECT_NONE)
		FUZZ_CHECK(!entry || rules_table(g->cluster_bits, entry,
						 g->cluster_size, file_size));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint64_t want[BLOCK * 8];
	struct reader r = reader_init(data, size);
	unsigned order = read_u8(&r) % 7;
	struct header h = { .version = 3,
			    .cluster_bits = 9 + read_u8(&r) % 13u,
			    .refcount_order = order };
	uint64_t file_size = read_be64(&r);
	uint8_t block[BLOCK] = { 0 };
	size_t n = BLOCK * 8u >> order;
	struct geometry g;

	geometry_init(&g, &h);
	memset(want, 0, sizeof(want));
	while (reader_left(&r) >= 10) {
		size_t i = read_be16(&r) % n;
		uint64_t value = read_be64(&r);

		check_entry(&g, value, file_size);
		want[i] = value & g.refcount_max;
		refcount_put(block, i, order, want[i]);
		FUZZ_CHECK(refcount_get(block, i, order) == want[i]);
	}
	for (size_t i = 0; i < n; i++)
		FUZZ_CHECK(refcount_get(block, i, order) == want[i]);
	return 0;
}
