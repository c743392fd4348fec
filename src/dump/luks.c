#include "format/luks.h"

#include <string.h>

#include "dump/context.h"

/* Neither salts nor digests, let alone key material: a dump may be sent to
 * anybody. */
static void add_header(struct record *r, const struct luks_header *l)
{
	record_text(r, "cipher", l->cipher_name, strlen(l->cipher_name));
	record_text(r, "mode", l->cipher_mode, strlen(l->cipher_mode));
	record_text(r, "hash", l->hash, strlen(l->hash));
	record_text(r, "uuid", l->uuid, strlen(l->uuid));
	record_number(r, "key-bytes", l->key_bytes);
	record_number(r, "payload-sector", l->payload_off_sectors);
	record_number(r, "digest-iterations", l->digest_iterations);
}

static int tell_slot(struct dump *d, const struct luks_header *l, unsigned i,
		     uint64_t off, struct qcow2_error *err)
{
	const struct luks_slot *s = &l->slots[i];
	struct record *r = &d->record;

	record_begin(r, "luks-slot",
		     off + LUKS_OFF_SLOTS + (uint64_t)i * LUKS_SLOT_BYTES);
	record_number(r, "slot", i);
	record_hex(r, "state", s->state);
	record_flag(r, "active", s->state == LUKS_SLOT_ACTIVE);
	record_number(r, "iterations", s->iterations);
	record_number(r, "key-sector", s->key_off_sectors);
	record_number(r, "stripes", s->stripes);
	return dump_tell(d, err);
}

int dump_luks(struct dump *d, uint64_t off, uint64_t len,
	      struct qcow2_error *err)
{
	struct luks_header l = { 0 };
	uint8_t buf[LUKS_HEADER_BYTES];
	struct fault fault;
	int rc;

	if (off >= d->file_size || d->file_size - off < sizeof(buf))
		return 0;
	rc = dump_read(d, buf, sizeof(buf), off, 1, err);
	if (rc < 0)
		return rc;
	record_begin(&d->record, "luks", off);
	record_defect(&d->record,
		      luks_decode(&l, buf, sizeof(buf), len, &fault));
	add_header(&d->record, &l);
	rc = dump_tell(d, err);
	for (unsigned i = 0; rc == 0 && i < LUKS_SLOTS; i++)
		rc = tell_slot(d, &l, i, off, err);
	return rc;
}
