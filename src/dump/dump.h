/*
 * Tells the metadata of an image record by record, however damaged it is:
 * qcow2_dump_store().
 */
#ifndef DUMP_DUMP_H
#define DUMP_DUMP_H

#include <qcow2.h>

/* @opts are complete and known to be valid.  Holds @file for reading meanwhile,
 * unless they have QCOW2_DUMP_NO_LOCK. */
int dump_store(struct qcow2_store *file, const struct qcow2_dump_opts *opts,
	       struct qcow2_error *err);

#endif
