/*
 * What the kernel may carry of a file store, and what it must not.
 */
#include "store/transfer.h"

#include <errno.h>

#include "store_test.h"

enum { BLOCK = 65536 };

static uint8_t *block(void)
{
	void *p;

	assert_int_equal(posix_memalign(&p, BLOCK, BLOCK), 0);
	memset(p, 'x', BLOCK);
	return p;
}

static int begin(struct qcow2_store *s, void *buf, size_t len, uint64_t off,
		 bool is_write, struct transfer *t)
{
	struct iovec iov = { buf, len };

	*t = (struct transfer){ s, off, len, is_write };
	return transfer_begin(t, &iov, 1);
}

static bool in_memory(struct qcow2_store *s)
{
	struct statfs fs;

	assert_int_equal(fstatfs(store_fd(s), &fs), 0);
	return (uint32_t)fs.f_type == TMPFS_MAGIC ||
	       (uint32_t)fs.f_type == RAMFS_MAGIC;
}

TEST(a_carried_write_is_covered_by_the_next_flush)
{
	struct qcow2_store *s = open_temp(".", 0);
	struct qcow2_file_stats before, after;
	uint8_t *buf = block();
	struct transfer t;
	int fd = begin(s, buf, BLOCK, 0, true, &t);

	if (in_memory(s)) {
		assert_int_equal(fd, -1);
	} else {
		assert_true(fd >= 0);
		store_get_stats(s, &before);
		assert_int_equal(pwrite(fd, buf, BLOCK, 0), BLOCK);
		assert_int_equal(transfer_end(&t, 0, NULL), 0);
		store_get_stats(s, &after);
		assert_int_equal(after.writes, before.writes + 1);
		assert_int_equal(after.write_bytes, before.write_bytes + BLOCK);
		ok(store_flush(s, NULL));
	}
	free(buf);
	store_unref(s);
}

TEST(a_failed_transfer_is_described)
{
	struct qcow2_store *s = open_temp(".", 0);
	struct qcow2_file_stats stats;
	struct qcow2_error err;
	uint8_t *buf = block();
	struct transfer t;

	if (begin(s, buf, BLOCK, 4096, true, &t) >= 0) {
		assert_int_equal(transfer_end(&t, -ENOSPC, &err), -ENOSPC);
		assert_non_null(strstr(err.message, "cannot write 65536 bytes "
						    "at offset 4096"));
		assert_int_equal(err.code, -ENOSPC);
		assert_true(err.flags & QCOW2_ERROR_RETRY);
		store_get_stats(s, &stats);
		assert_int_equal(stats.failed, 1);
	}
	free(buf);
	store_unref(s);
}

TEST(stores_without_a_descriptor_carry_nothing)
{
	struct qcow2_store *s;
	uint8_t *buf = block();
	struct transfer t;

	ok(qcow2_store_new_memory(&s, NULL));
	assert_int_equal(begin(s, buf, BLOCK, 0, false, &t), -1);
	assert_int_equal(begin(s, buf, BLOCK, 0, true, &t), -1);
	store_unref(s);
	free(buf);
}

TEST(o_direct_carries_whole_blocks_inside_the_file)
{
	struct qcow2_store *s = open_temp(".", QCOW2_STORE_DIRECT);
	uint8_t *buf = block();
	struct transfer t;

	if (!s || in_memory(s))
		skip();
	ok(store_truncate(s, 2 * BLOCK, NULL));
	assert_true(begin(s, buf, BLOCK, BLOCK, true, &t) >= 0);
	assert_int_equal(transfer_end(&t, 0, NULL), 0);
	assert_true(begin(s, buf, BLOCK, 0, false, &t) >= 0);
	assert_int_equal(transfer_end(&t, 0, NULL), 0);
	/* Not aligned: in memory, in length, in the file. */
	assert_int_equal(begin(s, buf + 1, 4096, 0, true, &t), -1);
	assert_int_equal(begin(s, buf, 100, 0, true, &t), -1);
	assert_int_equal(begin(s, buf, 4096, 7, false, &t), -1);
	/* Past the end: the file would grow beside others that cut it. */
	assert_int_equal(begin(s, buf, BLOCK, 2 * BLOCK, true, &t), -1);
	/* A file that has grown, or was cut. */
	ok(store_truncate(s, 3 * BLOCK, NULL));
	assert_true(begin(s, buf, BLOCK, 2 * BLOCK, true, &t) >= 0);
	assert_int_equal(transfer_end(&t, 0, NULL), 0);
	ok(store_truncate(s, BLOCK, NULL));
	assert_int_equal(begin(s, buf, BLOCK, BLOCK, true, &t), -1);
	store_unref(s);
	free(buf);
}

TEST(a_read_only_store_carries_no_write)
{
	char path[128];
	struct qcow2_store *s;
	uint8_t *buf = block();
	struct transfer t;

	temp_name(path, sizeof(path), ".");
	ok(store_file_open(path, QCOW2_STORE_RDWR | QCOW2_STORE_CREATE, &s,
			   NULL));
	store_unref(s);
	ok(store_file_open(path, 0, &s, NULL));
	unlink(path);
	assert_int_equal(begin(s, buf, BLOCK, 0, true, &t), -1);
	store_unref(s);
	free(buf);
}
