/*
 * Sectors that say who wrote them: writer, sequence number, their own address,
 * and a checksum over all of it.
 */
#ifndef MODEL_STAMPS_H
#define MODEL_STAMPS_H

#include <stdint.h>

enum { STAMP_SECTOR = 512 };

/* Values of a sector that has no stamp of its own. */
#define STAMP_ZERO 0u
#define STAMP_FOREIGN UINT32_MAX

/* @number: of the request, 1 and up. */
void stamp_write(uint8_t *sector, uint32_t lba, uint32_t number);

/* The request that wrote the sector; STAMP_ZERO for zeros, STAMP_FOREIGN for a
 * torn sector and one that belongs elsewhere. */
uint32_t stamp_read(const uint8_t *sector, uint32_t lba);

#endif
