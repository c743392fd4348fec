#include "crash/workload.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct {
	char letter;
	enum op_kind kind;
	bool fua;
} letters[] = {
	{ 'w', OP_WRITE, false },   { 'W', OP_WRITE, true },
	{ 'z', OP_ZERO, false },    { 'u', OP_UNMAP, false },
	{ 'd', OP_DISCARD, false }, { 'c', OP_COMPRESS, false },
	{ 'f', OP_FLUSH, false },   { 'o', OP_REOPEN, false },
	{ 'r', OP_RESIZE, false },  { 'g', OP_GROW, false },
	{ 'k', OP_COMPACT, false }, { 's', OP_SNAPSHOT, false },
	{ 'a', OP_APPLY, false },   { 'x', OP_DELETE, false },
	{ 'v', OP_VERSION, false }, { 'b', OP_WIDTH, false },
	{ '-', OP_NONE, false },    { 'e', OP_FULL, false },
};

enum { N_LETTERS = sizeof(letters) / sizeof(letters[0]) };

static bool has_range(enum op_kind kind)
{
	return kind < OP_FLUSH;
}

void workload_add(struct workload *w, struct op op)
{
	assert(w->n < WORKLOAD_OPS_MAX);
	w->ops[w->n++] = op;
}

static bool has_number(const struct op *op)
{
	return op_is_change(op) || op->kind == OP_FULL;
}

static bool parse_numbers(struct op *op, const char *text)
{
	if (has_number(op))
		return sscanf(text, " %" SCNu32, &op->off) == 1;
	return !has_range(op->kind) || (sscanf(text, " %" SCNu32 " %" SCNu32,
					       &op->off, &op->len) == 2 &&
					op->len);
}

static bool parse_op(struct op *op, const char *text)
{
	for (unsigned i = 0; i < N_LETTERS; i++) {
		if (text[0] != letters[i].letter)
			continue;
		*op = (struct op){ .kind = letters[i].kind,
				   .fua = letters[i].fua };
		return parse_numbers(op, text + 1);
	}
	return false;
}

bool workload_parse(struct workload *w, const char *text)
{
	w->n = 0;
	while (text && *text) {
		struct op op;

		text += strspn(text, " ;");
		if (!*text)
			break;
		if (w->n == WORKLOAD_OPS_MAX || !parse_op(&op, text))
			return false;
		workload_add(w, op);
		text = strchr(text, ';');
	}
	return true;
}

static char letter_of(const struct op *op)
{
	for (unsigned i = 0; i < N_LETTERS; i++)
		if (letters[i].kind == op->kind && letters[i].fua == op->fua)
			return letters[i].letter;
	return '?';
}

void workload_print(const struct workload *w, char *text, size_t size)
{
	size_t at = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < w->n && at + 40 < size; i++) {
		const struct op *op = &w->ops[i];
		int n = snprintf(text + at, size - at, "%s%c", i ? "; " : "",
				 letter_of(op));

		at += (size_t)n;
		n = 0;
		if (has_range(op->kind))
			n = snprintf(text + at, size - at,
				     " %" PRIu32 " %" PRIu32, op->off, op->len);
		else if (has_number(op))
			n = snprintf(text + at, size - at, " %" PRIu32,
				     op->off);
		at += (size_t)n;
	}
}
