/*
 * Reads lines from a descriptor, without reading ahead of what is there; while
 * nothing is, it tells the results of transfers.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/io.h"

#define BUFFER_BYTES 4096

/* Waits until there is something to read. */
static void wait_for_input(const struct io_lines *l, struct io_shell *sh)
{
	struct pollfd fds[2] = { { l->fd, POLLIN, 0 },
				 { io_queue_fd(sh), POLLIN, 0 } };

	for (;;) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return;
		if (fds[0].revents)
			return;
		if (fds[1].revents) {
			io_queue_collect(sh);
			fflush(stdout);
		}
	}
}

/* Makes room behind l->end; returns false without memory. */
static bool make_room(struct io_lines *l)
{
	size_t size = l->size ? 2 * l->size : BUFFER_BYTES;
	char *buf;

	if (l->begin > 0) {
		memmove(l->buf, l->buf + l->begin, l->end - l->begin);
		l->end -= l->begin;
		l->begin = 0;
	}
	if (l->end + 1 < l->size)
		return true;
	buf = realloc(l->buf, size);
	if (!buf)
		return false;
	l->buf = buf;
	l->size = size;
	return true;
}

static bool read_more(struct io_lines *l, struct io_shell *sh)
{
	ssize_t n;

	if (l->at_end || !make_room(l))
		return false;
	do {
		wait_for_input(l, sh);
		n = read(l->fd, l->buf + l->end, l->size - l->end - 1);
	} while (n < 0 && (errno == EINTR || errno == EAGAIN));
	l->at_end = n <= 0;
	if (n > 0)
		l->end += (size_t)n;
	return true;
}

char *io_next_line(struct io_lines *l, struct io_shell *sh)
{
	char *line, *end = NULL;
	size_t seen = 0;

	while (!end) {
		size_t have = l->end - l->begin;

		if (have > seen)
			end = memchr(l->buf + l->begin + seen, '\n',
				     have - seen);
		seen = have;
		if (!end && !read_more(l, sh)) {
			if (seen == 0)
				return NULL;
			end = l->buf + l->end++; /* room was left for it */
		}
	}
	line = l->buf + l->begin;
	*end = '\0';
	l->begin = (size_t)(end - l->buf) + 1;
	return line;
}

void io_lines_release(struct io_lines *l)
{
	free(l->buf);
	l->buf = NULL;
}
