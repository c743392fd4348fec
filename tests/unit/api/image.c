/*
 * The public functions check their arguments as qcow2.h promises.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <qcow2.h>

#include "store/store.h"
#include "support/builder.h"
#include "support/test.h"

enum { CLUSTER = 65536, SIZE = 4 * CLUSTER };

struct fixture {
	struct builder b;
	struct qcow2_image *img;
	uint8_t data[CLUSTER];
};

static int setup(void **state)
{
	const struct builder_opts o = { .version = 3,
					.cluster_bits = 16,
					.size = SIZE };
	struct fixture *f = calloc(1, sizeof(*f));
	struct l2_entry e = { 0, 0 };

	memset(f->data, 0x5a, CLUSTER);
	builder_init(&f->b, &o);
	e.desc = builder_add_data(&f->b, f->data) | ENTRY_COPIED;
	builder_set_entry(&f->b, CLUSTER, e);
	builder_finish(&f->b);
	assert_int_equal(qcow2_open_store(f->b.file, NULL, &f->img, NULL), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(qcow2_close(f->img, NULL), 0);
	builder_release(&f->b);
	free(f);
	return 0;
}

TEST_WITH(reads_stay_inside_the_disk, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_error err = { 0 };
	uint8_t buf[16];

	assert_int_equal(qcow2_pread(f->img, buf, 16, SIZE - 16, 0, NULL), 0);
	assert_int_equal(qcow2_pread(f->img, buf, 0, SIZE, 0, NULL), 0);
	assert_int_equal(qcow2_pread(f->img, buf, 16, SIZE - 15, 0, &err),
			 -EINVAL);
	assert_int_equal(err.code, -EINVAL);
	assert_non_null(strstr(err.message, "262144"));
	assert_int_equal(qcow2_pread(f->img, buf, 1, UINT64_MAX, 0, NULL),
			 -EINVAL);
	assert_int_equal(qcow2_pread(f->img, buf, SIZE_MAX, 8, 0, NULL),
			 -EINVAL);
}

TEST_WITH(unknown_flags_are_refused, setup, teardown)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct fixture *f = *state;
	struct qcow2_image *other;
	struct qcow2_extent x;
	uint8_t byte;

	assert_int_equal(qcow2_pread(f->img, &byte, 1, 0, 0x80, NULL), -EINVAL);
	assert_int_equal(qcow2_map(f->img, 1, 0, 0x80, &x, NULL), -EINVAL);
	opts.flags = 0x8000;
	assert_int_equal(qcow2_open_store(f->b.file, &opts, &other, NULL),
			 -EINVAL);
	opts.flags = QCOW2_OPEN_RDWR;
	opts.format = QCOW2_FORMAT_PROBE;
	assert_int_equal(qcow2_open_store(f->b.file, &opts, &other, NULL),
			 -EINVAL);
	opts.format = QCOW2_FORMAT_DEFAULT;
	opts.flags = 0;
	opts.discard = 0x80;
	assert_int_equal(qcow2_open_store(f->b.file, &opts, &other, NULL),
			 -EINVAL);
	opts.discard = 0;
	opts.reserved = 1;
	assert_int_equal(qcow2_open_store(f->b.file, &opts, &other, NULL),
			 -EINVAL);
}

TEST_WITH(images_opened_for_reading_are_not_written, setup, teardown)
{
	struct fixture *f = *state;
	uint8_t byte = 1;

	assert_int_equal(qcow2_pwrite(f->img, &byte, 1, 0, 0, NULL), -EBADF);
	assert_int_equal(qcow2_zero(f->img, 1, 0, 0, NULL), -EBADF);
	assert_int_equal(qcow2_discard(f->img, CLUSTER, 0, 0, NULL), -EBADF);
	assert_int_equal(
		qcow2_write_compressed(f->img, f->data, CLUSTER, 0, 0, NULL),
		-EBADF);
	assert_int_equal(qcow2_flush(f->img, NULL), 0);
}

TEST_WITH(vectors_are_checked, setup, teardown)
{
	struct fixture *f = *state;
	uint8_t buf[8];
	struct iovec wraps[2] = { { buf, SIZE_MAX }, { buf, 8 } };

	assert_int_equal(qcow2_preadv(f->img, NULL, 1, 0, 0, NULL), -EINVAL);
	assert_int_equal(qcow2_preadv(f->img, wraps, -1, 0, 0, NULL), -EINVAL);
	assert_int_equal(qcow2_preadv(f->img, wraps, 2, 0, 0, NULL), -EINVAL);
	assert_int_equal(qcow2_preadv(f->img, NULL, 0, 0, 0, NULL), 0);
}

/* A caller compiled against an older header has a shorter structure. */
TEST_WITH(older_and_newer_structures_are_understood, setup, teardown)
{
	struct {
		struct qcow2_open_opts known;
		uint64_t future;
	} newer = { QCOW2_OPEN_OPTS_INIT, 0 };
	struct qcow2_open_opts older = QCOW2_OPEN_OPTS_INIT;
	struct fixture *f = *state;
	struct qcow2_image *other;

	older.struct_size = offsetof(struct qcow2_open_opts, snapshot);
	older.snapshot = "not looked at";
	assert_int_equal(qcow2_open_store(f->b.file, &older, &other, NULL), 0);
	qcow2_close(other, NULL);
	newer.known.struct_size = sizeof(newer);
	assert_int_equal(
		qcow2_open_store(f->b.file, &newer.known, &other, NULL), 0);
	qcow2_close(other, NULL);
	newer.future = 1;
	assert_int_equal(
		qcow2_open_store(f->b.file, &newer.known, &other, NULL),
		-EINVAL);
}

