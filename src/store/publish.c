#include "store/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/options.h"
#include "base/text.h"
#include "store/file.h"
#include "store/file_impl.h"
#include "store/publish_impl.h"
#include "store/store.h"

#define MODE_NEW 0644     /* as QEMU has it; the umask takes from that */
#define MODE_PRIVATE 0600 /* until it is known who may read the old file */

static unsigned store_flags(const struct publish_opts *opts)
{
	return QCOW2_STORE_RDWR |
	       (opts->flags & PUBLISH_DIRECT ? QCOW2_STORE_DIRECT : 0) |
	       (opts->flags & PUBLISH_NO_FLUSH ? QCOW2_STORE_NO_FLUSH : 0);
}

static int publish_fail(int rc, const char *path, const char *what,
			struct qcow2_error *err)
{
	errno = -rc;
	return file_fail(path, what, err);
}

static int open_old(const char *path, const struct publish_opts *opts,
		    struct qcow2_store **out, struct store_hold *hold,
		    struct qcow2_error *err)
{
	int rc = store_file_open(path, store_flags(opts), out, err);

	return rc < 0 ? rc : store_hold(hold, *out, HOLD_WRITE, err);
}

/* Takes over @fd. */
static int use_temp(struct publish *p, int fd, const char *path,
		    const struct publish_opts *opts, struct qcow2_error *err)
{
	int rc =
		store_file_from_fd(fd, path, store_flags(opts), &p->store, err);

	if (rc < 0) {
		close(fd);
		return rc;
	}
	return store_hold(&p->hold, p->store, HOLD_WRITE, err);
}

static int begin_new(struct publish *p, const char *path,
		     const struct publish_opts *opts, struct qcow2_error *err)
{
	int fd;

	if (p->final_path[path_dir_len(p->final_path)] == '\0')
		return error_set(err, -EINVAL, "%s: is not the name of a file",
				 TEXT(path, strlen(path)));
	fd = temp_open(p->final_path, MODE_NEW, &p->temp_path);
	if (fd < 0)
		return publish_fail(fd, p->final_path,
				    "create a temporary file beside it", err);
	return use_temp(p, fd, path, opts, err);
}

/* Writes to the file that was opened to be replaced. */
static void stay_in_place(struct publish *p, int reason)
{
	p->in_place = (uint32_t)reason;
	p->store = p->replaced;
	p->hold = p->replaced_hold;
	p->replaced = NULL;
	p->replaced_hold = (struct store_hold){ 0 };
}

/* Uses the temporary file @fd, unless the old one is better kept. */
static int use_or_stay(struct publish *p, int fd, const char *path,
		       const struct stat *st, const struct publish_opts *opts,
		       struct qcow2_error *err)
{
	int reason = choose_with(fd, store_fd(p->replaced), st, opts);

	if (reason == QCOW2_IN_PLACE_NO)
		return use_temp(p, fd, path, opts, err);
	close(fd);
	if (p->temp_path)
		unlink(p->temp_path);
	free(p->temp_path);
	p->temp_path = NULL;
	if (reason < 0)
		return publish_fail(reason, path, "look at its attributes",
				    err);
	stay_in_place(p, reason);
	return 0;
}

static int begin_temp(struct publish *p, const char *path,
		      const struct stat *st, const struct publish_opts *opts,
		      struct qcow2_error *err)
{
	int fd = temp_open(p->final_path, MODE_PRIVATE, &p->temp_path);
	int reason;

	if (fd >= 0)
		return use_or_stay(p, fd, path, st, opts, err);
	reason = choose_without(fd, opts);
	if (reason < 0)
		return publish_fail(fd, p->final_path,
				    "create a temporary file beside it", err);
	stay_in_place(p, reason);
	return 0;
}

static int refuse_to_replace(const char *path, int reason,
			     struct qcow2_error *err)
{
	return error_set(err, -EINVAL, "%s: cannot be replaced: %s",
			 TEXT(path, strlen(path)), in_place_text(reason));
}

static int begin_over_file(struct publish *p, const char *path,
			   const struct publish_opts *opts,
			   struct qcow2_error *err)
{
	struct stat st;
	int reason;
	int rc = open_old(path, opts, &p->replaced, &p->replaced_hold, err);
	int fd;

	if (rc < 0)
		return rc;
	fd = store_fd(p->replaced);
	if (fstat(fd, &st) < 0)
		return file_fail(path, "look at the file", err);
	reason = choose_before(fd, &st, p->final_path, opts);
	if (reason < 0)
		return publish_fail(reason, path, "look at its directory", err);
	if (reason == QCOW2_IN_PLACE_NO)
		return begin_temp(p, path, &st, opts, err);
	if (opts->flags & PUBLISH_REPLACE)
		return refuse_to_replace(path, reason, err);
	stay_in_place(p, reason);
	return 0;
}

static int begin_over(struct publish *p, const char *path, bool is_fd,
		      const struct stat *st, const struct publish_opts *opts,
		      struct qcow2_error *err)
{
	int rc = file_check_kind(st, path, err);

