/*
 * Holders of a store: n readers or one writer, and their calls of the lock.
 */
#include <errno.h>

#include "store_test.h"

#include "store/hold.h"
#include "store/store_impl.h"

/* A store that notes the lock it was asked for last. */
struct lockable {
	enum qcow2_store_lock lock;
	unsigned n_calls;
	int rc;
};

static int lock_pread(void *self, const struct iovec *iov, int iovcnt,
		      uint64_t off, unsigned flags, struct qcow2_error *err)
{
	(void)err;
	(void)self, (void)iov, (void)iovcnt, (void)off, (void)flags;
	return 0;
}

static int lock_size(void *self, uint64_t *size, struct qcow2_error *err)
{
	(void)err;
	(void)self;
	*size = 0;
	return 0;
}

static int lock_lock(void *self, enum qcow2_store_lock lock,
		     struct qcow2_error *err)
{
	struct lockable *l = self;

	(void)err;
	l->n_calls++;
	if (l->rc == 0)
		l->lock = lock;
	return l->rc;
}

static const struct qcow2_store_ops lock_ops = {
	.struct_size = sizeof(lock_ops),
	.preadv = lock_pread,
	.size = lock_size,
	.lock = lock_lock,
};

struct fixture {
	struct lockable l;
	struct qcow2_store *s;
	struct store_hold a;
	struct store_hold b;
	struct qcow2_error err;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	ok(store_new(&lock_ops, &f->l, "held", false, &f->s, NULL));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	store_release(&f->a);
	store_release(&f->b);
	store_unref(f->s);
	free(f);
	return 0;
}

TEST_WITH(readers_share_one_lock_until_the_last_leaves, setup, teardown)
{
	struct fixture *f = *state;

	ok(store_hold(&f->a, f->s, HOLD_READ, &f->err));
	ok(store_hold(&f->b, f->s, HOLD_READ, &f->err));
	assert_int_equal(f->l.n_calls, 1);
	assert_int_equal(f->l.lock, QCOW2_STORE_LOCK_READ);
	store_release(&f->a);
	assert_int_equal(f->l.lock, QCOW2_STORE_LOCK_READ);
	store_release(&f->b);
	assert_int_equal(f->l.lock, QCOW2_STORE_UNLOCK);
	assert_int_equal(f->l.n_calls, 2);
}

TEST_WITH(a_writer_is_alone, setup, teardown)
{
	struct fixture *f = *state;

	ok(store_hold(&f->a, f->s, HOLD_WRITE, &f->err));
	assert_int_equal(f->l.lock, QCOW2_STORE_LOCK_WRITE);
	assert_int_equal(store_hold(&f->b, f->s, HOLD_WRITE, &f->err), -EBUSY);
	assert_non_null(strstr(f->err.message, "held"));
	assert_non_null(strstr(f->err.message, "for writing already"));
	assert_int_equal(f->err.reason, QCOW2_REASON_LOCKED);
	assert_int_equal(store_hold(&f->b, f->s, HOLD_READ, &f->err), -EBUSY);
	assert_null(f->b.store);
	assert_int_equal(f->l.n_calls, 1);
	store_release(&f->a);
	ok(store_hold(&f->b, f->s, HOLD_WRITE, &f->err));
}

TEST_WITH(a_reader_keeps_writers_out, setup, teardown)
{
	struct fixture *f = *state;

	ok(store_hold(&f->a, f->s, HOLD_READ, &f->err));
	assert_int_equal(store_hold(&f->b, f->s, HOLD_WRITE, &f->err), -EBUSY);
	assert_non_null(strstr(f->err.message, "1 times"));
	assert_int_equal(f->err.reason, QCOW2_REASON_LOCKED);
	assert_int_equal(f->l.lock, QCOW2_STORE_LOCK_READ);
	store_release(&f->a);
	ok(store_hold(&f->b, f->s, HOLD_WRITE, &f->err));
	assert_int_equal(f->l.lock, QCOW2_STORE_LOCK_WRITE);
}

TEST_WITH(a_refused_lock_leaves_no_holder, setup, teardown)
{
	struct fixture *f = *state;

	f->l.rc = -EBUSY;
	assert_int_equal(store_hold(&f->a, f->s, HOLD_READ, &f->err), -EBUSY);
	assert_int_equal(store_hold(&f->a, f->s, HOLD_WRITE, &f->err), -EBUSY);
	assert_int_equal(f->err.reason, QCOW2_REASON_LOCKED);
	assert_non_null(strstr(f->err.message, "held: cannot lock: "));
	f->l.rc = 0;
	ok(store_hold(&f->a, f->s, HOLD_WRITE, &f->err));
}

TEST_WITH(a_holder_keeps_the_store, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_store *s;

	ok(store_new(&lock_ops, &f->l, "held", false, &s, NULL));
	ok(store_hold(&f->a, s, HOLD_READ, &f->err));
	store_unref(s);
	assert_string_equal(store_name(f->a.store), "held");
}

TEST_WITH(a_hold_holds_one_store, setup, teardown)
{
	struct fixture *f = *state;

	ok(store_hold(&f->a, f->s, HOLD_READ, &f->err));
	ASSERT_ABORTS(store_hold(&f->a, f->s, HOLD_READ, &f->err));
}

/* The host keeps the lock, and has none when it is asked again. */
TEST_WITH(a_host_may_say_of_its_locks_what_it_likes, setup, teardown)
{
	struct fixture *f = *state;

	ok(store_hold(&f->a, f->s, HOLD_READ, &f->err));
	f->l.rc = -EIO;
	store_release(&f->a);
	f->l.rc = -ENOTSUP;
	ok(store_hold(&f->a, f->s, HOLD_WRITE, &f->err));
	assert_true(store_is_unlocked(f->s));
}

/* ---- Their validator ----------------------------------------------------- */

TEST_WITH(a_writer_among_readers_is_found, setup, teardown)
{
	struct fixture *f = *state;

	holders_validate(f->s);
	ok(store_hold(&f->a, f->s, HOLD_READ, &f->err));
	holders_validate(f->s);
	ASSERT_ABORTS(f->s->has_writer = true; holders_validate(f->s));
	store_release(&f->a);
	ok(store_hold(&f->a, f->s, HOLD_WRITE, &f->err));
	ASSERT_ABORTS(f->s->n_readers++; holders_validate(f->s));
}
