/*
 * The options of commands that read and write: one letter means the same in all
 * of them, and each command says which letters it takes.
 */
#include <unistd.h>

#include "io/io.h"

static bool is_read(const struct io_request *r)
{
	return r->kind == IO_READ;
}

static int inject(const struct io_request *r)
{
	printf("injecting invalid %s request\n", is_read(r) ? "read" : "write");
	return 1;
}

/* -s: the start of the part that is compared, or the file to write. */
static int take_source(struct transfer_options *o, const struct io_request *r,
		       const char *arg)
{
	if (!is_read(r)) {
		o->path = arg;
		return 0;
	}
	o->has_part = true;
	return io_parse_size(arg, &o->part_off);
}

static int take_option(int c, struct transfer_options *o, struct io_request *r,
		       const char *arg)
{
	o->state |= c == 'b';
	o->compress |= c == 'c';
	o->no_fallback |= c == 'n';
	o->unmap |= c == 'u';
	o->zero |= c == 'z';
	r->machine |= c == 'C';
	r->quiet |= c == 'q';
	r->dump |= c == 'v';
	r->flags |= c == 'f' ? QCOW2_FUA : 0;
	switch (c) {
	case 'i':
		return inject(r);
	case 'l':
		o->has_part = o->has_len = true;
		return io_parse_size(arg, &o->part_len);
	case 'P':
		o->has_byte = true;
		return io_parse_pattern(arg,
					is_read(r) ? &r->verify : &o->byte);
	case 's':
		return take_source(o, r, arg);
	default:
		return 0;
	}
}

int io_take_options(const struct io_command *self, const char *letters,
		    struct transfer_options *o, struct io_request *r, int argc,
		    char **argv)
{
	int c, rc;

	*o = (struct transfer_options){ .byte = is_read(r) ? 0xab : 0xcd };
	IO_OPTIONS_BEGIN();
	while ((c = getopt(argc, argv, letters)) >= 0) {
		if (c == '?')
			return io_usage(self);
		rc = take_option(c, o, r, optarg);
		if (rc != 0)
			return rc;
	}
	return 0;
}

int io_take_pieces(const struct io_shell *sh, const struct io_command *self,
		   const struct transfer_options *o, struct io_request *r,
		   int argc, char **argv)
{
	if (optind > argc - 2)
		return io_usage(self);
	if (io_parse_size(argv[optind], &r->off) < 0)
		return -1;
	return io_request_split(sh, r, argv + optind + 1, argc - optind - 1,
				o->byte);
}
