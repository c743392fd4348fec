/*
 * One transfer.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "io/io.h"

/* -m moves buffers by this: transfers must not rely on alignment. */
#define MISALIGNMENT 16
#define BUFFER_ALIGN 4096

struct io_request io_request_make(enum io_kind kind, const char *verb)
{
	return (struct io_request){ .kind = kind, .verb = verb, .verify = -1 };
}

void io_request_release(struct io_request *r)
{
	free(r->iov);
	free(r->memory);
	r->iov = NULL;
	r->memory = NULL;
}

/* ------------------------------------------------------------------------- */
/* Buffers                                                                   */

static int no_memory(const struct io_shell *sh, struct io_request *r)
{
	cli_error(sh->cli, NULL, "%s: no memory for %" PRIu64 " bytes", r->verb,
		  r->len);
	io_request_release(r);
	return -1;
}

static bool is_state(const struct io_request *r)
{
	return r->kind == IO_READ_STATE || r->kind == IO_WRITE_STATE;
}

static bool fits(const struct io_shell *sh, const struct io_request *r)
{
	uint64_t size = qcow2_size(sh->img);

	return is_state(r) || (r->off <= size && r->len <= size - r->off);
}

/* Makes room for r->len bytes in @n pieces, which the caller must cut. */
static int allocate(const struct io_shell *sh, struct io_request *r, int n)
{
	size_t size = (size_t)r->len + MISALIGNMENT;

	/* A request that does not fit fails anyway, and needs no buffer. */
	if (!fits(sh, r))
		return 0;
	r->iov = calloc((size_t)n, sizeof(*r->iov));
	if (!r->iov ||
	    posix_memalign((void **)&r->memory, BUFFER_ALIGN, size) != 0)
		return no_memory(sh, r);
	r->iovcnt = n;
	r->iov[0].iov_base = r->memory + (sh->misalign ? MISALIGNMENT : 0);
	r->iov[0].iov_len = (size_t)r->len;
	return 0;
}

int io_request_fill(const struct io_shell *sh, struct io_request *r, int byte)
{
	if (allocate(sh, r, 1) < 0)
		return -1;
	if (r->iov)
		memset(r->iov[0].iov_base, byte, (size_t)r->len);
	return 0;
}

/* Reads as much of @path as there is room for; it must not be empty. */
static int read_file(const char *path, uint8_t *buf, size_t size, size_t *n)
{
	FILE *f = fopen(path, "re");

	errno = f ? 0 : errno;
	*n = f ? fread(buf, 1, size, f) : 0;
	if (!f || ferror(f)) {
		int error = errno;

		fflush(stdout);
		fprintf(stderr, "%s: %s\n", ESC(path), strerror(error));
		if (f)
			fclose(f);
		return -1;
	}
	fclose(f);
	if (*n > 0 || size == 0)
		return 0;
	fflush(stdout);
	fprintf(stderr, "%s: file is empty\n", ESC(path));
	return -1;
}

int io_request_fill_from(const struct io_shell *sh, struct io_request *r,
			 const char *path)
{
	uint8_t *buf, probe[1];
	size_t n, size = (size_t)r->len;

	if (allocate(sh, r, 1) < 0)
		return -1;
	buf = r->iov ? r->iov[0].iov_base : probe;
	if (read_file(path, buf, r->iov ? size : sizeof(probe), &n) < 0) {
		io_request_release(r);
		return -1;
	}
	for (size_t at = n; r->iov && at < size; at += n)
		memcpy(buf + at, buf, size - at < n ? size - at : n);
	return 0;
}

static int add_lengths(struct io_request *r, char *const *words, int n_words,
		       uint64_t *lens)
{
	r->len = 0;
	for (int i = 0; i < n_words; i++) {
		if (io_parse_size(words[i], &lens[i]) < 0)
			return -1;
		if (lens[i] > IO_LEN_MAX) {
			printf("Argument '%s' exceeds maximum size %" PRIu64
			       "\n",
			       ESC(words[i]), IO_LEN_MAX);
			return -1;
		}
		if (lens[i] > IO_LEN_MAX - r->len) {
			printf("The total number of bytes exceed the maximum "
			       "size %" PRIu64 "\n",
			       IO_LEN_MAX);
			return -1;
		}
		r->len += lens[i];
	}
	return 0;
}

