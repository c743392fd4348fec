#include "store/transfer.h"

#include <assert.h>

#include "base/error.h"
#include "base/iov.h"
#include "base/range.h"
#include "store/store.h"
#include "store/store_impl.h"

void store_set_transfer_ops(struct qcow2_store *s,
			    const struct transfer_ops *ops)
{
	s->transfer = ops;
}

int transfer_begin(const struct transfer *t, const struct iovec *iov,
		   int iovcnt)
{
	struct qcow2_store *s = t->store;

	assert(t->len && range_is_sane(t->off, t->len));
	assert(t->len == iov_len(iov, iovcnt));
	if (!s->transfer || (t->is_write && s->read_only) || !store_is_here(s))
		return -1;
	return s->transfer->begin(s->self, iov, iovcnt, t);
}

int transfer_end(const struct transfer *t, int rc, struct qcow2_error *err)
{
	struct qcow2_store *s = t->store;

	assert(rc <= 0);
	if (t->is_write)
		s->transfer->end_write(s->self);
	call_count(s, rc, t->is_write ? STORE_WRITES : STORE_READS, t->len);
	return rc < 0 ? call_fail_range(s, rc, t->is_write ? "write" : "read",
					t->len, t->off, error_words(-rc), err)
		      : 0;
}
