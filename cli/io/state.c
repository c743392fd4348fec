/*
 * Commands that look at the disk, or change it as a whole.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "info.h"
#include "io/io.h"
#include "json.h"

#define SECTOR_BYTES 512

static int failed(const struct io_shell *sh, const struct qcow2_error *err)
{
	cli_report(sh->cli, sh->path, err);
	return -1;
}

int io_run_flush(struct io_shell *sh, const struct io_command *self, int argc,
		 char **argv)
{
	struct qcow2_error err;

	(void)self;
	(void)argc;
	(void)argv;
	return qcow2_flush(sh->img, &err) < 0 ? failed(sh, &err) : 0;
}

int io_run_length(struct io_shell *sh, const struct io_command *self, int argc,
		  char **argv)
{
	char text[IO_TEXT_MAX];

	(void)self;
	(void)argc;
	(void)argv;
	printf("%s\n", io_size_text((double)qcow2_size(sh->img), text));
	return 0;
}

int io_run_discard(struct io_shell *sh, const struct io_command *self, int argc,
		   char **argv)
{
	struct io_request r = io_request_make(IO_DISCARD, "discard");
	int c;

	IO_OPTIONS_BEGIN();
	while ((c = getopt(argc, argv, "Cq")) >= 0) {
		if (c == '?')
			return io_usage(self);
		r.machine |= c == 'C';
		r.quiet |= c == 'q';
	}
	if (optind != argc - 2)
		return io_usage(self);
	if (io_parse_range(argv + optind, &r, IO_LEN_MAX, "") < 0)
		return -1;
	return io_request_finish(sh, &r);
}

/* ------------------------------------------------------------------------- */
/* truncate                                                                  */

static int set_preallocation(const struct io_shell *sh, const char *name,
			     enum qcow2_preallocation *mode)
{
	static const char *const names[] = {
		[QCOW2_PREALLOC_OFF] = "off",
		[QCOW2_PREALLOC_METADATA] = "metadata",
		[QCOW2_PREALLOC_FALLOC] = "falloc",
		[QCOW2_PREALLOC_FULL] = "full",
	};

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(name, names[i]) == 0) {
			*mode = (enum qcow2_preallocation)i;
			return 0;
		}
	}
	cli_error(sh->cli, NULL, "Invalid preallocation mode '%s'", ESC(name));
	return -1;
}

int io_run_truncate(struct io_shell *sh, const struct io_command *self,
		    int argc, char **argv)
{
	struct qcow2_resize_opts opts = QCOW2_RESIZE_OPTS_INIT;
	struct qcow2_error err;
	uint64_t size;
	int c;

	opts.flags = QCOW2_RESIZE_SHRINK;
	IO_OPTIONS_BEGIN();
	while ((c = getopt(argc, argv, "m:")) >= 0) {
		if (c == '?')
			return io_usage(self);
		if (set_preallocation(sh, optarg, &opts.preallocation) < 0)
			return -1;
	}
	if (optind >= argc)
		return io_usage(self);
	if (io_parse_size(argv[optind], &size) < 0)
		return -1;
	io_queue_drain(sh);
	if (qcow2_resize(sh->img, size, &opts, &err) < 0)
		return failed(sh, &err);
	return 0;
}

/* ------------------------------------------------------------------------- */
/* info                                                                      */

/* The state of a virtual machine begins where the L1 entries of the disk
 * end. */
static uint64_t state_offset(const struct qcow2_info *info, uint64_t size)
{
	uint64_t entry = info->extended_l2 ? 16 : 8;
	uint64_t covered = info->cluster_size * (info->cluster_size / entry);

	return (size / covered + (size % covered != 0)) * covered;
}

int io_run_info(struct io_shell *sh, const struct io_command *self, int argc,
		char **argv)
{
	struct layer layer = { .img = sh->img, .path = sh->path };
	char cluster[IO_TEXT_MAX], state[IO_TEXT_MAX];
	struct qcow2_error err;
	uint64_t state_off = 0;
	bool raw;

	(void)self;
	(void)argc;
	(void)argv;
	layer.info.struct_size = sizeof(layer.info);
	if (qcow2_get_info(sh->img, 0, &layer.info, &err) < 0)
		return failed(sh, &err);
	raw = layer.info.format == QCOW2_FORMAT_RAW;
	if (!raw)
		state_off = state_offset(&layer.info, qcow2_size(sh->img));
	printf("format name: %s\ncluster size: %s\nvm state offset: %s\n",
	       format_name(layer.info.format),
	       io_size_text(layer.info.cluster_size, cluster),
	       io_size_text((double)state_off, state));
	layer.luks.struct_size = sizeof(layer.luks);
	layer.has_luks = layer.info.encryption == QCOW2_ENCRYPTION_LUKS &&
			 qcow2_get_luks(sh->img, &layer.luks, NULL) == 0;
	if (!raw)
		info_print_outline(&layer);
	return 0;
}

/* ------------------------------------------------------------------------- */
/* Allocation in the image itself                                            */

/* A raw image has all there is. */
static int next_extent(struct io_shell *sh, uint64_t off, uint64_t end,
		       bool *has, uint64_t *len)
{
	struct qcow2_extent x;
	struct qcow2_error err;

	if (qcow2_map(sh->img, end - off, off, QCOW2_MAP_TOP_ONLY, &x, &err) <
	    0)
		return failed(sh, &err);
	*has = x.flags & QCOW2_EXTENT_PRESENT;
	*len = x.len;
	return 0;
}

int io_run_alloc(struct io_shell *sh, const struct io_command *self, int argc,
		 char **argv)
{
	uint64_t off, len, end, total = qcow2_size(sh->img);
	uint64_t count = SECTOR_BYTES, sum = 0;
	char text[IO_TEXT_MAX];
	bool has;

	(void)self;
	if (io_parse_size(argv[1], &off) < 0 ||
	    (argc > 2 && io_parse_size(argv[2], &count) < 0))
		return -1;
	end = off < total ? off : total;
	end += count < total - end ? count : total - end;
	for (uint64_t at = off; at < end; at += len) {
		if (next_extent(sh, at, end, &has, &len) < 0)
			return -1;
		sum += has ? len : 0;
	}
	printf("%" PRIu64 "/%" PRIu64 " bytes allocated at offset %s\n", sum,
	       off < end ? end - off : 0, io_size_text((double)off, text));
	return 0;
}

static void print_run(uint64_t off, uint64_t len, bool has)
{
	char length[IO_TEXT_MAX], offset[IO_TEXT_MAX];

	if (len == 0)
		return;
	printf("%s (0x%" PRIx64 ") bytes %s allocated at offset %s (0x%" PRIx64
	       ")\n",
	       io_size_text((double)len, length), len, has ? "   " : "not",
	       io_size_text((double)off, offset), off);
}

int io_run_map(struct io_shell *sh, const struct io_command *self, int argc,
	       char **argv)
{
	uint64_t end = qcow2_size(sh->img), begin = 0, len;
	bool has, before = false;

	(void)self;
	(void)argc;
	(void)argv;
	for (uint64_t at = 0; at < end; at += len) {
		if (next_extent(sh, at, end, &has, &len) < 0)
			return -1;
		if (has != before) {
			print_run(begin, at - begin, before);
			begin = at;
			before = has;
		}
	}
	print_run(begin, end - begin, before);
	return 0;
}
