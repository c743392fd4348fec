/*
 * Barriers of a whole disk, counted where they cost: D11 of the list in
 * tests/regressions.md.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <qcow2.h>

#include "support/test.h"

#define CLUSTER 65536
#define DISK_BYTES (64 * CLUSTER)

#define ok(expression) assert_int_equal((expression), 0)

static unsigned n_barriers;

/* Replaces that of the C library. */
int fdatasync(int fd)
{
	n_barriers++;
	return (int)syscall(SYS_fdatasync, fd);
}

struct fixture {
	char base[64];
	char top[64];
	char data[64];
	struct qcow2_image *img;
};

static void create(const char *path, const char *backing, const char *data)
{
	struct qcow2_create_opts opts = QCOW2_CREATE_OPTS_INIT;

	opts.virtual_size = DISK_BYTES;
	opts.backing_file = backing;
	opts.backing_format = backing ? "qcow2" : NULL;
	opts.data_file = data;
	ok(qcow2_create_path(path, &opts, NULL));
}

static void open_image(struct fixture *f, const char *path, uint32_t format)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_gate gate = QCOW2_GATE_INIT;

	gate.mode = QCOW2_EXTERNAL_DIR;
	opts.gate = &gate;
	opts.flags = QCOW2_OPEN_RDWR;
	opts.format = format;
	ok(qcow2_open_path(path, &opts, &f->img, NULL));
	n_barriers = 0;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char byte = 5;

	snprintf(f->base, sizeof(f->base), "flush-%d.base", (int)getpid());
	snprintf(f->top, sizeof(f->top), "flush-%d.top", (int)getpid());
	snprintf(f->data, sizeof(f->data), "flush-%d.data", (int)getpid());
	create(f->base, NULL, NULL);
	open_image(f, f->base, QCOW2_FORMAT_QCOW2);
	ok(qcow2_pwrite(f->img, &byte, 1, 0, 0, NULL));
	ok(qcow2_close(f->img, NULL));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	unlink(f->base);
	unlink(f->top);
	unlink(f->data);
	free(f);
	return 0;
}

/* Four flushes and a close. */
static void leave_alone(struct fixture *f)
{
	for (int i = 0; i < 4; i++)
		ok(qcow2_flush(f->img, NULL));
	ok(qcow2_close(f->img, NULL));
}

TEST_WITH(an_untouched_disk_needs_no_barrier, setup, teardown)
{
	struct fixture *f = *state;

	open_image(f, f->base, QCOW2_FORMAT_QCOW2);
	leave_alone(f);
	assert_int_equal(n_barriers, 0);
	open_image(f, f->base, QCOW2_FORMAT_RAW);
	leave_alone(f);
	assert_int_equal(n_barriers, 0);
}

TEST_WITH(an_untouched_chain_needs_no_barrier, setup, teardown)
{
	struct fixture *f = *state;

	create(f->top, f->base, f->data);
	open_image(f, f->top, QCOW2_FORMAT_QCOW2);
	leave_alone(f);
	assert_int_equal(n_barriers, 0);
}

static void write_at(struct fixture *f, uint64_t off)
{
	char byte = 6;

	ok(qcow2_pwrite(f->img, &byte, 1, off, 0, NULL));
}

/* Barriers of one compressed cluster that is written with @flags. */
static unsigned cost_of_compressed(struct fixture *f, uint64_t off,
				   unsigned flags)
{
	static const char cluster[CLUSTER];
	unsigned before = n_barriers;

	ok(qcow2_write_compressed(f->img, cluster, CLUSTER, off, flags, NULL));
	return n_barriers - before;
}

TEST_WITH(a_compressed_write_is_durable_if_asked_for, setup, teardown)
{
	struct fixture *f = *state;

	open_image(f, f->base, QCOW2_FORMAT_QCOW2);
	/* The first change may cost some by itself. */
	cost_of_compressed(f, CLUSTER, 0);
	ok(qcow2_flush(f->img, NULL));
	assert_int_equal(cost_of_compressed(f, 2 * CLUSTER, 0), 0);
	assert_true(cost_of_compressed(f, 3 * CLUSTER, QCOW2_FUA) > 0);
	ok(qcow2_flush(f->img, NULL));
	ok(qcow2_close(f->img, NULL));
}

/* A write in place changes no metadata: it always needs one barrier. */
TEST_WITH(a_write_in_place_needs_one, setup, teardown)
{
	struct fixture *f = *state;

	open_image(f, f->base, QCOW2_FORMAT_QCOW2);
	write_at(f, 0);
	leave_alone(f);
	assert_int_equal(n_barriers, 1);
	open_image(f, f->base, QCOW2_FORMAT_QCOW2);
	write_at(f, 0);
	ok(qcow2_close(f->img, NULL));
	assert_int_equal(n_barriers, 1);
	open_image(f, f->base, QCOW2_FORMAT_RAW);
	write_at(f, 0);
	ok(qcow2_flush(f->img, NULL));
	ok(qcow2_flush(f->img, NULL));
	assert_int_equal(n_barriers, 1);
	ok(qcow2_close(f->img, NULL));
}

TEST_WITH(each_flush_pays_for_its_own_writes_only, setup, teardown)
{
	struct fixture *f = *state;

	open_image(f, f->base, QCOW2_FORMAT_QCOW2);
	for (unsigned i = 1; i <= 4; i++) {
		write_at(f, 0);
		ok(qcow2_flush(f->img, NULL));
		ok(qcow2_flush(f->img, NULL));
		assert_int_equal(n_barriers, i);
	}
	ok(qcow2_close(f->img, NULL));
	assert_int_equal(n_barriers, 4);
}

/* With a data file two files have something to make durable. */
TEST_WITH(a_new_cluster_of_a_data_file_needs_both, setup, teardown)
{
	struct fixture *f = *state;
	unsigned once;

	create(f->top, NULL, f->data);
	open_image(f, f->top, QCOW2_FORMAT_QCOW2);
	write_at(f, CLUSTER);
	ok(qcow2_flush(f->img, NULL));
	once = n_barriers;
	assert_in_range(once, 2, 3);
	ok(qcow2_flush(f->img, NULL));
	ok(qcow2_flush(f->img, NULL));
	assert_int_equal(n_barriers, once);
	/* In place: only the data file. */
	write_at(f, CLUSTER);
	ok(qcow2_flush(f->img, NULL));
	assert_int_equal(n_barriers, once + 1);
	ok(qcow2_close(f->img, NULL));
}
