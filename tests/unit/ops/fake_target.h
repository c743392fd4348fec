/*
 * The filling side of a fake disk: the test decides where places and bytes go,
 * and a record says in which way they came.  Stands in for the writing side of
 * chain/ at link time.
 */
#ifndef FAKE_TARGET_H
#define FAKE_TARGET_H

#include "fake_disk.h"

/* The place of guest byte 0, and the one of an encoded cluster at 0. */
#define FAKE_PLACE (UINT64_C(1) << 40)
#define FAKE_ENCODED_PLACE (UINT64_C(1) << 41)

struct fake_target {
	/* Answers. */
	bool no_places;
	uint64_t no_place_off; /* in this cluster alone; or FAKE_NOWHERE */
	uint64_t place_max;    /* bytes of a place; 0: all */
	size_t encoded_len;    /* 0: no cluster becomes smaller */
	int write_rc;

	/* Record of the calls. */
	unsigned n_places;
	unsigned n_placed_writes;
	unsigned n_writes;
	unsigned n_encoded_writes;
	unsigned n_zeros;
	uint64_t placed_bytes; /* of encoded clusters */
	uint64_t zero_bytes;
};

/* One for all fake disks: a test fills one. */
extern struct fake_target fake_target;

void fake_target_init(void);

#endif