	if (rc < 0)
		return rc;
	if (opts->flags & PUBLISH_EXCL)
		return error_set(err, -EEXIST, "%s: exists already",
				 TEXT(path, strlen(path)));
	if (is_fd)
		p->in_place = QCOW2_IN_PLACE_DESCRIPTOR;
	else if (S_ISBLK(st->st_mode))
		p->in_place = QCOW2_IN_PLACE_DEVICE;
	else
		return begin_over_file(p, path, opts, err);
	if (opts->flags & PUBLISH_REPLACE)
		return refuse_to_replace(path, (int)p->in_place, err);
	return open_old(path, opts, &p->store, &p->hold, err);
}

static int begin(struct publish *p, const char *path,
		 const struct publish_opts *opts, struct qcow2_error *err)
{
	struct stat st;
	bool is_fd;
	int rc = publish_resolve(path, &p->final_path, &is_fd, err);

	if (rc < 0)
		return rc;
	if (stat(p->final_path, &st) == 0)
		return begin_over(p, path, is_fd, &st, opts, err);
	return errno == ENOENT ? begin_new(p, path, opts, err)
			       : file_fail(path, "look at the file", err);
}

static int publish_tell(const struct publish *p, struct qcow2_placement *out,
			struct qcow2_error *err)
{
	struct qcow2_placement full = {
		.struct_size = sizeof(full),
		.how = p->in_place   ? QCOW2_PLACED_IN_PLACE
		       : p->replaced ? QCOW2_PLACED_REPLACED
				     : QCOW2_PLACED_NEW,
		.reason = p->in_place,
	};

	return out ? options_give(out, &full, sizeof(full), err) : 0;
}

void publish_validate(const struct publish *p)
{
	assert(p->store && p->final_path);
	/* Both are locked: the new file, and the one that it will replace. */
	assert(p->hold.store == p->store);
	assert(p->replaced_hold.store == p->replaced);
	assert(p->replaced != p->store);
	/* A file written in place is the old file and has its name. */
	assert(implies(p->in_place, !p->replaced && !p->temp_path));
}

int publish_begin(struct publish *p, const char *path,
		  const struct publish_opts *opts, struct qcow2_error *err)
{
	int rc;

	*p = (struct publish){ 0 };
	rc = begin(p, path, opts, err);
	if (rc == 0)
		rc = publish_tell(p, opts->placement, err);
	if (rc < 0)
		publish_abort(p);
	else
		publish_validate(p);
	return rc;
}

struct qcow2_store *publish_old(const struct publish *p)
{
	publish_validate(p);
	return p->in_place ? p->store : p->replaced;
}

/* The file is there: only what says that it may be lost again is an error.
 * Some file systems cannot sync a directory, and need not. */
static int sync_error(int rc)
{
	if (rc == 0 || errno == EIO || errno == ENOSPC || errno == EDQUOT)
		return rc == 0 ? 0 : -errno;
	return 0;
}

static int sync_fd(int fd)
{
	int rc;

	do {
		rc = fsync(fd);
	} while (rc < 0 && errno == EINTR);
	return sync_error(rc);
}

/* Makes the rename durable.  A directory that may be entered but not opened is
 * made durable with all of its file system. */
static int sync_dir(const struct publish *p)
{
	CLEANUP_FREE char *dir = path_dir(p->final_path);
	int rc;
	int fd;

	if (!dir)
		return -ENOMEM;
	do {
		fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	} while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return sync_error(syncfs(store_fd(p->store)));
	rc = sync_fd(fd);
	close(fd);
	return rc;
}

static int give_name(struct publish *p, bool sync, struct qcow2_error *err)
{
	int rc = temp_publish(store_fd(p->store), &p->temp_path, p->final_path,
			      p->replaced ? store_fd(p->replaced) : -1);

	if (rc == -EEXIST)
		return error_set(err, rc,
				 "%s: another file got this name meanwhile; it "
				 "stays, and the finished file is discarded",
				 TEXT(p->final_path, strlen(p->final_path)));
	if (rc < 0)
		return publish_fail(rc, p->final_path,
				    "give the finished file its name", err);
	rc = sync ? sync_dir(p) : 0;
	if (rc == 0)
		return 0;
	return publish_fail(rc, p->final_path, "make its new name durable",
			    err);
}

int publish_commit(struct publish *p, bool sync, struct store_hold *hold,
		   struct qcow2_error *err)
{
	int rc = store_check_here(p->store, err);

	publish_validate(p);
	if (rc == 0 && sync)
		rc = store_flush(p->store, err);
	if (rc == 0 && !p->in_place)
		rc = give_name(p, sync, err);
	if (hold)
		*hold = (struct store_hold){ 0 };
	if (rc == 0 && hold) {
		*hold = p->hold;
		p->hold = (struct store_hold){ 0 };
	}
	publish_abort(p);
	return rc;
}

void publish_abort(struct publish *p)
{
	/* A child has no business with its parent's files. */
	if (p->temp_path && (!p->store || store_is_here(p->store)))
		unlink(p->temp_path);
	store_release(&p->hold);
	store_release(&p->replaced_hold);
	store_unref(p->store);
	store_unref(p->replaced);
	free(p->temp_path);
	free(p->final_path);
	*p = (struct publish){ 0 };
}
