/*
 * The common parts of the fuzz targets.
 *
 * A target is one LLVMFuzzerTestOneInput() over the codec.  It takes its
 * parameters (sizes, widths) from the first bytes of the input and decodes the
 * rest from a buffer that ends at a guard page, so that reading one byte too
 * many is a crash in every build.
 */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "base/cursor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A longer input finds nothing new. */
enum { FUZZ_INPUT_MAX = 64 * 1024 };

/* Copies the rest of @r, at most FUZZ_INPUT_MAX bytes, to the end of a guarded
 * buffer, which the next call overwrites. */
const uint8_t *fuzz_place(struct reader *r, size_t *len);

/* Prints and aborts. */
void fuzz_fail(const char *file, int line, const char *rule)
	__attribute__((noreturn));

#define FUZZ_CHECK(rule) \
	((rule) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #rule))

#endif
