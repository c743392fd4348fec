/*
 * Where a new image and its data file go.
 */
#ifndef API_CREATE_H
#define API_CREATE_H

#include <qcow2.h>

/* @name as the image at @image_path will find it: relative to its directory.
 * The caller frees the result; NULL when memory is short. */
char *create_data_path(const char *image_path, const char *name);

/* An image that is its own data file would be published over it. */
int create_check_apart(const char *image, const char *data,
		       struct qcow2_error *err);

#endif
