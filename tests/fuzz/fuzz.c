#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void fuzz_fail(const char *file, int line, const char *rule)
{
	fprintf(stderr, "%s:%d: broken: %s\n", file, line, rule);
	abort();
}

/* Mapped once and kept to the end of the program. */
static uint8_t *buffer_end(void)
{
	static uint8_t *end;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *p;

	if (end)
		return end;
	p = mmap(NULL, FUZZ_INPUT_MAX + page, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED || mprotect(p + FUZZ_INPUT_MAX, page, PROT_NONE))
		abort();
	end = p + FUZZ_INPUT_MAX;
	return end;
}

const uint8_t *fuzz_place(struct reader *r, size_t *len)
{
	size_t left = reader_left(r);
	size_t n = left < FUZZ_INPUT_MAX ? left : FUZZ_INPUT_MAX;
	uint8_t *p = buffer_end() - n;

	if (n)
		memcpy(p, r->pos, n);
	*len = n;
	return p;
}