static void cut(struct io_request *r, const uint64_t *lens)
{
	uint8_t *at = r->iov[0].iov_base;

	for (int i = 0; i < r->iovcnt; i++) {
		r->iov[i] = (struct iovec){ at, (size_t)lens[i] };
		at += lens[i];
	}
}

int io_request_split(const struct io_shell *sh, struct io_request *r,
		     char *const *words, int n_words, int byte)
{
	uint64_t *lens = calloc((size_t)n_words, sizeof(*lens));
	int rc;

	if (!lens)
		return no_memory(sh, r);
	rc = add_lengths(r, words, n_words, lens);
	if (rc == 0)
		rc = allocate(sh, r, n_words);
	if (rc == 0 && r->iov) {
		memset(r->iov[0].iov_base, byte, (size_t)r->len);
		cut(r, lens);
	}
	free(lens);
	return rc;
}

/* ------------------------------------------------------------------------- */
/* Doing it                                                                  */

static int change(struct io_shell *sh, struct io_request *r)
{
	unsigned fua = sh->settings.cache.sync_each ? QCOW2_FUA : 0;
	unsigned flags = r->flags | fua;

	switch (r->kind) {
	case IO_WRITE:
		return qcow2_pwritev(sh->img, r->iov, r->iovcnt, r->off, flags,
				     &r->err);
	case IO_WRITE_COMPRESSED:
		return qcow2_write_compressed(sh->img, r->iov[0].iov_base,
					      (size_t)r->len, r->off, flags,
					      &r->err);
	case IO_ZERO:
		if (!sh->settings.unmap)
			flags &= ~QCOW2_ZERO_MAY_UNMAP;
		return qcow2_zero(sh->img, r->len, r->off, flags, &r->err);
	case IO_DISCARD:
		if (!sh->settings.unmap)
			return 0;
		return qcow2_discard(sh->img, r->len, r->off, flags, &r->err);
	default:
		return -ENOTSUP;
	}
}

static int transfer(struct io_shell *sh, struct io_request *r)
{
	int rc;

	if (r->kind == IO_READ && sh->settings.copy_on_read)
		return io_copy_on_read(sh, r);
	if (r->kind == IO_READ)
		return qcow2_preadv(sh->img, r->iov, r->iovcnt, r->off, 0,
				    &r->err);
	pthread_rwlock_rdlock(&sh->copying);
	rc = io_guard_raw(sh, r);
	if (rc == 0)
		rc = change(sh, r);
	pthread_rwlock_unlock(&sh->copying);
	return rc;
}

