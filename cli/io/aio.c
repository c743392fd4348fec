/*
 * aio_read, aio_write and aio_flush.
 */
#include <stdlib.h>
#include <unistd.h>

#include "io/io.h"

/* Hands a copy of @r, and all it owns, to the queue. */
static int submit(struct io_shell *sh, struct io_request *r)
{
	struct io_request *own = malloc(sizeof(*own));

	if (!own) {
		cli_error(sh->cli, NULL, "out of memory");
		io_request_release(r);
		return -1;
	}
	*own = *r;
	return io_queue_add(sh, own);
}

int io_run_aio_read(struct io_shell *sh, const struct io_command *self,
		    int argc, char **argv)
{
	/* qemu-io's word, which scripts look for. */
	struct io_request r = io_request_make(IO_READ, "readv");
	int c;

	IO_OPTIONS_BEGIN();
	while ((c = getopt(argc, argv, "CiP:qv")) >= 0) {
		if (c == '?')
			return io_usage(self);
		if (c == 'i') {
			printf("injecting invalid read request\n");
			return 0;
		}
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
	return submit(sh, &r);
}

struct aio_write_options {
	bool zero;
	bool unmap;
	int byte;
};

/* The buffers of what is written, or the range of zeros. */
static int prepare_write(struct io_shell *sh, const struct io_command *self,
			 const struct aio_write_options *o,
			 struct io_request *r, int argc, char **argv)
{
	if (optind > argc - 2)
		return io_usage(self);
	if (o->zero && optind != argc - 2) {
		printf("-z supports only a single length parameter\n");
		return -1;
	}
	if (o->unmap && !o->zero) {
		printf("-u requires -z to be specified\n");
		return -1;
	}
	if (o->unmap)
		r->flags |= QCOW2_ZERO_MAY_UNMAP;
	if (o->zero) {
		r->kind = IO_ZERO;
		return io_parse_range(argv + optind, r, UINT64_MAX, "");
	}
	if (io_parse_size(argv[optind], &r->off) < 0)
		return -1;
	return io_request_split(sh, r, argv + optind + 1, argc - optind - 1,
				o->byte);
}

int io_run_aio_write(struct io_shell *sh, const struct io_command *self,
		     int argc, char **argv)
{
	struct io_request r = io_request_make(IO_WRITE, "aio_write");
	struct aio_write_options o = { false, false, 0xcd };
	int c;

	IO_OPTIONS_BEGIN();
	while ((c = getopt(argc, argv, "CfiP:quz")) >= 0) {
		if (c == '?')
			return io_usage(self);
		if (c == 'i') {
			printf("injecting invalid write request\n");
			return 0;
		}
		if (c == 'P' && io_parse_pattern(optarg, &o.byte) < 0)
			return -1;
		r.machine |= c == 'C';
		r.quiet |= c == 'q';
		r.flags |= c == 'f' ? QCOW2_FUA : 0;
		o.zero |= c == 'z';
		o.unmap |= c == 'u';
	}
	if (prepare_write(sh, self, &o, &r, argc, argv) < 0)
		return -1;
	return submit(sh, &r);
}

int io_run_aio_flush(struct io_shell *sh, const struct io_command *self,
		     int argc, char **argv)
{
	(void)self;
	(void)argc;
	(void)argv;
	io_queue_drain(sh);
	return 0;
}
