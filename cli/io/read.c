/*
 * read and readv.
 */
#include <unistd.h>

#include "io/io.h"

struct read_options {
	bool state;    /* of a virtual machine */
	bool has_part; /* -s or -l */
	bool has_len;
	uint64_t off, len;
};

/* One option of `read`; -1 after saying what is wrong. */
static int take(int c, struct read_options *o, struct io_request *r,
		const char *arg)
{
	switch (c) {
	case 'b':
		o->state = true;
		return 0;
	case 'l':
		o->has_part = o->has_len = true;
		return io_parse_size(arg, &o->len);
	case 's':
		o->has_part = true;
		return io_parse_size(arg, &o->off);
	case 'P':
		return io_parse_pattern(arg, &r->verify);
	default:
		r->machine |= c == 'C';
		r->quiet |= c == 'q';
		r->dump |= c == 'v';
		return 0;
	}
}

/* The part of what is read that -P looks at. */
static int set_part(const struct read_options *o, struct io_request *r)
{
	uint64_t len = o->has_len ? o->len : 0;

	if (o->off > r->len || len > r->len - o->off) {
		printf("pattern verification range exceeds end of read data\n");
		return -1;
	}
	r->verify_off = o->off;
	r->verify_len = len;
	if (o->has_len && len == 0)
		r->verify = -1;
	return 0;
}

int io_run_read(struct io_shell *sh, const struct io_command *self, int argc,
		char **argv)
{
	struct io_request r = io_request_make(IO_READ, "read");
	struct read_options o = { .state = false };
	int c;

	IO_OPTIONS_BEGIN();
	while ((c = getopt(argc, argv, "bCl:pP:qs:v")) >= 0) {
		if (c == '?')
			return io_usage(self);
		if (take(c, &o, &r, optarg) < 0)
			return -1;
	}
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
	if (io_request_fill(sh, &r, 0xab) < 0)
		return -1;
	return io_request_finish(sh, &r);
}

int io_run_readv(struct io_shell *sh, const struct io_command *self, int argc,
		 char **argv)
{
	struct io_request r = io_request_make(IO_READ, "readv");
	int c;

	IO_OPTIONS_BEGIN();
	while ((c = getopt(argc, argv, "CP:qv")) >= 0) {
		if (c == '?')
			return io_usage(self);
		if (c == 'P' && io_parse_pattern(optarg, &r.verify) < 0)
			return -1;
		r.machine |= c == 'C';
		r.quiet |= c == 'q';
		r.dump |= c == 'v';
	}
	if (optind > argc - 2)
		return io_usage(self);
	if (io_parse_size(argv[optind], &r.off) < 0 ||
	    io_request_split(sh, &r, argv + optind + 1, argc - optind - 1,
			     0xab) < 0)
		return -1;
	return io_request_finish(sh, &r);
}
