#include "format/luks.h"

#include <string.h>

#include "base/checked.h"
#include "base/cursor.h"
#include "base/range.h"

enum {
	LUKS_VERSION = 1,
	LUKS_TEXT_BYTES = 32,
	LUKS_UUID_BYTES = 40,
	LUKS_OFF_VERSION = 6,
	LUKS_OFF_CIPHER = 8,
	LUKS_OFF_PAYLOAD = 104,
	LUKS_OFF_KEY_BYTES = 108,
	LUKS_OFF_DIGEST_ITERATIONS = 164,
	LUKS_PAYLOAD_SECTORS_MIN = 2, /* what 592 bytes take */
};

static const uint8_t magic[6] = { 'L', 'U', 'K', 'S', 0xba, 0xbe };

static void read_array(struct reader *r, void *dst, size_t len)
{
	const uint8_t *p = read_bytes(r, len);

	if (p)
		memcpy(dst, p, len);
}

static void read_fields(struct luks_header *l, struct reader *r)
{
	read_array(r, l->cipher_name, LUKS_TEXT_BYTES);
	read_array(r, l->cipher_mode, LUKS_TEXT_BYTES);
	read_array(r, l->hash, LUKS_TEXT_BYTES);
	l->payload_off_sectors = read_be32(r);
	l->key_bytes = read_be32(r);
	read_array(r, l->digest, sizeof(l->digest));
	read_array(r, l->digest_salt, sizeof(l->digest_salt));
	l->digest_iterations = read_be32(r);
	read_array(r, l->uuid, LUKS_UUID_BYTES);
	for (unsigned i = 0; i < LUKS_SLOTS; i++) {
		struct luks_slot *s = &l->slots[i];

		s->state = read_be32(r);
		s->iterations = read_be32(r);
		read_array(r, s->salt, sizeof(s->salt));
		s->key_off_sectors = read_be32(r);
		s->stripes = read_be32(r);
	}
}

static struct range slot_range(const struct luks_header *l, unsigned i)
{
	const struct luks_slot *s = &l->slots[i];

	return (struct range){ (uint64_t)s->key_off_sectors * SECTOR_BYTES,
			       (uint64_t)s->stripes * l->key_bytes };
}

static enum defect check_slot(const struct luks_header *l, unsigned i,
			      uint64_t area_len, struct fault *fault)
{
	const struct luks_slot *s = &l->slots[i];
	uint64_t off = LUKS_OFF_SLOTS + (uint64_t)LUKS_SLOT_BYTES * i;
	uint64_t payload = (uint64_t)l->payload_off_sectors * SECTOR_BYTES;
	uint64_t end = min_u64(area_len, payload);
	struct range key = slot_range(l, i);

	if (s->state != LUKS_SLOT_ACTIVE && s->state != LUKS_SLOT_INACTIVE)
		return fault_set(fault, DEFECT_LUKS_SLOT, "active", off,
				 s->state, LUKS_SLOT_ACTIVE);
	if (s->stripes != LUKS_STRIPES)
		return fault_set(fault, DEFECT_LUKS_SLOT, "stripes", off + 44,
				 s->stripes, LUKS_STRIPES);
	if (s->state == LUKS_SLOT_ACTIVE && s->iterations == 0)
		return fault_set(fault, DEFECT_LUKS_SLOT, "iterations", off + 4,
				 0, 0);
	if (key.off < LUKS_HEADER_BYTES || range_end(key) > end)
		return fault_set(fault, DEFECT_LUKS_SLOT, "key_material_offset",
				 off + 40, key.off, end);
	for (unsigned j = 0; j < i; j++)
		if (range_overlaps(key, slot_range(l, j)))
			return fault_set(fault, DEFECT_LUKS_SLOT,
					 "key_material_offset", off + 40,
					 key.off, slot_range(l, j).off);
	return DEFECT_NONE;
}

static enum defect check_texts(const struct luks_header *l, struct fault *fault)
{
	const struct {
		const char *text;
		const char *field;
	} texts[] = {
		{ l->cipher_name, "cipher_name" },
		{ l->cipher_mode, "cipher_mode" },
		{ l->hash, "hash_spec" },
	};

