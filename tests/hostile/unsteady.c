/*
 * unsteady IMAGE: an image file that shrinks and grows while it is open, and a
 * process whose standard descriptors are closed.  IMAGE is changed.
 */
#include <assert.h>
#include <err.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "exercise.h"

static struct qcow2_image *opened(const char *path)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_error error;
	struct qcow2_image *img;

	/* Every lookup goes to the file. */
	opts.l2_cache_bytes = 1024;
	opts.l2_slice_bytes = 512;
	if (qcow2_open_path(path, &opts, &img, &error) < 0)
		errx(1, "%s: %s", path, error.message);
	return img;
}

static off_t size_of(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		err(1, "%s", path);
	return st.st_size;
}

/* Cut to each sector, then to far beyond the old end. */
static void cut_between_calls(const char *path)
{
	struct tally tally = { 0 };
	off_t size = size_of(path);

	for (off_t at = size; at >= 0; at -= 4096 - 512) {
		struct qcow2_image *img = opened(path);
		int fd = open(path, O_RDWR | O_CLOEXEC);
		char *saved = malloc((size_t)size);

		if (fd < 0 || !saved ||
		    pread(fd, saved, (size_t)size, 0) < size)
			err(1, "%s", path);
		assert(ftruncate(fd, at) == 0);
		exercise_image(img, &tally);
		assert(ftruncate(fd, (off_t)1 << 40) == 0);
		exercise_image(img, &tally);
		qcow2_close(img, NULL);
		assert(pwrite(fd, saved, (size_t)size, 0) == size);
		assert(ftruncate(fd, size) == 0);
		free(saved);
		close(fd);
	}
	printf("cut between calls: %lu calls, %lu failed\n", tally.calls,
	       tally.failed);
}

struct shaker {
	const char *path;
	off_t size;
	atomic_bool stop;
};

static void *shake(void *arg)
{
	struct shaker *s = arg;
	unsigned n = 0;

	while (!atomic_load(&s->stop)) {
		off_t to = n++ % 2 ? s->size : s->size / 2;

		/* Odd sizes too: a read may end within a sector. */
		if (truncate(s->path, to + (off_t)(n % 512)) < 0)
			err(1, "%s", s->path);
	}
	return NULL;
}

static void cut_during_calls(const char *path)
{
	struct shaker s = { .path = path, .size = size_of(path) };
	struct qcow2_image *img = opened(path);
	struct tally tally = { 0 };
	pthread_t thread;

	if (pthread_create(&thread, NULL, shake, &s) != 0)
		errx(1, "no thread");
	for (int i = 0; i < 200; i++)
		exercise_image(img, &tally);
	atomic_store(&s.stop, true);
	pthread_join(thread, NULL);
	qcow2_close(img, NULL);
	printf("cut during calls: %lu calls, %lu failed\n", tally.calls,
	       tally.failed);
}

static int same_file(int fd, const char *path)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && stat(path, &b) == 0 &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* A message printed to descriptor 2 must not land in an image. */
static int standard_descriptors(const char *path)
{
	struct qcow2_image *img;
	int saved[3], bad = 0;

	for (int mask = 1; mask < 8; mask++) {
		for (int fd = 0; fd < 3; fd++) {
			saved[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 10);
			if (mask >> fd & 1)
				close(fd);
		}
		img = opened(path);
		for (int fd = 0; fd < 3; fd++)
			if (mask >> fd & 1)
				bad |= same_file(fd, path) << fd;
		qcow2_close(img, NULL);
		for (int fd = 0; fd < 3; fd++) {
			if (saved[fd] >= 0)
				dup2(saved[fd], fd);
			close(saved[fd]);
		}
	}
	if (bad)
		fprintf(stderr, "the image was descriptor 0, 1 or 2: mask %d\n",
			bad);
	return bad;
}

int main(int argc, char **argv)
{
	if (argc != 2)
		errx(64, "usage: unsteady IMAGE");
	if (standard_descriptors(argv[1]))
		return 1;
	cut_between_calls(argv[1]);
	cut_during_calls(argv[1]);
	return 0;
}
