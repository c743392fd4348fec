#include "base/error.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Errors that pass when somebody frees space or another resource. */
static uint32_t error_flags_of(int code)
{
	switch (code) {
	case -EAGAIN:
	case -EBUSY:
	case -EDQUOT:
	case -EINTR:
	case -EMFILE:
	case -ENFILE:
	case -ENOMEM:
	case -ENOSPC:
		return QCOW2_ERROR_RETRY;
	default:
		return 0;
	}
}

__attribute__((format(printf, 5, 0))) static int
error_fill(struct qcow2_error *err, int code, int defect, uint64_t host_off,
	   const char *fmt, va_list args)
{
	if (!err)
		return code;
	err->code = code;
	err->defect = defect;
	err->host_off = host_off;
	err->layer = QCOW2_LAYER_UNKNOWN;
	err->flags = error_flags_of(code);
	err->reason = QCOW2_REASON_NONE;
	memset(err->reserved, 0, sizeof(err->reserved));
	vsnprintf(err->message, sizeof(err->message), fmt, args);
	return code;
}

int error_set(struct qcow2_error *err, int code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	error_fill(err, code, 0, UINT64_MAX, fmt, args);
	va_end(args);
	return code;
}

int error_reason(struct qcow2_error *err, int code, uint32_t reason,
		 const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	error_fill(err, code, 0, UINT64_MAX, fmt, args);
	va_end(args);
	if (err)
		err->reason = reason;
	return code;
}

int error_lost(struct qcow2_error *err)
{
	return error_reason(err, -EIO, QCOW2_REASON_LOST,
			    "a file could not be flushed, and what was written "
			    "since the last flush that succeeded may be lost: "
			    "open the image again, and write that again");
}

int error_defect(struct qcow2_error *err, int code, int defect,
		 uint64_t host_off, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	error_fill(err, code, defect, host_off, fmt, args);
	va_end(args);
	return code;
}

int error_prefix(struct qcow2_error *err, int code, const char *fmt, ...)
{
	char rest[sizeof(err->message)];
	va_list args;
	size_t used;

	if (!err)
		return code;
	memcpy(rest, err->message, sizeof(rest));
	va_start(args, fmt);
	vsnprintf(err->message, sizeof(err->message), fmt, args);
	va_end(args);
	used = strlen(err->message);
	snprintf(err->message + used, sizeof(err->message) - used, ": %s",
		 rest);
	err->code = code;
	err->flags = error_flags_of(code);
	return code;
}

const char *error_words(int number)
{
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 32)
	const char *words = strerrordesc_np(number);
#else
	const char *words = strerror(number);
#endif

	return words ? words : "unknown error";
}

int error_in_layer(struct qcow2_error *err, int code, uint32_t layer)
{
	if (err && err->layer == QCOW2_LAYER_UNKNOWN)
		err->layer = layer;
	return code;
}

int error_nomem(struct qcow2_error *err, const char *what, uint64_t size_bytes)
{
	return error_set(err, -ENOMEM, "no memory for %s (%" PRIu64 " bytes)",
			 what, size_bytes);
}

bool error_is_no_room(int code)
{
	return code == -ENOSPC || code == -EDQUOT || code == -EFBIG;
}
