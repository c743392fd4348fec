/*
 * Option structures from callers of any age.
 *
 * A public option structure begins with its own size, and zero is the default
 * of every field.  So a smaller structure, made by a caller that was compiled
 * against an older header, is completed with zeros, and a larger one is
 * understood as long as the part that this version does not know is zero.
 */
#ifndef BASE_OPTIONS_H
#define BASE_OPTIONS_H

#include <stddef.h>

#include <qcow2.h>

/*
 * Fills @dst (@dst_size bytes, beginning with size_t struct_size) from @src, a
 * structure of the same type as its caller knew it, and sets the size in @dst
 * to @dst_size.  NULL @src means the defaults.  @name is what messages call the
 * structure.  -EINVAL for a size that cannot be one, or for unknown options.
 * Flags and reserved fields are the caller's to check, in @dst.
 */
int options_copy(void *dst, size_t dst_size, const void *src, const char *name,
		 struct qcow2_error *err);

/* -EINVAL when options_give() could not fill @dst: asked before the work whose
 * result it is to take. */
int options_check_result(const void *dst, struct qcow2_error *err);

/*
 * The way back: fills the caller's result structure @dst, whose struct_size
 * says how much of it there is, from @full (@full_size bytes).  A smaller @dst
 * gets the part it knows, the rest of a larger one becomes zero; its
 * struct_size stays.  -EINVAL when @dst is NULL or its size cannot be one.
 */
int options_give(void *dst, const void *full, size_t full_size,
		 struct qcow2_error *err);

#endif
