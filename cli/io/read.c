/*
 * read and readv.
 */
#include <unistd.h>

#include "io/io.h"

/* Sets the part of the read bytes that -P looks at. */
static int set_part(const struct transfer_options *o, struct io_request *r)
{
	uint64_t len = o->has_len ? o->part_len : 0;

	if (o->part_off > r->len || len > r->len - o->part_off) {
		printf("pattern verification range exceeds end of read data\n");
		return -1;
	}
	r->verify_off = o->part_off;
	r->verify_len = len;
	if (o->has_len && len == 0)
		r->verify = -1;
	return 0;
}

int io_run_read(struct io_shell *sh, const struct io_command *self, int argc,
		char **argv)
{
	struct io_request r = io_request_make(IO_READ, "read");
	struct transfer_options o;

	if (io_take_options(self, "bCl:pP:qs:v", &o, &r, argc, argv) < 0)
		return -1;
	if (optind != argc - 2)
		return io_usage(self);
	if (io_parse_range(argv + optind, &r, IO_LEN_MAX, "") < 0)
		return -1;
	if (o.has_part && r.verify < 0)
		return io_usage(self);
	if (set_part(&o, &r) < 0)
		return -1;
	if (o.state) {
		r.kind = IO_READ_STATE;
		if (io_check_sectors(&r) < 0)
			return -1;
	}
	if (io_request_fill(sh, &r, o.byte) < 0)
		return -1;
	return io_request_finish(sh, &r);
}

int io_run_readv(struct io_shell *sh, const struct io_command *self, int argc,
		 char **argv)
{
	struct io_request r = io_request_make(IO_READ, "readv");
	struct transfer_options o;

	if (io_take_options(self, "CP:qv", &o, &r, argc, argv) < 0 ||
	    io_take_pieces(sh, self, &o, &r, argc, argv) < 0)
		return -1;
	return io_request_finish(sh, &r);
}
