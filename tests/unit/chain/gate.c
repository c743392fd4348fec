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

TEST_GROUP(make_tree, remove_tree)
