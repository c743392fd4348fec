/*
 * Operations on the image as a whole as lines of a script.
 */
#ifndef MODEL_SCRIPT_IMAGE_H
#define MODEL_SCRIPT_IMAGE_H

#include <stdbool.h>
#include <stdio.h>

#include "model/state.h"

/* Runs on an open disk, as a command of `qcow2 io`. */
bool script_is_inside(const struct op *op);
void script_inside(const struct op *op, FILE *out);

/* A line of its own. */
void script_outside(const struct state *s, const struct op *op, bool refused,
		    FILE *out);

#endif
