/*
 * The LUKS header of an encrypted image, for information.
 */
#ifndef IMAGE_LUKS_H
#define IMAGE_LUKS_H

#include <stdint.h>

#include <qcow2.h>

#include "format/extension.h"
#include "format/luks.h"

struct luks {
	struct crypto_ext area;
	bool present;
};

/* Reads and decodes the header that @l locates. */
int luks_read(const struct luks *l, struct qcow2_store *file,
	      struct luks_header *out, struct qcow2_error *err);

#endif
