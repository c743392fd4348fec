/*
 * Lists of "key=value,key=value" as -o and -l take them; a comma inside a
 * value is written twice.
 */
#ifndef CLI_KEYVAL_H
#define CLI_KEYVAL_H

#include <stdbool.h>

struct keyval {
	const char *key;
	const char *value; /* NULL where there was no '=' */
};

/* Takes the first pair off the list at *text, which is changed in place; the
 * pair points into it.  Returns false at the end. */
bool keyval_next(char **text, struct keyval *kv);

#endif
