/*
 * Input: file size (8 bytes), then the beginning of a file.
 */
#include <string.h>

#include "format/header.h"
#include "fuzz.h"
#include "support/rules.h"

static void check_round_trip(const struct header *h, const uint8_t *buf)
{
	static uint8_t again[FUZZ_INPUT_MAX], third[FUZZ_INPUT_MAX];
	struct fault fault;
	struct header d;
	size_t len = header_encode(h, again, sizeof(again));

	FUZZ_CHECK(len == h->header_length);
	FUZZ_CHECK(memcmp(again, buf, len) == 0);
	FUZZ_CHECK(header_decode(&d, again, len, &fault) == DEFECT_NONE);
	FUZZ_CHECK(header_encode(&d, third, sizeof(third)) == len);
	FUZZ_CHECK(memcmp(again, third, len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_init(data, size);
	uint64_t file_size = read_be64(&r);
	struct fault fault;
	struct header h;
	const uint8_t *buf;
	enum defect bad;
	size_t len;

	buf = fuzz_place(&r, &len);
	bad = header_decode(&h, buf, len, &fault);
	FUZZ_CHECK(!bad || fault.defect == bad);
	if (bad)
		return 0;
	FUZZ_CHECK(rules_header_decoded(&h, len));
	check_round_trip(&h, buf);
	bad = header_validate(&h, file_size, &fault);
	FUZZ_CHECK(!bad || fault.defect == bad);
	FUZZ_CHECK(bad || rules_header_valid(&h, file_size));
	return 0;
}
