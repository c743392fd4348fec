/*
 * A disk copied into another that is open and has contents.
 */
#ifndef OPS_INTO_H
#define OPS_INTO_H

#include <qcow2.h>

struct disk;

/*
 * As qcow2_convert_into(), of which it is the work: @src is not @dst, @below
 * (NULL: none) is the backing image of @opts, which are known to be valid.
 */
int ops_convert_into(struct disk *src, struct disk *dst, struct disk *below,
		     const struct qcow2_convert_opts *opts,
		     struct qcow2_error *err);

#endif
