/*
 * Making new images: layout first, header last.
 */
#ifndef CREATE_CREATE_H
#define CREATE_CREATE_H

#include <qcow2.h>

/*
 * Checks the options by themselves: limits, contradictions, what version 2
 * cannot do.  The messages name the option as users write it.
 */
int create_check_opts(const struct qcow2_create_opts *opts,
		      struct qcow2_error *err);

/* Writes a complete new image into @file (emptied first) and, with a data
 * file, sizes @data.  Flushes before the header and after it. */
int create_image(struct qcow2_store *file, struct qcow2_store *data,
		 const struct qcow2_create_opts *opts, struct qcow2_error *err);

#endif
