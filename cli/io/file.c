/*
 * The disk of the shell: opened, opened otherwise, closed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/io.h"
#include "open.h"

static const struct cache_mode writeback = { .name = "writeback" };

void io_settings_init(struct io_settings *s)
{
	memset(s, 0, sizeof(*s));
	s->cache = writeback;
	s->discard = QCOW2_DISCARD_REQUEST | QCOW2_DISCARD_SNAPSHOT;
	s->unmap = true;
}

int io_set_cache(const struct cli *cli, struct io_settings *s, const char *name)
{
	const struct cache_mode *mode = cache_mode_by_name(name);

	if (!mode) {
		cli_error(cli, NULL, "Invalid cache option: %s", ESC(name));
		return -1;
	}
	s->cache = *mode;
	return 0;
}

int io_set_discard(const struct cli *cli, struct io_settings *s,
		   const char *name)
{
	bool unmap = strcmp(name, "unmap") == 0 || strcmp(name, "on") == 0;

	if (!unmap && strcmp(name, "ignore") != 0 && strcmp(name, "off") != 0) {
		cli_error(cli, NULL, "Invalid discard option: %s", ESC(name));
		return -1;
	}
	s->discard &= ~(QCOW2_DISCARD_REQUEST | QCOW2_DISCARD_SNAPSHOT);
	s->unmap = unmap;
	if (unmap)
		s->discard |= QCOW2_DISCARD_REQUEST | QCOW2_DISCARD_SNAPSHOT;
	return 0;
}

int io_check_aio(const struct cli *cli, const struct io_settings *s,
		 const char *mode)
{
	if (!mode || strcmp(mode, "threads") == 0 ||
	    strcmp(mode, "io_uring") == 0)
		return 0;
	if (strcmp(mode, "native") != 0) {
		cli_error(cli, NULL, "Invalid aio option: %s", ESC(mode));
		return -1;
	}
	if (s->cache.direct)
		return 0;
	cli_error(cli, NULL,
		  "aio=native goes with -t none and directsync "
		  "only");
	return -1;
}

/* ------------------------------------------------------------------------- */
/* Opening                                                                   */

static uint32_t open_flags(const struct io_settings *s)
{
	uint32_t flags = 0;

	if (!s->read_only)
		flags |= QCOW2_OPEN_RDWR;
	if (s->cache.direct)
		flags |= QCOW2_OPEN_DIRECT;
	if (s->cache.no_sync)
		flags |= QCOW2_OPEN_NO_FLUSH;
	if (s->no_backing)
		flags |= QCOW2_OPEN_NO_BACKING;
	if (s->force_share || s->no_lock)
		flags |= QCOW2_OPEN_NO_LOCK;
	else if (s->need_lock)
		flags |= QCOW2_OPEN_NEED_LOCK;
	return flags;
}

void io_open_opts(const struct io_shell *sh, const struct io_settings *s,
		  struct qcow2_gate *gate, struct qcow2_open_opts *opts)
{
	*gate = (struct qcow2_gate)QCOW2_GATE_INIT;
	*opts = (struct qcow2_open_opts)QCOW2_OPEN_OPTS_INIT;
	gate->mode = sh->common->external.mode;
	gate->allow_dirs = sh->common->external.allow_dirs;
	opts->gate = gate;
	opts->format = s->format;
	opts->backing_format = sh->common->backing_format;
	opts->budget.chain_depth = sh->common->max_depth;
	opts->flags = open_flags(s);
	if (sh->common->trust_refcounts && !s->read_only)
		opts->flags |= QCOW2_OPEN_TRUST_REFCOUNTS;
	opts->discard = s->discard;
	opts->l2_cache_bytes = s->l2_cache_bytes;
	opts->l2_slice_bytes = s->l2_slice_bytes;
	opts->refcount_cache_bytes = s->refcount_cache_bytes;
	opts->lazy_refcounts = s->lazy_refcounts;
	opts->overlap_check = s->overlap_check;
	opts->cache_clean_sec = s->cache_clean_sec;
}

int io_probe(struct io_shell *sh, const char *path, enum qcow2_format *format)
{
	static const char magic[4] = { 'Q', 'F', 'I', '\xfb' };
	struct qcow2_store *store;
	struct qcow2_error err;
	char head[sizeof(magic)];
	int rc = qcow2_store_open_file(path, 0, &store, &err);

	if (rc == 0) {
		rc = qcow2_store_pread(store, head, sizeof(head), 0, 0, &err);
		qcow2_store_unref(store);
	}
	if (rc < 0) {
		cli_report(sh->cli, path, &err);
		return -1;
	}
	*format = memcmp(head, magic, sizeof(head)) == 0 ? QCOW2_FORMAT_QCOW2
							 : QCOW2_FORMAT_RAW;
	return 0;
}

