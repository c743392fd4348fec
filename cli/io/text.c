/*
 * Numbers of the shell, in its own way of writing them.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "io/io.h"
#include "size.h"

#define SECTOR_BYTES 512

const char *io_size_text(double bytes, char *buf)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB",
					     "TiB",   "PiB", "EiB" };
	size_t unit = 0;
	char *point;

	while (bytes >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
		bytes /= 1024;
		unit++;
	}
	snprintf(buf, IO_TEXT_MAX, "%.*f", unit ? 3 : 6, bytes);
	point = strchr(buf, '.');
	if (point && strspn(point + 1, "0") == strlen(point + 1))
		*point = '\0';
	snprintf(buf + strlen(buf), IO_TEXT_MAX - strlen(buf), " %s",
		 units[unit]);
	return buf;
}

int io_parse_size(const char *word, uint64_t *value)
{
	int rc = size_parse(word, value);

	if (rc == 0 && *value <= INT64_MAX)
		return 0;
	if (rc == -EINVAL)
		printf("Parsing error: non-numeric argument, or extraneous/"
		       "unrecognized suffix -- %s\n",
		       ESC(word));
	else
		printf("Parsing error: argument too large -- %s\n", ESC(word));
	return -1;
}

int io_parse_pattern(const char *word, int *byte)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(word, &end, 0);
	if (errno || end == word || *end || value < 0 || value > 0xff) {
		printf("%s is not a valid pattern byte\n", ESC(word));
		return -1;
	}
	*byte = (int)value;
	return 0;
}

int io_parse_range(char *const *words, struct io_request *r, uint64_t max,
		   const char *unless)
{
	if (io_parse_size(words[0], &r->off) < 0 ||
	    io_parse_size(words[1], &r->len) < 0)
		return -1;
	if (r->len <= max)
		return 0;
	printf("length cannot exceed %" PRIu64 "%s, given %s\n", max, unless,
	       ESC(words[1]));
	return -1;
}

int io_check_sectors(const struct io_request *r)
{
	if (r->off % SECTOR_BYTES) {
		printf("%" PRIu64 " is not a sector-aligned value for "
		       "'offset'\n",
		       r->off);
		return -1;
	}
	if (r->len % SECTOR_BYTES) {
		printf("%" PRIu64 " is not a sector-aligned value for "
		       "'count'\n",
		       r->len);
		return -1;
	}
	return 0;
}
