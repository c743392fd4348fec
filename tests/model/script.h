/*
 * A trial as a shell script for `qcow2 create` and `qcow2 io`, which QEMU's
 * tools understand as well.
 */
#ifndef MODEL_SCRIPT_H
#define MODEL_SCRIPT_H

#include <stdio.h>

#include "model/run.h"

void script_print(const struct trial *t, const struct verdict *v, FILE *out);

#endif