static int check_settings(const struct io_shell *sh,
			  const struct io_settings *s)
{
	const char *what = NULL;

	if (s->force_share && !s->read_only && !s->overlay)
		what = "-U is for reading only: say -r too";
	if (s->copy_on_read && s->read_only)
		what = "-C writes what it reads, which -r forbids";
	if (!what)
		return 0;
	cli_error(sh->cli, NULL, "%s", what);
	return -1;
}

/* A guest can write a qcow2 header into a raw disk, and the next probe would
 * follow it. */
static int warn_of_guess(const struct io_shell *sh, const char *path)
{
	if (sh->cli->as->extras) {
		cli_error(sh->cli, path,
			  "seems to be raw, and the format is not guessed for "
			  "writing");
		cli_hint(sh->cli, "say -f raw, or -r to read only");
		return -1;
	}
	cli_error(sh->cli, path,
		  "warning: taken for raw, as -f does not say; writing the "
		  "beginning of another format to its start will fail");
	return 0;
}

/* Chooses the format if @s leaves that to the file itself. */
static int choose_format(struct io_shell *sh, const char *path,
			 struct io_settings *s)
{
	sh->guessed_raw = false;
	if (s->format != QCOW2_FORMAT_DEFAULT)
		return 0;
	if (io_probe(sh, path, &s->format) < 0)
		return -1;
	if (s->format != QCOW2_FORMAT_RAW || s->read_only || s->overlay)
		return 0;
	sh->guessed_raw = true;
	return warn_of_guess(sh, path);
}

static int open_plain(struct io_shell *sh, const char *path,
		      const struct io_settings *s)
{
	struct qcow2_open_opts opts;
	struct qcow2_gate gate;
	struct qcow2_error err;

	io_open_opts(sh, s, &gate, &opts);
	if (qcow2_open_path(path, &opts, &sh->img, &err) == 0) {
		if (!s->read_only) {
			image_warn_unlocked(sh->cli, path, sh->img);
			image_warn_bitmaps(sh->cli, path, sh->img);
		}
		return 0;
	}
	sh->img = NULL;
	cli_report(sh->cli, path, &err);
	return -1;
}

int io_file_open(struct io_shell *sh, char *path, const struct io_settings *s)
{
	struct io_settings own = *s;
	int rc = check_settings(sh, s);

	if (rc == 0)
		rc = choose_format(sh, path, &own);
	if (rc == 0 && s->overlay)
		rc = io_overlay_open(sh, path, &own);
	else if (rc == 0)
		rc = open_plain(sh, path, &own);
	if (rc < 0) {
		free(path);
		return -1;
	}
	sh->path = path;
	sh->settings = own;
	return 0;
}

/* ------------------------------------------------------------------------- */
/* Closing, and both                                                         */

static int close_image(struct io_shell *sh)
{
	struct qcow2_error err;
	int rc;

	io_queue_drain(sh);
	source_tell_raised(sh->cli, sh->path, sh->img);
	io_stats_forget(sh);
	rc = qcow2_close(sh->img, &err);
	if (rc < 0)
		cli_report(sh->cli, sh->path, &err);
	sh->img = NULL;
	return rc < 0 ? -1 : 0;
}

static void forget_file(struct io_shell *sh)
{
	qcow2_store_unref(sh->overlay);
	sh->overlay = NULL;
	free(sh->path);
	sh->path = NULL;
}

int io_file_close(struct io_shell *sh)
{
	int rc;

	if (!sh->img)
		return 0;
	rc = close_image(sh);
	forget_file(sh);
	return rc;
}

int io_run_close(struct io_shell *sh, const struct io_command *self, int argc,
		 char **argv)
{
	(void)self;
	(void)argc;
	(void)argv;
	return io_file_close(sh);
}

static int open_again(struct io_shell *sh, const struct io_settings *s)
{
	return sh->overlay ? io_overlay_open(sh, sh->path, s)
			   : open_plain(sh, sh->path, s);
}

/* A second opening beside the first would meet its locks, so the first must
 * end; when the second fails, the disk is opened as it was. */
