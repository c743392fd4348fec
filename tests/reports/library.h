/*
 * The common parts of the programs here, which use the library as any program
 * does, by <qcow2.h> alone.
 */
#ifndef REPORTS_LIBRARY_H
#define REPORTS_LIBRARY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ftw.h>
#include <unistd.h>

#include <cmocka.h>

#include <qcow2.h>

#define CLUSTER 65536

#define ok(expression) assert_int_equal((expression), 0)

static inline uint8_t value_of(uint64_t number)
{
	return (uint8_t)(number % 251 + 1);
}

/* Writes cluster `number` of the disk, all bytes value_of() it. */
static inline int put(struct qcow2_image *img, uint64_t number)
{
	static uint8_t buf[CLUSTER];

	memset(buf, value_of(number), sizeof(buf));
	return qcow2_pwrite(img, buf, sizeof(buf), number * CLUSTER, 0, NULL);
}

static inline int has(struct qcow2_image *img, uint64_t number)
{
	static uint8_t buf[CLUSTER];
	size_t i;

	ok(qcow2_pread(img, buf, sizeof(buf), number * CLUSTER, 0, NULL));
	for (i = 0; i < sizeof(buf); i++)
		if (buf[i] != value_of(number))
			return 0;
	return 1;
}

/* Counts those of the first `n` clusters that are not as put() left them. */
static inline int n_wrong(struct qcow2_image *img, uint64_t n)
{
	uint64_t i;
	int wrong = 0;

	for (i = 0; i < n; i++)
		wrong += !has(img, i);
	return wrong;
}

static inline struct qcow2_open_opts opts_of(uint32_t flags)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;

	opts.flags = flags;
	return opts;
}

static inline int open_path(const char *path, uint32_t flags,
			    struct qcow2_image **out)
{
	struct qcow2_open_opts opts = opts_of(flags);

	return qcow2_open_path(path, &opts, out, NULL);
}

static inline int open_store(struct qcow2_store *store, uint32_t flags,
			     struct qcow2_image **out)
{
	struct qcow2_open_opts opts = opts_of(flags);

	return qcow2_open_store(store, &opts, out, NULL);
}

static inline void create(const char *path, uint64_t size)
{
	struct qcow2_create_opts opts = QCOW2_CREATE_OPTS_INIT;

	opts.virtual_size = size;
	ok(qcow2_create_path(path, &opts, NULL));
}

static inline void create_written(const char *path, uint64_t n)
{
	struct qcow2_image *img;
	uint64_t i;

	create(path, UINT64_C(64) << 20);
	ok(open_path(path, QCOW2_OPEN_RDWR, &img));
	for (i = 0; i < n; i++)
		ok(put(img, i));
	ok(qcow2_close(img, NULL));
}

static inline void assert_sound(const char *path)
{
	struct qcow2_check_result found = QCOW2_CHECK_RESULT_INIT;

	ok(qcow2_check_path(path, NULL, &found, NULL));
	assert_int_equal(found.corruptions, 0);
	assert_int_equal(found.check_errors, 0);
}

static inline int remove_one(const char *path, const struct stat *st, int flag,
			     struct FTW *at)
{
	(void)st, (void)flag, (void)at;
	return remove(path);
}

/* Enters a directory of the tests' own. */
static inline void enter_directory(char path[64])
{
	const char *tmp = getenv("TMPDIR");

	snprintf(path, 64, "%.40s/qcow2-reports-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(path) || chdir(path) != 0) {
		perror(path);
		exit(1);
	}
}

static inline void leave_directory(const char *path)
{
	if (chdir("/") == 0)
		nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Ends the directory of enter_directory() when the tests are done. */
#define RUN_IN_DIRECTORY(tests, path) \
	leave_with(cmocka_run_group_tests(tests, NULL, NULL), path)

static inline int leave_with(int n_failed, const char *path)
{
	leave_directory(path);
	return n_failed;
}

#endif
