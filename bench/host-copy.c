/*
 * Measures the time that the host takes for the bytes alone: threads copy a
 * file, or write a pattern to a new one, in pieces that they take in turn.  No
 * program that moves the bytes with read and write can be faster.
 */
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { N_THREADS_MAX = 64, ALIGNMENT = 4096, PATTERN = 0xa5 };

struct copy {
	int source; /* -1: the pattern */
	int target;
	uint64_t size_bytes;
	uint64_t piece_bytes;
	unsigned n_threads;
	_Atomic uint64_t next; /* offset of the next piece */
	_Atomic bool failed;
};

static bool one_piece(struct copy *c, void *buf, uint64_t off)
{
	size_t len = c->piece_bytes;

	if (len > c->size_bytes - off)
		len = c->size_bytes - off;
	if (c->source >= 0 &&
	    pread(c->source, buf, len, (off_t)off) != (ssize_t)len)
		return false;
	return pwrite(c->target, buf, len, (off_t)off) == (ssize_t)len;
}

static void *work(void *opaque)
{
	struct copy *c = opaque;
	void *buf;
	uint64_t off;

	if (posix_memalign(&buf, ALIGNMENT, c->piece_bytes)) {
		c->failed = true;
		return NULL;
	}
	memset(buf, PATTERN, c->piece_bytes);
	while ((off = atomic_fetch_add(&c->next, c->piece_bytes)) <
		       c->size_bytes &&
	       !c->failed)
		if (!one_piece(c, buf, off))
			c->failed = true;
	free(buf);
	return NULL;
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void run(struct copy *c)
{
	pthread_t threads[N_THREADS_MAX];
	double start = seconds();
	unsigned n = 0;

	while (n + 1 < c->n_threads &&
	       pthread_create(&threads[n], NULL, work, c) == 0)
		n++;
	work(c);
	while (n)
		pthread_join(threads[--n], NULL);
	printf("Run completed in %.6f seconds.\n", seconds() - start);
}

static bool open_files(struct copy *c, const char *source, const char *target)
{
	struct stat st;

	c->source = source ? open(source, O_RDONLY) : -1;
	if (source && (c->source < 0 || fstat(c->source, &st) < 0))
		return false;
	if (source)
		c->size_bytes = (uint64_t)st.st_size;
	c->target = open(target, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	return c->target >= 0 &&
	       ftruncate(c->target, (off_t)c->size_bytes) == 0;
}

static int usage(void)
{
	fputs("usage: host-copy [-j THREADS] [-s PIECE] [-b BYTES] [SOURCE] "
	      "TARGET\n",
	      stderr);
	return 2;
}

int main(int argc, char **argv)
{
	struct copy c = { .piece_bytes = 512 * 1024, .n_threads = 2 };
	int opt;

	while ((opt = getopt(argc, argv, "j:s:b:")) != -1) {
		uint64_t value = optarg ? strtoull(optarg, NULL, 0) : 0;

		switch (opt) {
		case 'j':
			c.n_threads = (unsigned)value;
			break;
		case 's':
			c.piece_bytes = value;
			break;
		case 'b':
			c.size_bytes = value;
			break;
		default:
			return usage();
		}
	}
	if (argc - optind < 1 || argc - optind > 2 || !c.piece_bytes ||
	    !c.n_threads || c.n_threads > N_THREADS_MAX)
		return usage();
	if (!open_files(&c, argc - optind == 2 ? argv[optind] : NULL,
			argv[argc - 1])) {
		perror(argv[argc - 1]);
		return 1;
	}
	run(&c);
	return c.failed;
}
