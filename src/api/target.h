/*
 * What a file that is about to be made must not be: one that what is made of it
 * needs.  Asked when the target is there and locked, before it is touched.
 */
#ifndef API_TARGET_H
#define API_TARGET_H

#include <stdint.h>

#include <qcow2.h>

struct publish;

/* The options for paths of qcow2_create_opts and qcow2_convert_opts, as PUBLISH_*
 * flags; -EINVAL when they contradict each other. */
int target_flags(uint32_t create_flags, uint32_t convert_flags, unsigned *out,
		 struct qcow2_error *err);

/* What @file makes, the image or its data file, is not what the new image at
 * @image_path names as its backing file. */
int target_check_backing(const struct publish *file, const char *image_path,
			 const struct qcow2_create_opts *opts,
			 struct qcow2_error *err);

/* The data file at @path is not the image. */
int target_check_data(const struct publish *image, const char *path,
		      struct qcow2_error *err);

#endif