TEST_WITH(results_fill_what_the_caller_knows, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_info info;

	memset(&info, 0xee, sizeof(info));
	info.struct_size = offsetof(struct qcow2_info, file_size);
	assert_int_equal(qcow2_get_info(f->img, 0, &info, NULL), 0);
	assert_int_equal(info.virtual_size, SIZE);
	assert_int_equal(info.file_size, 0xeeeeeeeeeeeeeeee);
	info.struct_size = 0;
	assert_int_equal(qcow2_get_info(f->img, 0, &info, NULL), -EINVAL);
	info.struct_size = sizeof(info);
	assert_int_equal(qcow2_get_info(f->img, 1, &info, NULL), -EINVAL);
}

TEST_WITH(maps_merge_and_end_at_the_asked_length, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_extent x;

	assert_int_equal(qcow2_map(f->img, SIZE, 0, 0, &x, NULL), 0);
	assert_int_equal(x.len, CLUSTER);
	assert_int_equal(x.flags, QCOW2_EXTENT_ZERO);
	assert_int_equal(qcow2_map(f->img, 100, CLUSTER + 5, 0, &x, NULL), 0);
	assert_int_equal(x.len, 100);
	assert_int_equal(x.flags, QCOW2_EXTENT_DATA | QCOW2_EXTENT_PRESENT |
					  QCOW2_EXTENT_HOST_OFF);
	assert_int_equal(qcow2_map(f->img, 0, 0, 0, &x, NULL), -EINVAL);
	assert_int_equal(qcow2_map(f->img, SIZE, 1, 0, &x, NULL), -EINVAL);
}

