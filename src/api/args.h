/*
 * Arguments that several public functions have, checked in one place.
 */
#ifndef API_ARGS_H
#define API_ARGS_H

#include <qcow2.h>

/* -EINVAL when a reserved field of @b is not 0. */
int args_check_budget(const struct qcow2_budget *b, struct qcow2_error *err);

/* Copies the caller's gate in its current size, checked; NULL: the defaults. */
int args_take_gate(struct qcow2_gate *own, const struct qcow2_gate *gate,
		   struct qcow2_error *err);

#endif
