/*
 * A first cluster that is put together extension by extension.
 */
#ifndef UNIT_FORMAT_EXTENSION_AREA_H
#define UNIT_FORMAT_EXTENSION_AREA_H

#include "format/extension.h"
#include "generate.h"

enum { CLUSTER = 4096, HEADER = HEADER_LENGTH_V3 };

#define FILE_SIZE (UINT64_C(1) << 20)

/* A first cluster under construction, which ends at a guard page. */
struct area {
	struct header h;
	uint8_t *buf;
	struct byte_writer w;
};

static inline void area_init(struct area *a)
{
	a->h = small_header(3);
	a->buf = guard_alloc(CLUSTER);
	memset(a->buf, 0, CLUSTER);
	a->w = byte_writer_init(a->buf, CLUSTER);
	write_reserve(&a->w, HEADER);
}

static inline void area_release(struct area *a)
{
	guard_free(a->buf, CLUSTER);
}

static inline enum defect decode(const struct area *a, struct extensions *x,
				 struct fault *fault)
{
	enum defect bad;

	memset(fault, 0x55, sizeof(*fault));
	bad = extensions_decode(x, &a->h, a->buf, CLUSTER, FILE_SIZE, fault);
	if (bad) {
		assert_int_equal(fault->defect, bad);
		assert_non_null(fault->field);
		assert_true(fault->off < CLUSTER);
	}
	return bad;
}

/* The verdict on a list of one extension. */
static inline enum defect one(uint32_t type, const void *data, uint32_t len,
			      struct extensions *x)
{
	struct fault fault;
	struct area a;
	enum defect bad;

	area_init(&a);
	extension_encode(&a.w, type, data, len);
	bad = decode(&a, x, &fault);
	area_release(&a);
	return bad;
}

#endif
