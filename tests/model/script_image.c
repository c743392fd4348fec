#include "model/script_image.h"

#include <inttypes.h>

#include "base/checked.h"

/* ---- Inside of qcow2 io -------------------------------------------------- */

bool script_is_inside(const struct op *op)
{
	return op->kind < OP_SNAPSHOT
		       ? op->kind != OP_REOPEN
		       : op->kind == OP_VMSTATE || op->kind == OP_KILL;
}

/* VM state is one byte all over in place of the trial's contents, and in whole
 * sectors, as QEMU needs it. */
void script_inside(const struct op *op, FILE *out)
{
	if (op->kind == OP_KILL)
		fputs(" \\\n\t-c abort", out);
	else
		fprintf(out, " \\\n\t-c 'write -b -q -P %#x 0 %" PRIu64 "'",
			op->pattern, align_up(op->len, 512));
}

/* ---- Lines of their own -------------------------------------------------- */

static void print_snapshot(const struct state *s, const struct op *op,
			   const char *option, const char * not, FILE *out)
{
	struct kept k = { .number = s->next };
	char name[16] = "nobody";

	if (op->kind != OP_SNAPSHOT && op->which != SNAPSHOT_NOBODY)
		k = s->kept[op->which];
	if (op->kind == OP_SNAPSHOT || op->which != SNAPSHOT_NOBODY)
		kept_name(&k, name);
	if (op->kind == OP_SNAPSHOT && op->len)
		fprintf(out,
			"\"$QCOW2\" io -f qcow2 -c 'write -b -q -P %#x 0 "
			"%" PRIu64 "' top\n",
			op->pattern, align_up(op->len, 512));
	fprintf(out, "%s%s snapshot %s %s top", not,
		op->by_qemu ? "qemu-img" : "\"$QCOW2\"", option, name);
}

static void print_views(const struct state *s, FILE *out)
{
	fputc(':', out);
	for (unsigned i = 0; i < s->n_kept; i++) {
		char name[16];

		kept_name(&s->kept[i], name);
		fprintf(out,
			"\n\"$QCOW2\" convert -f qcow2 -O raw -l "
			"snapshot.name=%s top view",
			name);
	}
}

static void print_resize(const struct op *op, const char * not, FILE *out)
{
	static const char *const modes[] = { "off", "metadata", "falloc",
					     "full" };

	fprintf(out, "%s\"$QCOW2\" resize -q -f qcow2%s", not,
		op->flags & QCOW2_RESIZE_SHRINK ? " --shrink" : "");
	if (op->prealloc)
		fprintf(out, " --preallocation=%s", modes[op->prealloc]);
	fprintf(out, " top %" PRIu64, op->size);
}

static void print_amend(const struct op *op, const char * not, FILE *out)
{
	const char *on = op->on ? "on" : "off";

	fprintf(out, "%s\"$QCOW2\" amend -q -f qcow2", not );
	if (op->set & QCOW2_AMEND_VERSION)
		fprintf(out, " -o compat=%s",
			op->version == 2 ? "0.10" : "1.1");
	if (op->set & QCOW2_AMEND_REFCOUNT_BITS)
		fprintf(out, " -o refcount_bits=%" PRIu32, op->refcount_bits);
	if (op->set & QCOW2_AMEND_LAZY_REFCOUNTS)
		fprintf(out, " -o lazy_refcounts=%s", on);
	if (op->set & QCOW2_AMEND_SIZE)
		fprintf(out, " -o size=%" PRIu64, op->size);
	if (op->set & QCOW2_AMEND_DATA_FILE_RAW)
		fprintf(out, " -o data_file_raw=%s", on);
	fputs(" top", out);
}

static void print_copy(const struct state *s, const struct window *w, FILE *out)
{
	uint64_t end = min_u64(s->now.size, s->now.backing_size);

	end = min_u64(end, w->off + w->len);
	if (w->off >= end)
		return;
	fprintf(out,
		"dd if=flat of=part bs=64k iflag=skip_bytes,count_bytes "
		"skip=%" PRIu64 " count=%" PRIu64 " status=none\n"
		"\"$QCOW2\" io -f qcow2 -c 'write -q -s part %" PRIu64
		" %" PRIu64 "' top\n",
		w->off, end - w->off, w->off, end - w->off);
}

static void print_backing(const struct state *s, const struct op *op,
			  const char * not, FILE *out)
{
	const char *format = s->backing == BACKING_RAW ? "raw" : "qcow2";
	char name[BACKING_NAME_BYTES];
	const char *to = state_backing_name(op, name);

	if (op->which == BACKING_DETACH || op->which == BACKING_ATTACH) {
		fputs("\"$QCOW2\" convert -f qcow2 -O raw top flat\n", out);
		for (unsigned i = 0; i < s->now.n_windows; i++)
			print_copy(s, &s->now.windows[i], out);
	}
	fprintf(out, "%s\"$QCOW2\" amend -q -f qcow2 -o backing_file=%s", not,
		to ? to : "");
	if (to && op->which != BACKING_NO_FORMAT)
		fprintf(out, ",backing_fmt=%s", format);
	fputs(" top", out);
}

static void print_compact(const struct op *op, const char * not, FILE *out)
{
	fprintf(out, "%s\"$QCOW2\" compact -q%s%s%s top",
		op->stop_after ? "" : not,
		op->flags & QCOW2_COMPACT_DRY_RUN ? " --dry-run" : "",
		op->flags & QCOW2_COMPACT_ZEROS ? " --zeros" : "",
		op->flags & QCOW2_COMPACT_COMPRESS ? " --compress" : "");
	if (op->stop_after)
		fputs(" # (it was stopped early)", out);
}

static void print_line(const struct state *s, const struct op *op,
		       const char * not, FILE *out)
{
	switch (op->kind) {
	case OP_SNAPSHOT:
		print_snapshot(s, op, "-c", not, out);
		break;
	case OP_APPLY:
		print_snapshot(s, op, "-a", not, out);
		break;
	case OP_DELETE:
		print_snapshot(s, op, "-d", not, out);
		break;
	case OP_LIST:
		fputs("\"$QCOW2\" snapshot -l top", out);
		break;
	case OP_VIEWS:
		print_views(s, out);
		break;
	case OP_RESIZE:
		print_resize(op, not, out);
		break;
	case OP_AMEND:
		print_amend(op, not, out);
		break;
	case OP_BACKING:
		print_backing(s, op, not, out);
		break;
	case OP_COMPACT:
		print_compact(op, not, out);
		break;
	default:
		fprintf(out, "\"$QCOW2\" check -q -r %s top",
			op->flags & QCOW2_CHECK_REPAIR_ALL ? "all" : "leaks");
	}
}

void script_outside(const struct state *s, const struct op *op, bool refused,
		    FILE *out)
{
	print_line(s, op, refused ? "! " : "", out);
	fputc('\n', out);
}
