/*
 * One line of text for every on-disk structure, for messages and debugging.
 *
 * Each writes a terminated string into @dst of @size bytes (cut if need be,
 * "..." at the end), text from images escaped, and returns dst, so that calls
 * compose into messages.
 */
#ifndef FORMAT_PRINT_H
#define FORMAT_PRINT_H

#include <stddef.h>
#include <stdint.h>

#include "format/bitmap.h"
#include "format/extension.h"
#include "format/header.h"
#include "format/l2.h"
#include "format/luks.h"
#include "format/snapshot.h"

const char *header_to_text(const struct header *h, char *dst, size_t size);
const char *extension_to_text(const struct extension *x, char *dst,
			      size_t size);
const char *l1_entry_to_text(uint64_t entry, char *dst, size_t size);
const char *l2_entry_to_text(const struct geometry *g, struct l2_entry e,
			     char *dst, size_t size);
const char *refcount_table_entry_to_text(uint64_t entry, char *dst,
					 size_t size);
const char *snapshot_to_text(const struct snapshot *s, char *dst, size_t size);
const char *bitmap_to_text(const struct bitmap *b, char *dst, size_t size);
const char *luks_to_text(const struct luks_header *l, char *dst, size_t size);

const char *cluster_kind_name(enum cluster_kind kind);
const char *subcluster_kind_name(enum subcluster_kind kind);

#endif
