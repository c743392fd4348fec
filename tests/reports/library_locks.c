/*
 * D1 to D4: the right to write when a process forks, when two images stand over
 * one store, when one is checked, and when one is created or converted to.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "library.h"

#define FIRST 8
#define ALL 300

static void in_child(void (*body)(void *arg), void *arg)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		body(arg);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void close_it(void *arg)
{
	if (qcow2_close(arg, NULL) != 0)
		_exit(1);
}

static void leave(void *arg)
{
	(void)arg;
}

static void write_and_flush(void *arg)
{
	static const char buf[512];

	if (qcow2_pwrite(arg, buf, sizeof(buf), 0, 0, NULL) != -ECHILD ||
	    qcow2_flush(arg, NULL) != -ECHILD ||
	    qcow2_discard(arg, CLUSTER, 0, 0, NULL) != -ECHILD ||
	    qcow2_zero(arg, CLUSTER, 0, 0, NULL) != -ECHILD ||
	    qcow2_snapshot_create(arg, "x", NULL, NULL) != -ECHILD ||
	    qcow2_resize(arg, CLUSTER, NULL, NULL) != -ECHILD)
		_exit(2);
}

static struct qcow2_image *begin(const char *path)
{
	struct qcow2_image *img;
	uint64_t i;

	create(path, UINT64_C(64) << 20);
	ok(open_path(path, QCOW2_OPEN_RDWR, &img));
	for (i = 0; i < FIRST; i++)
		ok(put(img, i));
	return img;
}

/* The child has the tables as they were; the parent goes on. */
static void after_a_fork(const char *path, void (*child)(void *arg))
{
	struct qcow2_image *img = begin(path);
	int tell[2];
	uint64_t i;
	pid_t pid;
	char c;

	ok(pipe(tell));
	pid = fork();
	if (pid == 0) {
		close(tell[1]);
		(void)!read(tell[0], &c, 1);
		child(img);
		_exit(0);
	}
	for (i = FIRST; i < ALL; i++)
		ok(put(img, i));
	ok(qcow2_flush(img, NULL));
	close(tell[0]);
	close(tell[1]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(n_wrong(img, ALL), 0);
	ok(qcow2_close(img, NULL));

	ok(open_path(path, 0, &img));
	assert_int_equal(n_wrong(img, ALL), 0);
	ok(qcow2_close(img, NULL));
	assert_sound(path);
}

static void d01_a_forked_child_closes_without_a_trace(void **state)
{
	(void)state;
	after_a_fork("d01-close", close_it);
}

static void d01_a_forked_child_exits_without_a_trace(void **state)
{
	(void)state;
	after_a_fork("d01-exit", leave);
}

static void d01_a_forked_child_that_writes_is_refused(void **state)
{
	(void)state;
	after_a_fork("d01-write", write_and_flush);
}

static void d01_a_forked_childs_close_keeps_the_parents_lock(void **state)
{
	struct qcow2_image *img = begin("d01-lock"), *other;

	(void)state;
	in_child(close_it, img);
	assert_int_equal(open_path("d01-lock", QCOW2_OPEN_RDWR, &other),
			 -EBUSY);
	assert_int_equal(open_path("d01-lock", 0, &other), -EBUSY);
	in_child(leave, img);
	assert_int_equal(open_path("d01-lock", QCOW2_OPEN_RDWR, &other),
			 -EBUSY);
	ok(qcow2_close(img, NULL));
	ok(open_path("d01-lock", QCOW2_OPEN_RDWR, &other));
	ok(qcow2_close(other, NULL));
}

static void close_twice(void *arg)
{
	struct qcow2_image **both = arg;

	close_it(both[0]);
	close_it(both[1]);
}

static void d01_a_forked_child_closes_a_whole_chain(void **state)
{
	struct qcow2_image *imgs[2];

	(void)state;
	imgs[0] = begin("d01-a");
	imgs[1] = begin("d01-b");
	in_child(close_twice, imgs);
	ok(put(imgs[0], FIRST));
	ok(put(imgs[1], FIRST));
	ok(qcow2_close(imgs[0], NULL));
	ok(qcow2_close(imgs[1], NULL));
	assert_sound("d01-a");
	assert_sound("d01-b");
}

static void open_its_own(void *arg)
{
	struct qcow2_image *img;

	if (open_path(arg, QCOW2_OPEN_RDWR, &img) || put(img, 3) ||
	    qcow2_close(img, NULL))
		_exit(3);
}

static void d01_a_forked_child_has_images_of_its_own(void **state)
{
	char path[] = "d01-own";

	(void)state;
	create(path, UINT64_C(64) << 20);
	in_child(open_its_own, path);
}

static void d02_two_images_do_not_write_over_one_store(void **state)
{
	struct qcow2_image *a, *b;
	struct qcow2_store *store;
	uint64_t i;

	(void)state;
	create("d02", UINT64_C(64) << 20);
	ok(qcow2_store_open_file("d02", QCOW2_STORE_RDWR, &store, NULL));
	ok(open_store(store, QCOW2_OPEN_RDWR, &a));
	assert_int_equal(open_store(store, QCOW2_OPEN_RDWR, &b), -EBUSY);
	assert_int_equal(open_store(store, 0, &b), -EBUSY);
	for (i = 0; i < 10; i++)
		ok(put(a, i));
	ok(qcow2_close(a, NULL));
	ok(open_store(store, QCOW2_OPEN_RDWR, &b));
	assert_int_equal(n_wrong(b, 10), 0);
	ok(qcow2_close(b, NULL));
	qcow2_store_unref(store);
	assert_sound("d02");
}

static void d02_nor_over_a_store_in_memory(void **state)
{
	struct qcow2_create_opts opts = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_image *a, *b, *c;
	struct qcow2_store *store;

	(void)state;
	opts.virtual_size = CLUSTER;
	ok(qcow2_store_new_memory(&store, NULL));
	ok(qcow2_create_store(store, NULL, &opts, NULL));
	ok(open_store(store, QCOW2_OPEN_RDWR, &a));
	assert_int_equal(open_store(store, QCOW2_OPEN_RDWR, &b), -EBUSY);
	ok(qcow2_close(a, NULL));
	ok(open_store(store, 0, &a));
	ok(open_store(store, 0, &b));
	assert_int_equal(open_store(store, QCOW2_OPEN_RDWR, &c), -EBUSY);
	ok(qcow2_close(a, NULL));
	ok(qcow2_close(b, NULL));
	qcow2_store_unref(store);
}

static void d02_raw_images_exclude_each_other_too(void **state)
{
	struct qcow2_open_opts opts = opts_of(QCOW2_OPEN_RDWR);
	struct qcow2_image *a, *b;
	struct qcow2_store *store;

	(void)state;
	create("d02-raw", CLUSTER);
	ok(qcow2_store_open_file("d02-raw", QCOW2_STORE_RDWR, &store, NULL));
	opts.format = QCOW2_FORMAT_RAW;
	ok(qcow2_open_store(store, &opts, &a, NULL));
	assert_int_equal(qcow2_open_store(store, &opts, &b, NULL), -EBUSY);
	assert_int_equal(open_store(store, QCOW2_OPEN_RDWR, &b), -EBUSY);
	ok(qcow2_close(a, NULL));
	qcow2_store_unref(store);
}

static void d03_a_check_does_not_give_a_writers_lock_away(void **state)
{
	struct qcow2_check_result found = QCOW2_CHECK_RESULT_INIT;
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	struct qcow2_image *img, *other;
	struct qcow2_store *store;

	(void)state;
	create("d03", UINT64_C(64) << 20);
	ok(qcow2_store_open_file("d03", QCOW2_STORE_RDWR, &store, NULL));
	ok(open_store(store, QCOW2_OPEN_RDWR, &img));
	ok(put(img, 0));
	assert_int_equal(qcow2_check_store(store, NULL, &found, NULL), -EBUSY);
	assert_int_equal(open_path("d03", 0, &other), -EBUSY);
	opts.flags = QCOW2_CHECK_REPAIR_ALL;
	assert_int_equal(qcow2_check_store(store, &opts, &found, NULL), -EBUSY);
	ok(put(img, 1));
	ok(qcow2_close(img, NULL));
	ok(qcow2_check_store(store, NULL, &found, NULL));
	assert_int_equal(found.corruptions, 0);
	qcow2_store_unref(store);
}

static void d03_the_lock_goes_with_the_last_image(void **state)
{
	struct qcow2_image *img, *other;
	struct qcow2_store *store;

	(void)state;
	create("d03-last", UINT64_C(64) << 20);
	ok(qcow2_store_open_file("d03-last", QCOW2_STORE_RDWR, &store, NULL));
	ok(open_store(store, QCOW2_OPEN_RDWR, &img));
	ok(qcow2_close(img, NULL));
	ok(open_path("d03-last", QCOW2_OPEN_RDWR, &other));
	assert_int_equal(open_store(store, QCOW2_OPEN_RDWR, &img), -EBUSY);
	ok(qcow2_close(other, NULL));
	qcow2_store_unref(store);
}

static void d03_an_open_that_fails_keeps_no_lock(void **state)
{
	struct qcow2_open_opts opts = opts_of(QCOW2_OPEN_RDWR);
	struct qcow2_image *img;
	struct qcow2_store *store;

	(void)state;
	create("d03-fails", UINT64_C(64) << 20);
	ok(qcow2_store_open_file("d03-fails", QCOW2_STORE_RDWR, &store, NULL));
	opts.snapshot = "nosuch";
	assert_true(qcow2_open_store(store, &opts, &img, NULL) < 0);
	opts.flags = 0;
	assert_int_equal(qcow2_open_store(store, &opts, &img, NULL), -ENOENT);
	ok(open_path("d03-fails", QCOW2_OPEN_RDWR, &img));
	ok(qcow2_close(img, NULL));
	qcow2_store_unref(store);
}

static void d04_a_store_in_use_is_not_made_an_image(void **state)
{
	struct qcow2_create_opts opts = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_store *store, *same;
	struct qcow2_image *img;

	(void)state;
	create_written("d04", 6);
	ok(open_path("d04", QCOW2_OPEN_RDWR, &img));
	ok(qcow2_store_open_file("d04", QCOW2_STORE_RDWR, &store, NULL));
	opts.virtual_size = CLUSTER;
	assert_int_equal(qcow2_create_store(store, NULL, &opts, NULL), -EBUSY);
	assert_int_equal(n_wrong(img, 6), 0);
	ok(qcow2_close(img, NULL));
	ok(open_path("d04", 0, &img));
	assert_int_equal(n_wrong(img, 6), 0);
	assert_int_equal(qcow2_create_store(store, NULL, &opts, NULL), -EBUSY);
	ok(qcow2_close(img, NULL));
	qcow2_store_unref(store);

	ok(qcow2_store_open_file("d04", QCOW2_STORE_RDWR, &same, NULL));
	ok(open_store(same, QCOW2_OPEN_RDWR, &img));
	assert_int_equal(qcow2_create_store(same, NULL, &opts, NULL), -EBUSY);
	assert_int_equal(n_wrong(img, 6), 0);
	ok(qcow2_close(img, NULL));
	ok(qcow2_create_store(same, NULL, &opts, NULL));
	qcow2_store_unref(same);
}

static void d04_a_store_in_use_is_no_data_file(void **state)
{
	struct qcow2_create_opts opts = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_store *store, *data;
	struct qcow2_image *img;

	(void)state;
	create_written("d04-data", 6);
	ok(open_path("d04-data", QCOW2_OPEN_RDWR, &img));
	ok(qcow2_store_open_file("d04-data", QCOW2_STORE_RDWR, &data, NULL));
	ok(qcow2_store_new_memory(&store, NULL));
	opts.virtual_size = CLUSTER;
	opts.data_file = "d04-data";
	assert_int_equal(qcow2_create_store(store, data, &opts, NULL), -EBUSY);
	assert_int_equal(n_wrong(img, 6), 0);
	ok(qcow2_close(img, NULL));
	qcow2_store_unref(data);

	/* One store cannot be both. */
	assert_true(qcow2_create_store(store, store, &opts, NULL) < 0);
	qcow2_store_unref(store);
}

static void d04_a_store_in_use_is_no_target_of_a_convert(void **state)
{
	struct qcow2_image *img, *source;
	struct qcow2_store *store;

	(void)state;
	create_written("d04-target", 6);
	create_written("d04-source", 3);
	ok(open_path("d04-target", QCOW2_OPEN_RDWR, &img));
	ok(open_path("d04-source", 0, &source));
	ok(qcow2_store_open_file("d04-target", QCOW2_STORE_RDWR, &store, NULL));
	assert_int_equal(qcow2_convert_raw_store(source, store, NULL, NULL),
			 -EBUSY);
	assert_int_equal(n_wrong(img, 6), 0);
	ok(qcow2_close(img, NULL));
	qcow2_store_unref(store);
	ok(qcow2_close(source, NULL));
	assert_sound("d04-target");
}

static void d04_an_image_is_not_converted_into_its_own_store(void **state)
{
	struct qcow2_store *store;
	struct qcow2_image *img;

	(void)state;
	create_written("d04-own", 6);
	ok(qcow2_store_open_file("d04-own", QCOW2_STORE_RDWR, &store, NULL));
	ok(open_store(store, 0, &img));
	assert_int_equal(qcow2_convert_raw_store(img, store, NULL, NULL),
			 -EBUSY);
	assert_int_equal(n_wrong(img, 6), 0);
	ok(qcow2_close(img, NULL));
	qcow2_store_unref(store);
	assert_sound("d04-own");
}

static void d04_paths_in_use_are_not_replaced(void **state)
{
	struct qcow2_create_opts opts = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_image *img, *source;

	(void)state;
	create_written("d04-path", 6);
	create_written("d04-path2", 3);
	ok(open_path("d04-path", QCOW2_OPEN_RDWR, &img));
	ok(open_path("d04-path2", 0, &source));
	opts.virtual_size = CLUSTER;
	assert_int_equal(qcow2_create_path("d04-path", &opts, NULL), -EBUSY);
	assert_int_equal(qcow2_convert_raw(source, "d04-path", NULL, NULL),
			 -EBUSY);
	assert_int_equal(qcow2_convert(source, "d04-path", NULL, NULL, NULL),
			 -EBUSY);
	ok(qcow2_close(source, NULL));
	ok(qcow2_close(img, NULL));
	ok(open_path("d04-path", 0, &img));
	assert_int_equal(n_wrong(img, 6), 0);
	ok(qcow2_close(img, NULL));
}

int main(void)
{
	char directory[64];
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(d01_a_forked_child_closes_without_a_trace),
		cmocka_unit_test(d01_a_forked_child_exits_without_a_trace),
		cmocka_unit_test(d01_a_forked_child_that_writes_is_refused),
		cmocka_unit_test(
			d01_a_forked_childs_close_keeps_the_parents_lock),
		cmocka_unit_test(d01_a_forked_child_closes_a_whole_chain),
		cmocka_unit_test(d01_a_forked_child_has_images_of_its_own),
		cmocka_unit_test(d02_two_images_do_not_write_over_one_store),
		cmocka_unit_test(d02_nor_over_a_store_in_memory),
		cmocka_unit_test(d02_raw_images_exclude_each_other_too),
		cmocka_unit_test(d03_a_check_does_not_give_a_writers_lock_away),
		cmocka_unit_test(d03_the_lock_goes_with_the_last_image),
		cmocka_unit_test(d03_an_open_that_fails_keeps_no_lock),
		cmocka_unit_test(d04_a_store_in_use_is_not_made_an_image),
		cmocka_unit_test(d04_a_store_in_use_is_no_data_file),
		cmocka_unit_test(d04_a_store_in_use_is_no_target_of_a_convert),
		cmocka_unit_test(
			d04_an_image_is_not_converted_into_its_own_store),
		cmocka_unit_test(d04_paths_in_use_are_not_replaced),
	};

	enter_directory(directory);
	return RUN_IN_DIRECTORY(tests, directory);
}
