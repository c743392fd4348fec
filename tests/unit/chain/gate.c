/*
 * The gate opens some names and refuses others, in a directory made for it.
 */
#include "chain/gate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/store.h"
#include "support/test.h"

/*
 *	ROOT/outside/secret
 *	ROOT/images/top            the image that names others
 *	ROOT/images/base
 *	ROOT/images/sub/deep
 *	ROOT/images/leak  ->  ../outside/secret
 *	ROOT/images/dirleak -> ../outside
 *	ROOT/images/alias -> base
 *	ROOT/images/fifo
 */
static char root[64];

static void touch(const char *path)
{
	int fd = open(path, O_CREAT | O_WRONLY, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "x", 1), 1);
	close(fd);
}

static int make_tree(void **state)
{
	(void)state;
	strcpy(root, "gate-test-XXXXXX");
	assert_non_null(mkdtemp(root));
	assert_int_equal(chdir(root), 0);
	mkdir("outside", 0755);
	mkdir("images", 0755);
	mkdir("images/sub", 0755);
	touch("outside/secret");
	touch("images/top");
	touch("images/base");
	touch("images/sub/deep");
	assert_int_equal(symlink("../outside/secret", "images/leak"), 0);
	assert_int_equal(symlink("../outside", "images/dirleak"), 0);
	assert_int_equal(symlink("base", "images/alias"), 0);
	assert_int_equal(mkfifo("images/fifo", 0644), 0);
	return 0;
}

static int remove_tree(void **state)
{
	char command[128];

	(void)state;
	assert_int_equal(chdir(".."), 0);
	snprintf(command, sizeof(command), "rm -rf %s", root);
	return system(command);
}

static int ask(const struct qcow2_gate *gate, const char *name,
	       struct qcow2_error *err)
{
	struct qcow2_reference ref = { .kind = QCOW2_REFERENCE_BACKING,
				       .name = name,
				       .format = "raw",
				       .image = "images/top" };
	struct gate_dir from;
	struct gate_request request = { .from = &from, .ref = &ref };
	struct gate_file file;
	int rc;

	assert_int_equal(gate_dir_init(&from, "images/top", NULL), 0);
	rc = gate_open(gate, &request, &file, err);
	if (rc == 0)
		assert_non_null(file.store);
	else
		assert_null(file.store);
	gate_file_release(&file);
	gate_dir_release(&from);
	return rc;
}

static void expect(const struct qcow2_gate *gate, const char *name, int want)
{
	struct qcow2_error err = { 0 };
	int rc = ask(gate, name, &err);

	if (rc != want)
		fail_msg("%s: got %d (%s), want %d", name, rc, err.message,
			 want);
}

TEST(refuses_everything_by_default)
{
	struct qcow2_gate none = QCOW2_GATE_INIT;

	expect(NULL, "base", -EPERM);
	expect(&none, "base", -EPERM);
	expect(&none, "no-such-file", -EPERM);
}

TEST(dir_mode_stays_in_the_directory)
{
	struct qcow2_gate dir = QCOW2_GATE_INIT;
	char absolute[256];

	dir.mode = QCOW2_EXTERNAL_DIR;
	expect(&dir, "base", 0);
	expect(&dir, "./base", 0);
	expect(&dir, "alias", 0);
	expect(&dir, "sub/deep", 0);
	expect(&dir, "missing", -ENOENT);
	expect(&dir, "../outside/secret", -EPERM);
	expect(&dir, "../outside/absent", -EPERM);
	expect(&dir, "sub/../../outside/secret", -EPERM);
	expect(&dir, "leak", -EPERM);
	expect(&dir, "dirleak/secret", -EPERM);
	expect(&dir, "fifo", -EPERM);
	expect(&dir, "sub", -EPERM);
	assert_non_null(realpath("images/base", absolute));
	expect(&dir, absolute, -EPERM);
}

