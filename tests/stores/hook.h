/*
 * A store that tells of every call before and after it reaches the store
 * below.  The other stores of this directory are made of it.
 */
#ifndef STORES_HOOK_H
#define STORES_HOOK_H

#include <stdint.h>
#include <sys/uio.h>

#include <qcow2.h>

enum store_op {
	STORE_OP_READ,
	STORE_OP_WRITE,
	STORE_OP_FLUSH,
	STORE_OP_ZERO,
	STORE_OP_TRUNCATE, /* the new size is in `off` */
	STORE_OP_SIZE,
	STORE_OP_ALLOCATED,
	STORE_OP_EXTENT,
	STORE_OP_LOCK,
	STORE_N_OPS,
};

/* "read", "write" and so on. */
const char *store_op_name(enum store_op op);

struct store_call {
	enum store_op op;
	unsigned flags;
	uint64_t off;
	uint64_t len;
	const struct iovec *iov; /* reads and writes */
	int iovcnt;
};

/* The reactions to a call that enter() can ask for. */
struct hook_answer {
	enum {
		HOOK_PASS,  /* call the store below */
		HOOK_FAIL,  /* return `code` */
		HOOK_SHORT, /* transfer `part` bytes below, return `code` */
	} what;
	int code;
	uint64_t part;
	void *token; /* handed to leave() */
};

/* Both are called by many threads at once, with no lock held. */
struct hook {
	struct hook_answer (*enter)(void *opaque,
				    const struct store_call *call);
	void (*leave)(void *opaque, const struct store_call *call, void *token,
		      int rc);         /* may be NULL */
	void (*release)(void *opaque); /* with the store; may be NULL */
	void *opaque;
};

/* Takes its own reference to @inner and passes its name on. */
int hook_store_new(struct qcow2_store *inner, const struct hook *hook,
		   struct qcow2_store **out);

#endif
