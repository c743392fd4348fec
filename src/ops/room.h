/*
 * The space that a copy of a disk takes.
 */
#ifndef OPS_ROOM_H
#define OPS_ROOM_H

#include <stdint.h>

/* The bytes of the struct disk @disk that are data, UINT64_MAX where that
 * cannot be told.  Reads all its metadata. */
uint64_t room_for_data(void *disk);

#endif
