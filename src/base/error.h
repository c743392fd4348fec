/*
 * Filling the caller's struct qcow2_error.
 *
 * Every failing function returns -errno and, where the caller gave a struct,
 * explains in it: field or path, value, limit, what to do.  All of these
 * functions but error_words() return @code, so a failure is one statement:
 *
 *	return error_set(err, -EINVAL, "cluster_bits is %u, ...", bits);
 *
 * Text that came from an image or is a path is passed through text_escape()
 * (base/text.h) before it enters a message.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

/* Negative errno values go no further down than this on Linux. */
#define ERRNO_LIMIT 4095

/* @code: negative errno. @err: may be NULL. */
int error_set(struct qcow2_error *err, int code, const char *fmt, ...)
	PRINTF_LIKE(3, 4);

/* The same with a reason, QCOW2_REASON_*, that programs may act on. */
int error_reason(struct qcow2_error *err, int code, uint32_t reason,
		 const char *fmt, ...) PRINTF_LIKE(4, 5);

/* A file could not be flushed: -EIO, QCOW2_REASON_LOST. */
int error_lost(struct qcow2_error *err);

/* The same for a broken rule of the format: @defect from format/defect.h,
 * @host_off where in the image file the offending bytes are, UINT64_MAX if
 * that has no meaning. */
int error_defect(struct qcow2_error *err, int code, int defect,
		 uint64_t host_off, const char *fmt, ...) PRINTF_LIKE(5, 6);

/* The words for an errno value (positive), in English whatever the program's
 * locale is, and for any number. */
const char *error_words(int number);

/* Puts "<context>: " before the message that a callee left in @err. */
int error_prefix(struct qcow2_error *err, int code, const char *fmt, ...)
	PRINTF_LIKE(3, 4);

/* Says that the failure @code is one of image @layer of the chain, unless a
 * layer below said so before. */
int error_in_layer(struct qcow2_error *err, int code, uint32_t layer);

/* -ENOMEM with a message that names @what and its size in bytes. */
int error_nomem(struct qcow2_error *err, const char *what, uint64_t size_bytes);

/* Whether @code, a negative errno, says that the host has no room for more. */
bool error_is_no_room(int code);

#endif
