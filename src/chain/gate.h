/*
 * The rules for opening files: the only place where a name found in an image
 * becomes an open file.
 */
#ifndef CHAIN_GATE_H
#define CHAIN_GATE_H

#include <qcow2.h>

/*
 * The directory of an image, for names relative to it.  `path` is the image's
 * own, for messages and for joining; `dirfd` is what relative names are
 * resolved from, so that a directory renamed or replaced meanwhile changes
 * nothing.  An image that did not come from the file system has neither (NULL,
 * -1).
 */
struct gate_dir {
	char *path;
	int dirfd;
};

#define GATE_DIR_NONE ((struct gate_dir){ NULL, -1 })

/* An open file and its directory, for the names that the file may hold. */
struct gate_file {
	struct qcow2_store *store; /* one reference */
	struct gate_dir dir;
};

/* The directory of a file opened by @path, which is copied. */
int gate_dir_init(struct gate_dir *d, const char *path,
		  struct qcow2_error *err);
void gate_dir_release(struct gate_dir *d);

/* Does nothing for a file that holds nothing. */
void gate_file_release(struct gate_file *f);

/* One image asks for the file that it names. */
struct gate_request {
	const struct gate_dir *from; /* of the image */
	const struct qcow2_reference *ref;
	unsigned store_flags; /* QCOW2_STORE_RDWR, QCOW2_STORE_DIRECT */
};

/*
 * Opens the file of @r if @gate (NULL: refuse everything) allows it.  -EPERM
 * when it does not; the message does not depend on whether the file exists.
 * After a failure *out holds nothing.
 */
int gate_open(const struct qcow2_gate *gate, const struct gate_request *r,
	      struct gate_file *out, struct qcow2_error *err);

/* Opens what @ref names by the mode of @gate; @ref is one that gate_open() gave
 * to a callback that has not returned yet, or a copy.  The callback gets a
 * reference to *out. */
int gate_default(const struct qcow2_gate *gate,
		 const struct qcow2_reference *ref, struct qcow2_store **out,
		 struct qcow2_error *err);

#endif
