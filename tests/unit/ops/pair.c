/*
 * The order in which two files get to their places shows when one of them
 * cannot: a file of that name appears while they are filled.
 */
#include "ops/pair.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/store.h"
#include "support/test.h"

#define ok(expression) assert_int_equal((expression), 0)

struct job {
	struct pair pair;
	unsigned n_checks;
	unsigned n_fills;
	unsigned refuse_check; /* the number of the one that fails */
	const char *intruder;  /* a file that appears meanwhile */
};

static char home[64];
static struct qcow2_error err;

static int check(void *opaque, const struct publish *file,
		 struct qcow2_error *e)
{
	struct job *job = opaque;

	(void)e;
	assert_non_null(file->store);
	assert_int_equal(job->n_fills, 0);
	return ++job->n_checks == job->refuse_check ? -EINVAL : 0;
}

static int fill(void *opaque, const struct publish *file,
		struct qcow2_store *data, struct qcow2_error *e)
{
	struct job *job = opaque;

	job->n_fills++;
	ok(store_pwrite(file->store, "image", 5, 0, 0, e));
	assert_int_equal(!data, !job->pair.data_path);
	if (data)
		ok(store_pwrite(data, "data!", 5, 0, 0, e));
	if (job->intruder)
		close(open(job->intruder, O_CREAT | O_WRONLY, 0644));
	return 0;
}

static struct job job_init(const char *data_path)
{
	return (struct job){
		.pair = {
			.path = "image",
			.data_path = data_path,
			.check = check,
			.fill = fill,
		},
	};
}

static int run(struct job *job)
{
	job->pair.opaque = job;
	return pair_make(&job->pair, &err);
}

static long size_of(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? (long)st.st_size : -1;
}

static int setup(void **state)
{
	(void)state;
	snprintf(home, sizeof(home), "./ops-pair-%d", (int)getpid());
	ok(mkdir(home, 0755));
	return chdir(home);
}

static int teardown(void **state)
{
	(void)state;
	ok(system("rm -rf ./*"));
	return chdir("..") || rmdir(home);
}

TEST_WITH(one_file_is_a_pair_without_data, setup, teardown)
{
	struct job job = job_init(NULL);

	ok(run(&job));
	assert_int_equal(job.n_checks, 1);
	assert_int_equal(size_of("image"), 5);
}

TEST_WITH(both_files_are_asked_about_before_they_are_filled, setup, teardown)
{
	struct job job = job_init("data");

	ok(run(&job));
	assert_int_equal(job.n_checks, 2);
	assert_int_equal(job.n_fills, 1);
	assert_int_equal(size_of("image"), 5);
	assert_int_equal(size_of("data"), 5);
}

TEST_WITH(the_data_file_is_published_first, setup, teardown)
{
	struct job job = job_init("data");

	job.intruder = "image";
	assert_int_equal(run(&job), -EEXIST);
	assert_int_equal(size_of("data"), 5);
	assert_int_equal(size_of("image"), 0);
}

TEST_WITH(no_image_appears_without_its_data_file, setup, teardown)
{
	struct job job = job_init("data");

	job.intruder = "data";
	assert_int_equal(run(&job), -EEXIST);
	assert_int_equal(size_of("data"), 0);
	assert_int_equal(size_of("image"), -1);
}

TEST_WITH(what_is_refused_leaves_nothing, setup, teardown)
{
	for (unsigned i = 1; i <= 2; i++) {
		struct job job = job_init("data");

		job.refuse_check = i;
		assert_int_equal(run(&job), -EINVAL);
		assert_int_equal(job.n_fills, 0);
		assert_int_equal(size_of("image"), -1);
		assert_int_equal(size_of("data"), -1);
	}
}

TEST_WITH(messages_tell_the_data_file, setup, teardown)
{
	struct job job = job_init("./image");

	assert_int_equal(run(&job), -EINVAL);
	assert_string_equal(err.message, "data_file is the image itself");
	job = job_init("nowhere/data");
	assert_int_equal(run(&job), -ENOENT);
	assert_int_equal(strncmp(err.message, "data_file", 9), 0);
	assert_int_equal(size_of("image"), -1);
}

TEST_WITH(the_placement_is_that_of_the_image, setup, teardown)
{
	struct qcow2_placement how = QCOW2_PLACEMENT_INIT;
	struct job job = job_init("data");

	close(open("data", O_CREAT | O_WRONLY, 0644));
	job.pair.where.placement = &how;
	ok(run(&job));
	assert_int_equal(how.how, QCOW2_PLACED_NEW);
}
