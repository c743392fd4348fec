/*
 * Files that a new file must not be (F10 of the list in tests/regressions.md).
 * The sources are opened without locks: those would stop it too, where there
 * are any.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <qcow2.h>

#include "support/test.h"

#define DISK_BYTES (1 << 20)

#define ok(expression) assert_int_equal((expression), 0)

static char home[64];
static struct qcow2_error err;

static void create(const char *path, const char *backing)
{
	struct qcow2_create_opts o = QCOW2_CREATE_OPTS_INIT;

	o.virtual_size = DISK_BYTES;
	o.backing_file = backing;
	o.backing_format = backing ? "qcow2" : NULL;
	ok(qcow2_create_path(path, &o, &err));
}

static int setup(void **state)
{
	(void)state;
	snprintf(home, sizeof(home), "./api-target-%d", (int)getpid());
	ok(mkdir(home, 0755));
	ok(chdir(home));
	create("a", NULL);
	ok(link("a", "hard"));
	ok(symlink("a", "soft"));
	create("middle", "a");
	create("other", NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	ok(system("rm -rf ./*"));
	return chdir("..") || rmdir(home);
}

/* The number changes when the file is replaced; 0 when there is none. */
static ino_t inode_of(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_ino : 0;
}

static struct qcow2_image *look(const char *path)
{
	struct qcow2_open_opts o = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_gate gate = QCOW2_GATE_INIT;
	struct qcow2_image *img;

	gate.mode = QCOW2_EXTERNAL_DIR;
	o.gate = &gate;
	o.flags = QCOW2_OPEN_NO_LOCK;
	ok(qcow2_open_path(path, &o, &img, &err));
	return img;
}

static const char *const names[] = { "a", "./a", "hard", "soft" };
#define N_NAMES (sizeof(names) / sizeof(names[0]))

TEST_WITH(an_image_is_not_its_own_backing_file, setup, teardown)
{
	struct qcow2_create_opts o = QCOW2_CREATE_OPTS_INIT;
	ino_t before = inode_of("a");

	o.virtual_size = DISK_BYTES;
	o.backing_format = "qcow2";
	for (size_t i = 0; i < N_NAMES; i++) {
		o.backing_file = names[i];
		assert_int_equal(qcow2_create_path("./a", &o, &err), -EINVAL);
		assert_non_null(strstr(err.message, "the very file"));
	}
	o.backing_file = "./new";
	assert_int_equal(qcow2_create_path("new", &o, &err), -EINVAL);
	assert_int_equal(inode_of("a"), before);
	assert_int_equal(inode_of("new"), 0);
}

TEST_WITH(a_data_file_is_neither_the_image_nor_below_it, setup, teardown)
{
	struct qcow2_create_opts o = QCOW2_CREATE_OPTS_INIT;
	ino_t before = inode_of("a");

	o.virtual_size = DISK_BYTES;
	for (size_t i = 0; i < N_NAMES; i++) {
		o.data_file = names[i];
		assert_int_equal(qcow2_create_path("./a", &o, &err), -EINVAL);
		assert_string_equal(err.message,
				    "data_file is the image itself");
		o.backing_file = "a";
		o.backing_format = "qcow2";
		assert_int_equal(qcow2_create_path("new", &o, &err), -EINVAL);
		o.backing_file = NULL;
		o.backing_format = NULL;
	}
	o.data_file = "./new";
	assert_int_equal(qcow2_create_path("new", &o, &err), -EINVAL);
	assert_int_equal(inode_of("a"), before);
	assert_int_equal(inode_of("new"), 0);
}

static void refuse_to_convert(struct qcow2_image *img)
{
	ino_t before = inode_of("a");

	for (size_t i = 0; i < N_NAMES; i++) {
		assert_int_equal(qcow2_convert_raw(img, names[i], NULL, &err),
				 -EINVAL);
		assert_non_null(strstr(err.message, "this very file"));
		assert_int_equal(qcow2_convert(img, names[i], NULL, NULL, &err),
				 -EINVAL);
		assert_non_null(strstr(err.message, "this very file"));
	}
	assert_int_equal(inode_of("a"), before);
}