/* Two clusters whose places in the file are the wrong way round. */
TEST_WITH(merged_extents_go_on_where_the_host_does_not, setup, teardown)
{
	struct fixture *f = *state;
	struct l2_entry first = { 0, 0 }, second = { 0, 0 };
	struct qcow2_extent x;

	second.desc = builder_add_data(&f->b, f->data) | ENTRY_COPIED;
	first.desc = builder_add_data(&f->b, f->data) | ENTRY_COPIED;
	builder_set_entry(&f->b, CLUSTER, first);
	builder_set_entry(&f->b, 2 * CLUSTER, second);
	builder_finish(&f->b);
	assert_int_equal(qcow2_close(f->img, NULL), 0);
	assert_int_equal(qcow2_open_store(f->b.file, NULL, &f->img, NULL), 0);
	assert_int_equal(
		qcow2_map(f->img, SIZE - CLUSTER, CLUSTER, 0, &x, NULL), 0);
	assert_int_equal(x.len, CLUSTER);
	assert_int_equal(qcow2_map(f->img, SIZE - CLUSTER, CLUSTER,
				   QCOW2_MAP_MERGE, &x, NULL),
			 0);
	assert_int_equal(x.len, 2 * CLUSTER);
	assert_int_equal(x.flags, QCOW2_EXTENT_DATA | QCOW2_EXTENT_PRESENT);
	assert_int_equal(x.host_off, 0);
	assert_int_equal(qcow2_map(f->img, 1, 0, 0x4, &x, NULL), -EINVAL);
}

TEST_WITH(metadata_only_images_do_not_read, setup, teardown)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct fixture *f = *state;
	struct qcow2_image *other;
	uint8_t byte;

	opts.flags = QCOW2_OPEN_METADATA_ONLY;
	assert_int_equal(qcow2_open_store(f->b.file, &opts, &other, NULL), 0);
	assert_int_equal(qcow2_pread(other, &byte, 1, 0, 0, NULL), -EPERM);
	qcow2_close(other, NULL);
}

/* A store that never has anything at once, unless it is told to. */
struct slow {
	struct qcow2_store *behind;
	unsigned n_blocking;
};

static int slow_preadv(void *self, const struct iovec *iov, int iovcnt,
		       uint64_t off, unsigned flags, struct qcow2_error *err)
{
	struct slow *s = self;

	(void)err;
	if (flags & QCOW2_STORE_NOWAIT)
		return -EAGAIN;
	s->n_blocking++;
	return qcow2_store_pread(s->behind, iov[0].iov_base, iov[0].iov_len,
				 off, 0, NULL) ||
	       iovcnt != 1;
}

static int slow_size(void *self, uint64_t *size, struct qcow2_error *err)
{
	(void)err;
	return qcow2_store_size(((struct slow *)self)->behind, size, NULL);
}

TEST_WITH(nowait_never_blocks, setup, teardown)
{
	struct qcow2_store_ops ops = { .struct_size = sizeof(ops),
				       .preadv = slow_preadv,
				       .size = slow_size };
	struct fixture *f = *state;
	struct slow slow = { f->b.file, 0 };
	struct qcow2_store *store;
	struct qcow2_image *img;
	unsigned before;
	uint8_t byte;

	assert_int_equal(qcow2_store_new(&ops, &slow, &store, NULL), 0);
	assert_int_equal(qcow2_open_store(store, NULL, &img, NULL), 0);
	before = slow.n_blocking;
	assert_int_equal(
		qcow2_pread(img, &byte, 1, CLUSTER, QCOW2_NOWAIT, NULL),
		-EAGAIN);
	assert_int_equal(slow.n_blocking, before);
	assert_int_equal(qcow2_pread(img, &byte, 1, CLUSTER, 0, NULL), 0);
	/* Metadata is cached now: a hole is answered, data is not. */
	assert_int_equal(qcow2_pread(img, &byte, 1, 0, QCOW2_NOWAIT, NULL), 0);
	assert_int_equal(
		qcow2_pread(img, &byte, 1, CLUSTER, QCOW2_NOWAIT, NULL),
		-EAGAIN);
	qcow2_close(img, NULL);
	qcow2_store_unref(store);
}

TEST_WITH(defects_are_numbered_without_gaps, setup, teardown)
{
	int n = 1;

	assert_null(qcow2_defect_name(0));
	assert_null(qcow2_defect_name(-1));
	for (; qcow2_defect_name(n); n++) {
		assert_non_null(qcow2_defect_text(n));
		assert_int_not_equal(qcow2_defect_severity(n),
				     QCOW2_SEVERITY_NONE);
	}
	assert_in_range(n, 50, 1000);
	assert_null(qcow2_defect_name(n + 1));
}
