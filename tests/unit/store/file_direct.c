#include <errno.h>
#include <pthread.h>

#include "store_test.h"

static struct qcow2_store *open_direct(void)
{
	struct qcow2_store *s = open_temp(".", QCOW2_STORE_DIRECT);

	if (!s)
		skip();
	assert_true(fcntl(store_fd(s), F_GETFL) & O_DIRECT);
	return s;
}

static uint64_t size_of(struct qcow2_store *s)
{
	uint64_t n;

	ok(store_size(s, &n, NULL));
	return n;
}

TEST(any_alignment_is_accepted)
{
	struct qcow2_store *s = open_direct();
	static const uint64_t sizes[] = { 1,    511,  512,  513,    4095,
					  4096, 4097, 9000, 1 << 20 };
	char *in = malloc(1 << 20);
	char *out = malloc(1 << 20);

	assert_true(in && out);
	memset(in, 'i', 1 << 20);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (uint64_t off = 0; off < 8193; off += 1365) {
			uint64_t n = sizes[i] - (off & 1 && sizes[i] > 1);

			in[n - 1] = (char)off;
			ok(store_pwrite(s, in, n, off, 0, NULL));
			memset(out, 'o', n);
			ok(store_pread(s, out, n, off, 0, NULL));
			assert_memory_equal(in, out, n);
		}
	free(in);
	free(out);
	store_unref(s);
}

TEST(neighbours_of_an_unaligned_write_survive)
{
	struct qcow2_store *s = open_direct();
	char buf[12288];

	memset(buf, 'a', sizeof(buf));
	ok(store_pwrite(s, buf, sizeof(buf), 0, 0, NULL));
	ok(store_pwrite(s, "bbb", 3, 4095, 0, NULL));
	ok(store_pread(s, buf, sizeof(buf), 0, 0, NULL));
	for (size_t i = 0; i < sizeof(buf); i++)
		assert_int_equal(buf[i], i >= 4095 && i < 4098 ? 'b' : 'a');
	assert_int_equal(size_of(s), 12288);
	store_unref(s);
}

TEST(the_size_is_exact_to_the_byte)
{
	struct qcow2_store *s = open_direct();
	char buf[5000] = { 0 };

	ok(store_pwrite(s, "a", 1, 0, 0, NULL));
	assert_int_equal(size_of(s), 1);
	ok(store_pwrite(s, "b", 1, 5000, 0, NULL));
	assert_int_equal(size_of(s), 5001);
	ok(store_pwrite(s, "c", 1, 2, 0, NULL));
	assert_int_equal(size_of(s), 5001);
	ok(store_truncate(s, 4097, NULL));
	ok(store_pread(s, buf, sizeof(buf), 0, 0, NULL));
	assert_memory_equal(buf, "a\0c\0", 4);
	assert_int_equal(buf[4999], 0);
	store_unref(s);
}

TEST(a_descriptor_with_o_direct_needs_no_flag)
{
	struct qcow2_store *s;
	char path[200];
	char c = 0;
	int fd;

	make_file(path, sizeof(path), "abc");
	fd = open(path, O_RDWR | O_DIRECT);
	if (fd < 0) {
		unlink(path);
		skip();
	}
	ok(store_file_from_fd(fd, path, QCOW2_STORE_RDWR, &s, NULL));
	ok(store_pread(s, &c, 1, 1, 0, NULL));
	assert_int_equal(c, 'b');
	ok(store_pwrite(s, "X", 1, 1, 0, NULL));
	store_unref(s);
	assert_contents(path, "aXc");
	ok(unlink(path));
}

#define N_THREADS 4
#define N_ROUNDS 60
#define PART 700 /* several of them share each block */

struct job {
	struct qcow2_store *s;
	int id;
};

/* Each writes its own bytes, in blocks that all of them share. */
static void *write_parts(void *arg)
{
	struct job *job = arg;
	char buf[PART];

	memset(buf, 'a' + job->id, sizeof(buf));
	for (int i = 0; i < N_ROUNDS; i++) {
		uint64_t off = (uint64_t)(i * N_THREADS + job->id) * PART;

		if (store_pwrite(job->s, buf, PART, off, 0, NULL) < 0)
			return job;
	}
	return NULL;
}

TEST(writers_of_one_block_do_not_undo_each_other)
{
	struct qcow2_store *s = open_direct();
	pthread_t threads[N_THREADS];
	struct job jobs[N_THREADS];
	char buf[PART];

	for (int i = 0; i < N_THREADS; i++) {
		jobs[i] = (struct job){ s, i };
		ok(pthread_create(&threads[i], NULL, write_parts, &jobs[i]));
	}
	for (int i = 0; i < N_THREADS; i++) {
		void *failed;

		ok(pthread_join(threads[i], &failed));
		assert_null(failed);
	}
	assert_int_equal(size_of(s), N_THREADS * N_ROUNDS * PART);
	for (uint64_t i = 0; i < N_THREADS * N_ROUNDS; i++) {
		ok(store_pread(s, buf, PART, i * PART, 0, NULL));
		for (size_t k = 0; k < PART; k++)
			assert_int_equal(buf[k], 'a' + (int)(i % N_THREADS));
	}
	store_unref(s);
}
