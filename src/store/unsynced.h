/*
 * A store over another whose barriers do nothing: for a file that nobody can
 * find before it is complete, and that is flushed once before it is published.
 */
#ifndef STORE_UNSYNCED_H
#define STORE_UNSYNCED_H

#include <qcow2.h>

/* Keeps a reference to @below, which its owner has locked: a lock of the store
 * above it does nothing. */
int store_new_unsynced(struct qcow2_store *below, struct qcow2_store **out,
		       struct qcow2_error *err);

#endif
