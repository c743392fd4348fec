#include "check/bulk.h"

#include <assert.h>

#include "base/checked.h"
#include "base/error.h"
#include "store/store.h"

void bulk_validate(const struct bulk *b)
{
	assert(b->buf && b->capacity >= BULK_BYTES);
	assert(b->buf_len <= b->capacity);
	assert(b->hole_off <= b->hole_end);
	/* Only a caller that has seen a hole asks for the next one first. */
	assert(implies(b->ask_first, b->hole_off < b->hole_end));
}

int bulk_init(struct bulk *b, struct qcow2_store *file, struct budget *budget,
	      size_t piece_max, struct qcow2_error *err)
{
	*b = (struct bulk){
		.file = file,
		.budget = budget,
		.capacity = (size_t)max_u64(piece_max, BULK_BYTES),
	};
	b->buf = budget_alloc(budget, b->capacity);
	if (!b->buf)
		return budget_error(budget, "a read buffer", err);
	return 0;
}

void bulk_release(struct bulk *b)
{
	budget_free(b->budget, b->buf, b->capacity);
	b->buf = NULL;
}

static int fetch(struct bulk *b, size_t len, uint64_t off,
		 struct qcow2_error *err)
{
	int rc;

	b->buf_len = 0;
	rc = store_pread(b->file, b->buf, len, off, 0, err);
	if (rc < 0)
		return rc;
	b->buf_off = off;
	b->buf_len = len;
	return 0;
}

static bool in_window(const struct bulk *b, size_t len, uint64_t off)
{
	return off >= b->buf_off && off - b->buf_off <= b->buf_len &&
	       len <= b->buf_len - (size_t)(off - b->buf_off);
}

static bool in_hole(const struct bulk *b, size_t len, uint64_t off)
{
	return off >= b->hole_off && off < b->hole_end &&
	       len <= b->hole_end - off;
}

/* A store that cannot tell has data everywhere. */
static void find_hole(struct bulk *b, uint64_t off)
{
	uint64_t len = (uint64_t)INT64_MAX - off;
	bool is_data = true;

	b->ask_first = false;
	if (!len || store_extent(b->file, &len, off, &is_data, NULL) < 0)
		return;
	if (is_data)
		return;
	b->hole_off = off;
	b->hole_end = off + len;
	b->ask_first = true;
}

int bulk_read(struct bulk *b, size_t len, uint64_t ahead, uint64_t off,
	      const uint8_t **out, struct qcow2_error *err)
{
	size_t want = (size_t)min_u64(max_u64(ahead, len), b->capacity);
	int rc;

	VALIDATE(bulk, b);
	assert(len <= b->capacity);
	*out = NULL;
	if (!in_window(b, len, off)) {
		if (b->ask_first && !in_hole(b, len, off))
			find_hole(b, off);
		if (in_hole(b, len, off))
			return 0;
		/* One bad sector must not hide the tables before it. */
		rc = fetch(b, want, off, want > len ? NULL : err);
		if (rc < 0 && want > len)
			rc = fetch(b, len, off, err);
		if (rc < 0)
			return rc;
	}
	*out = b->buf + (off - b->buf_off);
	return 0;
}

void bulk_found_empty(struct bulk *b, uint64_t off)
{
	if (!in_hole(b, 1, off))
		find_hole(b, off);
}
