/*
 * D8, D10, D16, and the gate of D9: results, threads and arguments from the
 * caller's side.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "library.h"

#define MIB (UINT64_C(1) << 20)

static void read_file(const char *path, uint8_t **bytes, size_t *n)
{
	struct stat st;
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	ok(fstat(fd, &st));
	*n = (size_t)st.st_size;
	*bytes = malloc(*n + 1);
	assert_int_equal(read(fd, *bytes, *n), st.st_size);
	close(fd);
}

static void poke(const char *path, off_t off, const void *bytes, size_t n)
{
	int fd = open(path, O_WRONLY);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, n, off), n);
	close(fd);
}

/* The first refcount block lies at its usual place; cluster 5 is in use. */
static void make_wrong(const char *path)
{
	create_written(path, 4);
	poke(path, 0x20000 + 2 * 5, "\0\7", 2);
}

static void d08_a_check_whose_result_has_no_size_repairs_nothing(void **state)
{
	static const size_t sizes[] = { 0, 1, 7, 1 << 30 };
	struct qcow2_check_result found = QCOW2_CHECK_RESULT_INIT;
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	uint8_t *before, *after;
	size_t i, n, m;

	(void)state;
	make_wrong("d08");
	opts.flags = QCOW2_CHECK_REPAIR_ALL;
	read_file("d08", &before, &n);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]) - 1; i++) {
		found.struct_size = sizes[i];
		assert_int_equal(qcow2_check_path("d08", &opts, &found, NULL),
				 -EINVAL);
		read_file("d08", &after, &m);
		assert_int_equal(n, m);
		assert_memory_equal(before, after, n);
		free(after);
	}
	assert_int_equal(qcow2_check_path("d08", &opts, NULL, NULL), -EINVAL);
	opts.flags = 1u << 30;
	found.struct_size = sizeof(found);
	assert_int_equal(qcow2_check_path("d08", &opts, &found, NULL), -EINVAL);
	read_file("d08", &after, &m);
	assert_int_equal(n, m);
	assert_memory_equal(before, after, n);
	free(after);
	free(before);
	opts.flags = QCOW2_CHECK_REPAIR_ALL;
	ok(qcow2_check_path("d08", &opts, &found, NULL));
	assert_sound("d08");
}

static void d08_other_results_are_looked_at_before_the_work_too(void **state)
{
	struct qcow2_compact_result compact = QCOW2_COMPACT_RESULT_INIT;
	struct qcow2_compare_result compare = QCOW2_COMPARE_RESULT_INIT;
	uint8_t *before, *after;
	struct qcow2_image *img;
	size_t n, m;

	(void)state;
	create_written("d08-compact", 20);
	ok(open_path("d08-compact", QCOW2_OPEN_RDWR, &img));
	ok(qcow2_discard(img, 10 * CLUSTER, 0, 0, NULL));
	ok(qcow2_flush(img, NULL));
	read_file("d08-compact", &before, &n);
	compact.struct_size = 0;
	compare.struct_size = 0;
	assert_int_equal(qcow2_compact(img, NULL, &compact, NULL), -EINVAL);
	assert_int_equal(qcow2_compare(img, img, NULL, &compare, NULL),
			 -EINVAL);
	read_file("d08-compact", &after, &m);
	assert_int_equal(n, m);
	assert_memory_equal(before, after, n);
	free(before);
	free(after);
	ok(qcow2_close(img, NULL));
}

struct monitor {
	struct qcow2_image *img;
	atomic_int stop;
	int wrong;
};

static void *poll_info(void *arg)
{
	struct qcow2_snapshot_info snapshot = QCOW2_SNAPSHOT_INFO_INIT;
	struct qcow2_info info = QCOW2_INFO_INIT;
	struct monitor *m = arg;

	while (!atomic_load(&m->stop)) {
		if (qcow2_get_info(m->img, 0, &info, NULL) ||
		    info.n_snapshots > 3 || info.virtual_size != 64 * MIB)
			m->wrong++;
		snapshot.disk_size = 64 * MIB;
		if (qcow2_get_snapshot(m->img, 1, &snapshot, NULL) == 0 &&
		    snapshot.disk_size != 64 * MIB)
			m->wrong++;
	}
	return NULL;
}

static void
d10_information_may_be_asked_while_snapshots_come_and_go(void **state)
{
	struct monitor m = { 0 };
	pthread_t thread;
	int i;

	(void)state;
	create_written("d10", 20);
	ok(open_path("d10", QCOW2_OPEN_RDWR, &m.img));
	ok(pthread_create(&thread, NULL, poll_info, &m));
	for (i = 0; i < 60; i++) {
		ok(qcow2_snapshot_create(m.img, "a", NULL, NULL));
		ok(qcow2_snapshot_create(m.img, "b", NULL, NULL));
		ok(put(m.img, (uint64_t)i % 20));
		ok(qcow2_snapshot_delete(m.img, "a", NULL));
		ok(qcow2_snapshot_delete(m.img, "b", NULL));
	}
	atomic_store(&m.stop, 1);
	ok(pthread_join(thread, NULL));
	assert_int_equal(m.wrong, 0);
	ok(qcow2_close(m.img, NULL));
	assert_sound("d10");
}

