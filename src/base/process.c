#include "base/process.h"

#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

/* The smallest mapping there is takes a page of whatever size. */
#define MARK_BYTES 1

static unsigned char *make_page(void)
{
	unsigned char *page = mmap(NULL, MARK_BYTES, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return NULL;
	if (madvise(page, MARK_BYTES, MADV_WIPEONFORK) < 0) {
		munmap(page, MARK_BYTES);
		return NULL;
	}
	*page = 1;
	return page;
}

void process_mark_init(struct process_mark *m)
{
	m->pid = getpid();
	m->page = make_page();
}

bool process_mark_is_here(const struct process_mark *m)
{
	return m->page ? *m->page : m->pid == getpid();
}

void process_mark_release(struct process_mark *m)
{
	if (m->page)
		munmap(m->page, MARK_BYTES);
	m->page = NULL;
}
