#include "model/script.h"

#include <inttypes.h>
#include <string.h>

#include "model/oracle.h"
#include "model/script_image.h"

/* ---- Making -------------------------------------------------------------- */

static void print_backing(const struct config *c, FILE *out)
{
	const char *format = c->backing == BACKING_RAW ? "raw" : "qcow2";

	if (!c->backing)
		return;
	fprintf(out, "\"$QCOW2\" create -q -f %s backing %" PRIu64 "\n", format,
		c->backing_size);
	for (unsigned i = 0; i < c->n_windows; i++) {
		const struct window *w = &c->windows[i];
		uint64_t end = w->off + w->len;

		if (end > c->backing_size)
			end = c->backing_size;
		if (w->off < end)
			fprintf(out,
				"\"$QCOW2\" io -f %s -c 'write -q -P %#x "
				"%" PRIu64 " %" PRIu64 "' backing\n",
				format, BASE_PATTERN, w->off, end - w->off);
	}
	if (!c->plain_base)
		fputs("# (its contents were more than one byte)\n", out);
}

static void print_convert(const struct config *c, const char *options,
			  FILE *out)
{
	fprintf(out,
		"\"$QCOW2\" create -q -f raw full %" PRIu64 "\n"
		"\"$QCOW2\" io -f raw -c 'write -q -P %#x 0 %" PRIu64 "' full\n"
		"\"$QCOW2\" convert -c -f raw -O qcow2 -o %s full top\n",
		c->size, BASE_PATTERN, c->size, options);
}

static void print_exact_size(const struct config *c, FILE *out)
{
	if (c->size % 512 == 0)
		return;
	fputs("printf '", out);
	for (int shift = 56; shift >= 0; shift -= 8)
		fprintf(out, "\\%03o", (unsigned)(c->size >> shift & 0xff));
	fputs("' | dd of=top bs=1 seek=24 conv=notrunc status=none\n", out);
}

static void print_make(const struct config *c, FILE *out)
{
	char options[256];

	config_print(c, options, sizeof(options));
	print_backing(c, out);
	if (c->maker == MAKER_CONVERT) {
		print_convert(c, options, out);
		return;
	}
	fprintf(out, "\"$QCOW2\" create -q -u -f qcow2 -o %s top %" PRIu64 "\n",
		options, c->size);
	print_exact_size(c, out);
}

/* ---- Operations ---------------------------------------------------------- */

/* Guests' discards always reach the image; the first switch decides whether
 * they reach the file. */
static void print_discard(const struct config *c, FILE *out)
{
	static const struct {
		uint32_t flag;
		const char *option;
	} switches[] = {
		{ QCOW2_DISCARD_SNAPSHOT, "pass-discard-snapshot" },
		{ QCOW2_DISCARD_OTHER, "pass-discard-other" },
		{ QCOW2_DISCARD_NO_UNREF, "discard-no-unref" },
	};

	fprintf(out, "discard=unmap,pass-discard-request=%s",
		c->discard & QCOW2_DISCARD_REQUEST ? "on" : "off");
	for (size_t i = 0; i < sizeof(switches) / sizeof(switches[0]); i++)
		if (c->discard & switches[i].flag)
			fprintf(out, ",%s=on", switches[i].option);
}

/* Opens as the trial did, unless that is the usual way. */
static void print_open(const struct config *c, FILE *out)
{
	if (!c->discard && !c->l2_cache_bytes && !c->l2_slice_bytes &&
	    !c->refcount_cache_bytes) {
		fputs("\"$QCOW2\" io -f qcow2", out);
		return;
	}
	fputs("\"$QCOW2\" io -c 'open -o driver=qcow2,", out);
	print_discard(c, out);
	if (c->l2_cache_bytes)
		fprintf(out, ",l2-cache-size=%" PRIu64, c->l2_cache_bytes);
	if (c->l2_slice_bytes)
		fprintf(out, ",l2-cache-entry-size=%" PRIu64,
			c->l2_slice_bytes);
	if (c->refcount_cache_bytes)
		fprintf(out, ",refcount-cache-size=%" PRIu64,
			c->refcount_cache_bytes);
	fputs(" top'", out);
}

static void print_close(const struct config *c, bool killed, FILE *out)
{
	bool usual = !c->discard && !c->l2_cache_bytes && !c->l2_slice_bytes &&
		     !c->refcount_cache_bytes;

	fprintf(out, "%s%s\n", usual ? " top" : "", killed ? " || :" : "");
}

