/*
 * Opening an image begins with its first cluster.
 */
#ifndef IMAGE_OPEN_HEADER_H
#define IMAGE_OPEN_HEADER_H

#include <qcow2.h>

#include "format/extension.h"

struct image;

/* Reads and checks it: fills img->header, img->names and img->lacks; *x points
 * into img->names. */
int open_header(struct image *img, struct extensions *x,
		struct qcow2_error *err);

#endif
