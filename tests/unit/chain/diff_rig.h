/*
 * Images in memory that name each other, for tests of disk_diff().
 */
#ifndef UNIT_CHAIN_DIFF_RIG_H
#define UNIT_CHAIN_DIFF_RIG_H

#include <qcow2.h>

#include "support/test.h"

#define CLUSTER UINT64_C(65536)
#define DISK_BYTES (16 * CLUSTER)

#define ok(expression) assert_int_equal((expression), 0)

/* The files that an image names; NULL where it names none. */
struct names {
	struct qcow2_store *backing;
	struct qcow2_store *data;
	struct names *below; /* of the backing file */
};

static inline int open_named(void *opaque, const struct qcow2_reference *ref,
			     struct qcow2_store **out, struct qcow2_error *err)
{
	const struct names *n = opaque;

	(void)err;
	for (uint32_t i = 0; i < ref->depth; i++)
		n = n->below;
	*out = qcow2_store_ref(ref->kind == QCOW2_REFERENCE_BACKING ? n->backing
								    : n->data);
	return 0;
}

static inline struct qcow2_image *open_with(struct qcow2_store *file,
					    struct names *n,
					    struct qcow2_open_opts opts)
{
	struct qcow2_gate gate = QCOW2_GATE_INIT;
	struct qcow2_error err = { 0 };
	struct qcow2_image *img;

	gate.open = open_named;
	gate.opaque = n;
	opts.gate = &gate;
	if (qcow2_open_store(file, &opts, &img, &err) < 0)
		fail_msg("open: %s", err.message);
	return img;
}

static inline struct qcow2_image *open_flags(struct qcow2_store *file,
					     struct names *n, unsigned flags)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;

	opts.flags = flags;
	return open_with(file, n, opts);
}

/* While others write. */
static inline struct qcow2_image *
open_view(struct qcow2_store *file, struct names *n, const char *snapshot)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;

	opts.flags = QCOW2_OPEN_NO_LOCK;
	opts.snapshot = snapshot;
	return open_with(file, n, opts);
}

static inline struct qcow2_store *new_store(void)
{
	struct qcow2_store *s;

	ok(qcow2_store_new_memory(&s, NULL));
	return s;
}

static inline struct qcow2_store *make_image(struct names *n,
					     struct qcow2_create_opts create)
{
	struct qcow2_store *file = new_store();

	if (!create.virtual_size)
		create.virtual_size = DISK_BYTES;
	if (n && n->backing) {
		create.backing_file = "below";
		create.backing_format = n->below ? "qcow2" : "raw";
	}
	if (n && n->data)
		create.data_file = "data";
	ok(qcow2_create_store(file, n ? n->data : NULL, &create, NULL));
	return file;
}

static inline struct qcow2_store *make_plain(struct names *n)
{
	return make_image(n, (struct qcow2_create_opts)QCOW2_CREATE_OPTS_INIT);
}

#endif