static void d16_a_size_that_was_forgotten_replaces_nothing(void **state)
{
	struct qcow2_create_opts opts = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_image *img;
	struct qcow2_store *store;

	(void)state;
	create_written("d16", 6);
	assert_int_equal(qcow2_create_path("d16", &opts, NULL), -EINVAL);
	assert_int_equal(qcow2_create_path("d16", NULL, NULL), -EINVAL);
	ok(qcow2_store_open_file("d16", QCOW2_STORE_RDWR, &store, NULL));
	assert_int_equal(qcow2_create_store(store, NULL, &opts, NULL), -EINVAL);
	assert_int_equal(qcow2_create_store(store, NULL, NULL, NULL), -EINVAL);
	qcow2_store_unref(store);
	ok(open_path("d16", 0, &img));
	assert_int_equal(n_wrong(img, 6), 0);
	ok(qcow2_close(img, NULL));
}

static void d16_nothing_is_given_for_a_null_image(void **state)
{
	struct qcow2_info info = QCOW2_INFO_INIT;
	struct qcow2_extent extent;
	char buf[512] = { 0 };

	(void)state;
	assert_int_equal(qcow2_pread(NULL, buf, 1, 0, 0, NULL), -EINVAL);
	assert_int_equal(qcow2_pwrite(NULL, buf, 1, 0, 0, NULL), -EINVAL);
	assert_int_equal(qcow2_zero(NULL, 1, 0, 0, NULL), -EINVAL);
	assert_int_equal(qcow2_discard(NULL, 1, 0, 0, NULL), -EINVAL);
	assert_int_equal(qcow2_flush(NULL, NULL), -EINVAL);
	assert_int_equal(qcow2_map(NULL, 1, 0, 0, &extent, NULL), -EINVAL);
	assert_int_equal(qcow2_get_info(NULL, 0, &info, NULL), -EINVAL);
	assert_int_equal(qcow2_resize(NULL, 512, NULL, NULL), -EINVAL);
	assert_int_equal(qcow2_size(NULL), 0);
	assert_int_equal(qcow2_layer_count(NULL), 0);
	assert_null(qcow2_layer_filename(NULL, 0));
	ok(qcow2_close(NULL, NULL));
}

static void d16_no_buffer_is_an_error_not_a_crash(void **state)
{
	struct qcow2_image *img;

	(void)state;
	create("d16-null", CLUSTER);
	ok(open_path("d16-null", QCOW2_OPEN_RDWR, &img));
	assert_int_equal(qcow2_pread(img, NULL, 1, 0, 0, NULL), -EINVAL);
	assert_int_equal(qcow2_pwrite(img, NULL, 1, 0, 0, NULL), -EINVAL);
	assert_int_equal(qcow2_map(img, 1, 0, 0, NULL, NULL), -EINVAL);
	assert_int_equal(qcow2_get_info(img, 0, NULL, NULL), -EINVAL);
	assert_int_equal(qcow2_snapshot_create(img, NULL, NULL, NULL), -EINVAL);
	assert_int_equal(qcow2_open_path(NULL, NULL, &img, NULL), -EINVAL);
	assert_int_equal(qcow2_open_path("d16-null", NULL, NULL, NULL),
			 -EINVAL);
	ok(qcow2_close(img, NULL));
}

static void d16_text_is_not_escaped_into_no_room(void **state)
{
	char dst[4] = "abc";

	(void)state;
	assert_int_equal(qcow2_escape(dst, 0, "xyz\n", 4), 0);
	assert_string_equal(dst, "abc");
	assert_int_equal(qcow2_escape(dst, 1, "xyz\n", 4), 0);
	assert_int_equal(dst[0], '\0');
	assert_int_equal(qcow2_escape(NULL, 0, "x", 1), 0);
}

static void d16_flags_that_mean_nothing_alone_are_refused(void **state)
{
	struct qcow2_image *img;

	(void)state;
	create("d16-flags", CLUSTER);
	assert_int_equal(
		open_path("d16-flags", QCOW2_OPEN_METADATA_CHAIN, &img),
		-EINVAL);
	assert_int_equal(open_path("d16-flags", 1u << 30, &img), -EINVAL);
	ok(open_path("d16-flags", QCOW2_OPEN_RDWR, &img));
	assert_int_equal(qcow2_discard(img, CLUSTER, 0, 1u << 30, NULL),
			 -EINVAL);
	ok(qcow2_close(img, NULL));
}

