/*
 * Makes a failing trial small: takes out what the failure does not need.
 */
#ifndef MODEL_SHRINK_H
#define MODEL_SHRINK_H

#include "model/run.h"

/* @t fails with *v; both are replaced by something smaller that fails too. */
void trial_shrink(struct trial *t, struct verdict *v);

#endif
