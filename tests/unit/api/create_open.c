/*
 * An image is created and opened under one lock: nobody gets in between, and
 * what cannot be opened does not appear.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <qcow2.h>

#include "support/test.h"

#define CLUSTER 65536
#define DISK_BYTES (16 * CLUSTER)

#define ok(expression) assert_int_equal((expression), 0)

static char home[64];

static int enter_home(void **state)
{
	(void)state;
	strcpy(home, "create-open-XXXXXX");
	assert_non_null(mkdtemp(home));
	return chdir(home);
}

static int leave_home(void **state)
{
	char command[128];

	(void)state;
	ok(chdir(".."));
	snprintf(command, sizeof(command), "rm -rf %s", home);
	return system(command);
}

static struct qcow2_create_opts create_opts(void)
{
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;

	create.virtual_size = DISK_BYTES;
	return create;
}

static struct qcow2_image *create_open(const char *path)
{
	struct qcow2_create_opts create = create_opts();
	struct qcow2_error err = { 0 };
	struct qcow2_image *img;

	if (qcow2_create_open_path(path, &create, NULL, &img, &err) < 0)
		fail_msg("%s", err.message);
	return img;
}

static int open_rdwr(const char *path, struct qcow2_image **img)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;

	opts.flags = QCOW2_OPEN_RDWR;
	return qcow2_open_path(path, &opts, img, NULL);
}

static void expect_sound(const char *path)
{
	struct qcow2_check_result r = QCOW2_CHECK_RESULT_INIT;

	ok(qcow2_check_path(path, NULL, &r, NULL));
	assert_int_equal(r.corruptions + r.leaks + r.check_errors, 0);
}

/* ---- At a path ----------------------------------------------------------- */

TEST(a_new_image_is_open_for_writing_and_locked)
{
	struct qcow2_image *img = create_open("new");
	struct qcow2_image *other;
	uint8_t byte = 0;

	assert_string_equal(qcow2_layer_filename(img, 0), "new");
	assert_int_equal(open_rdwr("new", &other), -EBUSY);
	assert_int_equal(qcow2_open_path("new", NULL, &other, NULL), -EBUSY);
	ok(qcow2_pwrite(img, "x", 1, CLUSTER, 0, NULL));
	ok(qcow2_close(img, NULL));
	ok(open_rdwr("new", &img));
	ok(qcow2_pread(img, &byte, 1, CLUSTER, 0, NULL));
	assert_int_equal(byte, 'x');
	ok(qcow2_close(img, NULL));
	expect_sound("new");
}

TEST(a_file_that_is_there_is_replaced_or_stays)
{
	struct qcow2_create_opts create = create_opts();
	struct qcow2_placement placement = QCOW2_PLACEMENT_INIT;
	struct qcow2_image *img = create_open("old");
	struct qcow2_image *other;

	ok(qcow2_pwrite(img, "x", 1, 0, 0, NULL));
	create.flags = QCOW2_CREATE_EXCL;
	assert_int_equal(
		qcow2_create_open_path("old", &create, NULL, &other, NULL),
		-EEXIST);
	create.flags = 0;
	assert_int_equal(
		qcow2_create_open_path("old", &create, NULL, &other, NULL),
		-EBUSY);
	ok(qcow2_close(img, NULL));
	create.placement = &placement;
	create.virtual_size = 512;
	ok(qcow2_create_open_path("old", &create, NULL, &img, NULL));
	assert_int_equal(placement.how, QCOW2_PLACED_REPLACED);
	assert_int_equal(qcow2_size(img), 512);
	assert_int_equal(open_rdwr("old", &other), -EBUSY);
	ok(qcow2_close(img, NULL));

	create.flags = QCOW2_CREATE_IN_PLACE;
	ok(qcow2_create_open_path("old", &create, NULL, &img, NULL));
	assert_int_equal(placement.how, QCOW2_PLACED_IN_PLACE);
	assert_int_equal(open_rdwr("old", &other), -EBUSY);
	ok(qcow2_close(img, NULL));
	expect_sound("old");
}

static atomic_bool intruder_stops;

static void *intrude(void *arg)
{
	struct qcow2_image *img;
	uintptr_t n_opened = 0;

	while (!atomic_load(&intruder_stops)) {
		if (open_rdwr(arg, &img) < 0)
			continue;
		n_opened++;
		qcow2_close(img, NULL);
	}
	return (void *)n_opened;
}

