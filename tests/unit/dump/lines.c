#include "lines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dump/dump.h"

__attribute__((format(printf, 2, 3))) static void add(struct lines *l,
						      const char *fmt, ...)
{
	va_list args;

	if (l->room - l->len < 8192) {
		l->room += 65536;
		l->text = realloc(l->text, l->room);
		assert_non_null(l->text);
	}
	va_start(args, fmt);
	l->len += (size_t)vsnprintf(l->text + l->len, 8192, fmt, args);
	va_end(args);
}

static void add_field(struct lines *l, const struct qcow2_dump_field *f)
{
	assert_true(f->type == QCOW2_DUMP_TEXT || !f->text);
	switch (f->type) {
	case QCOW2_DUMP_FLAG:
		assert_in_range(f->value, 0, 1);
		if (f->value)
			add(l, " %s", f->name);
		break;
	case QCOW2_DUMP_TEXT:
		add(l, " %s='%s'", f->name, f->text);
		break;
	case QCOW2_DUMP_HEX:
		add(l, " %s=0x%" PRIx64, f->name, f->value);
		break;
	default:
		assert_int_equal(f->type, QCOW2_DUMP_NUMBER);
		add(l, " %s=%" PRIu64, f->name, f->value);
	}
}

static int collect(void *opaque, const struct qcow2_dump_record *r)
{
	struct lines *l = opaque;

	l->n++;
	if (r->host_off == UINT64_MAX)
		add(l, "%s@-", r->kind);
	else
		add(l, "%s@0x%" PRIx64, r->kind, r->host_off);
	for (uint32_t i = 0; i < r->n_fields; i++)
		add_field(l, &r->fields[i]);
	for (uint32_t i = 0; i < r->n_defects; i++)
		add(l, " !%s", qcow2_defect_name(r->defects[i]));
	add(l, "\n");
	return l->n_max && l->n == l->n_max;
}

static struct lines *run(struct qcow2_store *s,
			 const struct qcow2_dump_opts *opts, uint32_t n_max)
{
	struct lines *l = calloc(1, sizeof(*l));
	struct qcow2_dump_opts own = QCOW2_DUMP_OPTS_INIT;

	assert_non_null(l);
	if (opts)
		own = *opts;
	own.report = collect;
	own.opaque = l;
	l->n_max = n_max;
	add(l, "%s", "");
	l->rc = dump_store(s, &own, &l->err);
	return l;
}

struct lines *lines_of(struct qcow2_store *s,
		       const struct qcow2_dump_opts *opts)
{
	return run(s, opts, 0);
}

struct lines *lines_stopped(struct rig *r, uint32_t what, uint32_t n_max)
{
	struct qcow2_dump_opts opts = QCOW2_DUMP_OPTS_INIT;

	opts.what = what;
	return run(r->store, &opts, n_max);
}

struct lines *lines_of_what(struct rig *r, uint32_t what, uint64_t index)
{
	struct qcow2_dump_opts opts = QCOW2_DUMP_OPTS_INIT;

	opts.what = what;
	opts.index = index;
	return lines_of(r->store, &opts);
}

void lines_free(struct lines *l)
{
	free(l->text);
	free(l);
}

void expect_text(const struct lines *l, const char *want)
{
	assert_int_equal(l->rc, 0);
	assert_string_equal(l->text, want);
}

static bool has_line(const struct lines *l, const char *want)
{
	size_t len = strlen(want);

	for (const char *p = l->text; *p; p = strchr(p, '\n') + 1)
		if (strncmp(p, want, len) == 0 && p[len] == '\n')
			return true;
	return false;
}

void expect_line(const struct lines *l, const char *want)
{
	assert_int_equal(l->rc, 0);
	if (!has_line(l, want))
		fail_msg("no line '%s' in\n%s", want, l->text);
}

void expect_no_defect(const struct lines *l)
{
	assert_int_equal(l->rc, 0);
	if (strstr(l->text, " !"))
		fail_msg("a defect in\n%s", l->text);
}

void expect_dump(struct rig *r, uint32_t what, uint64_t index, const char *want)
{
	struct lines *l = lines_of_what(r, what, index);

	expect_text(l, want);
	lines_free(l);
}