static int reopen(struct io_shell *sh, const struct io_settings *s)
{
	if (check_settings(sh, s) < 0)
		return -1;
	if (close_image(sh) == 0 && open_again(sh, s) == 0) {
		sh->settings = *s;
		return 0;
	}
	if (open_again(sh, &sh->settings) < 0)
		forget_file(sh);
	return -1;
}

struct reopen_options {
	bool read_only;
	bool writable;
	const char *cache;
	char *keys;
};

static int reopen_as(struct io_shell *sh, const struct reopen_options *o)
{
	struct io_settings s = sh->settings;

	if (o->cache && o->keys && strstr(o->keys, "cache.")) {
		cli_error(sh->cli, NULL,
			  "Cannot set both -c and the cache options");
		return -1;
	}
	if ((o->read_only || o->writable) && o->keys &&
	    strstr(o->keys, "read-only")) {
		cli_error(sh->cli, NULL,
			  "Cannot set both -r/-w and 'read-only'");
		return -1;
	}
	if (o->cache && io_set_cache(sh->cli, &s, o->cache) < 0)
		return -1;
	if (o->keys && io_settings_add(sh->cli, &s, o->keys, NULL) < 0)
		return -1;
	if (o->read_only || o->writable)
		s.read_only = o->read_only;
	return reopen(sh, &s);
}

int io_run_reopen(struct io_shell *sh, const struct io_command *self, int argc,
		  char **argv)
{
	struct reopen_options o = { .cache = NULL };
	int c;

	IO_OPTIONS_BEGIN();
	while ((c = getopt(argc, argv, "c:o:rw")) >= 0) {
		if (c == '?')
			return io_usage(self);
		if ((c == 'r' || c == 'w') && (o.read_only || o.writable)) {
			cli_error(sh->cli, NULL,
				  "Only one -r/-w option may be given");
			return -1;
		}
		o.read_only |= c == 'r';
		o.writable |= c == 'w';
		if (c == 'c')
			o.cache = optarg;
		if (c == 'o')
			o.keys = optarg;
	}
	if (optind != argc)
		return io_usage(self);
	return reopen_as(sh, &o);
}

/* ------------------------------------------------------------------------- */
/* open                                                                      */

struct open_options {
	const char *aio;
	char *path; /* from -o; allocated */
};

static int take(struct io_shell *sh, int c, struct io_settings *s,
		struct open_options *o)
{
	s->overlay |= c == 's';
	s->copy_on_read |= c == 'C';
	s->read_only |= c == 'r';
	s->force_share |= c == 'U';
	if (c == 'n' || c == 't')
		return io_set_cache(sh->cli, s, c == 'n' ? "none" : optarg);
	if (c == 'd')
		return io_set_discard(sh->cli, s, optarg);
	if (c == 'k' || c == 'i')
		o->aio = c == 'k' ? "native" : optarg;
	if (c == 'o')
		return io_settings_add(sh->cli, s, optarg, &o->path);
	return 0;
}

/* Returns the one name there is; takes o->path over. */
static char *choose_path(const struct io_shell *sh, struct open_options *o,
			 const char *operand)
{
	char *path = o->path;

	o->path = NULL;
	if (path && operand) {
		cli_error(sh->cli, operand, "a file is named by -o already");
		free(path);
		return NULL;
	}
	if (!path && !operand) {
		cli_error(sh->cli, "open", "no file is named");
		return NULL;
	}
	return path ? path : strdup(operand);
}

static int open_with(struct io_shell *sh, struct io_settings *s,
		     struct open_options *o, const char *operand)
{
	char *path;

	if (sh->img) {
		cli_error(sh->cli, NULL, "file open already, try 'help close'");
		return -1;
	}
	if (io_check_aio(sh->cli, s, o->aio) < 0)
		return -1;
	path = choose_path(sh, o, operand);
	return path ? io_file_open(sh, path, s) : -1;
}

int io_run_open(struct io_shell *sh, const struct io_command *self, int argc,
		char **argv)
{
	struct open_options o = { NULL, NULL };
	struct io_settings s;
	int c, rc = 0;

	io_settings_init(&s);
	IO_OPTIONS_BEGIN();
	while (rc == 0 && (c = getopt(argc, argv, "snCro:ki:t:d:U")) >= 0)
		rc = c == '?' ? io_usage(self) : take(sh, c, &s, &o);
	if (rc == 0 && optind < argc - 1)
		rc = io_usage(self);
	if (rc == 0)
		rc = open_with(sh, &s, &o, optind < argc ? argv[optind] : NULL);
	free(o.path);
	return rc;
}