TEST(nobody_gets_in_between)
{
	char name[32];

	for (int i = 0; i < 30; i++) {
		struct qcow2_image *img;
		pthread_t thread;
		void *n_opened;

		snprintf(name, sizeof(name), "between-%d", i);
		atomic_store(&intruder_stops, false);
		ok(pthread_create(&thread, NULL, intrude, name));
		img = create_open(name);
		ok(qcow2_pwrite(img, "x", 1, 0, 0, NULL));
		ok(qcow2_flush(img, NULL));
		atomic_store(&intruder_stops, true);
		ok(pthread_join(thread, &n_opened));
		assert_null(n_opened);
		ok(qcow2_close(img, NULL));
	}
}

/* ---- What it names ------------------------------------------------------- */

static int create_overlay(const char *path, const struct qcow2_gate *gate,
			  unsigned flags, struct qcow2_image **img,
			  struct qcow2_error *err)
{
	struct qcow2_create_opts create = create_opts();
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;

	create.backing_file = "base";
	create.backing_format = "qcow2";
	opts.gate = gate;
	opts.flags = flags;
	return qcow2_create_open_path(path, &create, &opts, img, err);
}

static void make_base(void)
{
	struct qcow2_image *img = create_open("base");

	ok(qcow2_pwrite(img, "base", 4, 0, 0, NULL));
	ok(qcow2_close(img, NULL));
}

TEST(a_backing_file_is_the_gates_to_allow)
{
	struct qcow2_gate gate = QCOW2_GATE_INIT;
	struct qcow2_error err = { 0 };
	struct qcow2_image *img, *base;
	char buf[4];

	make_base();
	assert_int_equal(create_overlay("overlay", &gate, 0, &img, &err),
			 -EPERM);
	assert_int_equal(err.reason, QCOW2_REASON_REFERENCE);
	assert_int_equal(access("overlay", F_OK), -1);
	gate.mode = QCOW2_EXTERNAL_DIR;
	ok(create_overlay("overlay", &gate, 0, &img, NULL));
	assert_int_equal(qcow2_layer_count(img), 2);
	ok(qcow2_pread(img, buf, 4, 0, 0, NULL));
	assert_memory_equal(buf, "base", 4);
	/* The base is held for reading. */
	assert_int_equal(open_rdwr("base", &base), -EBUSY);
	ok(qcow2_close(img, NULL));
	ok(create_overlay("overlay", NULL, QCOW2_OPEN_NO_BACKING, &img, NULL));
	assert_int_equal(qcow2_layer_count(img), 1);
	ok(qcow2_close(img, NULL));
}

TEST(what_cannot_be_opened_leaves_the_old_file)
{
	struct qcow2_image *img = create_open("kept");
	char byte = 0;

	make_base();
	ok(qcow2_pwrite(img, "k", 1, 0, 0, NULL));
	ok(qcow2_close(img, NULL));
	assert_int_equal(create_overlay("kept", NULL, 0, &img, NULL), -EPERM);
	ok(open_rdwr("kept", &img));
	ok(qcow2_pread(img, &byte, 1, 0, 0, NULL));
	assert_int_equal(byte, 'k');
	ok(qcow2_close(img, NULL));
}

/* The gate is asked before the image has its name. */
static int take_the_name(void *opaque, const struct qcow2_reference *ref,
			 struct qcow2_store **out, struct qcow2_error *err)
{
	int fd = open(opaque, O_CREAT | O_EXCL | O_WRONLY, 0644);

	assert_true(fd >= 0);
	close(fd);
	return qcow2_store_open_file(ref->name, ref->flags, out, err);
}

TEST(a_name_that_is_taken_meanwhile_stays_taken)
{
	char name[] = "taken";
	struct qcow2_gate gate = QCOW2_GATE_INIT;
	struct qcow2_image *img;

	make_base();
	gate.open = take_the_name;
	gate.opaque = name;
	assert_int_equal(create_overlay(name, &gate, 0, &img, NULL), -EEXIST);
	assert_int_equal(open_rdwr(name, &img), -EINVAL);
}

TEST(a_data_file_is_made_opened_and_locked_too)
{
	struct qcow2_create_opts create = create_opts();
	struct qcow2_open_opts raw = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_image *img, *other;

	create.data_file = "image.data";
	ok(qcow2_create_open_path("image", &create, NULL, &img, NULL));
	assert_string_equal(qcow2_layer_data_filename(img, 0), "image.data");
	ok(qcow2_pwrite(img, "d", 1, CLUSTER, 0, NULL));
	raw.format = QCOW2_FORMAT_RAW;
	assert_int_equal(qcow2_open_path("image.data", &raw, &other, NULL),
			 -EBUSY);
	ok(qcow2_close(img, NULL));
	ok(qcow2_open_path("image.data", &raw, &other, NULL));
	ok(qcow2_close(other, NULL));
	expect_sound("image");
}