TEST(names_are_literal)
{
	struct qcow2_gate dir = QCOW2_GATE_INIT;
	struct qcow2_gate any = QCOW2_GATE_INIT;

	dir.mode = QCOW2_EXTERNAL_DIR;
	any.mode = QCOW2_EXTERNAL_ANY;
	expect(&dir, "json:{\"driver\":\"raw\"}", -ENOENT);
	expect(&any, "file:base", -ENOENT);
	expect(&any, "nbd://localhost", -ENOENT);
}

TEST(allow_mode_adds_directories)
{
	const char *const dirs[] = { "outside", NULL };
	struct qcow2_gate allow = QCOW2_GATE_INIT;
	char absolute[256];

	allow.mode = QCOW2_EXTERNAL_ALLOW;
	expect(&allow, "../outside/secret", -EPERM);
	allow.allow_dirs = dirs;
	expect(&allow, "base", 0);
	expect(&allow, "../outside/secret", 0);
	expect(&allow, "../images/base", -EPERM);
	assert_non_null(realpath("outside/secret", absolute));
	expect(&allow, absolute, 0);
	expect(&allow, "/etc/passwd", -EPERM);
	expect(&allow, "/proc/self/environ", -EPERM);
}

TEST(any_mode_follows_paths_to_files_only)
{
	struct qcow2_gate any = QCOW2_GATE_INIT;

	any.mode = QCOW2_EXTERNAL_ANY;
	expect(&any, "../outside/secret", 0);
	expect(&any, "leak", 0);
	expect(&any, "fifo", -EINVAL);
	expect(&any, "/dev/zero", -EINVAL);
}

TEST(refusals_do_not_tell_what_exists)
{
	struct qcow2_gate dir = QCOW2_GATE_INIT;
	struct qcow2_error there = { 0 }, absent = { 0 };
	char *a, *b;

	dir.mode = QCOW2_EXTERNAL_DIR;
	assert_int_equal(ask(&dir, "../outside/secret", &there), -EPERM);
	assert_int_equal(ask(&dir, "../outside/absent", &absent), -EPERM);
	a = strstr(there.message, "secret");
	b = strstr(absent.message, "absent");
	assert_non_null(a);
	assert_non_null(b);
	assert_string_equal(a + strlen("secret"), b + strlen("absent"));
}

TEST(names_in_messages_are_escaped)
{
	struct qcow2_gate dir = QCOW2_GATE_INIT;
	struct qcow2_error err = { 0 };

	dir.mode = QCOW2_EXTERNAL_DIR;
	assert_int_equal(ask(&dir, "a\x1b[31m\nb", &err), -ENOENT);
	assert_non_null(strstr(err.message, "a\\x1b[31m\\x0ab"));
}

/* ---- Callbacks that ask for the built-in rule ---------------------------- */

struct asker {
	struct qcow2_gate by; /* the rule it asks for */
	const char *instead;  /* of the name in the image; or NULL */
	bool twice;           /* it asks, forgets, and asks again */
	bool other;           /* it returns a store of its own after all */
	unsigned n_asked;
	int rc; /* of the last */
	char names[128];
};

static int ask_default(void *opaque, const struct qcow2_reference *ref,
		       struct qcow2_store **out, struct qcow2_error *err)
{
	struct asker *a = opaque;
	struct qcow2_reference own = *ref;

	a->n_asked++;
	strcat(strcat(a->names, ref->name), " ");
	if (a->instead)
		own.name = a->instead;
	a->rc = qcow2_gate_default(&a->by, &own, out, err);
	if (a->rc == 0 && a->twice) {
		qcow2_store_unref(*out);
		a->rc = qcow2_gate_default(&a->by, &own, out, err);
	}
	if (a->rc == 0 && a->other) {
		qcow2_store_unref(*out);
		return qcow2_store_open_file("images/sub/mid", ref->flags, out,
					     err);
	}
	return a->rc;
}

static void make_overlay(const char *path, const char *backing,
			 const char *format)
{
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;

	create.virtual_size = 1 << 20;
	create.backing_file = backing;
	create.backing_format = format;
	assert_int_equal(qcow2_create_path(path, &create, NULL), 0);
}

