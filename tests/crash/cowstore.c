#include "crash/cowstore.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "store/store.h"

enum { COW_PAGE = 2048 };

struct cow_page {
	uint32_t refs;
	bool hashed;
	uint64_t hash;         /* 0: all zeros */
	struct cow_page *next; /* in the list of unused pages */
	uint8_t bytes[COW_PAGE];
};

struct cow {
	struct cow_page **pages; /* NULL: a hole */
	uint64_t n_pages;
	uint64_t room;
	uint64_t size;
};

static struct cow_page *unused;

static struct cow_page *page_take(void)
{
	struct cow_page *p = unused;

	if (p)
		unused = p->next;
	else
		p = malloc(sizeof(*p));
	assert(p);
	p->refs = 1;
	p->hashed = false;
	return p;
}

static void page_drop(struct cow_page **slot)
{
	struct cow_page *p = *slot;

	*slot = NULL;
	if (!p || --p->refs)
		return;
	p->next = unused;
	unused = p;
}

/* The page for writing: its own, made if need be. */
static uint8_t *page_own(struct cow *c, uint64_t i)
{
	struct cow_page *old = c->pages[i];

	if (old && old->refs == 1) {
		old->hashed = false;
		return old->bytes;
	}
	c->pages[i] = page_take();
	if (old) {
		memcpy(c->pages[i]->bytes, old->bytes, COW_PAGE);
		old->refs--;
	} else {
		memset(c->pages[i]->bytes, 0, COW_PAGE);
	}
	return c->pages[i]->bytes;
}

static void set_size(struct cow *c, uint64_t size)
{
	uint64_t n = div_round_up(size, COW_PAGE);

	if (n > c->room) {
		c->room = max_u64(n, c->room * 2);
		c->pages = realloc(c->pages, c->room * sizeof(*c->pages));
		assert(c->pages);
	}
	for (uint64_t i = c->n_pages; i < n; i++)
		c->pages[i] = NULL;
	for (uint64_t i = n; i < c->n_pages; i++)
		page_drop(&c->pages[i]);
	c->n_pages = n;
	c->size = size;
}

static size_t piece(uint64_t off, uint64_t len)
{
	return (size_t)min_u64(len, COW_PAGE - off % COW_PAGE);
}

static int cow_preadv(void *self, const struct iovec *iov, int iovcnt,
		      uint64_t off, unsigned flags, struct qcow2_error *err)
{
	const struct cow *c = self;

	(void)flags, (void)err;
	for (int v = 0; v < iovcnt; v++) {
		uint8_t *dst = iov[v].iov_base;
		uint64_t len = iov[v].iov_len;

		while (len) {
			uint64_t i = off / COW_PAGE;
			size_t n = piece(off, len);

			if (i < c->n_pages && c->pages[i])
				memcpy(dst, c->pages[i]->bytes + off % COW_PAGE,
				       n);
			else
				memset(dst, 0, n);
			dst += n;
			off += n;
			len -= n;
		}
	}
	return 0;
}

static int cow_pwritev(void *self, const struct iovec *iov, int iovcnt,
		       uint64_t off, unsigned flags, struct qcow2_error *err)
{
	struct cow *c = self;

	(void)flags, (void)err;
	for (int v = 0; v < iovcnt; v++) {
		const uint8_t *src = iov[v].iov_base;
		uint64_t len = iov[v].iov_len;

		if (off + len > c->size)
			set_size(c, off + len);
		while (len) {
			size_t n = piece(off, len);

			memcpy(page_own(c, off / COW_PAGE) + off % COW_PAGE,
			       src, n);
			src += n;
			off += n;
			len -= n;
		}
	}
	return 0;
}

static int cow_zero(void *self, uint64_t len, uint64_t off, unsigned flags,
		    struct qcow2_error *err)
{
	struct cow *c = self;
	uint64_t end = min_u64(off + len, c->size);

	(void)flags, (void)err;
	while (off < end) {
		uint64_t i = off / COW_PAGE;
		size_t n = piece(off, end - off);

		if (n == COW_PAGE)
			page_drop(&c->pages[i]);
		else if (c->pages[i])
			memset(page_own(c, i) + off % COW_PAGE, 0, n);
		off += n;
	}
	return 0;
}

/* Bytes past the end of the file are zeros in its last page. */
static int cow_truncate(void *self, uint64_t size, struct qcow2_error *err)
{
	struct cow *c = self;

	if (size < c->size)
		cow_zero(c, c->size - size, size, 0, err);
	set_size(c, size);
	return 0;
}

static int cow_get_size(void *self, uint64_t *size, struct qcow2_error *err)
{
	(void)err;
	*size = ((struct cow *)self)->size;
	return 0;
}

static int cow_flush(void *self, struct qcow2_error *err)
{
	(void)err;
	(void)self;
	return 0;
}

static void cow_close(void *self)
{
	struct cow *c = self;

	set_size(c, 0);
	free(c->pages);
	free(c);
}

static const struct qcow2_store_ops cow_ops = {
	.struct_size = sizeof(cow_ops),
	.preadv = cow_preadv,
	.pwritev = cow_pwritev,
	.flush = cow_flush,
	.zero = cow_zero,
	.truncate = cow_truncate,
	.size = cow_get_size,
	.close = cow_close,
};

struct qcow2_store *cow_new(void)
{
	struct cow *c = calloc(1, sizeof(*c));
	struct qcow2_store *store;
	int rc;

	assert(c);
	rc = store_new(&cow_ops, c, "memory", false, &store, NULL);
	assert(rc == 0);
	(void)rc;
	return store;
}

struct qcow2_store *cow_clone(struct qcow2_store *src)
{
	struct cow *from = store_self(src, &cow_ops);
	struct qcow2_store *store = cow_new();
	struct cow *to = store_self(store, &cow_ops);

	set_size(to, from->size);
	for (uint64_t i = 0; i < from->n_pages; i++) {
		to->pages[i] = from->pages[i];
		if (to->pages[i])
			to->pages[i]->refs++;
	}
	return store;
}

static uint64_t page_hash(struct cow_page *p)
{
	uint64_t words[COW_PAGE / 8];
	uint64_t h = 0, any = 0;

	if (p->hashed)
		return p->hash;
	memcpy(words, p->bytes, COW_PAGE);
	for (size_t i = 0; i < COW_PAGE / 8; i++) {
		any |= words[i];
		h = (h ^ words[i]) * UINT64_C(0xff51afd7ed558ccd);
		h ^= h >> 32;
	}
	p->hash = any ? h | 1 : 0;
	p->hashed = true;
	return p->hash;
}

uint64_t cow_hash(struct qcow2_store *store)
{
	const struct cow *c = store_self(store, &cow_ops);
	uint64_t h = hash_mix(0, c->size);

	for (uint64_t i = 0; i < c->n_pages; i++) {
		uint64_t page = c->pages[i] ? page_hash(c->pages[i]) : 0;

		if (page)
			h += hash_mix(page, i);
	}
	return h;
}

uint64_t cow_size(struct qcow2_store *store)
{
	return ((struct cow *)store_self(store, &cow_ops))->size;
}
