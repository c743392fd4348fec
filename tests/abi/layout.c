/*
 * The public structures are laid out as the .def of the machine recorded them,
 * and the numbers of the enumerations, which are part of the interface too, stay.
 */
#include <stddef.h>
#include <stdio.h>

#include <qcow2.h>

struct fact {
	const char *what;
	size_t recorded;
	size_t actual;
};

#define SIZE(type, n) { "sizeof " #type, n, sizeof(struct type) },
#define FIELD(type, field, n) \
	{ #type "." #field, n, offsetof(struct type, field) },
#define NUMBER(name, n) { #name, n, name },

/* Elsewhere pointers or alignment differ, and nobody recorded the layout. */
static const struct fact layout[] = {
#if defined(__LP64__)
#include "layout.def"
#elif defined(__i386__)
#include "layout_i386.def"
#endif
	{ "nothing", 0, 0 },
};

static const struct fact numbers[] = {
#include "numbers.def"
};

static int count_changes(const struct fact *facts, size_t n)
{
	int changes = 0;

	for (size_t i = 0; i < n; i++) {
		if (facts[i].recorded == facts[i].actual)
			continue;
		printf("%s was %zu, is %zu\n", facts[i].what, facts[i].recorded,
		       facts[i].actual);
		changes++;
	}
	printf("%zu facts, %d changes\n", n, changes);
	return changes;
}

int main(void)
{
	int changes =
		count_changes(numbers, sizeof(numbers) / sizeof(*numbers));

	if (sizeof(layout) == sizeof(*layout))
		return changes ? 1 : 77;
	changes += count_changes(layout, sizeof(layout) / sizeof(*layout));
	return changes ? 1 : 0;
}
