/*
 * Several -o on one command line.
 */
#include <stdlib.h>
#include <string.h>

#include "create.h"
#include "options.h"

/* QEMU takes text for no list when nothing stands before the first comma, or
 * after the last one; two commas are one in a value. */
static bool is_list(const char *text)
{
	size_t len = strlen(text);
	size_t n_last = 0;

	while (n_last < len && text[len - 1 - n_last] == ',')
		n_last++;
	return len && text[0] != ',' && n_last % 2 == 0;
}

/* The element at @text ends at the next comma that is not doubled; doubled
 * ones are part of values only. */
static const char *element_end(const char *text)
{
	const char *p = text + strcspn(text, "=,");

	if (*p != '=')
		return p;
	for (; *p; p++) {
		if (*p == ',' && p[1] != ',')
			return p;
		if (*p == ',')
			p++;
	}
	return p;
}

bool create_wants_help(const char *text)
{
	while (*text) {
		const char *end = element_end(text);
		size_t len = (size_t)(end - text);

		if ((len == 4 && memcmp(text, "help", 4) == 0) ||
		    (len == 1 && *text == '?'))
			return true;
		text = *end ? end + 1 : end;
	}
	return false;
}

int create_add_list(const struct option_value *v)
{
	struct create_lists *lists = v->field;

	if (!is_list(v->arg)) {
		cli_error(v->cli, NULL, "Invalid option list: %s", ESC(v->arg));
		return -1;
	}
	if (lists->n == CREATE_LISTS_MAX) {
		cli_error(v->cli, v->name, "given more than %d times",
			  CREATE_LISTS_MAX);
		return -1;
	}
	lists->text[lists->n++] = v->arg;
	return 0;
}

bool create_lists_want_help(const struct create_lists *lists)
{
	for (size_t i = 0; i < lists->n; i++)
		if (create_wants_help(lists->text[i]))
			return true;
	return false;
}

int create_take_lists(const struct cli *cli, struct create_lists *lists,
		      struct create_plan *plan)
{
	for (size_t i = 0; i < lists->n; i++) {
		lists->copies[i] = strdup(lists->text[i]);
		if (!lists->copies[i]) {
			cli_error(cli, plan->path, "out of memory");
			return -1;
		}
		if (create_parse(cli, plan, lists->copies[i]) < 0)
			return -1;
	}
	return 0;
}

void create_lists_release(struct create_lists *lists)
{
	for (size_t i = 0; i < lists->n; i++)
		free(lists->copies[i]);
}