TEST_WITH(a_target_is_not_what_the_source_reads_from, setup, teardown)
{
	struct qcow2_image *parts[2];
	struct qcow2_image *both;

	parts[0] = look("other");
	parts[1] = look("middle");
	refuse_to_convert(parts[1]);
	ok(qcow2_concat(parts, 2, &both, &err));
	refuse_to_convert(both);
	ok(qcow2_close(both, &err));
	ok(qcow2_close(parts[0], &err));
	ok(qcow2_close(parts[1], &err));
}

TEST_WITH(a_target_is_not_below_itself, setup, teardown)
{
	struct qcow2_convert_opts o = QCOW2_CONVERT_OPTS_INIT;
	struct qcow2_create_opts made = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_image *src = look("other");
	ino_t before = inode_of("a");

	o.backing = look("middle");
	made.backing_file = "middle";
	made.backing_format = "qcow2";
	assert_int_equal(qcow2_convert(src, "a", &o, &made, &err), -EINVAL);
	made.data_file = "hard";
	assert_int_equal(qcow2_convert(src, "new", &o, &made, &err), -EINVAL);
	assert_int_equal(inode_of("a"), before);
	assert_int_equal(inode_of("new"), 0);
	ok(qcow2_close(o.backing, &err));
	ok(qcow2_close(src, &err));
}

TEST_WITH(nothing_is_converted_into_what_it_reads_from, setup, teardown)
{
	struct qcow2_open_opts o = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_image *src = look("middle");
	struct qcow2_image *target;

	o.flags = QCOW2_OPEN_RDWR;
	ok(qcow2_open_path("hard", &o, &target, &err));
	assert_int_equal(qcow2_convert_into(src, target, NULL, &err), -EINVAL);
	assert_non_null(strstr(err.message, "this very file"));
	ok(qcow2_close(target, &err));
	ok(qcow2_close(src, &err));
}

static void refuse_into(struct qcow2_image *src, const char *path,
			uint32_t flags, int want, const char *text)
{
	struct qcow2_open_opts o = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_convert_opts c = QCOW2_CONVERT_OPTS_INIT;
	struct qcow2_gate gate = QCOW2_GATE_INIT;
	struct qcow2_image *target;

	gate.mode = QCOW2_EXTERNAL_DIR;
	o.gate = &gate;
	o.flags = want == -EBADF ? 0 : QCOW2_OPEN_RDWR;
	c.flags = flags;
	ok(qcow2_open_path(path, &o, &target, &err));
	assert_int_equal(qcow2_convert_into(src, target, &c, &err), want);
	assert_non_null(strstr(err.message, text));
	ok(qcow2_close(target, &err));
}

TEST_WITH(an_open_target_is_looked_at_before_it_is_written, setup, teardown)
{
	struct qcow2_create_opts small = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_image *src = look("a");

	small.virtual_size = DISK_BYTES / 2;
	ok(qcow2_create_path("small", &small, &err));
	refuse_into(src, "small", 0, -ENOSPC, "smaller than input file");
	refuse_into(src, "other", QCOW2_CONVERT_DIRECT, -EINVAL, "for paths");
	refuse_into(src, "other", 0, -EBADF, "not open for writing");
	assert_int_equal(qcow2_convert_into(src, src, NULL, &err), -EINVAL);
	assert_non_null(strstr(err.message, "the same image"));
	ok(qcow2_close(src, &err));
	src = look("other");
	refuse_into(src, "middle", QCOW2_CONVERT_TARGET_IS_ZERO, -EINVAL,
		    "not taken to be zero");
	ok(qcow2_close(src, &err));
}

