/*
 * Which of two files gets to its place first shows where the other cannot: a
 * file of that name appears while they are filled.
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

static void one_file_is_a_pair_without_data(void **state)
{
	struct job job = job_init(NULL);

	(void)state;
	ok(run(&job));
	assert_int_equal(job.n_checks, 1);
	assert_int_equal(size_of("image"), 5);
}

static void both_files_are_asked_about_before_they_are_filled(void **state)
{
	struct job job = job_init("data");

	(void)state;
	ok(run(&job));
	assert_int_equal(job.n_checks, 2);
	assert_int_equal(job.n_fills, 1);
	assert_int_equal(size_of("image"), 5);
	assert_int_equal(size_of("data"), 5);
}

static void the_data_file_is_published_first(void **state)
{
	struct job job = job_init("data");

	(void)state;
	job.intruder = "image";
	assert_int_equal(run(&job), -EEXIST);
	assert_int_equal(size_of("data"), 5);
	assert_int_equal(size_of("image"), 0);
}

static void no_image_appears_without_its_data_file(void **state)
{
	struct job job = job_init("data");

	(void)state;
	job.intruder = "data";
	assert_int_equal(run(&job), -EEXIST);
	assert_int_equal(size_of("data"), 0);
	assert_int_equal(size_of("image"), -1);
}

static void what_is_refused_leaves_nothing(void **state)
{
	(void)state;
	for (unsigned i = 1; i <= 2; i++) {
		struct job job = job_init("data");

		job.refuse_check = i;
		assert_int_equal(run(&job), -EINVAL);
		assert_int_equal(job.n_fills, 0);
		assert_int_equal(size_of("image"), -1);
		assert_int_equal(size_of("data"), -1);
	}
}

static void messages_tell_the_data_file(void **state)
{
	struct job job = job_init("./image");

	(void)state;
	assert_int_equal(run(&job), -EINVAL);
	assert_string_equal(err.message, "data_file is the image itself");
	job = job_init("nowhere/data");
	assert_int_equal(run(&job), -ENOENT);
	assert_int_equal(strncmp(err.message, "data_file", 9), 0);
	assert_int_equal(size_of("image"), -1);
}

static void the_placement_is_that_of_the_image(void **state)
{
	struct qcow2_placement how = QCOW2_PLACEMENT_INIT;
	struct job job = job_init("data");

	(void)state;
	close(open("data", O_CREAT | O_WRONLY, 0644));
	job.pair.where.placement = &how;
	ok(run(&job));
	assert_int_equal(how.how, QCOW2_PLACED_NEW);
}

#define in_home(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_home(one_file_is_a_pair_without_data),
		in_home(both_files_are_asked_about_before_they_are_filled),
		in_home(the_data_file_is_published_first),
		in_home(no_image_appears_without_its_data_file),
		in_home(what_is_refused_leaves_nothing),
		in_home(messages_tell_the_data_file),
		in_home(the_placement_is_that_of_the_image),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
