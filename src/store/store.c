/*
 * The store itself: its name, its references, the process and the file that it
 * belongs to.
 */
#include "store/store.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "store/store_impl.h"

/* The last part of a long path tells more than the first. */
static void label_init(char *label, size_t size, const char *name)
{
	size_t len = strlen(name);

	if (len < size) {
		text_escape(label, size, name, len);
		return;
	}
	name += len - (size - 4);
	while (((unsigned char)*name & 0xc0) == 0x80)
		name++;
	memcpy(label, "...", 3);
	text_escape(label + 3, size - 3, name, strlen(name));
}

int store_new(const struct qcow2_store_ops *ops, void *self, const char *name,
	      bool read_only, struct qcow2_store **out, struct qcow2_error *err)
{
	struct qcow2_store *s;

	assert(ops->preadv && ops->size);
	s = calloc(1, sizeof(*s));
	if (!s)
		return error_nomem(err, "a store", sizeof(*s));
	s->name = strdup(name);
	if (!s->name) {
		free(s);
		return error_nomem(err, "a name", strlen(name) + 1);
	}
	s->ops = *ops;
	s->self = self;
	s->read_only = read_only;
	label_init(s->label, sizeof(s->label), name);
	atomic_init(&s->n_refs, 1);
	pthread_mutex_init(&s->hold_lock, NULL);
	process_mark_init(&s->mark);
	*out = s;
	return 0;
}

void store_set_abandon(struct qcow2_store *s, void (*abandon)(void *self))
{
	s->abandon = abandon;
}

bool store_is_here(const struct qcow2_store *s)
{
	return process_mark_is_here(&s->mark);
}

int store_check_here(const struct qcow2_store *s, struct qcow2_error *err)
{
	if (store_is_here(s))
		return 0;
	return error_set(err, -ECHILD,
			 "%s: was opened before this process was forked, and "
			 "belongs to the parent: open it anew",
			 s->label);
}

struct qcow2_store *store_ref(struct qcow2_store *s)
{
	unsigned before;

	before = atomic_fetch_add_explicit(&s->n_refs, 1, memory_order_relaxed);
	assert(before > 0 && before < UINT32_MAX);
	return s;
}

/* Copies of a descriptor elsewhere would keep its locks, so they go first. */
static void end(struct qcow2_store *s)
{
	if (s->is_locked)
		store_lock(s, QCOW2_STORE_UNLOCK, NULL);
	if (s->ops.close)
		s->ops.close(s->self);
}

void store_unref(struct qcow2_store *s)
{
	unsigned before;

	if (!s)
		return;
	before = atomic_fetch_sub_explicit(&s->n_refs, 1, memory_order_acq_rel);
	assert(before > 0);
	if (before > 1)
		return;
	if (store_is_here(s))
		end(s);
	else if (s->abandon)
		s->abandon(s->self);
	process_mark_release(&s->mark);
	pthread_mutex_destroy(&s->hold_lock);
	free(s->name);
	free(s);
}

const char *store_name(const struct qcow2_store *s)
{
	return s->name;
}

bool store_is_read_only(const struct qcow2_store *s)
{
	return s->read_only;
}

static int lacks(const struct qcow2_store *s, const char *op,
		 struct qcow2_error *err)
{
	return error_set(err, -ENOTSUP,
			 "%s: has no operation %s, which writing needs",
			 s->label, op);
}

int store_check_writable(const struct qcow2_store *s, struct qcow2_error *err)
{
	int rc = store_check_here(s, err);

	if (rc < 0)
		return rc;
	if (s->read_only)
		return error_set(err, -EROFS,
				 "%s: is open for reading only, so nothing in "
				 "it can be changed",
				 s->label);
	if (!s->ops.flush)
		return lacks(s, "flush", err);
	return s->ops.truncate ? 0 : lacks(s, "truncate", err);
}

bool store_identity(struct qcow2_store *s, struct store_identity *id)
{
	return s->ops.identity && store_is_here(s) &&
	       s->ops.identity(s->self, &id->device, &id->number) == 0;
}

uint32_t store_align(const struct qcow2_store *s)
{
	uint32_t align = s->ops.align ? s->ops.align(s->self) : 1;

	/* A caller's store may say anything. */
	return align && (align & (align - 1)) == 0 ? align : 1;
}

bool store_same_file(struct qcow2_store *a, struct qcow2_store *b)
{
	struct store_identity ia, ib;

	return a == b || (store_identity(a, &ia) && store_identity(b, &ib) &&
			  store_identity_equal(ia, ib));
}

void store_get_stats(const struct qcow2_store *s, struct qcow2_file_stats *out)
{
	*out = (struct qcow2_file_stats){
		.reads = tally_sum(&s->done, STORE_READS),
		.read_bytes = tally_sum(&s->done, STORE_READ_BYTES),
		.writes = tally_sum(&s->done, STORE_WRITES),
		.write_bytes = tally_sum(&s->done, STORE_WRITE_BYTES),
		.zeroes = tally_sum(&s->done, STORE_ZEROES),
		.zero_bytes = tally_sum(&s->done, STORE_ZERO_BYTES),
		.barriers = tally_sum(&s->done, STORE_FLUSHES),
		.failed = tally_sum(&s->done, STORE_FAILED),
	};
}

void *store_self(const struct qcow2_store *s, const struct qcow2_store_ops *ops)
{
	return s->ops.preadv == ops->preadv ? s->self : NULL;
}
