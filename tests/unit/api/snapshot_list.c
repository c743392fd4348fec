/*
 * A list is read while snapshots come and go: D10 of the list in
 * tests/regressions.md.  The thread sanitizer runs this too.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <qcow2.h>

#include "support/test.h"

#define DISK_BYTES (4 * 65536)
#define ROUNDS 200

#define ok(expression) assert_int_equal((expression), 0)

struct fixture {
	struct qcow2_store *store;
	struct qcow2_image *img;
	atomic_bool stop;
	atomic_uint n_wrong;
};

static int setup(void **state)
{
	static struct fixture f;
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;

	f = (struct fixture){ 0 };
	create.virtual_size = DISK_BYTES;
	opts.flags = QCOW2_OPEN_RDWR;
	ok(qcow2_store_new_memory(&f.store, NULL));
	ok(qcow2_create_store(f.store, NULL, &create, NULL));
	ok(qcow2_open_store(f.store, &opts, &f.img, NULL));
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	ok(qcow2_close(f->img, NULL));
	qcow2_store_unref(f->store);
	return 0;
}

TEST(a_list_outlives_snapshots_and_image)
{
	struct fixture *f = *state;
	struct qcow2_snapshot_opts opts = QCOW2_SNAPSHOT_OPTS_INIT;
	struct qcow2_snapshot_info info = QCOW2_SNAPSHOT_INFO_INIT;
	struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_snapshot_list *list;

	opts.date_sec = 1234;
	opts.vm_clock_ns = 77;
	ok(qcow2_snapshot_create(f->img, "first", &opts, NULL));
	ok(qcow2_snapshot_create(f->img, "second", NULL, NULL));
	ok(qcow2_snapshot_list_new(f->img, &list, NULL));
	ok(qcow2_snapshot_delete(f->img, "first", NULL));
	ok(qcow2_snapshot_create(f->img, "third", NULL, NULL));
	ok(qcow2_close(f->img, NULL));
	assert_int_equal(qcow2_snapshot_list_count(list), 2);
	ok(qcow2_snapshot_list_get(list, 0, &info, NULL));
	assert_string_equal(info.id, "1");
	assert_string_equal(info.name, "first");
	assert_int_equal(info.date_sec, 1234);
	assert_int_equal(info.vm_clock_ns, 77);
	assert_int_equal(info.disk_size, DISK_BYTES);
	ok(qcow2_snapshot_list_get(list, 1, &info, NULL));
	assert_string_equal(info.name, "second");
	assert_int_equal(qcow2_snapshot_list_get(list, 2, &info, NULL),
			 -EINVAL);
	qcow2_snapshot_list_free(list);
	open.flags = QCOW2_OPEN_RDWR;
	ok(qcow2_open_store(f->store, &open, &f->img, NULL));
}

TEST(a_raw_disk_has_an_empty_list)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_snapshot_list *list;
	struct qcow2_store *memory;
	struct qcow2_image *img;

	opts.format = QCOW2_FORMAT_RAW;
	ok(qcow2_store_new_memory(&memory, NULL));
	ok(qcow2_open_store(memory, &opts, &img, NULL));
	ok(qcow2_snapshot_list_new(img, &list, NULL));
	assert_int_equal(qcow2_snapshot_list_count(list), 0);
	qcow2_snapshot_list_free(list);
	ok(qcow2_close(img, NULL));
	qcow2_store_unref(memory);
}

/* A list has the same snapshots in all its places: each name agrees with its
 * id. */
static bool is_sane(const struct qcow2_snapshot_list *list)
{
	for (uint32_t i = 0; i < qcow2_snapshot_list_count(list); i++) {
		struct qcow2_snapshot_info s = QCOW2_SNAPSHOT_INFO_INIT;

		if (qcow2_snapshot_list_get(list, i, &s, NULL) < 0 ||
		    strncmp(s.name, "at-", 3) || strcmp(s.name + 3, s.id))
			return false;
	}
	return true;
}

static void *watch(void *opaque)
{
	struct fixture *f = opaque;

	while (!atomic_load(&f->stop)) {
		struct qcow2_snapshot_info s = QCOW2_SNAPSHOT_INFO_INIT;
		struct qcow2_info info = QCOW2_INFO_INIT;
		struct qcow2_snapshot_list *list;

		if (qcow2_get_info(f->img, 0, &info, NULL) < 0 ||
		    info.n_snapshots > 3 ||
		    qcow2_snapshot_list_new(f->img, &list, NULL) < 0) {
			atomic_fetch_add(&f->n_wrong, 1);
			break;
		}
		if (!is_sane(list))
			atomic_fetch_add(&f->n_wrong, 1);
		qcow2_snapshot_list_free(list);
		qcow2_get_snapshot(f->img, 0, &s, NULL);
	}
	return NULL;
}

static void take(struct fixture *f, unsigned n)
{
	struct qcow2_snapshot_opts opts = QCOW2_SNAPSHOT_OPTS_INIT;
	char name[32];

	snprintf(name, sizeof(name), "at-%u", n);
	opts.id = name + 3;
	ok(qcow2_snapshot_create(f->img, name, &opts, NULL));
}

static void drop(struct fixture *f, unsigned n)
{
	char id[16];

	snprintf(id, sizeof(id), "%u", n);
	ok(qcow2_snapshot_delete(f->img, id, NULL));
}

TEST(a_monitor_polls_while_snapshots_are_made_and_deleted)
{
	struct fixture *f = *state;
	pthread_t threads[2];
	struct qcow2_snapshot_list *list;

	ok(qcow2_snapshot_list_new(f->img, &list, NULL));
	for (uint32_t i = 0; i < qcow2_snapshot_list_count(list); i++) {
		struct qcow2_snapshot_info s = QCOW2_SNAPSHOT_INFO_INIT;

		ok(qcow2_snapshot_list_get(list, i, &s, NULL));
		ok(qcow2_snapshot_delete(f->img, s.id, NULL));
	}
	qcow2_snapshot_list_free(list);
	for (unsigned i = 0; i < 2; i++)
		ok(pthread_create(&threads[i], NULL, watch, f));
	for (unsigned n = 1; n <= ROUNDS; n++) {
		take(f, n);
		if (n > 2)
			drop(f, n - 2);
	}
	atomic_store(&f->stop, true);
	for (unsigned i = 0; i < 2; i++)
		ok(pthread_join(threads[i], NULL));
	assert_int_equal(atomic_load(&f->n_wrong), 0);
}

TEST_GROUP(setup, teardown)
