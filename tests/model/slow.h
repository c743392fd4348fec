/*
 * A store that takes its time.  Memory answers so quickly that requests seldom
 * meet; here some calls take a while, before or after they have done their
 * work.
 */
#ifndef MODEL_SLOW_H
#define MODEL_SLOW_H

#include <qcow2.h>

/* Puts a slow store in the place of *@store. */
void slow_down(struct qcow2_store **store);

#endif
