#include "model/files.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "model/oracle.h"
#include "store/mem.h"
#include "store/store.h"

enum { COPY_BYTES = 256 * 1024, PATH_BYTES = 512, SIZE_FIELD = 24 };

const char *const file_names[N_FILES] = { "top", "data", "backing" };

static void path_of(const struct files *f, unsigned file, char *path)
{
	snprintf(path, PATH_BYTES, "%s/%s", f->dir, file_names[file]);
}

/* ---- Copying ------------------------------------------------------------- */

static bool all_zeros(const uint8_t *buf, uint64_t len)
{
	return buf[0] == 0 && memcmp(buf, buf + 1, len - 1) == 0;
}

static int copy_extent(struct qcow2_store *from, struct qcow2_store *to,
		       uint64_t len, uint64_t off, struct qcow2_error *err)
{
	CLEANUP_FREE uint8_t *buf = malloc(COPY_BYTES);
	int rc = buf ? 0 : -ENOMEM;

	while (rc == 0 && len) {
		uint64_t part = min_u64(len, COPY_BYTES);

		rc = store_pread(from, buf, part, off, 0, err);
		if (rc == 0 && !all_zeros(buf, part))
			rc = store_pwrite(to, buf, part, off, 0, err);
		len -= part;
		off += part;
	}
	return rc;
}

static int copy_store(struct qcow2_store *from, struct qcow2_store *to,
		      struct qcow2_error *err)
{
	uint64_t size = 0;
	uint64_t off = 0;
	int rc = store_size(from, &size, err);

	if (rc == 0)
		rc = store_truncate(to, size, err);
	while (rc == 0 && off < size) {
		uint64_t len = size - off;
		bool is_data;

		rc = store_extent(from, &len, off, &is_data, err);
		if (rc == 0 && is_data)
			rc = copy_extent(from, to, len, off, err);
		off += len;
	}
	return rc;
}

static int dump_one(struct files *f, unsigned file, struct qcow2_error *err)
{
	CLEANUP_STORE struct qcow2_store *to = NULL;
	char path[PATH_BYTES];
	int rc;

	path_of(f, file, path);
	rc = qcow2_store_open_file(path, QCOW2_STORE_RDWR | QCOW2_STORE_CREATE,
				   &to, err);
	return rc < 0 ? rc : copy_store(f->stores[file], to, err);
}

/* A store keeps its file locked, and qemu-img needs it unlocked. */
static void let_go(struct files *f)
{
	for (unsigned i = 0; i < FILE_BACKING; i++) {
		store_unref(f->stores[i]);
		f->stores[i] = NULL;
	}
}

int files_dump(struct files *f, struct qcow2_error *err)
{
	int rc = 0;

	for (unsigned i = 0; i < N_FILES && rc == 0; i++) {
		bool there = f->config->on_files && i != FILE_BACKING;

		if (f->stores[i] && !there)
			rc = dump_one(f, i, err);
	}
	if (f->config->on_files)
		let_go(f);
	return rc;
}

static int load_one(struct files *f, unsigned file, struct qcow2_error *err)
{
	CLEANUP_STORE struct qcow2_store *from = NULL;
	char path[PATH_BYTES];
	int rc;

	path_of(f, file, path);
	rc = qcow2_store_open_file(path, QCOW2_STORE_RDWR, &from, err);
	if (rc < 0)
		return rc;
	store_unref(f->stores[file]);
	f->stores[file] = NULL;
	if (f->config->on_files) {
		f->stores[file] = store_ref(from);
		return 0;
	}
	rc = store_mem_new(&f->stores[file], err);
	return rc < 0 ? rc : copy_store(from, f->stores[file], err);
}

int files_load(struct files *f, struct qcow2_error *err)
{
	int rc = load_one(f, FILE_TOP, err);

	if (rc == 0 && f->config->data)
		rc = load_one(f, FILE_DATA, err);
	return rc;
}

int files_freeze(struct files *f, struct qcow2_store *frozen[N_FILES],
		 struct qcow2_error *err)
{
	int rc = 0;

	for (unsigned i = 0; i < FILE_BACKING && rc == 0; i++) {
		if (f->stores[i])
			rc = store_mem_new(&frozen[i], err);
		if (rc == 0 && f->stores[i])
			rc = copy_store(f->stores[i], frozen[i], err);
	}
	return rc;
}

static int thaw_file(struct qcow2_store *file, struct qcow2_store *frozen,
		     struct qcow2_error *err)
{
	int rc = store_truncate(file, 0, err);

	return rc < 0 ? rc : copy_store(frozen, file, err);
}

int files_thaw(struct files *f, struct qcow2_store *frozen[N_FILES],
	       struct qcow2_error *err)
{
	int rc = 0;

