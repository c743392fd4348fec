#include "chain/gate.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/path.h"
#include "base/text.h"
#include "store/file.h"
#include "store/store.h"

static const char *kind_name(uint32_t kind)
{
	return kind == QCOW2_REFERENCE_BACKING ? "backing file" : "data file";
}

/* "img.qcow2: backing file "base.raw"", the subject of every message here. */
#define REF_FMT "%s: %s \"%s\""
#define REF_ARGS(ref)                                                     \
	TEXT((ref)->image, strlen((ref)->image)), kind_name((ref)->kind), \
		TEXT((ref)->name, strlen((ref)->name))

static int gate_refuse(const struct qcow2_reference *ref,
		       struct qcow2_error *err)
{
	return error_reason(err, -EPERM, QCOW2_REASON_REFERENCE,
			    REF_FMT " is not opened: the external reference "
				    "policy does not allow it",
			    REF_ARGS(ref));
}

/* ---- Paths --------------------------------------------------------------- */

static int open_dir(const char *path)
{
	return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* Opens @name so that no component, dot-dot or symlink leaves @dirfd. */
static int open_beneath(int dirfd, const char *name, uint64_t flags)
{
	struct open_how how = {
		.flags = flags | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	long fd = syscall(SYS_openat2, dirfd, name, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

int gate_dir_init(struct gate_dir *d, const char *path, struct qcow2_error *err)
{
	CLEANUP_FREE char *dir = path_dir(path);

	d->path = strdup(path);
	d->dirfd = dir ? open_dir(dir) : -1;
	if (d->path && d->dirfd >= 0)
		return 0;
	if (!d->path || !dir) {
		gate_dir_release(d);
		return error_nomem(err, "a path", strlen(path));
	}
	gate_dir_release(d);
	return error_set(err, -errno, "the directory of %s: %s",
			 TEXT(path, strlen(path)), error_words(errno));
}

void gate_dir_release(struct gate_dir *d)
{
	free(d->path);
	if (d->dirfd >= 0)
		close(d->dirfd);
	*d = GATE_DIR_NONE;
}

void gate_file_release(struct gate_file *f)
{
	store_unref(f->store);
	f->store = NULL;
	gate_dir_release(&f->dir);
}

/* ---- The modes ----------------------------------------------------------- */

static int check_regular(int fd, const struct qcow2_reference *ref,
			 struct qcow2_error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return error_set(err, -errno, REF_FMT ": %s", REF_ARGS(ref),
				 error_words(errno));
	if (S_ISREG(st.st_mode))
		return 0;
	return error_reason(err, -EPERM, QCOW2_REASON_REFERENCE,
			    REF_FMT " is not opened: it is not a regular file",
			    REF_ARGS(ref));
}

static int beneath_failed(int rc, const struct qcow2_reference *ref,
			  struct qcow2_error *err)
{
	if (rc == -EXDEV || rc == -ELOOP)
		return gate_refuse(ref, err);
	if (rc == -ENOSYS)
		return error_set(err, rc,
				 REF_FMT " is not opened: this kernel has no "
					 "openat2, which keeps references in "
					 "their directory",
				 REF_ARGS(ref));
	return error_set(err, rc, REF_FMT ": %s", REF_ARGS(ref),
			 error_words(-rc));
}

/* Opens @rest below @dirfd, in two steps so that the directory in which the
 * file was found can serve for its own references. */
static int open_two_steps(int dirfd, const char *rest, unsigned store_flags,
			  int *fd, int *in_dir)
{
	uint64_t access = store_flags & QCOW2_STORE_RDWR ? O_RDWR : O_RDONLY;
	CLEANUP_FREE char *dir = path_dir(rest);

	if (!dir)
		return -ENOMEM;
	*in_dir = open_beneath(dirfd, dir, O_PATH | O_DIRECTORY);
	if (*in_dir < 0)
		return *in_dir;
	*fd = open_beneath(*in_dir, rest + path_dir_len(rest),
			   access | O_NOCTTY | O_NONBLOCK);
	if (*fd >= 0)
		return 0;
	close(*in_dir);
	*in_dir = -1;
	return *fd;
}

/* Opens @rest below @dirfd; takes @path, which is the whole of it, over. */
static int open_at(int dirfd, const char *rest, char *path,
		   const struct gate_request *r, struct gate_file *out,
		   struct qcow2_error *err)
{
	int fd = -1;
	int rc;

	out->dir = (struct gate_dir){ path, -1 };
	if (!path)
		return error_nomem(err, "a path", strlen(rest));
	rc = open_two_steps(dirfd, rest, r->store_flags, &fd, &out->dir.dirfd);
	if (rc < 0) {
		gate_dir_release(&out->dir);
		return beneath_failed(rc, r->ref, err);
	}
	rc = check_regular(fd, r->ref, err);
	if (rc == 0)
		rc = store_file_from_fd(fd, path, r->store_flags, &out->store,
					err);
	if (rc < 0) {
		close(fd);
		gate_dir_release(&out->dir);
	}
	return rc;
}

static int open_in_dir(const struct gate_request *r, struct gate_file *out,
		       struct qcow2_error *err)
{
	const char *name = r->ref->name;

	if (name[0] == '/' || r->from->dirfd < 0)
		return gate_refuse(r->ref, err);
	return open_at(r->from->dirfd, name, path_join(r->from->path, name), r,
		       out, err);
}

/* Returns the rest of @path below @dir, both real paths; NULL if it is not
 * below. */
static const char *below(const char *dir, const char *path)
{
	size_t n = strlen(dir);

	if (n && dir[n - 1] == '/')
		n--;
	if (strncmp(dir, path, n) != 0 || path[n] != '/')
		return NULL;
	return path + n + 1;
}

/* The path with its directory part made real, so that prefixes mean
 * something; the last component stays as it is. */
static char *real_dir_path(const char *path)
{
	CLEANUP_FREE char *dir = path_dir(path);
	CLEANUP_FREE char *real = dir ? realpath(dir, NULL) : NULL;
	char *out;

	if (!real || asprintf(&out, "%s/%s", strcmp(real, "/") ? real : "",
			      path + path_dir_len(path)) < 0)
		return NULL;
	return out;
}

/* 1 when @path was below @allowed and *rc tells how opening it went. */
static int try_allowed(const char *allowed, const char *path,
		       const struct gate_request *r, struct gate_file *out,
		       int *rc, struct qcow2_error *err)
{
	CLEANUP_FREE char *dir = realpath(allowed, NULL);
	const char *rest = dir ? below(dir, path) : NULL;
	int dirfd = rest ? open_dir(dir) : -1;

	if (dirfd < 0)
		return 0;
	*rc = open_at(dirfd, rest, strdup(path), r, out, err);
	close(dirfd);
	return 1;
}

/* Whether the name of @r leads anywhere: from nowhere, only absolute ones
 * do. */
static bool is_path(const struct gate_request *r)
{
	return r->ref->name[0] == '/' || r->from->path;
}

static char *join_request(const struct gate_request *r)
{
	return path_join(r->from->path ? r->from->path : "", r->ref->name);
}

static int open_allowed(const struct qcow2_gate *gate,
			const struct gate_request *r, struct gate_file *out,
			struct qcow2_error *err)
{
	CLEANUP_FREE char *joined = NULL;
	CLEANUP_FREE char *path = NULL;
	int rc = open_in_dir(r, out, err);

	if (rc == 0 || !is_path(r))
		return rc;
	joined = join_request(r);
	path = joined ? real_dir_path(joined) : NULL;
	for (size_t i = 0; path && gate->allow_dirs && gate->allow_dirs[i]; i++)
		if (try_allowed(gate->allow_dirs[i], path, r, out, &rc, err))
			return rc;
	return rc;
}

static int open_any(const struct gate_request *r, struct gate_file *out,
		    struct qcow2_error *err)
{
	CLEANUP_FREE char *path = NULL;
	int rc;

	if (!is_path(r))
		return gate_refuse(r->ref, err);
	path = join_request(r);
	if (!path)
		return error_nomem(err, "a path", strlen(r->ref->name));
	rc = store_file_open(path, r->store_flags, &out->store, err);
	if (rc < 0)
		return error_prefix(err, rc, REF_FMT, REF_ARGS(r->ref));
	rc = gate_dir_init(&out->dir, path, err);
	if (rc < 0)
		gate_file_release(out);
	return rc;
}

static int open_by_mode(const struct qcow2_gate *gate,
			const struct gate_request *r, struct gate_file *out,
			struct qcow2_error *err)
{
	switch (gate ? gate->mode : QCOW2_EXTERNAL_NONE) {
	case QCOW2_EXTERNAL_DIR:
		return open_in_dir(r, out, err);
	case QCOW2_EXTERNAL_ALLOW:
		return open_allowed(gate, r, out, err);
	case QCOW2_EXTERNAL_ANY:
		return open_any(r, out, err);
	case QCOW2_EXTERNAL_NONE:
		break;
	}
	return gate_refuse(r->ref, err);
}

/* ---- The caller's own ---------------------------------------------------- */

/* The reference that a callback gets leads here. */
struct gate_origin {
	const struct gate_dir *from; /* of the image */
	struct gate_file found;      /* by the last gate_default() */
	struct qcow2_error why;      /* of the last that failed */
};

int gate_default(const struct qcow2_gate *gate,
		 const struct qcow2_reference *ref, struct qcow2_store **out,
		 struct qcow2_error *err)
{
	struct gate_origin *origin = ref->origin;
	struct gate_request r = { origin->from, ref, ref->flags };
	struct gate_file file = { NULL, GATE_DIR_NONE };
	int rc = open_by_mode(gate, &r, &file, &origin->why);

	if (rc < 0) {
		if (err)
			*err = origin->why;
		return rc;
	}
	gate_file_release(&origin->found);
	origin->found = file;
	*out = store_ref(file.store);
	return 0;
}

/* A file that gate_default() found has a directory, and other stores have
 * none. */
static void take_dir(struct gate_origin *origin, struct gate_file *out)
{
	if (origin->found.store == out->store) {
		out->dir = origin->found.dir;
		origin->found.dir = GATE_DIR_NONE;
	}
}

static int refused_by_caller(const struct qcow2_reference *ref, int rc,
			     const struct qcow2_error *own,
			     const struct qcow2_error *why,
			     struct qcow2_error *err)
{
	if (!own->message[0])
		return error_set(err, rc, REF_FMT " is refused by the caller",
				 REF_ARGS(ref));
	if (err)
		*err = *own;
	/* Ours say it already. */
	if (rc == why->code && strcmp(own->message, why->message) == 0)
		return rc;
	return error_prefix(err, rc, REF_FMT, REF_ARGS(ref));
}

static int ask_caller(const struct qcow2_gate *gate,
		      const struct qcow2_reference *ref,
		      struct gate_origin *origin, struct qcow2_store **out,
		      struct qcow2_error *err)
{
	struct qcow2_error own = { 0 };
	int rc = gate->open(gate->opaque, ref, out, &own);

	if (rc == 0 && *out)
		return 0;
	if (rc >= 0 || rc < -ERRNO_LIMIT) {
		*out = NULL;
		return error_set(err, -EIO,
				 REF_FMT ": the gate's open returned %d and %s "
					 "store, expected 0 and a store or a "
					 "negative errno",
				 REF_ARGS(ref), rc,
				 rc == 0 ? "no" : "perhaps a");
	}
	return refused_by_caller(ref, rc, &own, &origin->why, err);
}

static int open_by_caller(const struct qcow2_gate *gate,
			  const struct gate_request *r, struct gate_file *out,
			  struct qcow2_error *err)
{
	struct gate_origin origin = { .from = r->from };
	struct qcow2_reference full = *r->ref;
	int rc;

	origin.found = (struct gate_file){ NULL, GATE_DIR_NONE };
	full.struct_size = sizeof(full);
	full.flags = r->store_flags;
	full.origin = &origin;
	rc = ask_caller(gate, &full, &origin, &out->store, err);
	if (rc == 0)
		take_dir(&origin, out);
	gate_file_release(&origin.found);
	return rc;
}

int gate_open(const struct qcow2_gate *gate, const struct gate_request *r,
	      struct gate_file *out, struct qcow2_error *err)
{
	*out = (struct gate_file){ NULL, GATE_DIR_NONE };
	return gate && gate->open ? open_by_caller(gate, r, out, err)
				  : open_by_mode(gate, r, out, err);
}
