/*
 * Creating and converting, while every allocation, thread and system call fails
 * once.
 *
 * Each job writes an image at a path.  After any failure the path has its
 * former contents, or the complete new image; nothing lies beside it; and no
 * memory is left behind.
 */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crash/cowstore.h"
#include "crash/model.h"
#include "faults/wrap_alloc.h"
#include "faults/wrap_syscalls.h"
#include "store/store.h"

enum {
	SOURCE_SECTORS = 900,
	DISK_BYTES = SOURCE_SECTORS * MODEL_SECTOR,
	NTH_MAX = 100000,
	VIOLATIONS_MAX = 5,
};

#define OLD_CONTENTS "what stood there before"
#define VALUE_SOURCE 0x5u
#define VALUE_BELOW 0x6u

/* ---- Jobs ---------------------------------------------------------------- */

struct job {
	const char *name;
	bool creates; /* else it converts */
	bool to_raw;
	unsigned n_threads;
	uint32_t convert_flags;
	bool backing;
	struct qcow2_create_opts create;
};

#define CREATE(...)                                                          \
	{                                                                    \
		.struct_size = sizeof(struct qcow2_create_opts), __VA_ARGS__ \
	}
#define SIZE .virtual_size = DISK_BYTES

static const struct job jobs[] = {
	{ "create", .creates = true, .create = CREATE(SIZE) },
	{ "create-small", .creates = true,
	  .create = CREATE(SIZE, .cluster_size = 512, .refcount_bits = 64) },
	{ "create-v2", .creates = true, .create = CREATE(SIZE, .version = 2) },
	{ "create-metadata", .creates = true,
	  .create = CREATE(SIZE, .preallocation = QCOW2_PREALLOC_METADATA) },
	{ "create-falloc", .creates = true,
	  .create = CREATE(SIZE, .preallocation = QCOW2_PREALLOC_FALLOC) },
	{ "create-full", .creates = true,
	  .create = CREATE(SIZE, .preallocation = QCOW2_PREALLOC_FULL) },
	{ "create-data-file", .creates = true,
	  .create = CREATE(SIZE, .data_file = "data") },
	{ "convert", .n_threads = 1, .create = CREATE(.version = 3) },
	{ "convert-2-threads", .n_threads = 2,
	  .create = CREATE(.cluster_size = 4096) },
	{ "convert-small", .n_threads = 1,
	  .create = CREATE(.cluster_size = 512, .refcount_bits = 64) },
	{ "convert-extended", .n_threads = 2,
	  .create = CREATE(.flags = QCOW2_CREATE_EXTENDED_L2) },
	{ "convert-compressed", .n_threads = 1,
	  .convert_flags = QCOW2_CONVERT_COMPRESS,
	  .create = CREATE(.cluster_size = 4096) },
	{ "convert-zstd", .n_threads = 2,
	  .convert_flags = QCOW2_CONVERT_COMPRESS,
	  .create = CREATE(.compression = QCOW2_COMPRESSION_ZSTD) },
	{ "convert-data-file", .n_threads = 2,
	  .create = CREATE(.data_file = "data") },
	{ "convert-backing", .n_threads = 1, .backing = true,
	  .create = CREATE(.cluster_size = 4096, .backing_file = "below",
			   .backing_format = "qcow2") },
	{ "convert-raw", .n_threads = 2, .to_raw = true,
	  .convert_flags = QCOW2_CONVERT_NO_REFLINK },
};

enum { N_JOBS = sizeof(jobs) / sizeof(jobs[0]) };

/* ---- Sources of conversions ---------------------------------------------- */

struct world {
	char dir[64];
	char path[96];
	struct qcow2_store *source;
	struct qcow2_store *below;
	uint8_t *contents; /* of the source */
};

static void must(int rc, const char *what, const struct qcow2_error *err)
{
	if (rc == 0)
		return;
	fprintf(stderr, "faults: %s: %s\n", what, err->message);
	abort();
}

static void write_part(struct qcow2_image *img, uint8_t *disk, uint32_t first,
		       uint32_t n, uint32_t value)
{
	struct qcow2_error err = { 0 };

	for (uint32_t i = first; i < first + n; i++)
		value_write(disk + (size_t)i * MODEL_SECTOR, i, value);
	must(qcow2_pwrite(img, disk + (size_t)first * MODEL_SECTOR,
			  (size_t)n * MODEL_SECTOR,
			  (uint64_t)first * MODEL_SECTOR, 0, &err),
	     "filling a disk", &err);
}

static struct qcow2_store *new_disk(void)
{
	struct qcow2_create_opts opts = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_store *store = cow_new();
	struct qcow2_error err = { 0 };

	opts.virtual_size = DISK_BYTES;
	opts.cluster_size = 4096;
	must(qcow2_create_store(store, NULL, &opts, &err), "a disk", &err);
	return store;
}

static struct qcow2_image *open_disk(struct qcow2_store *store, bool writable)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_store *quiet;
	struct qcow2_error err = { 0 };
	struct qcow2_image *img;

	opts.flags = writable ? QCOW2_OPEN_RDWR : 0;
	must(wrap_alloc_store(store, &quiet), "a store", &err);
	must(qcow2_open_store(quiet, &opts, &img, &err), "a disk", &err);
	store_unref(quiet);
	return img;
}

