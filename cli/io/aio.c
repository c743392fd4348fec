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
	/* Scripts look for qemu-io's word. */
	struct io_request r = io_request_make(IO_READ, "readv");
	struct transfer_options o;
	int rc = io_take_options(self, "CiP:qv", &o, &r, argc, argv);

	if (rc != 0)
		return rc < 0 ? rc : 0;
	rc = io_take_pieces(sh, self, &o, &r, argc, argv);
	return rc < 0 ? rc : submit(sh, &r);
}

/* Prepares the buffers of a write, or the range of zeros. */
static int prepare_write(struct io_shell *sh, const struct io_command *self,
			 const struct transfer_options *o, struct io_request *r,
			 int argc, char **argv)
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
	if (!o->zero)
		return io_take_pieces(sh, self, o, r, argc, argv);
	r->kind = IO_ZERO;
	return io_parse_range(argv + optind, r, UINT64_MAX, "");
}

int io_run_aio_write(struct io_shell *sh, const struct io_command *self,
		     int argc, char **argv)
{
	struct io_request r = io_request_make(IO_WRITE, "aio_write");
	struct transfer_options o;
	int rc = io_take_options(self, "CfiP:quz", &o, &r, argc, argv);

	if (rc != 0)
		return rc < 0 ? rc : 0;
	rc = prepare_write(sh, self, &o, &r, argc, argv);
	return rc < 0 ? rc : submit(sh, &r);
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
