#include "faults/wrap_alloc.h"

#include <errno.h>
#include <libdeflate.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "stores/hook.h"

static atomic_uint_fast64_t n_seen;
static atomic_uint_fast64_t n_fired;
static atomic_uint_fast64_t first;
static atomic_uint_fast64_t n_live;
static atomic_bool for_ever;
static _Thread_local unsigned paused;

void wrap_alloc_arm(uint64_t nth, bool persistent)
{
	first = nth;
	for_ever = persistent;
	n_seen = 0;
	n_fired = 0;
}

uint64_t wrap_alloc_fired(void)
{
	return n_fired;
}

uint64_t wrap_alloc_live(void)
{
	return n_live;
}

void wrap_alloc_pause(void)
{
	paused++;
}

void wrap_alloc_resume(void)
{
	paused--;
}

/* Counts an allocation and says whether it is one that fails. */
static bool fails(void)
{
	uint64_t n;

	if (paused || !first)
		return false;
	n = atomic_fetch_add(&n_seen, 1) + 1;
	if (n < first || (n > first && !for_ever))
		return false;
	atomic_fetch_add(&n_fired, 1);
	errno = ENOMEM;
	return true;
}

static void *note(void *p)
{
	if (p)
		atomic_fetch_add(&n_live, 1);
	return p;
}

/* ---- The C library ------------------------------------------------------- */

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);
int __wrap_asprintf(char **out, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
char *__wrap_realpath(const char *path, char *out);
void __wrap_free(void *p);

char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
char *__real_realpath(const char *path, char *out);

/* malloc() and its kin are the real functions here, by their names. */
void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : note(malloc(size));
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : note(calloc(n, size));
}

void *__wrap_realloc(void *p, size_t size)
{
	void *moved;

	if (fails())
		return NULL;
	moved = realloc(p, size);
	return p ? moved : note(moved);
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
	return fails() ? NULL : note(aligned_alloc(align, size));
}

char *__wrap_strdup(const char *s)
{
	return fails() ? NULL : note(__real_strdup(s));
}

char *__wrap_strndup(const char *s, size_t n)
{
	return fails() ? NULL : note(__real_strndup(s, n));
}

char *__wrap_realpath(const char *path, char *out)
{
	char *p = fails() ? NULL : __real_realpath(path, out);

	return out ? p : note(p);
}

/* *out is undefined after a failure. */
int __wrap_asprintf(char **out, const char *fmt, ...)
{
	va_list args;
	int n = -1;

	*out = (char *)1;
	if (fails())
		return n;
	va_start(args, fmt);
	n = vasprintf(out, fmt, args);
	va_end(args);
	if (n >= 0)
		note(*out);
	return n;
}

void __wrap_free(void *p)
{
	if (p)
		atomic_fetch_sub(&n_live, 1);
	free(p);
}

/* ---- Codecs and threads -------------------------------------------------- */

struct libdeflate_decompressor *__wrap_libdeflate_alloc_decompressor(void);
struct libdeflate_decompressor *__real_libdeflate_alloc_decompressor(void);
ZSTD_CCtx *__wrap_ZSTD_createCCtx(void);
ZSTD_CCtx *__real_ZSTD_createCCtx(void);
ZSTD_DCtx *__wrap_ZSTD_createDCtx(void);
ZSTD_DCtx *__real_ZSTD_createDCtx(void);
int __wrap_deflateInit2_(z_streamp s, int level, int method, int bits,
			 int memory, int strategy, const char *version,
			 int size);
int __real_deflateInit2_(z_streamp s, int level, int method, int bits,
			 int memory, int strategy, const char *version,
			 int size);
int __wrap_inflateInit2_(z_streamp s, int bits, const char *version, int size);
int __real_inflateInit2_(z_streamp s, int bits, const char *version, int size);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
			  void *(*start)(void *), void *arg);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
			  void *(*start)(void *), void *arg);

struct libdeflate_decompressor *__wrap_libdeflate_alloc_decompressor(void)
{
	return fails() ? NULL : __real_libdeflate_alloc_decompressor();
}

ZSTD_CCtx *__wrap_ZSTD_createCCtx(void)
{
	return fails() ? NULL : __real_ZSTD_createCCtx();
}

ZSTD_DCtx *__wrap_ZSTD_createDCtx(void)
{
	return fails() ? NULL : __real_ZSTD_createDCtx();
}

int __wrap_deflateInit2_(z_streamp s, int level, int method, int bits,
			 int memory, int strategy, const char *version,
			 int size)
{
	if (fails())
		return Z_MEM_ERROR;
	return __real_deflateInit2_(s, level, method, bits, memory, strategy,
				    version, size);
}

int __wrap_inflateInit2_(z_streamp s, int bits, const char *version, int size)
{
	return fails() ? Z_MEM_ERROR
		       : __real_inflateInit2_(s, bits, version, size);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
			  void *(*start)(void *), void *arg)
{
	return fails() ? EAGAIN
		       : __real_pthread_create(thread, attr, start, arg);
}

/* ---- The store ----------------------------------------------------------- */

static struct hook_answer enter(void *opaque, const struct store_call *call)
{
	(void)opaque, (void)call;
	wrap_alloc_pause();
	return (struct hook_answer){ .what = HOOK_PASS };
}

static void leave(void *opaque, const struct store_call *call, void *token,
		  int rc)
{
	(void)opaque, (void)call, (void)token, (void)rc;
	wrap_alloc_resume();
}

int wrap_alloc_store(struct qcow2_store *inner, struct qcow2_store **out)
{
	struct hook hook = { .enter = enter, .leave = leave };
	int rc;

	wrap_alloc_pause();
	rc = hook_store_new(inner, &hook, out);
	wrap_alloc_resume();
	return rc;
}
