/*
 * The files of an image: in memory, or in the scratch directory, where
 * qemu-img can be asked about them.
 */
#ifndef MODEL_FILES_H
#define MODEL_FILES_H

#include <stdbool.h>

#include <qcow2.h>

#include "model/config.h"

enum { FILE_TOP, FILE_DATA, FILE_BACKING, N_FILES };

struct files {
	const struct config *config;
	const char *dir;                     /* the scratch directory */
	struct qcow2_store *stores[N_FILES]; /* NULL: there is none */
};

/* Their names in the scratch directory, and in the image. */
extern const char *const file_names[N_FILES];

/* Makes a new image.  0 or -errno. */
int files_make(struct files *f, const struct config *c, const char *dir,
	       struct qcow2_error *err);
void files_release(struct files *f);

/* Opens the image.  @snapshot: NULL for the disk itself. */
int files_open(struct files *f, bool writable, const char *snapshot,
	       struct qcow2_image **out, struct qcow2_error *err);

/* Writes all files into the scratch directory, or closes the files that are
 * there already: files_load() opens them again. */
int files_dump(struct files *f, struct qcow2_error *err);
/* Reads the image back after qemu-img has changed it. */
int files_load(struct files *f, struct qcow2_error *err);

/* The contents of the files, except the backing file.  Thawing restores them,
 * when the image is closed; it consumes @frozen. */
int files_freeze(struct files *f, struct qcow2_store *frozen[N_FILES],
		 struct qcow2_error *err);
int files_thaw(struct files *f, struct qcow2_store *frozen[N_FILES],
	       struct qcow2_error *err);

/* Runs qemu-img in the scratch directory; returns its exit status and its
 * output.  @args ends with NULL. */
enum { SAID_BYTES = 400 };
int files_qemu(const struct files *f, const char *const *args,
	       char said[SAID_BYTES]);

#endif
