/*
 * The bytes that a disk must have, as arrays.
 */
#ifndef MODEL_ORACLE_H
#define MODEL_ORACLE_H

#include <stdbool.h>
#include <stdint.h>

#include "model/config.h"
#include "model/ops.h"

struct oracle {
	const struct config *config; /* the image now */
	uint64_t size;               /* of this disk */
	uint8_t *bytes[WINDOWS_MAX]; /* a window's each */
};

struct oracle oracle_new(const struct config *c);
struct oracle oracle_copy(const struct oracle *o);
void oracle_free(struct oracle *o);

/* A disk grows by zeros. */
void oracle_resize(struct oracle *o, uint64_t size);

/* The part of a window that this disk has. */
uint64_t oracle_window(const struct oracle *o, const struct window *w);

void oracle_apply(struct oracle *o, const struct op *op);

/* The bytes that must be read at @off; [off, off+len) lies in one window. */
const uint8_t *oracle_at(const struct oracle *o, uint64_t len, uint64_t off);
/* The longest part of [off, off+len) from @off on that lies in one window,
 * or in none: then *bytes is NULL. */
uint64_t oracle_run(const struct oracle *o, uint64_t len, uint64_t off,
		    const uint8_t **bytes);

/* The contents of the backing file, and of images that are made full. */
enum { BASE_PATTERN = 0xb5 };
void oracle_base(const struct config *c, uint8_t *buf, uint64_t len,
		 uint64_t off);

#endif
