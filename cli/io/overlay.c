/*
 * -s: a temporary image over the disk takes the changes, and nobody else sees
 * it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/io.h"

/* Makes a file without a name. */
static int make_file(const struct io_shell *sh)
{
	const char *dir = getenv("TMPDIR");
	char *name;
	int fd;

	if (asprintf(&name, "%s/qcow2-io-XXXXXX", dir ? dir : "/var/tmp") < 0) {
		cli_error(sh->cli, NULL, "out of memory");
		return -1;
	}
	fd = mkostemp(name, O_CLOEXEC);
	if (fd < 0)
		cli_error(sh->cli, name, "cannot be made: %s", strerror(errno));
	else
		unlink(name);
	free(name);
	return fd;
}

static int make_image(struct qcow2_store *store, const char *path,
		      enum qcow2_format format, uint64_t size,
		      struct qcow2_error *err)
{
	struct qcow2_create_opts opts = QCOW2_CREATE_OPTS_INIT;

	opts.virtual_size = size;
	opts.flags = size ? 0 : QCOW2_CREATE_SIZE_ZERO;
	opts.backing_file = path;
	opts.backing_format = format_name(format);
	return qcow2_create_store(store, NULL, &opts, err);
}

static struct qcow2_store *new_store(struct io_shell *sh, const char *path,
				     enum qcow2_format format, uint64_t size)
{
	struct qcow2_store *store;
	struct qcow2_error err;
	int fd = make_file(sh);
	int rc;

	if (fd < 0)
		return NULL;
	rc = qcow2_store_open_fd(fd, "temporary image",
				 QCOW2_STORE_RDWR | QCOW2_STORE_NO_FLUSH,
				 &store, &err);
	if (rc < 0) {
		close(fd);
		cli_report(sh->cli, NULL, &err);
		return NULL;
	}
	if (make_image(store, path, format, size, &err) == 0)
		return store;
	cli_report(sh->cli, NULL, &err);
	qcow2_store_unref(store);
	return NULL;
}

/* Returns the directory of @path, which is absolute; allocated. */
static char *dir_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

/*
 * The overlay names its backing file by an absolute path, which needs a gate
 * that lets it through.  The caller's own gate has judged the names in the
 * images below it already, so it is enough to allow their directory.
 */
static int open_store(struct io_shell *sh, const char *path,
		      const struct io_settings *s)
{
	const char *dirs[ALLOW_DIRS_MAX + 2] = { NULL };
	char *dir = dir_of(path);
	struct qcow2_open_opts opts;
	struct qcow2_gate gate;
	struct qcow2_error err;
	size_t n = 0;
	int rc;

	if (!dir) {
		cli_error(sh->cli, NULL, "out of memory");
		return -1;
	}
	io_open_opts(sh, s, &gate, &opts);
	opts.format = QCOW2_FORMAT_QCOW2;
	for (; gate.allow_dirs[n]; n++)
		dirs[n] = gate.allow_dirs[n];
	dirs[n] = dir;
	gate.allow_dirs = dirs;
	if (gate.mode != QCOW2_EXTERNAL_ANY)
		gate.mode = QCOW2_EXTERNAL_ALLOW;
	rc = qcow2_open_store(sh->overlay, &opts, &sh->img, &err);
	free(dir);
	if (rc == 0)
		return 0;
	sh->img = NULL;
	cli_report(sh->cli, path, &err);
	return -1;
}

/* Opens the disk itself, for reading, by the rules that the caller chose. */
static struct qcow2_image *open_below(struct io_shell *sh, const char *path,
				      const struct io_settings *s)
{
	struct io_settings below = *s;
	struct qcow2_image *img;
	struct qcow2_open_opts opts;
	struct qcow2_gate gate;
	struct qcow2_error err;

	below.read_only = true;
	io_open_opts(sh, &below, &gate, &opts);
	if (qcow2_open_path(path, &opts, &img, &err) == 0)
		return img;
	cli_report(sh->cli, path, &err);
	return NULL;
}

int io_overlay_open(struct io_shell *sh, const char *path,
		    const struct io_settings *s)
{
	struct qcow2_image *below = open_below(sh, path, s);
	char *full = below ? realpath(path, NULL) : NULL;
	int rc = -1;

	if (below && !full)
		cli_error(sh->cli, path, "%s", strerror(errno));
	if (full && !sh->overlay)
		sh->overlay = new_store(sh, full, s->format, qcow2_size(below));
	if (full && sh->overlay)
		rc = open_store(sh, full, s);
	qcow2_close(below, NULL);
	free(full);
	if (rc < 0 && !sh->path) {
		qcow2_store_unref(sh->overlay);
		sh->overlay = NULL;
	}
	return rc;
}
