/*
 * The common part of the tests of the stores.
 */
#ifndef STORE_TEST_H
#define STORE_TEST_H

#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/file.h"
#include "store/mem.h"
#include "store/store.h"
#include "support/test.h"

#define ok(expression) assert_int_equal((expression), 0)

/* A name in @dir that no other test uses; nothing is created. */
static inline void temp_name(char *path, size_t size, const char *dir)
{
	static unsigned n;

	snprintf(path, size, "%s/store-test-%d-%u.tmp", dir, (int)getpid(),
		 n++);
}

/* An open, empty store whose file is already unlinked; NULL when that is
 * impossible in @dir with these flags. */
static inline struct qcow2_store *open_temp(const char *dir, unsigned flags)
{
	struct qcow2_store *s = NULL;
	struct qcow2_error err = { 0 };
	char path[200];

	temp_name(path, sizeof(path), dir);
	flags |= QCOW2_STORE_RDWR | QCOW2_STORE_CREATE;
	if (store_file_open(path, flags, &s, &err) < 0)
		print_message("%s\n", err.message);
	unlink(path);
	return s;
}

/* No call ever waits on a file system in memory. */
static inline void skip_in_memory(void)
{
	struct statfs fs;

	ok(statfs(".", &fs));
	if ((uint32_t)fs.f_type == TMPFS_MAGIC ||
	    (uint32_t)fs.f_type == RAMFS_MAGIC)
		skip();
}

/* Creates a file with these contents and gives its name. */
static inline void make_file(char *path, size_t size, const char *text)
{
	FILE *f;

	temp_name(path, size, ".");
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	ok(fclose(f));
}

static inline void assert_contents(const char *path, const char *text)
{
	char buf[256] = { 0 };
	FILE *f = fopen(path, "r");

	assert_non_null(f);
	assert_true(fread(buf, 1, sizeof(buf) - 1, f) < sizeof(buf));
	fclose(f);
	assert_string_equal(buf, text);
}

/* True when @fn(@arg) ends in a failed assertion. */
static inline bool aborts(void (*fn)(void *arg), void *arg)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		const struct rlimit no_core = { 0, 0 };

		setrlimit(RLIMIT_CORE, &no_core);
		if (!freopen("/dev/null", "w", stderr))
			_exit(1);
		signal(SIGABRT, SIG_DFL);
		fn(arg);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

#endif
