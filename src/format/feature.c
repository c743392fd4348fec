/*
 * The feature name table.
 */
#include <string.h>

#include "format/extension.h"

bool feature_name_get(const uint8_t *table, uint32_t table_len, uint32_t i,
		      struct feature_name *out)
{
	const uint8_t *p;
	const uint8_t *nul;

	if (i >= table_len / FEATURE_ENTRY_BYTES)
		return false;
	p = table + (size_t)i * FEATURE_ENTRY_BYTES;
	nul = memchr(p + 2, 0, FEATURE_NAME_BYTES);
	out->type = p[0];
	out->bit = p[1];
	out->name = (const char *)p + 2;
	out->len = (uint8_t)(nul ? nul - (p + 2) : FEATURE_NAME_BYTES);
	return true;
}

/* As QEMU 7.2 writes them, in its order. */
static const struct {
	uint8_t type;
	uint8_t bit;
	const char name[FEATURE_NAME_BYTES];
} names[] = {
	{ FEATURE_INCOMPATIBLE, 0, "dirty bit" },
	{ FEATURE_INCOMPATIBLE, 1, "corrupt bit" },
	{ FEATURE_INCOMPATIBLE, 2, "external data file" },
	{ FEATURE_INCOMPATIBLE, 3, "compression type" },
	{ FEATURE_INCOMPATIBLE, 4, "extended L2 entries" },
	{ FEATURE_COMPATIBLE, 0, "lazy refcounts" },
	{ FEATURE_AUTOCLEAR, 0, "bitmaps" },
	{ FEATURE_AUTOCLEAR, 1, "raw external data" },
};

enum { N_NAMES = sizeof(names) / sizeof(names[0]) };

void extension_encode_feature_names(struct byte_writer *w)
{
	write_be32(w, EXT_FEATURE_NAMES);
	write_be32(w, N_NAMES * FEATURE_ENTRY_BYTES);
	for (unsigned i = 0; i < N_NAMES; i++) {
		write_u8(w, names[i].type);
		write_u8(w, names[i].bit);
		write_bytes(w, names[i].name, FEATURE_NAME_BYTES);
	}
}