/* Only the shell's own thread asks for this, with nothing under way. */
static int transfer_state(struct io_shell *sh, struct io_request *r)
{
	int rc;

	if (r->kind == IO_READ_STATE)
		return qcow2_vmstate_read(sh->img, r->iov[0].iov_base,
					  (size_t)r->len, r->off, &r->err);
	rc = qcow2_vmstate_write(sh->img, r->iov[0].iov_base, (size_t)r->len,
				 r->off, &r->err);
	if (rc == 0 && sh->settings.cache.sync_each)
		rc = qcow2_flush(sh->img, &r->err);
	return rc;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void io_request_run(struct io_shell *sh, struct io_request *r)
{
	double begin = now();

	r->err.defect = 0;
	if (!fits(sh, r))
		r->rc = -EIO;
	else if (is_state(r))
		r->rc = transfer_state(sh, r);
	else
		r->rc = transfer(sh, r);
	r->seconds = now() - begin;
}

/* ------------------------------------------------------------------------- */
/* Telling about it                                                          */

static const char *done_word(enum io_kind kind)
{
	switch (kind) {
	case IO_READ:
	case IO_READ_STATE:
		return "read";
	case IO_DISCARD:
		return "discard";
	default:
		return "wrote";
	}
}

static void print_time(double seconds, bool all)
{
	uint64_t hundredths = (uint64_t)(seconds * 100);
	unsigned part = (unsigned)(hundredths % 100);
	unsigned s = (unsigned)(hundredths / 100 % 60);
	unsigned m = (unsigned)(hundredths / 6000 % 60);
	uint64_t h = hundredths / 360000;

	if (all || h > 0)
		printf("%" PRIu64 ":%02u:%02u.%02u", h, m, s, part);
	else if (m > 0)
		printf("%u:%02u.%02u", m, s, part);
	else
		printf("%02u.%02u sec", s, part);
}

static void print_statistics(const struct io_request *r)
{
	double seconds = r->seconds > 1e-9 ? r->seconds : 1e-9;
	double rate = (double)r->len / seconds;
	char size[IO_TEXT_MAX], speed[IO_TEXT_MAX];

	if (r->machine) {
		printf("%" PRIu64 ",1,", r->len);
		print_time(r->seconds, true);
		printf(",%.3f,%.3f\n", rate, 1 / seconds);
		return;
	}
	printf("%s %" PRIu64 "/%" PRIu64 " bytes at offset %" PRIu64 "\n",
	       done_word(r->kind), r->len, r->len, r->off);
	printf("%s, 1 ops; ", io_size_text((double)r->len, size));
	print_time(r->seconds, false);
	printf(" (%s/sec and %.4f ops/sec)\n", io_size_text(rate, speed),
	       1 / seconds);
}

/* The pieces are one after the other in memory. */
static const uint8_t *bytes_of(const struct io_request *r)
{
	return r->iov[0].iov_base;
}

static int verify(const struct io_request *r)
{
	const uint8_t *b = bytes_of(r) + r->verify_off;
	uint64_t len = r->verify_len ? r->verify_len : r->len - r->verify_off;

	for (uint64_t i = 0; i < len; i++) {
		if (b[i] == r->verify)
			continue;
		printf("Pattern verification failed at offset %" PRIu64
		       ", %" PRIu64 " bytes\n",
		       r->off + r->verify_off, len);
		return -1;
	}
	return 0;
}

static void dump_row(const uint8_t *b, size_t n, uint64_t off)
{
	static const char digits[] = "0123456789abcdef";
	char hex[3 * 16 + 1], text[16 + 1];

	for (size_t i = 0; i < n; i++) {
		hex[3 * i] = ' ';
		hex[3 * i + 1] = digits[b[i] >> 4];
		hex[3 * i + 2] = digits[b[i] & 15];
		text[i] = isascii(b[i]) && isalnum(b[i]) ? (char)b[i] : '.';
	}
	hex[3 * n] = '\0';
	text[n] = '\0';
	printf("%08" PRIx64 ": %s  %s\n", off, hex, text);
}

static void dump(const struct io_request *r)
{
	const uint8_t *b = bytes_of(r);

	for (uint64_t at = 0; at < r->len; at += 16)
		dump_row(b + at, r->len - at < 16 ? (size_t)(r->len - at) : 16,
			 r->off + at);
}

static int report_failure(const struct io_shell *sh, const struct io_request *r)
{
	printf("%s failed: %s\n", r->verb, strerror(-r->rc));
	/* The number alone does not say that the image is damaged, nor how. */
	if (r->err.defect)
		cli_report(sh->cli, sh->path, &r->err);
	return -1;
}

int io_request_report(const struct io_shell *sh, const struct io_request *r)
{
	int rc = 0;

	if (r->rc < 0)
		return report_failure(sh, r);
	if (r->verify >= 0)
		rc = verify(r);
	if (r->quiet)
		return rc;
	if (r->dump)
		dump(r);
	print_statistics(r);
	return rc;
}

int io_request_finish(struct io_shell *sh, struct io_request *r)
{
	int rc;

	if (is_state(r))
		io_queue_drain(sh);
	io_request_run(sh, r);
	rc = io_request_report(sh, r);
	io_request_release(r);
	return rc;
}
