/*
 * Input: file size (8 bytes), then the first cluster of a file.
 */
#include <string.h>

#include "format/extension.h"
#include "fuzz.h"
#include "support/rules.h"

/* Writes the list again and finds it the same. */
static void check_round_trip(const struct header *h, const uint8_t *buf,
			     size_t len)
{
	static uint8_t again[FUZZ_INPUT_MAX + 8];
	struct byte_writer w = byte_writer_init(again, sizeof(again));
	struct extension_iter it, it2;
	struct extension e, e2;
	struct fault fault;
	struct header plain = *h;

	plain.backing_off = 0;
	write_reserve(&w, h->header_length);
	extension_iter_init(&it, h, buf, len);
	while (extension_next(&it, &e, &fault))
		extension_encode(&w, e.type, e.data, e.len);
	if (fault.defect)
		return;
	FUZZ_CHECK(!w.failed);
	extension_iter_init(&it, h, buf, len);
	extension_iter_init(&it2, &plain, again, byte_writer_len(&w));
	while (extension_next(&it, &e, &fault)) {
		/* Padding that the end of the cluster had cut off. */
		if (e.off + UINT64_C(8) + e.len + 8 >
		    UINT64_C(1) << h->cluster_bits)
			return;
		FUZZ_CHECK(extension_next(&it2, &e2, &fault));
		FUZZ_CHECK(e.type == e2.type && e.len == e2.len);
		FUZZ_CHECK(!e.len || memcmp(e.data, e2.data, e.len) == 0);
	}
	FUZZ_CHECK(!extension_next(&it2, &e2, &fault) && !fault.defect);
}

static void check_names(const struct extensions *x)
{
	struct feature_name f;
	uint32_t n = 0;

	while (feature_name_get(x->feature_names, x->feature_names_len, n,
				&f)) {
		FUZZ_CHECK(f.len <= FEATURE_NAME_BYTES);
		FUZZ_CHECK(!memchr(f.name, 0, f.len));
		n++;
	}
	FUZZ_CHECK(n == x->feature_names_len / FEATURE_ENTRY_BYTES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_init(data, size);
	uint64_t file_size = read_be64(&r);
	struct extensions x;
	struct fault fault;
	struct header h;
	const uint8_t *buf;
	enum defect bad;
	size_t len;

	buf = fuzz_place(&r, &len);
	if (header_decode(&h, buf, len, &fault))
		return 0;
	bad = extensions_decode(&x, &h, buf, len, file_size, &fault);
	FUZZ_CHECK(!bad || fault.defect == bad);
	if (!bad) {
		FUZZ_CHECK(rules_extensions(&x, &h, file_size));
		check_names(&x);
	}
	check_round_trip(&h, buf, len);
	return 0;
}
