/*
 * The shell of `io`: commands that read and write one disk, a line each.
 *
 *	io.c        the subcommand: options, where lines come from
 *	lines.c     lines from a descriptor
 *	command.c   a line into words, words to a command; help
 *	file.c      open, reopen, close: the disk and how it is opened
 *	keys.c      -o of open and reopen, --image-opts
 *	overlay.c   -s: changes go to a temporary image
 *	request.c   one transfer: its buffers, doing it, telling about it
 *	guard.c     transfers that need care: copy on read, guessed raw
 *	options.c   options of transfers
 *	read.c      read, readv
 *	write.c     write, writev
 *	queue.c     transfers under way in threads of their own
 *	aio.c       aio_read, aio_write, aio_flush
 *	state.c     commands that look at the disk or change it as a whole
 *	stats.c     stats
 *	text.c      numbers from words and into text
 */
#ifndef CLI_IO_IO_H
#define CLI_IO_IO_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include <time.h>

#include "cli.h"
#include "options.h"

/* The longest transfer, in bytes. */
#define IO_LEN_MAX UINT64_C(2147483136)

/* ------------------------------------------------------------------------- */
/* The disk                                                                  */

/* The settings that a disk is opened with; `reopen` changes some of them. */
struct io_settings {
	enum qcow2_format format; /* DEFAULT: look */
	struct cache_mode cache;
	uint32_t discard; /* QCOW2_DISCARD_* */
	bool unmap;       /* false: discards do nothing */
	bool read_only;
	bool force_share;
	bool no_lock;
	bool need_lock;
	bool no_backing;
	bool overlay; /* changes are thrown away */
	bool copy_on_read;
	uint64_t l2_cache_bytes;
	uint64_t l2_slice_bytes;
	uint64_t refcount_cache_bytes;
	uint32_t lazy_refcounts; /* QCOW2_LAZY_* */
	uint32_t overlap_check;  /* QCOW2_OVERLAP_* */
	uint32_t cache_clean_sec;
};

struct io_queue;

struct io_shell {
	const struct cli *cli;
	const struct common *common;
	struct io_settings settings; /* of the disk that is open */
	struct qcow2_image *img;     /* NULL: none is open */
	char *path;                  /* of that disk, allocated */
	struct qcow2_store *overlay; /* with settings.overlay */
	bool guessed_raw;            /* nobody said that it is raw */
	bool misalign;               /* of buffers */
	bool quit;
	/* The counts of each layer at its last `stats -r`, from the top on. */
	struct qcow2_stats *stats; /* allocated */
	size_t n_stats;
	struct io_queue *queue; /* NULL until the first aio_ command */
	/* Reads that copy hold it alone; changes of the disk share it. */
	pthread_rwlock_t copying;
};

/* Sets what a file is opened with unless somebody says otherwise. */
void io_settings_init(struct io_settings *s);

/* Applies "key=value,..." to @s.  A file name among the pairs goes to *path
 * (allocated; NULL: there must be none).  Changes @text.  Returns 0, or -1
 * after saying what is wrong. */
int io_settings_add(const struct cli *cli, struct io_settings *s, char *text,
		    char **path);

/* Set and check values of options, for all who have them.  Return 0, or -1
 * after saying what is wrong. */
int io_set_cache(const struct cli *cli, struct io_settings *s,
		 const char *name);
int io_set_discard(const struct cli *cli, struct io_settings *s,
		   const char *name);
int io_check_aio(const struct cli *cli, const struct io_settings *s,
		 const char *mode);

/* Opens @path, which it takes over, as @s says.  Returns 0, or -1 after saying
 * why not. */
int io_file_open(struct io_shell *sh, char *path, const struct io_settings *s);

/* Waits for transfers under way, and closes the disk, if one is open.  Returns
 * 0, or -1 after saying what failed. */
int io_file_close(struct io_shell *sh);

/* Makes `stats` count from the opening again, for when the disk is closed. */
void io_stats_forget(struct io_shell *sh);

