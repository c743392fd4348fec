/*
 * Bytes in memory as a store, sparse: only pages that were written exist, so a
 * 16 TiB image costs what is in it.
 */
#ifndef STORE_MEM_H
#define STORE_MEM_H

#include <qcow2.h>

/* Its name is "memory". */
int store_mem_new(struct qcow2_store **out, struct qcow2_error *err);
/* Copies the name. */
int store_mem_new_named(const char *name, struct qcow2_store **out,
			struct qcow2_error *err);

/* A copy of @src (a mem store) that shares nothing with it. */
int store_mem_clone(struct qcow2_store *src, struct qcow2_store **out,
		    struct qcow2_error *err);

#endif