	for (unsigned i = 0; i < 3; i++)
		if (strlen(texts[i].text) == LUKS_TEXT_BYTES)
			return fault_set(fault, DEFECT_LUKS_HEADER,
					 texts[i].field,
					 LUKS_OFF_CIPHER + i * LUKS_TEXT_BYTES,
					 LUKS_TEXT_BYTES, LUKS_TEXT_BYTES - 1);
	return DEFECT_NONE;
}

static enum defect format_luks_check_numbers(const struct luks_header *l,
					     struct fault *fault)
{
	if (l->key_bytes == 0 || l->key_bytes > LUKS_KEY_BYTES_MAX)
		return fault_set(fault, DEFECT_LUKS_HEADER, "key_bytes",
				 LUKS_OFF_KEY_BYTES, l->key_bytes,
				 LUKS_KEY_BYTES_MAX);
	if (l->digest_iterations == 0)
		return fault_set(fault, DEFECT_LUKS_HEADER,
				 "mk_digest_iterations",
				 LUKS_OFF_DIGEST_ITERATIONS, 0, 0);
	/* qcow2 does not use the payload offset, but a real header has one. */
	if (l->payload_off_sectors < LUKS_PAYLOAD_SECTORS_MIN)
		return fault_set(fault, DEFECT_LUKS_HEADER, "payload_offset",
				 LUKS_OFF_PAYLOAD, l->payload_off_sectors,
				 LUKS_PAYLOAD_SECTORS_MIN);
	return DEFECT_NONE;
}

static enum defect format_luks_check(const struct luks_header *l,
				     uint64_t area_len, struct fault *fault)
{
	enum defect bad = check_texts(l, fault);

	if (!bad)
		bad = format_luks_check_numbers(l, fault);
	for (unsigned i = 0; !bad && i < LUKS_SLOTS; i++)
		bad = check_slot(l, i, area_len, fault);
	return bad;
}

enum defect luks_decode(struct luks_header *l, const void *buf, size_t len,
			uint64_t area_len, struct fault *fault)
{
	struct reader r = reader_init(buf, len);
	const uint8_t *m = read_bytes(&r, sizeof(magic));
	uint16_t version = read_be16(&r);

	memset(l, 0, sizeof(*l));
	read_fields(l, &r);
	if (r.failed)
		return fault_set(fault, DEFECT_LUKS_HEADER, "length", 0, len,
				 LUKS_HEADER_BYTES);
	if (memcmp(m, magic, sizeof(magic)) != 0)
		return fault_set(fault, DEFECT_LUKS_HEADER, "magic", 0,
				 get_be32(m), get_be32(magic));
	if (version != LUKS_VERSION)
		return fault_set(fault, DEFECT_LUKS_HEADER, "version",
				 LUKS_OFF_VERSION, version, LUKS_VERSION);
	return format_luks_check(l, area_len, fault);
}

size_t luks_encode(const struct luks_header *l, void *buf, size_t len)
{
	struct byte_writer w = byte_writer_init(buf, len);

	write_bytes(&w, magic, sizeof(magic));
	write_be16(&w, LUKS_VERSION);
	write_bytes(&w, l->cipher_name, LUKS_TEXT_BYTES);
	write_bytes(&w, l->cipher_mode, LUKS_TEXT_BYTES);
	write_bytes(&w, l->hash, LUKS_TEXT_BYTES);
	write_be32(&w, l->payload_off_sectors);
	write_be32(&w, l->key_bytes);
	write_bytes(&w, l->digest, sizeof(l->digest));
	write_bytes(&w, l->digest_salt, sizeof(l->digest_salt));
	write_be32(&w, l->digest_iterations);
	write_bytes(&w, l->uuid, LUKS_UUID_BYTES);
	for (unsigned i = 0; i < LUKS_SLOTS; i++) {
		const struct luks_slot *s = &l->slots[i];

		write_be32(&w, s->state);
		write_be32(&w, s->iterations);
		write_bytes(&w, s->salt, sizeof(s->salt));
		write_be32(&w, s->key_off_sectors);
		write_be32(&w, s->stripes);
	}
	return w.failed ? 0 : byte_writer_len(&w);
}
