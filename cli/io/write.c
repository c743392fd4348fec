/*
 * write and writev.
 */
#include <unistd.h>

#include "io/io.h"

struct write_options {
	bool state; /* of a virtual machine */
	bool compress;
	bool fua;
	bool no_fallback;
	bool unmap;
	bool zero;
	int byte;         /* -1: not given */
	const char *path; /* NULL: not given */
};

static int take(int c, struct write_options *o, struct io_request *r,
		const char *arg)
{
	o->state |= c == 'b';
	o->compress |= c == 'c';
	o->fua |= c == 'f';
	o->no_fallback |= c == 'n';
	o->unmap |= c == 'u';
	o->zero |= c == 'z';
	r->machine |= c == 'C';
	r->quiet |= c == 'q';
	if (c == 's')
		o->path = arg;
	return c == 'P' ? io_parse_pattern(arg, &o->byte) : 0;
}

static int wrong(const char *what)
{
	printf("%s\n", what);
	return -1;
}

static int check(const struct write_options *o)
{
	if (o->state && o->zero)
		return wrong("-b and -z cannot be specified at the same time");
	if (o->fua && (o->state || o->compress))
		return wrong("-f and -b or -c cannot be specified at the same "
			     "time");
	if (o->no_fallback && !o->zero)
		return wrong("-n requires -z to be specified");
	if (o->unmap && !o->zero)
		return wrong("-u requires -z to be specified");
	if (o->zero + (o->byte >= 0) + (o->path != NULL) > 1)
		return wrong("Only one of -z, -P, and -s can be specified at "
			     "the same time");
	return 0;
}

static enum io_kind kind_of(const struct write_options *o)
{
	if (o->state)
		return IO_WRITE_STATE;
	if (o->zero)
		return IO_ZERO;
	return o->compress ? IO_WRITE_COMPRESSED : IO_WRITE;
}

static unsigned flags_of(const struct write_options *o)
{
	return (o->fua ? QCOW2_FUA : 0) |
	       (o->unmap ? QCOW2_ZERO_MAY_UNMAP : 0) |
	       (o->no_fallback ? QCOW2_ZERO_NO_FALLBACK : 0);
}

static int fill(const struct io_shell *sh, const struct write_options *o,
		struct io_request *r)
{
	if (r->kind == IO_ZERO)
		return 0;
	if (o->path)
		return io_request_fill_from(sh, r, o->path);
	return io_request_fill(sh, r, o->byte >= 0 ? o->byte : 0xcd);
}

int io_run_write(struct io_shell *sh, const struct io_command *self, int argc,
		 char **argv)
{
	struct io_request r = io_request_make(IO_WRITE, "write");
	struct write_options o = { .byte = -1 };
	int c;

	IO_OPTIONS_BEGIN();
	while ((c = getopt(argc, argv, "bcCfnpP:qs:uz")) >= 0) {
		if (c == '?')
			return io_usage(self);
		if (take(c, &o, &r, optarg) < 0)
			return -1;
	}
	if (optind != argc - 2)
		return io_usage(self);
	if (check(&o) < 0)
		return -1;
	r.kind = kind_of(&o);
	r.flags = flags_of(&o);
	if (io_parse_range(argv + optind, &r,
			   o.no_fallback ? UINT64_MAX : IO_LEN_MAX,
			   " without -n") < 0)
		return -1;
	if ((o.state || o.compress) && io_check_sectors(&r) < 0)
		return -1;
	if (fill(sh, &o, &r) < 0)
		return -1;
	return io_request_finish(sh, &r);
}

int io_run_writev(struct io_shell *sh, const struct io_command *self, int argc,
		  char **argv)
{
	struct io_request r = io_request_make(IO_WRITE, "writev");
	int c, byte = 0xcd;

	IO_OPTIONS_BEGIN();
	while ((c = getopt(argc, argv, "CfP:q")) >= 0) {
		if (c == '?')
			return io_usage(self);
		if (c == 'P' && io_parse_pattern(optarg, &byte) < 0)
			return -1;
		r.machine |= c == 'C';
		r.quiet |= c == 'q';
		r.flags |= c == 'f' ? QCOW2_FUA : 0;
	}
	if (optind > argc - 2)
		return io_usage(self);
	if (io_parse_size(argv[optind], &r.off) < 0 ||
	    io_request_split(sh, &r, argv + optind + 1, argc - optind - 1,
			     byte) < 0)
		return -1;
	return io_request_finish(sh, &r);
}
