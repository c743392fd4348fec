/*
 * D12, D13, D15: sizes, costs and messages that the library tells.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include "library.h"

#define MIB (UINT64_C(1) << 20)

static void poke(const char *path, off_t off, const void *bytes, size_t n)
{
	int fd = open(path, O_WRONLY);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, n, off), n);
	close(fd);
}

static void d12_the_file_size_is_that_of_now(void **state)
{
	struct qcow2_info info = QCOW2_INFO_INIT;
	struct qcow2_image *img;
	struct stat st;
	uint64_t i;

	(void)state;
	create("d12", 64 * MIB);
	ok(open_path("d12", QCOW2_OPEN_RDWR, &img));
	for (i = 0; i < 70; i++)
		ok(put(img, i));
	ok(qcow2_flush(img, NULL));
	ok(qcow2_get_info(img, 0, &info, NULL));
	ok(stat("d12", &st));
	assert_int_equal(info.file_size, st.st_size);
	assert_true(info.file_size > 70 * CLUSTER);
	ok(qcow2_close(img, NULL));
}

static size_t heap(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

static void use_all_over(struct qcow2_image *img, uint64_t size)
{
	uint64_t off;
	char buf[512] = { 1 };

	for (off = 0; off < size; off += size / 256) {
		ok(qcow2_pwrite(img, buf, sizeof(buf), off, 0, NULL));
		ok(qcow2_pread(img, buf, sizeof(buf), off, 0, NULL));
	}
}

static void d13_the_budget_for_metadata_is_a_ceiling(void **state)
{
	struct qcow2_open_opts opts = opts_of(QCOW2_OPEN_RDWR);
	const uint64_t size = UINT64_C(512) << 30;
	static const unsigned budgets[] = { 128, 256, 512, 1024, 4096 };
	struct qcow2_error err = { 0 };
	struct qcow2_image *img;
	size_t i, before;
	int rc;

	(void)state;
	for (i = 0; i < sizeof(budgets) / sizeof(budgets[0]); i++) {
		unlink("d13");
		create("d13", size);
		before = heap();
		opts.budget.metadata_bytes = budgets[i] * 1024;
		rc = qcow2_open_path("d13", &opts, &img, &err);
		if (rc == -E2BIG)
			continue;
		ok(rc);
		use_all_over(img, size);
		/* The rest is no tables: locks, paths, lists. */
		assert_true(heap() - before <=
			    opts.budget.metadata_bytes + 64 * 1024);
		ok(qcow2_close(img, NULL));
	}
}

static void d13_a_message_about_the_budget_is_true(void **state)
{
	struct qcow2_open_opts opts = opts_of(0);
	struct qcow2_error err = { 0 };
	struct qcow2_image *img;
	unsigned long long number = 0, needs = 0;
	char *at;

	(void)state;
	create("needs", UINT64_C(512) << 30);
	opts.budget.metadata_bytes = 65536;
	if (qcow2_open_path("needs", &opts, &img, &err) == 0) {
		ok(qcow2_close(img, NULL));
		return;
	}
	assert_int_equal(err.code, -E2BIG);
	/* The last number is the budget, the sum of those before is the
	 * need. */
	for (at = err.message; (at = strpbrk(at, " ")) != NULL; at++)
		if (strspn(at + 1, "0123456789") > 1) {
			needs += number;
			number = strtoull(at + 1, NULL, 10);
		}
	assert_int_equal(number, 65536);
	assert_true(needs > 65536);
}

/* Checks the rules for every message. */
static void assert_message(const struct qcow2_error *err, int code)
{
	assert_int_equal(err->code, code);
	assert_true(err->message[0] != '\0');
	assert_true(err->message[0] != ':');
	assert_null(strstr(err->message, "--"));
	assert_null(strstr(err->message, "backing_fmt"));
}

static void d15_messages_name_no_options_of_a_command(void **state)
{
	struct qcow2_create_opts create_opts = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_image *img, *other;
	struct qcow2_error err = { 0 };
	struct qcow2_open_opts any = opts_of(0);
	struct qcow2_gate gate = QCOW2_GATE_INIT;

	(void)state;
	create("d15", CLUSTER);
	ok(open_path("d15", QCOW2_OPEN_RDWR, &img));
	assert_int_equal(qcow2_open_path("d15", NULL, &other, &err), -EBUSY);
	assert_message(&err, -EBUSY);
	ok(qcow2_close(img, NULL));

	create_opts.virtual_size = CLUSTER;
	create_opts.backing_file = "d15";
	assert_int_equal(qcow2_create_path("d15-over", &create_opts, &err),
			 -EINVAL);
	assert_message(&err, -EINVAL);
	create_opts.backing_format = "qcow2";
	ok(qcow2_create_path("d15-over", &create_opts, NULL));
	assert_int_equal(qcow2_open_path("d15-over", NULL, &img, &err), -EPERM);
	assert_message(&err, -EPERM);

	/* An image of old times does not say the format. */
	create_opts.version = 2;
	ok(qcow2_create_path("d15-v2", &create_opts, NULL));
	poke("d15-v2", 72, "\0\0\0\0\0\0\0\0", 8);
	gate.mode = QCOW2_EXTERNAL_DIR;
	any.gate = &gate;
	if (qcow2_open_path("d15-v2", &any, &img, &err) == 0)
		ok(qcow2_close(img, NULL));
	else
		assert_message(&err, err.code);
}

static void d15_numbers_are_written_as_people_know_them(void **state)
{
	struct qcow2_error err = { 0 };
	struct qcow2_image *img;

	(void)state;
	create("d15-elf", CLUSTER);
	poke("d15-elf", 0,
	     "\x7f"
	     "ELF",
	     4);
	assert_true(qcow2_open_path("d15-elf", NULL, &img, &err) < 0);
	assert_message(&err, err.code);
	assert_null(strstr(err.message, "2135247942"));
	assert_null(strstr(err.message, "1363560955"));

	assert_true(qcow2_open_path("", NULL, &img, &err) < 0);
	assert_message(&err, err.code);

	create("d15-short", CLUSTER);
	ok(truncate("d15-short", 20));
	assert_true(qcow2_open_path("d15-short", NULL, &img, &err) < 0);
	assert_message(&err, err.code);
	assert_null(strstr(err.message, "limit"));
	ok(truncate("d15-short", 0));
	assert_true(qcow2_open_path("d15-short", NULL, &img, &err) < 0);
	assert_null(strstr(err.message, "limit"));
}

int main(void)
{
	char directory[64];
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(d12_the_file_size_is_that_of_now),
		cmocka_unit_test(d13_the_budget_for_metadata_is_a_ceiling),
		cmocka_unit_test(d13_a_message_about_the_budget_is_true),
		cmocka_unit_test(d15_messages_name_no_options_of_a_command),
		cmocka_unit_test(d15_numbers_are_written_as_people_know_them),
	};

	enter_directory(directory);
	return RUN_IN_DIRECTORY(tests, directory);
}