static void world_init(struct world *w)
{
	uint8_t *below = calloc(1, DISK_BYTES);
	const char *tmp = getenv("TMPDIR");
	struct qcow2_image *img;

	snprintf(w->dir, sizeof(w->dir), "%.40s/faultsXXXXXX",
		 tmp ? tmp : "/tmp");
	w->contents = calloc(1, DISK_BYTES);
	assert(below && w->contents);
	must(mkdtemp(w->dir) ? 0 : -errno, "a directory",
	     &(struct qcow2_error){ .message = "mkdtemp" });
	snprintf(w->path, sizeof(w->path), "%s/target", w->dir);
	w->source = new_disk();
	w->below = new_disk();
	img = open_disk(w->below, true);
	write_part(img, below, 40, 200, VALUE_BELOW);
	qcow2_close(img, NULL);
	img = open_disk(w->source, true);
	write_part(img, w->contents, 0, 100, VALUE_SOURCE);
	write_part(img, w->contents, 300, 9, VALUE_SOURCE);
	write_part(img, w->contents, SOURCE_SECTORS - 130, 130, VALUE_SOURCE);
	qcow2_close(img, NULL);
	free(below);
}

static void world_release(struct world *w)
{
	store_unref(w->source);
	store_unref(w->below);
	free(w->contents);
	rmdir(w->dir);
}

/* ---- Judging ------------------------------------------------------------- */

static void remove_all(const struct world *w)
{
	DIR *dir = opendir(w->dir);
	struct dirent *e;

	assert(dir);
	while ((e = readdir(dir)))
		if (e->d_name[0] != '.' || strlen(e->d_name) > 2)
			unlinkat(dirfd(dir), e->d_name, 0);
	closedir(dir);
}

/* Returns whether only the target and its data file are there. */
static bool is_tidy(const struct world *w)
{
	DIR *dir = opendir(w->dir);
	bool tidy = true;
	struct dirent *e;

	assert(dir);
	while ((e = readdir(dir)))
		tidy &= !strstr(e->d_name, ".tmp");
	closedir(dir);
	return tidy;
}

static int open_below(void *opaque, const struct qcow2_reference *ref,
		      struct qcow2_store **out, struct qcow2_error *err)
{
	const struct world *w = opaque;
	char path[128];

	if (ref->kind == QCOW2_REFERENCE_BACKING) {
		*out = store_ref(w->below);
		return 0;
	}
	snprintf(path, sizeof(path), "%s/%s", w->dir, ref->name);
	return qcow2_store_open_file(path, 0, out, err);
}

static int open_target(const struct world *w, const struct job *job,
		       struct qcow2_image **img, struct qcow2_error *err)
{
	struct qcow2_gate gate = QCOW2_GATE_INIT;
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;

	gate.open = open_below;
	gate.opaque = (void *)(uintptr_t)w;
	opts.gate = &gate;
	if (job->to_raw)
		opts.format = QCOW2_FORMAT_RAW;
	return qcow2_open_path(w->path, &opts, img, err);
}

static const char *check_target(const struct world *w)
{
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	struct qcow2_check_result r = { .struct_size = sizeof(r) };

	if (qcow2_check_path(w->path, &opts, &r, NULL) < 0)
		return "the target cannot be checked";
	return r.corruptions || r.check_errors || r.leaks
		       ? "the target is not sound"
		       : NULL;
}

/* Returns NULL if a complete image stands there. */
static const char *judge_target(const struct world *w, const struct job *job)
{
	uint8_t *disk = malloc(DISK_BYTES);
	struct qcow2_error err = { 0 };
	struct qcow2_image *img;
	const char *wrong = NULL;

	assert(disk);
	if (open_target(w, job, &img, &err) < 0) {
		free(disk);
		return "the target cannot be opened";
	}
	if (job->creates)
		memset(disk, 0, DISK_BYTES);
	else
		memcpy(disk, w->contents, DISK_BYTES);
	if (qcow2_size(img) != DISK_BYTES)
		wrong = "the target has another size";
	for (uint64_t at = 0; !wrong && at < DISK_BYTES; at += 4096) {
		uint8_t part[4096] = { 0 };
		size_t n = DISK_BYTES - at < 4096 ? DISK_BYTES - at : 4096;

		if (qcow2_pread(img, part, n, at, 0, &err) < 0 ||
		    memcmp(part, disk + at, n))
			wrong = "the target holds something else";
	}
	qcow2_close(img, NULL);
	free(disk);
	return wrong || job->to_raw ? wrong : check_target(w);
}

static bool holds_old(const struct world *w)
{
	char buf[sizeof(OLD_CONTENTS) + 1] = "";
	FILE *f = fopen(w->path, "r");

	if (!f)
		return false;
	if (!fgets(buf, sizeof(buf), f))
		buf[0] = '\0';
	fclose(f);
	return strcmp(buf, OLD_CONTENTS) == 0;
}