	for (unsigned i = 0; i < FILE_BACKING; i++) {
		if (!frozen[i])
			continue;
		if (f->config->on_files) {
			int one = thaw_file(f->stores[i], frozen[i], err);

			rc = one < 0 ? one : rc;
			store_unref(frozen[i]);
		} else {
			store_unref(f->stores[i]);
			f->stores[i] = frozen[i];
		}
	}
	return rc;
}

/* ---- qemu-img ------------------------------------------------------------ */

static void exec_qemu(const struct files *f, const char *const *args, int out)
{
	char *argv[24] = { NULL };
	int n = 0;

	argv[n++] = strdup("qemu-img");
	while (*args && n < 23)
		argv[n++] = strdup(*args++);
	if (chdir(f->dir) == 0 && dup2(out, 1) == 1 && dup2(out, 2) == 2)
		execvp("qemu-img", argv);
	_exit(127);
}

static void read_all(int fd, char said[SAID_BYTES])
{
	char rest[256];
	size_t n = 0;
	ssize_t got = 1;

	while (got > 0) {
		size_t room = SAID_BYTES - 1 - n;

		got = read(fd, room ? said + n : rest,
			   room ? room : sizeof(rest));
		if (got > 0 && room)
			n += (size_t)got;
	}
	said[n] = '\0';
}

int files_qemu(const struct files *f, const char *const *args,
	       char said[SAID_BYTES])
{
	int pipe_fds[2];
	int status = -1;
	pid_t pid;

	said[0] = '\0';
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return 127;
	pid = fork();
	if (pid == 0)
		exec_qemu(f, args, pipe_fds[1]);
	close(pipe_fds[1]);
	if (pid > 0) {
		read_all(pipe_fds[0], said);
		waitpid(pid, &status, 0);
	}
	close(pipe_fds[0]);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 126;
}

static int must_qemu(const struct files *f, const char *const *args,
		     struct qcow2_error *err)
{
	char said[SAID_BYTES];
	int status = files_qemu(f, args, said);

	if (status == 0)
		return 0;
	snprintf(err->message, sizeof(err->message), "qemu-img %s: %d: %.180s",
		 args[0], status, said);
	err->code = -EINVAL;
	return -EINVAL;
}

/* ---- Making -------------------------------------------------------------- */

static struct qcow2_create_opts create_opts(const struct config *c)
{
	struct qcow2_create_opts o = QCOW2_CREATE_OPTS_INIT;

	o.virtual_size = c->size;
	o.version = c->version;
	o.cluster_size = c->cluster;
	o.refcount_bits = c->refcount_bits;
	o.compression = c->compression;
	o.preallocation = c->prealloc;
	if (c->extended_l2)
		o.flags |= QCOW2_CREATE_EXTENDED_L2;
	if (c->lazy)
		o.flags |= QCOW2_CREATE_LAZY_REFCOUNTS;
	if (c->data == DATA_FILE_RAW)
		o.flags |= QCOW2_CREATE_DATA_FILE_RAW;
	if (c->data)
		o.data_file = "data";
	if (c->backing) {
		o.backing_file = "backing";
		o.backing_format = c->backing == BACKING_RAW ? "raw" : "qcow2";
	}
	return o;
}

/* Sizes are rounded up to sectors when an image is made; the exact one is put
 * into the header by hand. */
static int set_exact_size(struct files *f, struct qcow2_error *err)
{
	uint8_t field[8];

	put_be64(field, f->config->size);
	return store_pwrite(f->stores[FILE_TOP], field, sizeof(field),
			    SIZE_FIELD, 0, err);
}

static int make_ours(struct files *f, struct qcow2_error *err)
{
	struct qcow2_create_opts opts = create_opts(f->config);
	int rc = qcow2_create_store(f->stores[FILE_TOP], f->stores[FILE_DATA],
				    &opts, err);

	return rc < 0 ? rc : set_exact_size(f, err);
}

static int make_qemu(struct files *f, struct qcow2_error *err)
{
	char options[256];
	char size[32];
	const char *args[] = { "create", "-q",    "-u",  "-f", "qcow2",
			       "-o",     options, "top", size, NULL };
	int rc;

	config_print(f->config, options, sizeof(options));
	snprintf(size, sizeof(size), "%" PRIu64, f->config->size);
	rc = must_qemu(f, args, err);
	return rc < 0 ? rc : files_load(f, err);
}

static int fill_base(const struct config *c, uint64_t size,
		     int (*put)(void *to, const void *buf, uint64_t len,
				uint64_t off, struct qcow2_error *err),
		     void *to, struct qcow2_error *err)
{
	int rc = 0;

	for (unsigned i = 0; i < c->n_windows && rc == 0; i++) {
		const struct window *w = &c->windows[i];
		uint64_t end = min_u64(w->off + w->len, size);
		CLEANUP_FREE uint8_t *buf = malloc(w->len);

		if (w->off >= end)
			continue;
		assert(buf);
		oracle_base(c, buf, end - w->off, w->off);
		rc = put(to, buf, end - w->off, w->off, err);
	}
	return rc;
}

