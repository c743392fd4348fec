/*
 * Writes to an image through the library as `qemu-img bench -w` does: so many
 * requests of one size, the first at an offset, each other at a fixed step
 * behind the one before, modulo the size of the disk, with a flush after every
 * so many.  Several threads take the requests in turn.
 *
 * Prints the time from the first request to the end of the last.  The flush
 * after that is not in it, and not in qemu-img's either.
 */
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <qcow2.h>

enum { N_THREADS_MAX = 64, ALIGNMENT = 4096, PATTERN = 0xa5 };

struct load {
	struct qcow2_image *img;
	uint64_t size_bytes;
	uint64_t n_requests;
	uint64_t request_bytes;
	uint64_t first_off;
	uint64_t step;
	uint64_t flush_interval; /* 0: no flush between requests */
	unsigned n_threads;
	bool direct;
	void *buf;             /* data that every request writes */
	_Atomic uint64_t next; /* number of the next request */
	_Atomic bool failed;
};

static int one_request(struct load *l, uint64_t i, struct qcow2_error *err)
{
	uint64_t off = (l->first_off + i * l->step) % l->size_bytes;
	int rc = qcow2_pwrite(l->img, l->buf, l->request_bytes, off, 0, err);

	if (rc == 0 && l->flush_interval && (i + 1) % l->flush_interval == 0)
		rc = qcow2_flush(l->img, err);
	return rc;
}

static void *work(void *opaque)
{
	struct load *l = opaque;
	struct qcow2_error err;
	uint64_t i;

	while ((i = l->next++) < l->n_requests && !l->failed) {
		if (one_request(l, i, &err) == 0)
			continue;
		fprintf(stderr, "request %llu: %s\n", (unsigned long long)i,
			err.message);
		l->failed = true;
	}
	return NULL;
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void run(struct load *l)
{
	pthread_t threads[N_THREADS_MAX];
	double start = seconds();
	unsigned n = 0;

	while (n + 1 < l->n_threads &&
	       pthread_create(&threads[n], NULL, work, l) == 0)
		n++;
	if (n + 1 < l->n_threads)
		l->failed = true;
	work(l);
	while (n)
		pthread_join(threads[--n], NULL);
	printf("Run completed in %.6f seconds.\n", seconds() - start);
}

static int open_image(struct load *l, const char *path, struct qcow2_error *err)
{
	struct qcow2_gate gate = QCOW2_GATE_INIT;
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	int rc;

	gate.mode = QCOW2_EXTERNAL_DIR;
	opts.gate = &gate;
	opts.flags = QCOW2_OPEN_RDWR | (l->direct ? QCOW2_OPEN_DIRECT : 0);
	rc = qcow2_open_path(path, &opts, &l->img, err);
	if (rc == 0)
		l->size_bytes = qcow2_size(l->img);
	return rc;
}

static int usage(void)
{
	fputs("usage: guest-writes [-n] [-c COUNT] [-s BYTES] [-o OFFSET] "
	      "[-S STEP] [-j THREADS] [-f FLUSH_INTERVAL] IMAGE\n",
	      stderr);
	return 2;
}

static bool parse(struct load *l, int argc, char **argv)
{
	int c;

	*l = (struct load){ .n_requests = 75000,
			    .request_bytes = 4096,
			    .step = 4096,
			    .n_threads = 1 };
	while ((c = getopt(argc, argv, "nc:s:o:S:j:f:")) != -1) {
		uint64_t value = optarg ? strtoull(optarg, NULL, 0) : 0;

		switch (c) {
		case 'n':
			l->direct = true;
			break;
		case 'c':
			l->n_requests = value;
			break;
		case 's':
			l->request_bytes = value;
			break;
		case 'o':
			l->first_off = value;
			break;
		case 'S':
			l->step = value;
			break;
		case 'j':
			l->n_threads = (unsigned)value;
			break;
		case 'f':
			l->flush_interval = value;
			break;
		default:
			return false;
		}
	}
	return optind + 1 == argc && l->request_bytes && l->n_threads &&
	       l->n_threads <= N_THREADS_MAX;
}

int main(int argc, char **argv)
{
	struct qcow2_error err;
	struct load l;
	int rc;

	if (!parse(&l, argc, argv))
		return usage();
	if (posix_memalign(&l.buf, ALIGNMENT, l.request_bytes))
		return 1;
	memset(l.buf, PATTERN, l.request_bytes);
	rc = open_image(&l, argv[optind], &err);
	if (rc == 0) {
		run(&l);
		rc = qcow2_close(l.img, &err);
	}
	if (rc < 0)
		fprintf(stderr, "%s: %s\n", argv[optind], err.message);
	free(l.buf);
	return rc < 0 || l.failed;
}