static void put_old(const struct world *w)
{
	FILE *f = fopen(w->path, "w");

	assert(f);
	fputs(OLD_CONTENTS, f);
	fclose(f);
}

static const char *judge(const struct world *w, const struct job *job,
			 bool was_there, bool fired, int rc,
			 const struct qcow2_error *err)
{
	bool there = access(w->path, F_OK) == 0;

	if (rc < 0 && !fired)
		return "fails without reason";
	if (rc < 0 && (err->code != rc || !err->message[0]))
		return "does not explain itself";
	if (!is_tidy(w))
		return "something lies beside the target";
	if (rc < 0 && !there)
		return was_there ? "the old target is gone" : NULL;
	if (rc < 0 && was_there && holds_old(w))
		return NULL;
	/* Making its name durable comes last. */
	return judge_target(w, job);
}

/* ---- Running ------------------------------------------------------------- */

static int run_job(const struct world *w, const struct job *job,
		   struct qcow2_image *src, struct qcow2_image *backing,
		   struct qcow2_error *err)
{
	struct qcow2_convert_opts opts = QCOW2_CONVERT_OPTS_INIT;

	if (job->creates)
		return qcow2_create_path(w->path, &job->create, err);
	opts.flags = job->convert_flags;
	opts.n_threads = job->n_threads;
	opts.backing = job->backing ? backing : NULL;
	if (job->to_raw)
		return qcow2_convert_raw(src, w->path, &opts, err);
	return qcow2_convert(src, w->path, &opts, &job->create, err);
}

static const struct plan {
	const char *name;
	bool alloc; /* else system calls */
	struct syscall_plan plan;
} plans[] = {
	{ "memory", .alloc = true, .plan = { .persistent = false } },
	{ "memory-for-ever", .alloc = true, .plan = { .persistent = true } },
	{ "eio", .plan = { .calls = CALL_ALL, .error = EIO } },
	{ "enospc",
	  .plan = { .calls = CALL_WRITE | CALL_TRUNCATE | CALL_ALLOCATE,
		    .error = ENOSPC,
		    .persistent = true } },
	{ "short-transfers", .plan = { .most = 1000, .n_eintr = 1 } },
};

enum { N_PLANS = sizeof(plans) / sizeof(plans[0]) };

static void arm(const struct plan *p, uint64_t nth)
{
	struct syscall_plan calls = p->plan;

	calls.nth = nth;
	if (p->alloc)
		wrap_alloc_arm(nth, p->plan.persistent);
	else
		wrap_syscalls_arm(&calls);
}

static void disarm(void)
{
	wrap_alloc_arm(0, false);
	wrap_syscalls_arm(&(struct syscall_plan){ 0 });
}

/* NULL, or the defect that was found; *fired says whether call number @nth
 * came. */
static const char *run_once(const struct world *w, const struct job *job,
			    const struct plan *p, uint64_t nth, bool *fired)
{
	struct qcow2_error err = { 0 };
	bool was_there = nth % 2;
	uint64_t live = wrap_alloc_live();
	struct qcow2_image *src = open_disk(w->source, false);
	struct qcow2_image *backing = open_disk(w->below, false);
	const char *wrong;
	int rc;

	if (was_there)
		put_old(w);
	arm(p, nth);
	rc = run_job(w, job, src, backing, &err);
	*fired = wrap_alloc_fired() || wrap_syscalls_fired();
	disarm();
	qcow2_close(src, NULL);
	qcow2_close(backing, NULL);
	wrong = judge(w, job, was_there, *fired, rc, &err);
	remove_all(w);
	if (!wrong && wrap_alloc_live() != live)
		wrong = "memory is left behind";
	if (wrong && rc < 0)
		printf("%s\n", err.message);
	return wrong;
}

static bool run_plan(const struct world *w, const struct job *job,
		     const struct plan *p, uint64_t *n_faults)
{
	bool fired = true;

	for (uint64_t nth = 1; fired; nth++) {
		const char *wrong = run_once(w, job, p, nth, &fired);

		*n_faults += fired;
		if (nth > NTH_MAX)
			wrong = "it never ends";
		if (!wrong)
			continue;
		printf("VIOLATION: %s, %s at %" PRIu64 ": %s\n", job->name,
		       p->name, nth, wrong);
		return false;
	}
	return true;
}

/* An argument "I/N": that part of the jobs only. */
int main(int argc, char **argv)
{
	unsigned part = 0, n_parts = 1, violations = 0;
	uint64_t n_faults = 0;
	struct world w;

	if (argc > 1 && sscanf(argv[1], "%u/%u", &part, &n_parts) != 2)
		return 2;
	disarm();
	world_init(&w);
	for (unsigned i = part; i < N_JOBS; i += n_parts)
		for (unsigned p = 0; p < N_PLANS; p++)
			if (violations < VIOLATIONS_MAX)
				violations += !run_plan(&w, &jobs[i], &plans[p],
							&n_faults);
	world_release(&w);
	printf("%" PRIu64 " faults, %u violations\n", n_faults, violations);
	return violations ? 1 : 0;
}