/* Makes a temporary image over @path.  Returns a store, or NULL after saying
 * why not. */
struct qcow2_store *io_overlay_new(struct io_shell *sh, const char *path,
				   const struct io_settings *s);
/* Opens @path below its temporary image, and makes that if there is none. */
int io_overlay_open(struct io_shell *sh, const char *path,
		    const struct io_settings *s);

/* Fills in @opts with what @s asks of the library, and @gate for it. */
void io_open_opts(const struct io_shell *sh, const struct io_settings *s,
		  struct qcow2_gate *gate, struct qcow2_open_opts *opts);

/* Finds the format of the file at @path by its first bytes. */
int io_probe(struct io_shell *sh, const char *path, enum qcow2_format *format);

/* ------------------------------------------------------------------------- */
/* Commands                                                                  */

#define IO_NO_FILE 0x1u  /* works without an open disk */
#define IO_WRITES 0x2u   /* wants it open for writing */
#define IO_COLLECTS 0x4u /* takes its time: aio results are told after it */

struct io_command {
	const char *name;
	const char *alias; /* NULL: none */
	int n_min;         /* words after the name */
	int n_max;         /* -1: any number */
	unsigned flags;    /* IO_* */
	const char *usage; /* of its arguments, NULL: none */
	const char *summary;
	const char *more; /* lines for `help NAME`, NULL: none */
	/* Returns 0, or -1 after explaining a failure. */
	int (*run)(struct io_shell *sh, const struct io_command *self, int argc,
		   char **argv);
};

/* The commands, sorted; ends with a NULL name. */
extern const struct io_command io_commands[];

/* Runs one line, and changes it.  Returns 0, or -1 when the line failed. */
int io_run_line(struct io_shell *sh, char *line);

/* Prints the usage line, for wrong arguments; returns -1. */
int io_usage(const struct io_command *self);

/* Makes getopt() start over, with a command's words. */
#define IO_OPTIONS_BEGIN() (optind = 0, opterr = 1)

typedef int io_run_fn(struct io_shell *sh, const struct io_command *self,
		      int argc, char **argv);
io_run_fn io_run_aio_flush, io_run_aio_read, io_run_aio_write, io_run_alloc,
	io_run_close, io_run_discard, io_run_flush, io_run_help, io_run_info,
	io_run_length, io_run_map, io_run_open, io_run_read, io_run_readv,
	io_run_reopen, io_run_stats, io_run_truncate, io_run_write,
	io_run_writev;

/* ------------------------------------------------------------------------- */
/* Transfers                                                                 */

enum io_kind {
	IO_READ,
	IO_WRITE,
	IO_WRITE_COMPRESSED,
	IO_ZERO,
	IO_DISCARD,
	IO_READ_STATE, /* of a virtual machine, beside the disk */
	IO_WRITE_STATE,
};

struct io_request {
	enum io_kind kind;
	const char *verb; /* "aio_write", for failures */
	uint64_t off;
	uint64_t len;
	unsigned flags;    /* QCOW2_* of the call */
	struct iovec *iov; /* NULL: nothing to transfer */
	int iovcnt;
	uint8_t *memory; /* buffer of the vector */

	/* The report. */
	bool quiet;
	bool machine; /* numbers with commas */
	bool dump;
	int verify; /* every byte is this; -1: anything */
	uint64_t verify_off;
	uint64_t verify_len;

	/* The outcome. */
	int rc;
	struct qcow2_error err;
	double seconds;
	struct io_request *next; /* in the queue */
};

/* An empty request. */
struct io_request io_request_make(enum io_kind kind, const char *verb);
void io_request_release(struct io_request *r);

/* Gives @r one buffer, r->len bytes of @byte; returns -1 without memory. */
int io_request_fill(const struct io_shell *sh, struct io_request *r, int byte);
/* Does the same with the contents of @path, again and again. */
int io_request_fill_from(const struct io_shell *sh, struct io_request *r,
			 const char *path);
