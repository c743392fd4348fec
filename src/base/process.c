#include "base/process.h"

#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

/* The smallest mapping there is takes a page of whatever size. */
#define MARK_BYTES 1

void process_mark_init(struct process_mark *m)
{
	atomic_init(&m->page, NULL);
	atomic_init(&m->n_asked, 0);
	m->pid = getpid();
}

/* A child that is forked meanwhile does not find the page, and asks. */
static void make_page(struct process_mark *m)
{
	unsigned char *page = mmap(NULL, MARK_BYTES, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return;
	if (madvise(page, MARK_BYTES, MADV_WIPEONFORK) < 0) {
		munmap(page, MARK_BYTES);
		return;
	}
	*page = 1;
	atomic_store_explicit(&m->page, page, memory_order_release);
}

static bool ask(struct process_mark *m)
{
	if (m->pid != getpid())
		return false;
	if (atomic_fetch_add(&m->n_asked, 1) == PROCESS_MARK_ASKED_OFTEN)
		make_page(m);
	return true;
}

bool process_mark_is_here(struct process_mark *m)
{
	const unsigned char *page =
		atomic_load_explicit(&m->page, memory_order_acquire);

	return page ? *page : ask(m);
}

void process_mark_release(struct process_mark *m)
{
	unsigned char *page = atomic_load(&m->page);

	if (page)
		munmap(page, MARK_BYTES);
	atomic_store(&m->page, NULL);
}
