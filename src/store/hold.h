/*
 * The users of a store: readers, or one writer.
 *
 * Any number may read a store, or one may write to it.  The store counts its
 * holders itself, so that two users of one store exclude each other as two
 * programs do; the lock against other programs (qcow2_store_ops.lock) is what
 * the holders need, and goes with the last of them.
 *
 * Every function of the library that opens, checks, makes or fills something
 * in a store holds it as long as it works there.  Plain reads and writes by the
 * store's owner (qcow2_store_pread()) need no hold.
 */
#ifndef STORE_HOLD_H
#define STORE_HOLD_H

#include <stdbool.h>

#include <qcow2.h>

/* Zeros hold nothing. */
struct store_hold {
	struct qcow2_store *store; /* one reference */
	unsigned how;              /* HOLD_* */
};

#define HOLD_READ 0x0u
#define HOLD_WRITE 0x1u
#define HOLD_NEEDS_LOCK 0x2u /* a host without locks will not do */

/*
 * -EBUSY when another holder of this store, or another program, is in the way;
 * any other failure of the lock is an error too, but for -ENOTSUP: on a host
 * that has no locks the store is held without (store_is_unlocked()).  *@h holds
 * nothing after a failure.  It held nothing before.
 */
int store_hold(struct store_hold *h, struct qcow2_store *s, unsigned how,
	       struct qcow2_error *err);
/* Whether @s is held, and other programs are not kept out. */
bool store_is_unlocked(struct qcow2_store *s);
void store_release(struct store_hold *h);

#define CLEANUP_HOLD __attribute__((cleanup(store_release)))

#endif
