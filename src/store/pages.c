#include "store/pages.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define NODE_SHIFT 6
#define NODE_SLOTS (1u << NODE_SHIFT)
#define HEIGHT_MAX 9 /* levels for all of PAGE_NUMBERS */

/* `used` has bit i set exactly when child[i] exists.  Children of the lowest
 * level (1) are pages, those above are nodes. */
struct pages_node {
	uint64_t used;
	void *child[NODE_SLOTS];
};

/* How many page numbers one child of a node at @level stands for. */
static unsigned level_shift(unsigned level)
{
	return (level - 1) * NODE_SHIFT;
}

static unsigned pages_slot_of(uint64_t number, unsigned level)
{
	return (unsigned)(number >> level_shift(level)) & (NODE_SLOTS - 1);
}

/* True when a tree of this height has a place for @number. */
static bool is_covered(const struct pages *p, uint64_t number)
{
	return p->height && number >> (p->height * NODE_SHIFT) == 0;
}

uint8_t *pages_get(const struct pages *p, uint64_t number)
{
	void *at = p->root;

	if (!is_covered(p, number))
		return NULL;
	for (unsigned level = p->height; level && at; level--)
		at = ((struct pages_node *)at)
			     ->child[pages_slot_of(number, level)];
	return at;
}

static bool node_set(struct pages_node *n, unsigned slot, void *child)
{
	if (!child)
		return false;
	n->child[slot] = child;
	n->used |= UINT64_C(1) << slot;
	return true;
}

/* Puts new roots on top until @number has a place. */
static bool grow_height(struct pages *p, uint64_t number)
{
	while (!is_covered(p, number)) {
		struct pages_node *top = calloc(1, sizeof(*top));

		if (!top)
			return false;
		if (p->root)
			node_set(top, 0, p->root);
		p->root = top;
		p->height++;
	}
	return true;
}

uint8_t *pages_make(struct pages *p, uint64_t number)
{
	struct pages_node *n;
	unsigned slot;

	assert(number < PAGE_NUMBERS);
	if (!grow_height(p, number))
		return NULL;
	n = p->root;
	for (unsigned level = p->height; level > 1; level--) {
		slot = pages_slot_of(number, level);
		if (!n->child[slot] &&
		    !node_set(n, slot, calloc(1, sizeof(*n))))
			return NULL;
		n = n->child[slot];
	}
	slot = pages_slot_of(number, 1);
	if (!n->child[slot]) {
		if (!node_set(n, slot, calloc(1, PAGE_BYTES)))
			return NULL;
		p->n_pages++;
	}
	return n->child[slot];
}

/* @number counts within the node.  Recursion is as deep as the tree: 9. */
static bool node_next(const struct pages_node *n, unsigned level,
		      uint64_t number, uint64_t *found)
{
	unsigned shift = level_shift(level);
	uint64_t from = number >> shift;
	uint64_t left = from < NODE_SLOTS ? n->used >> from << from : 0;

	while (left) {
		unsigned slot = (unsigned)__builtin_ctzll(left);
		uint64_t base = (uint64_t)slot << shift;
		uint64_t sub = slot == from ? number - base : 0;

		if (level == 1) {
			*found = slot;
			return true;
		}
		if (node_next(n->child[slot], level - 1, sub, found)) {
			*found += base;
			return true;
		}
		left &= left - 1;
	}
	return false;
}

bool pages_next(const struct pages *p, uint64_t number, uint64_t *found)
{
	return is_covered(p, number) &&
	       node_next(p->root, p->height, number, found);
}

/* Drops first..last, counted within the node; true when nothing is left. */
static bool node_drop(struct pages *p, struct pages_node *n, unsigned level,
		      uint64_t first, uint64_t last)
{
	unsigned shift = level_shift(level);
	uint64_t span_max = (UINT64_C(1) << shift) - 1;

	for (uint64_t left = n->used; left; left &= left - 1) {
		unsigned slot = (unsigned)__builtin_ctzll(left);
		uint64_t base = (uint64_t)slot << shift;

		if (base + span_max < first || base > last)
			continue;
		if (level > 1 &&
		    !node_drop(p, n->child[slot], level - 1,
			       first > base ? first - base : 0,
			       last - base < span_max ? last - base : span_max))
			continue;
		free(n->child[slot]);
		p->n_pages -= level == 1;
		n->child[slot] = NULL;
		n->used &= ~(UINT64_C(1) << slot);
	}
	return n->used == 0;
}

void pages_drop(struct pages *p, uint64_t first, uint64_t last)
{
	SCOPED_VALIDATE(pages, p);

	assert(first <= last);
	if (!p->root || !node_drop(p, p->root, p->height, first, last))
		return;
	assert(p->n_pages == 0);
	free(p->root);
	*p = (struct pages){ 0 };
}

/* Counts the pages. */
static uint64_t node_validate(const struct pages_node *n, unsigned level)
{
	uint64_t n_pages = 0;

	for (unsigned i = 0; i < NODE_SLOTS; i++) {
		/* "bit i set exactly when child[i] exists" */
		assert((n->used >> i & 1) == (n->child[i] != NULL));
		if (n->child[i])
			n_pages += level == 1 ? 1
					      : node_validate(n->child[i],
							      level - 1);
	}
	return n_pages;
}

void pages_validate(const struct pages *p)
{
	/* "NULL when empty", "levels of nodes below and with the root" */
	assert(!p->root == !p->height);
	assert(p->height <= HEIGHT_MAX);
	assert(p->n_pages <= PAGE_NUMBERS);
	assert(p->n_pages == (p->root ? node_validate(p->root, p->height) : 0));
}

bool pages_copy(struct pages *dst, const struct pages *src)
{
	uint64_t at = 0;

	VALIDATE(pages, src);
	assert(!dst->root);
	while (pages_next(src, at, &at)) {
		uint8_t *page = pages_make(dst, at);

		if (!page) {
			pages_drop(dst, 0, PAGE_NUMBERS - 1);
			return false;
		}
		memcpy(page, pages_get(src, at), PAGE_BYTES);
		at++;
	}
	return true;
}
