/*
 * Input: length of the encryption header area, then the area's beginning.
 */
#include <string.h>

#include "format/luks.h"
#include "fuzz.h"
#include "support/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_init(data, size);
	uint64_t area_len = read_be64(&r);
	uint8_t again[LUKS_HEADER_BYTES];
	struct luks_header l, d;
	struct fault fault;
	const uint8_t *buf;
	enum defect bad;
	size_t len;

	buf = fuzz_place(&r, &len);
	bad = luks_decode(&l, buf, len, area_len, &fault);
	FUZZ_CHECK(!bad || fault.defect == bad);
	if (bad)
		return 0;
	FUZZ_CHECK(rules_luks(&l, area_len));
	FUZZ_CHECK(luks_encode(&l, again, sizeof(again)) == sizeof(again));
	FUZZ_CHECK(memcmp(again, buf, sizeof(again)) == 0);
	FUZZ_CHECK(luks_decode(&d, again, sizeof(again), area_len, &fault) ==
		   DEFECT_NONE);
	FUZZ_CHECK(memcmp(&l, &d, sizeof(l)) == 0);
	return 0;
}