TEST(options_for_opening_hold)
{
	struct qcow2_create_opts create = create_opts();
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_image *img;

	opts.flags = QCOW2_OPEN_DIRECT | QCOW2_OPEN_NO_FLUSH | QCOW2_OPEN_RDWR |
		     QCOW2_OPEN_TRUST_REFCOUNTS;
	ok(qcow2_create_open_path("direct", &create, &opts, &img, NULL));
	ok(qcow2_pwrite(img, "x", 1, 1, QCOW2_FUA, NULL));
	ok(qcow2_close(img, NULL));
	expect_sound("direct");
	opts.flags = QCOW2_OPEN_NEED_LOCK;
	ok(qcow2_create_open_path("locked", &create, &opts, &img, NULL));
	ok(qcow2_close(img, NULL));
}

/* ---- In stores ----------------------------------------------------------- */

TEST(stores_are_held_until_the_image_is_closed)
{
	struct qcow2_create_opts create = create_opts();
	struct qcow2_store *file, *data;
	struct qcow2_image *img, *other;
	struct qcow2_check_result r = QCOW2_CHECK_RESULT_INIT;

	ok(qcow2_store_new_memory(&file, NULL));
	ok(qcow2_store_new_memory(&data, NULL));
	create.data_file = "data";
	ok(qcow2_create_open_store(file, data, &create, NULL, &img, NULL));
	assert_int_equal(qcow2_create_open_store(file, data, &create, NULL,
						 &other, NULL),
			 -EBUSY);
	create.data_file = NULL;
	assert_int_equal(qcow2_create_store(data, NULL, &create, NULL), -EBUSY);
	ok(qcow2_pwrite(img, "x", 1, 0, 0, NULL));
	ok(qcow2_close(img, NULL));
	ok(qcow2_check_store(file, NULL, &r, NULL));
	assert_int_equal(r.corruptions + r.leaks + r.check_errors, 0);
	ok(qcow2_create_store(data, NULL, &create, NULL));
	qcow2_store_unref(file);
	qcow2_store_unref(data);
}

TEST(a_store_is_given_back_if_the_image_cannot_be_opened)
{
	struct qcow2_create_opts create = create_opts();
	struct qcow2_store *file;
	struct qcow2_image *img;

	ok(qcow2_store_new_memory(&file, NULL));
	create.backing_file = "base";
	create.backing_format = "raw";
	assert_int_equal(
		qcow2_create_open_store(file, NULL, &create, NULL, &img, NULL),
		-EPERM);
	create.backing_file = create.backing_format = NULL;
	ok(qcow2_create_open_store(file, NULL, &create, NULL, &img, NULL));
	ok(qcow2_close(img, NULL));
	qcow2_store_unref(file);
}

/* ---- Arguments ----------------------------------------------------------- */

static void refuse(const struct qcow2_open_opts *opts)
{
	struct qcow2_create_opts create = create_opts();
	struct qcow2_store *file;
	struct qcow2_image *img;
	uint64_t size;

	ok(qcow2_store_new_memory(&file, NULL));
	assert_int_equal(
		qcow2_create_open_path("refused", &create, opts, &img, NULL),
		-EINVAL);
	assert_int_equal(
		qcow2_create_open_store(file, NULL, &create, opts, &img, NULL),
		-EINVAL);
	assert_int_equal(access("refused", F_OK), -1);
	ok(qcow2_store_size(file, &size, NULL));
	assert_int_equal(size, 0);
	qcow2_store_unref(file);
}

TEST(options_that_make_no_sense_are_refused_before_anything_is_made)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;

	opts.flags = QCOW2_OPEN_NO_LOCK;
	refuse(&opts);
	opts.flags = QCOW2_OPEN_METADATA_ONLY;
	refuse(&opts);
	opts.flags = 0;
	opts.snapshot = "a";
	refuse(&opts);
	opts.snapshot = NULL;
	opts.format = QCOW2_FORMAT_RAW;
	refuse(&opts);
	opts.format = QCOW2_FORMAT_DEFAULT;
	opts.reserved = 1;
	refuse(&opts);
}

TEST_GROUP(enter_home, leave_home)
