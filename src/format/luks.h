/*
 * The LUKS1 header (LUKS On-Disk Format Specification 1.2.3), as qcow2 embeds
 * it (specification: "Full disk encryption header pointer").
 */
#ifndef FORMAT_LUKS_H
#define FORMAT_LUKS_H

#include <stddef.h>
#include <stdint.h>

#include "format/fault.h"
#include "format/limits.h"

#define LUKS_SLOT_ACTIVE UINT32_C(0x00ac71f3)
#define LUKS_SLOT_INACTIVE UINT32_C(0x0000dead)

/* Slot n is described at LUKS_OFF_SLOTS + n * LUKS_SLOT_BYTES. */
#define LUKS_OFF_SLOTS 208
#define LUKS_SLOT_BYTES 48

struct luks_slot {
	uint32_t state; /* LUKS_SLOT_* */
	uint32_t iterations;
	uint8_t salt[32];
	uint32_t key_off_sectors; /* from the start of the LUKS header */
	uint32_t stripes;
};

struct luks_header {
	char cipher_name[33]; /* terminated */
	char cipher_mode[33];
	char hash[33];
	char uuid[41];
	uint32_t payload_off_sectors;
	uint32_t key_bytes;
	uint8_t digest[20];
	uint8_t digest_salt[32];
	uint32_t digest_iterations;
	struct luks_slot slots[LUKS_SLOTS];
};

/* Decodes LUKS_HEADER_BYTES and checks magic, version, texts, key length,
 * payload offset, slot states, stripes, and that key material lies between
 * the header and both @area_len and the payload, without overlap.  Returns 0,
 * DEFECT_LUKS_HEADER or DEFECT_LUKS_SLOT. */
enum defect luks_decode(struct luks_header *l, const void *buf, size_t len,
			uint64_t area_len, struct fault *fault);

/* Writes LUKS_HEADER_BYTES; 0 when @len is smaller, else that number. */
size_t luks_encode(const struct luks_header *l, void *buf, size_t len);

#endif