/* D16 */
TEST_WITH(a_forgotten_size_replaces_nothing, setup, teardown)
{
	struct qcow2_create_opts o = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_store *store;
	ino_t before = inode_of("a");

	assert_int_equal(qcow2_create_path("a", NULL, &err), -EINVAL);
	assert_int_equal(qcow2_create_path("a", &o, &err), -EINVAL);
	assert_non_null(strstr(err.message, "virtual_size is not set"));
	ok(qcow2_store_open_file("a", QCOW2_STORE_RDWR, &store, &err));
	assert_int_equal(qcow2_create_store(store, NULL, &o, &err), -EINVAL);
	qcow2_store_unref(store);
	o.virtual_size = DISK_BYTES;
	o.flags = QCOW2_CREATE_SIZE_ZERO;
	assert_int_equal(qcow2_create_path("a", &o, &err), -EINVAL);
	assert_int_equal(inode_of("a"), before);
}

TEST_WITH(what_is_there_may_be_kept, setup, teardown)
{
	struct qcow2_placement where = QCOW2_PLACEMENT_INIT;
	struct qcow2_create_opts o = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_convert_opts c = QCOW2_CONVERT_OPTS_INIT;
	struct qcow2_image *img = look("middle");
	ino_t before = inode_of("other");

	o.virtual_size = DISK_BYTES;
	o.flags = QCOW2_CREATE_EXCL;
	c.flags = QCOW2_CONVERT_EXCL;
	assert_int_equal(qcow2_create_path("other", &o, &err), -EEXIST);
	assert_int_equal(qcow2_convert_raw(img, "other", &c, &err), -EEXIST);
	assert_int_equal(qcow2_convert(img, "other", &c, NULL, &err), -EEXIST);
	assert_int_equal(qcow2_convert(img, "other", NULL, &o, &err), -EEXIST);
	assert_int_equal(inode_of("other"), before);
	o.flags = QCOW2_CREATE_IN_PLACE;
	o.placement = &where;
	ok(qcow2_create_path("other", &o, &err));
	assert_int_equal(inode_of("other"), before);
	assert_int_equal(where.how, QCOW2_PLACED_IN_PLACE);
	o.flags |= QCOW2_CREATE_REPLACE;
	assert_int_equal(qcow2_create_path("other", &o, &err), -EINVAL);
	o.flags = 0;
	where.struct_size = 3;
	assert_int_equal(qcow2_create_path("other", &o, &err), -EINVAL);
	assert_int_equal(inode_of("other"), before);
	ok(qcow2_close(img, &err));
}

/* F15 */
TEST_WITH(a_raw_target_is_preallocated_before_it_is_published, setup, teardown)
{
	struct qcow2_convert_opts o = QCOW2_CONVERT_OPTS_INIT;
	struct qcow2_image *img = look("middle");
	struct stat st;

	o.preallocation = QCOW2_PREALLOC_FALLOC;
	ok(qcow2_convert_raw(img, "raw", &o, &err));
	ok(stat("raw", &st));
	assert_int_equal(st.st_size, DISK_BYTES);
	assert_true(st.st_blocks * 512 >= DISK_BYTES);
	o.preallocation = QCOW2_PREALLOC_METADATA;
	assert_int_equal(qcow2_convert_raw(img, "raw", &o, &err), -EINVAL);
	o.preallocation = QCOW2_PREALLOC_FULL;
	ok(qcow2_convert_raw(img, "raw", &o, &err));
	assert_int_equal(qcow2_convert(img, "new", &o, NULL, &err), -EINVAL);
	assert_int_equal(inode_of("new"), 0);
	ok(qcow2_close(img, &err));
}

TEST_WITH(a_size_of_zero_may_be_meant, setup, teardown)
{
	struct qcow2_create_opts o = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_image *img;

	o.flags = QCOW2_CREATE_SIZE_ZERO;
	ok(qcow2_create_path("new", &o, &err));
	img = look("new");
	assert_int_equal(qcow2_size(img), 0);
	ok(qcow2_convert(img, "again", NULL, NULL, &err));
	ok(qcow2_close(img, &err));
}
