#include "store/hold.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "store/store.h"
#include "store/store_impl.h"

/* "Any number may read a store, or one may write to it."  The answer of the
 * host's lock is not asserted: the caller's operation decides it. */
void holders_validate(const struct qcow2_store *s)
{
	assert(implies(s->has_writer, s->n_readers == 0));
}

static int hold_refuse(const struct qcow2_store *s, struct qcow2_error *err)
{
	if (s->has_writer)
		return error_reason(err, -EBUSY, QCOW2_REASON_LOCKED,
				    "%s: this program has it open for writing "
				    "already",
				    s->label);
	return error_reason(err, -EBUSY, QCOW2_REASON_LOCKED,
			    "%s: this program has it open already (%" PRIu32
			    " times), so that it cannot be written to",
			    s->label, s->n_readers);
}

static int take_lock(struct qcow2_store *s, bool writes,
		     struct qcow2_error *err)
{
	struct qcow2_error own;
	int rc = store_lock(
		s, writes ? QCOW2_STORE_LOCK_WRITE : QCOW2_STORE_LOCK_READ,
		&own);

	s->is_unlocked = rc == -ENOTSUP;
	if (rc == 0 || s->is_unlocked)
		return 0;
	if (err)
		*err = own;
	return rc;
}

static int refuse_unlocked(const struct qcow2_store *s, struct qcow2_error *err)
{
	return error_set(err, -ENOTSUP,
			 "%s: the host has no locks for this file, and one is "
			 "asked for",
			 s->label);
}

/* The first of several readers takes the lock for all. */
static int join(struct qcow2_store *s, unsigned how, struct qcow2_error *err)
{
	bool writes = how & HOLD_WRITE;
	int rc = 0;

	if (s->has_writer || (writes && s->n_readers) ||
	    s->n_readers == UINT32_MAX)
		return hold_refuse(s, err);
	if (!s->n_readers)
		rc = take_lock(s, writes, err);
	if (rc < 0)
		return rc;
	if (s->is_unlocked && (how & HOLD_NEEDS_LOCK))
		return refuse_unlocked(s, err);
	s->has_writer = writes;
	s->n_readers += !writes;
	return 0;
}

int store_hold(struct store_hold *h, struct qcow2_store *s, unsigned how,
	       struct qcow2_error *err)
{
	int rc = store_check_here(s, err);

	/* "It held nothing before." */
	assert(!h->store);
	/* In a child the lock may be held by a thread that is not there. */
	if (rc < 0)
		return rc;
	SCOPED_LOCK(&s->hold_lock);
	holders_validate(s);
	rc = join(s, how, err);
	holders_validate(s);
	if (rc == 0)
		*h = (struct store_hold){ store_ref(s), how };
	return rc;
}

bool store_is_unlocked(struct qcow2_store *s)
{
	SCOPED_LOCK(&s->hold_lock);

	return (s->has_writer || s->n_readers) && s->is_unlocked;
}

static void hold_leave(struct qcow2_store *s, bool writes)
{
	SCOPED_LOCK(&s->hold_lock);

	holders_validate(s);
	/* Only what is held is given back. */
	assert(writes ? s->has_writer : s->n_readers > 0);
	if (writes)
		s->has_writer = false;
	else
		s->n_readers--;
	/* A lock that cannot be given back goes with the store. */
	if (!s->n_readers)
		store_lock(s, QCOW2_STORE_UNLOCK, NULL);
}

void store_release(struct store_hold *h)
{
	struct qcow2_store *s = h->store;

	if (!s)
		return;
	h->store = NULL;
	if (store_is_here(s))
		hold_leave(s, h->how & HOLD_WRITE);
	store_unref(s);
}
