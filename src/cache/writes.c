#include "cache/writes.h"

#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "base/error.h"
#include "base/iov.h"
#include "store/store.h"

/* "The batch owns its bytes." */
void writes_validate(const struct writes *w)
{
	assert(w->n <= w->capacity);
	assert(!w->list == !w->capacity);
	for (size_t i = 0; i < w->n; i++) {
		const struct write *one = &w->list[i];

		assert(one->bytes && one->len);
		assert(one->host_off <= UINT64_MAX - one->len);
	}
}

int writes_add(struct writes *w, const void *src, uint32_t len,
	       uint64_t host_off, struct qcow2_error *err)
{
	SCOPED_VALIDATE(writes, w);
	uint8_t *bytes = malloc(len);

	assert(len);
	if (w->n == w->capacity) {
		size_t capacity = w->capacity ? 2 * w->capacity : 16;
		struct write *list = realloc(w->list, capacity * sizeof(*list));

		if (!list) {
			free(bytes);
			return error_nomem(err, "a batch of writes",
					   capacity * sizeof(*list));
		}
		w->list = list;
		w->capacity = capacity;
	}
	if (!bytes)
		return error_nomem(err, "a copy of metadata", len);
	memcpy(bytes, src, len);
	w->list[w->n++] = (struct write){ host_off, len, bytes };
	return 0;
}

static int by_host_off(const void *a, const void *b)
{
	const struct write *x = a;
	const struct write *y = b;

	return (x->host_off > y->host_off) - (x->host_off < y->host_off);
}

/* Writes the neighbours that begin at @i; returns how many there were. */
static size_t neighbours(const struct writes *w, size_t i,
			 struct iovec iov[IOV_COUNT])
{
	uint64_t end = w->list[i].host_off;
	size_t n = 0;

	while (i + n < w->n && n < IOV_COUNT &&
	       w->list[i + n].host_off == end) {
		iov[n] = (struct iovec){ w->list[i + n].bytes,
					 w->list[i + n].len };
		end += w->list[i + n].len;
		n++;
	}
	return n;
}

int writes_submit(struct writes *w, struct qcow2_store *file,
		  struct qcow2_error *err)
{
	struct iovec iov[IOV_COUNT];
	SCOPED_VALIDATE(writes, w);

	if (w->n)
		qsort(w->list, w->n, sizeof(*w->list), by_host_off);
	for (size_t i = 0; i < w->n;) {
		size_t n = neighbours(w, i, iov);
		int rc = store_pwritev(file, iov, (int)n, w->list[i].host_off,
				       0, err);

		if (rc < 0)
			return rc;
		i += n;
	}
	return 0;
}

void writes_release(struct writes *w)
{
	VALIDATE(writes, w);
	for (size_t i = 0; i < w->n; i++)
		free(w->list[i].bytes);
	free(w->list);
	*w = (struct writes){ 0 };
}
