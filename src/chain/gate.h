/*
 * Who may open what: the only place where a name found in an image becomes an
 * open file.
 */
#ifndef CHAIN_GATE_H
#define CHAIN_GATE_H

#include <qcow2.h>

/*
 * Where an image is, for names relative to it.  `path` is for messages and
 * for joining; `dirfd` is what relative names are resolved from, so that a
 * directory renamed or replaced meanwhile changes nothing.  An image that did
 * not come from the file system has neither (NULL, -1).
 */
struct place {
	char *path;
	int dirfd;
};

#define PLACE_NONE ((struct place){ NULL, -1 })

/* The place of a file opened by @path.  @path is copied. */
int place_init(struct place *p, const char *path, struct qcow2_error *err);
void place_release(struct place *p);

/*
 * Asks @gate (NULL: refuse everything) for the file that @ref names, opened
 * with @store_flags (QCOW2_STORE_RDWR, QCOW2_STORE_DIRECT).  @from is the place of the image
 * that refers to it.  Gives the store, and in *at the place it was found.
 * -EPERM when it is not allowed; the message does not depend on whether the
 * file exists.
 */
int gate_open(const struct qcow2_gate *gate, const struct place *from,
	      const struct qcow2_reference *ref, unsigned store_flags,
	      struct qcow2_store **out, struct place *at,
	      struct qcow2_error *err);

#endif
