/*
 * swapped DIR/backing.qcow2: the backing file is exchanged for a symlink to a
 * file outside, again and again, while the image is opened.  A check of the
 * name followed by an open of the name would be fooled sooner or later.
 */
#include <assert.h>
#include <err.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <qcow2.h>

#define TRIES 3000

static atomic_bool stop;
static char base[4096], spare[4096], outside[4096];

static void write_file(const char *path, char c)
{
	char buf[65536];
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

	memset(buf, c, sizeof(buf));
	if (fd < 0 || write(fd, buf, sizeof(buf)) < (ssize_t)sizeof(buf))
		err(1, "%s", path);
	close(fd);
}

static void *exchange(void *arg)
{
	(void)arg;
	while (!atomic_load(&stop))
		if (renameat2(AT_FDCWD, base, AT_FDCWD, spare,
			      RENAME_EXCHANGE) < 0)
			err(77, "renameat2"); /* 77: skipped */
	return NULL;
}

/* The contents of a cluster that the image does not have: 'i', 'o', or '-' when
 * it does not open. */
static char first_byte(const char *path)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_gate gate = QCOW2_GATE_INIT;
	struct qcow2_image *img;
	char c;

	gate.mode = QCOW2_EXTERNAL_DIR;
	opts.gate = &gate;
	if (qcow2_open_path(path, &opts, &img, NULL) < 0)
		return '-';
	if (qcow2_pread(img, &c, 1, 10 * 4096, 0, NULL) < 0)
		c = '-';
	qcow2_close(img, NULL);
	return c;
}

int main(int argc, char **argv)
{
	int inside = 0, refused = 0;
	char dir[3000];
	pthread_t thread;

	if (argc != 2 || strlen(argv[1]) >= sizeof(dir))
		errx(64, "usage: swapped DIR/backing.qcow2");
	strcpy(dir, argv[1]);
	*strrchr(dir, '/') = '\0';
	snprintf(base, sizeof(base), "%s/base.raw", dir);
	snprintf(spare, sizeof(spare), "%s/spare.raw", dir);
	snprintf(outside, sizeof(outside), "%s-outside.raw", dir);
	write_file(base, 'i');
	write_file(outside, 'o');
	if (symlink(outside, spare) < 0)
		err(1, "%s", spare);
	assert(first_byte(argv[1]) == 'i');
	if (pthread_create(&thread, NULL, exchange, NULL) != 0)
		errx(1, "no thread");
	for (int i = 0; i < TRIES; i++) {
		char c = first_byte(argv[1]);

		assert(c == 'i' || c == '-');
		inside += c == 'i';
		refused += c == '-';
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	unlink(outside);
	printf("%d times inside, %d times refused\n", inside, refused);
	return 0;
}