/* images/chain -> images/sub/mid -> images/sub/deep */
static int open_chain(struct asker *a, struct qcow2_image **img,
		      struct qcow2_error *err)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_gate gate = QCOW2_GATE_INIT;

	make_overlay("images/chain", "sub/mid", "qcow2");
	make_overlay("images/sub/mid", "deep", "raw");
	gate.open = ask_default;
	gate.opaque = a;
	opts.gate = &gate;
	return qcow2_open_path("images/chain", &opts, img, err);
}

static struct asker asker_by(uint32_t mode)
{
	struct asker a = { .by = QCOW2_GATE_INIT };

	a.by.mode = mode;
	return a;
}

static void expect_chain(struct asker *a)
{
	struct qcow2_error err = { 0 };
	struct qcow2_image *img;

	if (open_chain(a, &img, &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(qcow2_layer_count(img), 3);
	assert_string_equal(qcow2_layer_filename(img, 2), "images/sub/deep");
	assert_string_equal(a->names, "sub/mid deep ");
	assert_int_equal(qcow2_close(img, NULL), 0);
}

TEST(a_callback_leaves_the_rest_to_a_mode)
{
	struct asker dir = asker_by(QCOW2_EXTERNAL_DIR);
	struct asker any = asker_by(QCOW2_EXTERNAL_ANY);

	expect_chain(&dir);
	expect_chain(&any);
}

TEST(a_callback_asks_as_often_as_it_likes)
{
	struct asker dir = asker_by(QCOW2_EXTERNAL_DIR);

	dir.twice = true;
	expect_chain(&dir);
}

TEST(a_callback_may_ask_for_another_name)
{
	struct asker dir = asker_by(QCOW2_EXTERNAL_DIR);
	struct qcow2_image *img;

	dir.instead = "base";
	assert_int_equal(open_chain(&dir, &img, NULL), -EINVAL);
	assert_int_equal(dir.rc, 0);
	assert_int_equal(dir.n_asked, 1);
	dir.instead = "../outside/secret";
	assert_int_equal(open_chain(&dir, &img, NULL), -EPERM);
}

TEST(the_mode_that_a_callback_asks_for_refuses)
{
	struct asker none = asker_by(QCOW2_EXTERNAL_NONE);
	struct qcow2_error err = { 0 };
	struct qcow2_image *img;

	assert_int_equal(open_chain(&none, &img, &err), -EPERM);
	assert_int_equal(err.reason, QCOW2_REASON_REFERENCE);
	/* It says once what was refused. */
	assert_non_null(strstr(err.message, "sub/mid"));
	assert_null(strstr(strstr(err.message, "sub/mid") + 1, "sub/mid"));
}

/* A store of the caller's own has no directory, whatever it asked before. */
TEST(a_directory_belongs_to_the_file_that_was_found)
{
	struct asker dir = asker_by(QCOW2_EXTERNAL_DIR);
	struct qcow2_error err = { 0 };
	struct qcow2_image *img;

	dir.other = true;
	assert_int_equal(open_chain(&dir, &img, &err), -EPERM);
	assert_int_equal(dir.n_asked, 2);
	assert_non_null(strstr(err.message, "deep"));
}

TEST(a_reference_of_the_callers_own_is_none)
{
	struct qcow2_gate any = QCOW2_GATE_INIT;
	struct qcow2_reference ref = { .struct_size = sizeof(ref),
				       .kind = QCOW2_REFERENCE_BACKING,
				       .name = "base",
				       .image = "images/top" };
	struct qcow2_store *store;

	any.mode = QCOW2_EXTERNAL_ANY;
	assert_int_equal(qcow2_gate_default(&any, &ref, &store, NULL), -EINVAL);
	assert_int_equal(qcow2_gate_default(&any, NULL, &store, NULL), -EINVAL);
}

TEST_GROUP(make_tree, remove_tree)
