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
	LUKS_OFF_KEY_BYTES = 108,
	LUKS_OFF_DIGEST_ITERATIONS = 164,
	LUKS_OFF_SLOTS = 208,
	LUKS_SLOT_BYTES = 48,
};

static const uint8_t magic[6] = { 'L', 'U', 'K', 'S', 0xba, 0xbe };

/* A text field must end inside its field. */
static bool read_text(struct reader *r, char *dst, size_t len)
{
	const uint8_t *p = read_bytes(r, len);

	dst[len] = '\0';
	if (!p)
		return false;
	memcpy(dst, p, len);
	return memchr(p, 0, len) != NULL;
}

static void read_array(struct reader *r, uint8_t *dst, size_t len)
{
	const uint8_t *p = read_bytes(r, len);

	if (p)
		memcpy(dst, p, len);
}

static bool read_fields(struct luks_header *l, struct reader *r)
{
	bool texts = read_text(r, l->cipher_name, LUKS_TEXT_BYTES);

	texts &= read_text(r, l->cipher_mode, LUKS_TEXT_BYTES);
	texts &= read_text(r, l->hash, LUKS_TEXT_BYTES);
	l->payload_off_sectors = read_be32(r);
	l->key_bytes = read_be32(r);
	read_array(r, l->digest, sizeof(l->digest));
	read_array(r, l->digest_salt, sizeof(l->digest_salt));
	l->digest_iterations = read_be32(r);
	texts &= read_text(r, l->uuid, LUKS_UUID_BYTES);
	for (unsigned i = 0; i < LUKS_SLOTS; i++) {
		struct luks_slot *s = &l->slots[i];

		s->state = read_be32(r);
		s->iterations = read_be32(r);
		read_array(r, s->salt, sizeof(s->salt));
		s->key_off_sectors = read_be32(r);
		s->stripes = read_be32(r);
	}
	return texts;
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
	struct range key = slot_range(l, i);

	if (s->state != LUKS_SLOT_ACTIVE && s->state != LUKS_SLOT_INACTIVE)
		return fault_set(fault, DEFECT_LUKS_SLOT, "active", off,
				 s->state, LUKS_SLOT_ACTIVE);
	if (s->stripes == 0 || s->stripes > LUKS_STRIPES_MAX)
		return fault_set(fault, DEFECT_LUKS_SLOT, "stripes", off + 44,
				 s->stripes, LUKS_STRIPES_MAX);
	if (s->state == LUKS_SLOT_ACTIVE && s->iterations == 0)
		return fault_set(fault, DEFECT_LUKS_SLOT, "iterations",
				 off + 4, 0, 0);
	if (key.off < LUKS_HEADER_BYTES || range_end(key) > area_len)
		return fault_set(fault, DEFECT_LUKS_SLOT,
				 "key_material_offset", off + 40, key.off,
				 area_len);
	for (unsigned j = 0; j < i; j++)
		if (range_overlaps(key, slot_range(l, j)))
			return fault_set(fault, DEFECT_LUKS_SLOT,
					 "key_material_offset", off + 40,
					 key.off, slot_range(l, j).off);
	return DEFECT_NONE;
}

static enum defect check(const struct luks_header *l, uint64_t area_len,
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
	for (unsigned i = 0; i < LUKS_SLOTS; i++) {
		enum defect bad = check_slot(l, i, area_len, fault);

		if (bad)
			return bad;
	}
	return DEFECT_NONE;
}

enum defect luks_decode(struct luks_header *l, const void *buf, size_t len,
			uint64_t area_len, struct fault *fault)
{
	struct reader r = reader_init(buf, len);
	const uint8_t *m = read_bytes(&r, sizeof(magic));
	uint16_t version = read_be16(&r);
	bool texts;

	memset(l, 0, sizeof(*l));
	texts = read_fields(l, &r);
	if (r.failed || memcmp(m, magic, sizeof(magic)) != 0)
		return fault_set(fault, DEFECT_LUKS_HEADER, "magic", 0, len,
				 LUKS_HEADER_BYTES);
	if (version != LUKS_VERSION)
		return fault_set(fault, DEFECT_LUKS_HEADER, "version",
				 LUKS_OFF_VERSION, version, LUKS_VERSION);
	if (!texts)
		return fault_set(fault, DEFECT_LUKS_HEADER, "cipher_name",
				 LUKS_OFF_CIPHER, 0, 0);
	return check(l, area_len, fault);
}

size_t luks_encode(const struct luks_header *l, void *buf, size_t len)
{
	struct writer w = writer_init(buf, len);

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
	return w.failed ? 0 : writer_len(&w);
}