static void d16_a_snapshot_has_a_name_that_people_can_read(void **state)
{
	static const char *const names[] = { "", "\xff", "a\xc3", "\xc0\x80",
					     "\xed\xa0\x80" };
	struct qcow2_info info = QCOW2_INFO_INIT;
	struct qcow2_image *img;
	size_t i;

	(void)state;
	create("d16-names", CLUSTER);
	ok(open_path("d16-names", QCOW2_OPEN_RDWR, &img));
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(
			qcow2_snapshot_create(img, names[i], NULL, NULL),
			-EINVAL);
	ok(qcow2_get_info(img, 0, &info, NULL));
	assert_int_equal(info.n_snapshots, 0);
	ok(qcow2_snapshot_create(img,
				 "gr\xc3\xbc\xc3\x9f"
				 "e",
				 NULL, NULL));
	ok(qcow2_close(img, NULL));
}

static void
d16_a_dirty_image_is_not_repaired_where_that_is_not_wanted(void **state)
{
	uint8_t *before, *after;
	struct qcow2_image *img;
	size_t n, m;

	(void)state;
	create_written("d16-dirty", 6);
	poke("d16-dirty", 79, "\1", 1);
	read_file("d16-dirty", &before, &n);
	assert_int_equal(open_path("d16-dirty",
				   QCOW2_OPEN_RDWR | QCOW2_OPEN_NO_REPAIR,
				   &img),
			 -EROFS);
	read_file("d16-dirty", &after, &m);
	assert_int_equal(n, m);
	assert_memory_equal(before, after, n);
	free(before);
	free(after);
	ok(open_path("d16-dirty", QCOW2_OPEN_RDWR, &img));
	assert_int_equal(n_wrong(img, 6), 0);
	ok(qcow2_close(img, NULL));
	assert_sound("d16-dirty");
}

struct seen {
	uint32_t flags;
	uint32_t store_flags;
};

static int open_reference(void *opaque, const struct qcow2_reference *ref,
			  struct qcow2_store **out, struct qcow2_error *err)
{
	struct seen *seen = opaque;

	seen->flags = ref->flags;
	return qcow2_store_open_file(ref->name, seen->store_flags, out, err);
}

static void d09_a_gate_is_told_what_it_opens_a_file_for(void **state)
{
	struct qcow2_create_opts create_opts = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_open_opts opts = opts_of(QCOW2_OPEN_RDWR);
	struct qcow2_gate gate = QCOW2_GATE_INIT;
	struct seen seen = { 0, 0 };
	struct qcow2_image *img;

	(void)state;
	create_opts.virtual_size = CLUSTER;
	create_opts.data_file = "d09-data";
	ok(qcow2_create_path("d09-top", &create_opts, NULL));
	gate.open = open_reference;
	gate.opaque = &seen;
	opts.gate = &gate;
	assert_int_equal(qcow2_open_path("d09-top", &opts, &img, NULL), -EROFS);
	assert_int_equal(seen.flags & QCOW2_STORE_RDWR, QCOW2_STORE_RDWR);
	seen.store_flags = QCOW2_STORE_RDWR;
	ok(qcow2_open_path("d09-top", &opts, &img, NULL));
	ok(put(img, 0));
	ok(qcow2_close(img, NULL));
	opts.flags = 0;
	seen.store_flags = 0;
	ok(qcow2_open_path("d09-top", &opts, &img, NULL));
	assert_int_equal(seen.flags & QCOW2_STORE_RDWR, 0);
	ok(qcow2_close(img, NULL));
}

int main(void)
{
	char directory[64];
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			d08_a_check_whose_result_has_no_size_repairs_nothing),
		cmocka_unit_test(
			d08_other_results_are_looked_at_before_the_work_too),
		cmocka_unit_test(d09_a_gate_is_told_what_it_opens_a_file_for),
		cmocka_unit_test(
			d10_information_may_be_asked_while_snapshots_come_and_go),
		cmocka_unit_test(
			d16_a_size_that_was_forgotten_replaces_nothing),
		cmocka_unit_test(d16_nothing_is_given_for_a_null_image),
		cmocka_unit_test(d16_no_buffer_is_an_error_not_a_crash),
		cmocka_unit_test(d16_text_is_not_escaped_into_no_room),
		cmocka_unit_test(d16_flags_that_mean_nothing_alone_are_refused),
		cmocka_unit_test(
			d16_a_snapshot_has_a_name_that_people_can_read),
		cmocka_unit_test(
			d16_a_dirty_image_is_not_repaired_where_that_is_not_wanted),
	};

	enter_directory(directory);
	return RUN_IN_DIRECTORY(tests, directory);
}