static void print_write(const struct op *op, size_t i, FILE *out)
{
	uint64_t parts[OP_PARTS_MAX];
	unsigned n = op->kind == OP_WRITEV ? op_parts(op, parts) : 0;
	const char *fua = op->flags & QCOW2_FUA ? " -f" : "";

	if (op->fill != FILL_BYTE) {
		fprintf(out,
			" \\\n\t-c 'write%s%s -q -s fill.%zu %" PRIu64
			" %" PRIu64 "'",
			fua, op->kind == OP_COMPRESS ? " -c" : "", i, op->off,
			op->len);
		return;
	}
	fprintf(out, " \\\n\t-c 'write%s%s%s -q -P %#x %" PRIu64, n ? "v" : "",
		fua, op->kind == OP_COMPRESS ? " -c" : "", op->pattern,
		op->off);
	for (unsigned k = 0; k < n; k++)
		if (parts[k])
			fprintf(out, " %" PRIu64, parts[k]);
	if (!n)
		fprintf(out, " %" PRIu64, op->len);
	fputc('\'', out);
}

static void print_op(const struct op *op, size_t i, FILE *out)
{
	if (op_writes(op))
		print_write(op, i, out);
	else if (op->kind == OP_ZERO)
		fprintf(out,
			" \\\n\t-c 'write%s%s -q -z %" PRIu64 " %" PRIu64 "'",
			op->flags & QCOW2_FUA ? " -f" : "",
			op->flags & QCOW2_ZERO_MAY_UNMAP ? " -u" : "", op->off,
			op->len);
	else if (op->kind == OP_DISCARD)
		fprintf(out, " \\\n\t-c 'discard -q %" PRIu64 " %" PRIu64 "'",
			op->off, op->len);
	else if (op->kind == OP_READ)
		fprintf(out, " \\\n\t-c 'read -q %" PRIu64 " %" PRIu64 "'",
			op->off, op->len);
	else
		fprintf(out, " \\\n\t-c %s",
			op->kind == OP_MAP ? "map" : "flush");
}

static bool was_refused(const struct verdict *v, size_t i)
{
	return i < VERDICT_OPS && (v->refused[i / 8] >> i % 8 & 1);
}

/* Contents that no option of `write` describes. */
static void print_fills(const struct trial *t, const struct verdict *v,
			FILE *out)
{
	struct state s = state_new(&t->config);

	for (size_t i = 0; i < t->ops.n; i++) {
		struct op op = state_fit(&s, t->ops.ops[i]);

		if (op_writes(&op) && op.fill != FILL_BYTE)
			fprintf(out,
				"\"$MODEL\" --fill %d,%u,%" PRIu64 ",%" PRIu64
				" >fill.%zu\n",
				(int)op.fill, op.pattern, op.off, op.len, i);
		state_done(&s, &op, was_refused(v, i));
	}
}

static void print_next(const struct trial *t, const struct op *op, size_t i,
		       bool *open, FILE *out)
{
	if (!*open)
		print_open(&t->config, out);
	*open = op->kind != OP_KILL;
	if (op->kind < OP_SNAPSHOT)
		print_op(op, i, out);
	else
		script_inside(op, out);
	if (*open)
		return;
	print_close(&t->config, true, out);
	if (op->flags)
		fputs("\"$QCOW2\" check -q -r all top || :\n", out);
}

/* Operations are printed in the form in which they were run. */
static void print_ops(const struct trial *t, const struct verdict *v, FILE *out)
{
	struct state s = state_new(&t->config);
	bool open = false;

	for (size_t i = 0; i < t->ops.n; i++) {
		struct op op = state_fit(&s, t->ops.ops[i]);
		bool refused = was_refused(v, i);

		if (op.kind == OP_NONE)
			continue;
		if (script_is_inside(&op)) {
			print_next(t, &op, i, &open, out);
		} else {
			if (open)
				print_close(&t->config, false, out);
			open = false;
			if (op.kind != OP_REOPEN)
				script_outside(&s, &op, refused, out);
		}
		state_done(&s, &op, refused);
	}
	if (open)
		print_close(&t->config, false, out);
}

/* ---- The end ------------------------------------------------------------- */

static void print_verdict(const struct verdict *v, FILE *out)
{
	fputs("\"$QCOW2\" check top\n", out);
	if (!v->len)
		return;
	if (v->snapshot[0])
		fprintf(out,
			"\"$QCOW2\" convert -f qcow2 -O raw -l "
			"snapshot.name=%s top view\n",
			v->snapshot);
	fprintf(out,
		"\"$QCOW2\" io -r -f %s -c 'read -P %#x %" PRIu64 " %" PRIu64
		"' %s\n",
		v->snapshot[0] ? "raw" : "qcow2", v->expected, v->off, v->len,
		v->snapshot[0] ? "view" : "top");
}

void script_print(const struct trial *t, const struct verdict *v, FILE *out)
{
	char text[512];

	config_describe(&t->config, text, sizeof(text));
	fprintf(out,
		"#!/bin/sh\n"
		"# %s\n"
		"# %s\n"
		"# QCOW2 is the command, MODEL the program that found this; it "
		"needs an empty directory.\n"
		"set -eu\n"
		"QCOW2=${QCOW2:-qcow2} MODEL=${MODEL:-model}\n",
		v->why, text);
	print_make(&t->config, out);
	print_fills(t, v, out);
	print_ops(t, v, out);
	print_verdict(v, out);
}