/* Gives @r a buffer in as many pieces as @words, which are their lengths;
 * r->len is their sum.  Returns -1 after saying what is wrong. */
int io_request_split(const struct io_shell *sh, struct io_request *r,
		     char *const *words, int n_words, int byte);

/* The options of one transfer, as far as the request itself has no place for
 * them. */
struct transfer_options {
	bool state;       /* -b: of a virtual machine */
	bool compress;    /* -c */
	bool no_fallback; /* -n */
	bool unmap;       /* -u */
	bool zero;        /* -z */
	bool has_byte;    /* -P */
	bool has_part;    /* -s or -l of a read */
	bool has_len;     /* -l */
	int byte;         /* value that fills buffers */
	const char *path; /* -s of a write; NULL: not given */
	uint64_t part_off;
	uint64_t part_len;
};

/* Reads options with getopt() and @letters, by r->kind, into @o and @r.
 * Returns 0, 1 when the command has nothing more to do, or -1 after saying what
 * is wrong. */
int io_take_options(const struct io_command *self, const char *letters,
		    struct transfer_options *o, struct io_request *r, int argc,
		    char **argv);
/* Reads the words behind the options: an offset, and lengths for
 * io_request_split(). */
int io_take_pieces(const struct io_shell *sh, const struct io_command *self,
		   const struct transfer_options *o, struct io_request *r,
		   int argc, char **argv);

/* Does the transfer; only r->rc, r->err and r->seconds change in @r (and the
 * buffers).  Many threads may be in here. */
void io_request_run(struct io_shell *sh, struct io_request *r);
/* Reports @r; returns -1 when it failed or read the wrong bytes, else 0. */
int io_request_report(const struct io_shell *sh, const struct io_request *r);
/* Does both, and releases @r. */
int io_request_finish(struct io_shell *sh, struct io_request *r);

/* Returns -EPERM for a write that makes a disk that was taken for raw look like
 * something else. */
int io_guard_raw(struct io_shell *sh, const struct io_request *r);
/* Copies what the top image does not have into it, then reads. */
int io_copy_on_read(struct io_shell *sh, struct io_request *r);

/* ------------------------------------------------------------------------- */
/* The queue                                                                 */

/* Takes over @r, which is allocated.  Returns -1 without resources, after
 * saying so. */
int io_queue_add(struct io_shell *sh, struct io_request *r);
/* Reports the transfers that are done so far. */
void io_queue_collect(struct io_shell *sh);
/* Waits for all transfers, and reports them. */
void io_queue_drain(struct io_shell *sh);
/* Returns a descriptor that is readable when there is something to collect; -1
 * before the first request. */
int io_queue_fd(const struct io_shell *sh);
void io_queue_free(struct io_shell *sh);

/* ------------------------------------------------------------------------- */
/* Text                                                                      */

#define IO_TEXT_MAX 48
/* Writes "1.5 KiB" with three digits after the point if they are not zero. */
const char *io_size_text(double bytes, char *buf);

/* Reads a number of bytes.  Returns -1 after saying what is wrong. */
int io_parse_size(const char *word, uint64_t *value);
/* Reads a byte.  Returns -1 after saying what is wrong. */
int io_parse_pattern(const char *word, int *byte);
/* Reads the offset, and the length up to @max; @unless is said of the limit. */
int io_parse_range(char *const *words, struct io_request *r, uint64_t max,
		   const char *unless);
/* Checks that both are multiples of 512, for commands that want that. */
int io_check_sectors(const struct io_request *r);

/* ------------------------------------------------------------------------- */
/* Lines                                                                     */

struct io_lines {
	int fd;
	bool at_end;
	char *buf;
	size_t begin; /* of what has not been taken */
	size_t end;
	size_t size;
};

/* Returns the next line, without its end and valid until the next call; NULL at
 * the end or on failure.  Tells results while there is nothing to read. */
char *io_next_line(struct io_lines *l, struct io_shell *sh);
void io_lines_release(struct io_lines *l);

#endif
