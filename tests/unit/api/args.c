/*
 * D8: every public function looks at all of its arguments before it does
 * anything.  A wrong one is -EINVAL with a message, and neither the image nor
 * anything else has changed, also where the work would have been a repair.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <qcow2.h>

#include "support/test.h"
#include "wrong_calls.h"

struct fixture {
	struct targets t;
	struct qcow2_store *store; /* of t.img */
	struct qcow2_store *other; /* of t.dst */
	uint8_t *before[3];
	uint64_t size[3];
};

#define ok(expression) assert_int_equal((expression), 0)

/* ---- What must not change ------------------------------------------------ */

static struct qcow2_store *stores_of(const struct fixture *f, unsigned i)
{
	return i == 0 ? f->t.broken : i == 1 ? f->store : f->other;
}

static void remember(struct fixture *f)
{
	for (unsigned i = 0; i < 3; i++) {
		struct qcow2_store *store = stores_of(f, i);

		ok(qcow2_store_size(store, &f->size[i], NULL));
		f->before[i] = malloc(f->size[i]);
		ok(qcow2_store_pread(store, f->before[i], f->size[i], 0, 0,
				     NULL));
	}
}

static bool is_unchanged(const struct fixture *f, unsigned i)
{
	struct qcow2_store *store = stores_of(f, i);
	uint8_t *now = malloc(f->size[i]);
	uint64_t size;
	bool same;

	ok(qcow2_store_size(store, &size, NULL));
	ok(qcow2_store_pread(store, now, f->size[i], 0, 0, NULL));
	same = size == f->size[i] && memcmp(now, f->before[i], size) == 0;
	free(now);
	return same;
}

static struct qcow2_store *new_image(void)
{
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_store *store;

	create.virtual_size = DISK_BYTES;
	ok(qcow2_store_new_memory(&store, NULL));
	ok(qcow2_create_store(store, NULL, &create, NULL));
	return store;
}

static struct qcow2_image *open_filled(struct qcow2_store *store)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_image *img;

	opts.flags = QCOW2_OPEN_RDWR;
	ok(qcow2_open_store(store, &opts, &img, NULL));
	ok(qcow2_pwrite(img, "data", 4, 3 * CLUSTER, 0, NULL));
	ok(qcow2_snapshot_create(img, "a", NULL, NULL));
	ok(qcow2_flush(img, NULL));
	return img;
}

/* The dirty bit, and a refcount that is too high. */
static void spoil(struct qcow2_store *store)
{
	uint8_t byte = 1;

	ok(qcow2_store_pwrite(store, &byte, 1, 79, 0, NULL));
	ok(qcow2_store_pwrite(store, &byte, 1, 2 * CLUSTER + 200, 0, NULL));
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->t.broken = new_image();
	ok(qcow2_close(open_filled(f->t.broken), NULL));
	spoil(f->t.broken);
	f->store = new_image();
	f->t.img = open_filled(f->store);
	f->other = new_image();
	f->t.dst = open_filled(f->other);
	remember(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	ok(qcow2_close(f->t.img, NULL));
	ok(qcow2_close(f->t.dst, NULL));
	for (unsigned i = 0; i < 3; i++) {
		qcow2_store_unref(stores_of(f, i));
		free(f->before[i]);
	}
	free(f);
	return 0;
}

TEST(a_wrong_argument_changes_nothing)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < n_wrong_calls; i++) {
		struct qcow2_error err = { 0 };
		int rc = wrong_calls[i].call(&f->t, &err);

		if (rc != -EINVAL || err.code != rc || !err.message[0])
			fail_msg("%s: %d, code %d, \"%s\"", wrong_calls[i].what,
				 rc, err.code, err.message);
		for (unsigned j = 0; j < 3; j++)
			if (!is_unchanged(f, j))
				fail_msg("%s changed store %u",
					 wrong_calls[i].what, j);
		if (access(TARGET, F_OK) == 0)
			fail_msg("%s made a file", wrong_calls[i].what);
	}
}

/* D16: a caller that has no time for a repair can say so. */
TEST(a_dirty_image_is_refused_where_no_repair_is_wanted)
{
	struct fixture *f = *state;
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_error err = { 0 };
	struct qcow2_image *img;

	opts.flags = QCOW2_OPEN_RDWR | QCOW2_OPEN_NO_REPAIR;
	assert_int_equal(qcow2_open_store(f->t.broken, &opts, &img, &err),
			 -EROFS);
	assert_string_equal(qcow2_defect_name(err.defect), "header-dirty-bit");
	assert_true(is_unchanged(f, 0));
}

/* The calls of the table would do something: there is something to repair. */
TEST(the_same_repair_with_right_arguments_changes_the_image)
{
	struct fixture *f = *state;
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	struct qcow2_check_result result = QCOW2_CHECK_RESULT_INIT;

	opts.flags = QCOW2_CHECK_REPAIR_ALL;
	ok(qcow2_check_store(f->t.broken, &opts, &result, NULL));
	assert_false(is_unchanged(f, 0));
}

TEST_GROUP(setup, teardown)