static int put_store(void *to, const void *buf, uint64_t len, uint64_t off,
		     struct qcow2_error *err)
{
	return store_pwrite(to, buf, len, off, 0, err);
}

static int put_image(void *to, const void *buf, uint64_t len, uint64_t off,
		     struct qcow2_error *err)
{
	return qcow2_pwrite(to, buf, len, off, 0, err);
}

static int make_convert(struct files *f, struct qcow2_error *err)
{
	CLEANUP_STORE struct qcow2_store *raw = NULL;
	char options[256];
	char path[PATH_BYTES];
	const char *args[] = { "convert", "-q", "-c",    "-f",   "raw", "-O",
			       "qcow2",   "-o", options, "full", "top", NULL };
	int rc;

	snprintf(path, sizeof(path), "%s/full", f->dir);
	rc = qcow2_store_open_file(path, QCOW2_STORE_RDWR | QCOW2_STORE_CREATE,
				   &raw, err);
	if (rc == 0)
		rc = store_truncate(raw, f->config->size, err);
	if (rc == 0)
		rc = fill_base(f->config, f->config->size, put_store, raw, err);
	config_print(f->config, options, sizeof(options));
	if (rc == 0)
		rc = must_qemu(f, args, err);
	return rc < 0 ? rc : files_load(f, err);
}

static int make_backing(struct files *f, struct qcow2_error *err)
{
	const struct config *c = f->config;
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_store *store;
	struct qcow2_image *img;
	int rc = store_mem_new(&f->stores[FILE_BACKING], err);

	store = f->stores[FILE_BACKING];
	if (rc == 0 && c->backing == BACKING_RAW) {
		rc = store_truncate(store, c->backing_size, err);
		return rc < 0 ? rc
			      : fill_base(c, c->backing_size, put_store, store,
					  err);
	}
	create.virtual_size = c->backing_size;
	if (rc == 0)
		rc = qcow2_create_store(store, NULL, &create, err);
	open.flags = QCOW2_OPEN_RDWR;
	if (rc == 0)
		rc = qcow2_open_store(store, &open, &img, err);
	if (rc < 0)
		return rc;
	rc = fill_base(c, c->backing_size, put_image, img, err);
	return qcow2_close(img, err) ? -EIO : rc;
}

static int new_store(struct files *f, unsigned file, struct qcow2_error *err)
{
	char path[PATH_BYTES];

	path_of(f, file, path);
	if (!f->config->on_files)
		return store_mem_new(&f->stores[file], err);
	return qcow2_store_open_file(path,
				     QCOW2_STORE_RDWR | QCOW2_STORE_CREATE,
				     &f->stores[file], err);
}

int files_make(struct files *f, const struct config *c, const char *dir,
	       struct qcow2_error *err)
{
	int rc = 0;

	*f = (struct files){ .config = c, .dir = dir };
	if (c->backing)
		rc = make_backing(f, err);
	if (rc < 0 || c->maker == MAKER_QEMU)
		return rc < 0 ? rc : make_qemu(f, err);
	if (c->maker == MAKER_CONVERT)
		return make_convert(f, err);
	rc = new_store(f, FILE_TOP, err);
	if (rc == 0 && c->data)
		rc = new_store(f, FILE_DATA, err);
	return rc < 0 ? rc : make_ours(f, err);
}

void files_release(struct files *f)
{
	for (unsigned i = 0; i < N_FILES; i++)
		store_unref(f->stores[i]);
	memset(f, 0, sizeof(*f));
}

/* ---- Opening ------------------------------------------------------------- */

static int open_external(void *opaque, const struct qcow2_reference *ref,
			 struct qcow2_store **out, struct qcow2_error *err)
{
	struct files *f = opaque;
	bool backing = ref->kind == QCOW2_REFERENCE_BACKING;

	(void)err;
	*out = store_ref(f->stores[backing ? FILE_BACKING : FILE_DATA]);
	return 0;
}

int files_open(struct files *f, bool writable, const char *snapshot,
	       struct qcow2_image **out, struct qcow2_error *err)
{
	const struct config *c = f->config;
	struct qcow2_gate gate = QCOW2_GATE_INIT;
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;

	gate.open = open_external;
	gate.opaque = f;
	opts.gate = &gate;
	/* Readers look at flushed data, beside the writer. */
	opts.flags = writable ? QCOW2_OPEN_RDWR : QCOW2_OPEN_NO_LOCK;
	opts.snapshot = snapshot;
	opts.discard = c->discard;
	opts.l2_cache_bytes = c->l2_cache_bytes;
	opts.l2_slice_bytes = c->l2_slice_bytes;
	opts.refcount_cache_bytes = c->refcount_cache_bytes;
	return qcow2_open_store(f->stores[FILE_TOP], &opts, out, err);
}
