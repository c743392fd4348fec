/*
 * Several -o on one command line.
 */
#include <stdlib.h>
#include <string.h>

#include "create.h"
#include "options.h"

int create_add_list(const struct option_value *v)
{
	struct create_lists *lists = v->field;

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
