#include "keyval.h"

#include <stddef.h>
#include <string.h>

/* Ends the value at its comma, undoubling commas in it.  Returns the text
 * behind the comma. */
static char *cut_value(char *value)
{
	char *from = value, *to = value;

	while (*from) {
		if (from[0] == ',' && from[1] != ',') {
			from++;
			break;
		}
		if (from[0] == ',')
			from++;
		*to++ = *from++;
	}
	*to = '\0';
	return from;
}

bool keyval_next(char **text, struct keyval *kv)
{
	char *end = *text + strcspn(*text, "=,");

	if (!**text)
		return false;
	kv->key = *text;
	kv->value = NULL;
	if (*end == '=') {
		*end++ = '\0';
		kv->value = end;
		*text = cut_value(end);
	} else if (*end == ',') {
		*end++ = '\0';
		*text = end;
	} else {
		*text = end;
	}
	return true;
}
