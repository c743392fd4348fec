/*
 * write and writev.
 */
#include <unistd.h>

#include "io/io.h"

static int wrong(const char *what)
{
	printf("%s\n", what);
	return -1;
}

static int check(const struct transfer_options *o, const struct io_request *r)
{
	if (o->state && o->zero)
		return wrong("-b and -z cannot be specified at the same time");
	if (r->flags & QCOW2_FUA && (o->state || o->compress))
		return wrong("-f and -b or -c cannot be specified at the same "
			     "time");
	if (o->no_fallback && !o->zero)
		return wrong("-n requires -z to be specified");
	if (o->unmap && !o->zero)
		return wrong("-u requires -z to be specified");
	if (o->zero + o->has_byte + (o->path != NULL) > 1)
		return wrong("Only one of -z, -P, and -s can be specified at "
			     "the same time");
	return 0;
}

static enum io_kind kind_of(const struct transfer_options *o)
{
	if (o->state)
		return IO_WRITE_STATE;
	if (o->zero)
		return IO_ZERO;
	return o->compress ? IO_WRITE_COMPRESSED : IO_WRITE;
}

static unsigned flags_of(const struct transfer_options *o)
{
	return (o->unmap ? QCOW2_ZERO_MAY_UNMAP : 0) |
	       (o->no_fallback ? QCOW2_ZERO_NO_FALLBACK : 0);
}

static int fill(const struct io_shell *sh, const struct transfer_options *o,
		struct io_request *r)
{
	if (r->kind == IO_ZERO)
		return 0;
	if (o->path)
		return io_request_fill_from(sh, r, o->path);
	return io_request_fill(sh, r, o->byte);
}

int io_run_write(struct io_shell *sh, const struct io_command *self, int argc,
		 char **argv)
{
	struct io_request r = io_request_make(IO_WRITE, "write");
	struct transfer_options o;

	if (io_take_options(self, "bcCfnpP:qs:uz", &o, &r, argc, argv) < 0)
		return -1;
	if (optind != argc - 2)
		return io_usage(self);
	if (check(&o, &r) < 0)
		return -1;
	r.kind = kind_of(&o);
	r.flags |= flags_of(&o);
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
	struct transfer_options o;

	if (io_take_options(self, "CfP:q", &o, &r, argc, argv) < 0 ||
	    io_take_pieces(sh, self, &o, &r, argc, argv) < 0)
		return -1;
	return io_request_finish(sh, &r);
}
