#include <errno.h>
#include <pthread.h>

#include "store_test.h"

#include "store/mem_impl.h"
#include "store/store_impl.h"

#define TIB (UINT64_C(1) << 40)

static struct qcow2_store *make(void)
{
	struct qcow2_store *s;

	ok(store_mem_new(&s, NULL));
	return s;
}

static uint64_t allocated(struct qcow2_store *s)
{
	uint64_t n;

	ok(store_allocated(s, &n, NULL));
	return n;
}

static uint64_t size_of(struct qcow2_store *s)
{
	uint64_t n;

	ok(store_size(s, &n, NULL));
	return n;
}

TEST(a_huge_store_costs_what_is_in_it)
{
	struct qcow2_store *s = make();
	uint64_t len = 16 * TIB;
	bool is_data;

	ok(store_truncate(s, 16 * TIB, NULL));
	ok(store_pwrite(s, "x", 1, 15 * TIB, 0, NULL));
	assert_int_equal(size_of(s), 16 * TIB);
	assert_int_equal(allocated(s), 4096);
	ok(store_extent(s, &len, 0, &is_data, NULL));
	assert_false(is_data);
	assert_int_equal(len, 15 * TIB);
	len = TIB;
	ok(store_extent(s, &len, 15 * TIB, &is_data, NULL));
	assert_true(is_data);
	assert_int_equal(len, 4096);
	ok(store_zero(s, 16 * TIB, 0, QCOW2_STORE_UNMAP, NULL));
	assert_int_equal(allocated(s), 0);
	store_unref(s);
}

TEST(the_last_bytes_can_be_used)
{
	struct qcow2_store *s = make();
	char c = 0;

	ok(store_pwrite(s, "z", 1, INT64_MAX - 1, 0, NULL));
	assert_int_equal(size_of(s), INT64_MAX);
	ok(store_pread(s, &c, 1, INT64_MAX - 1, 0, NULL));
	assert_int_equal(c, 'z');
	ok(store_zero(s, INT64_MAX, 0, QCOW2_STORE_UNMAP, NULL));
	assert_int_equal(allocated(s), 0);
	store_unref(s);
}

TEST(bytes_cut_off_do_not_come_back)
{
	struct qcow2_store *s = make();
	char buf[8] = "        ";

	ok(store_pwrite(s, "abcdefgh", 8, 0, 0, NULL));
	ok(store_truncate(s, 3, NULL));
	ok(store_truncate(s, 8, NULL));
	ok(store_pread(s, buf, 8, 0, 0, NULL));
	assert_memory_equal(buf, "abc\0\0\0\0\0", 8);
	store_unref(s);
}

TEST(truncation_frees_pages)
{
	struct qcow2_store *s = make();
	char page[4096] = "x";

	for (uint64_t off = 0; off < 16 * 4096; off += 4096)
		ok(store_pwrite(s, page, sizeof(page), off, 0, NULL));
	ok(store_truncate(s, 4097, NULL));
	assert_int_equal(allocated(s), 8192);
	ok(store_truncate(s, 4096, NULL));
	assert_int_equal(allocated(s), 4096);
	ok(store_truncate(s, 0, NULL));
	assert_int_equal(allocated(s), 0);
	store_unref(s);
}

TEST(zeroing_keeps_pages_unless_told_to_unmap)
{
	struct qcow2_store *s = make();
	char page[4096];
	char buf[4096];

	memset(page, 'x', sizeof(page));
	ok(store_pwrite(s, page, sizeof(page), 0, 0, NULL));
	ok(store_pwrite(s, page, 100, 4096, 0, NULL));
	ok(store_zero(s, 1 << 20, 1, 0, NULL));
	assert_int_equal(allocated(s), 8192);
	assert_int_equal(size_of(s), 4196);
	ok(store_pread(s, buf, sizeof(buf), 0, 0, NULL));
	assert_int_equal(buf[0], 'x');
	assert_int_equal(buf[1], 0);
	assert_int_equal(buf[4095], 0);
	/* The last page goes too, though the range ends inside it. */
	ok(store_zero(s, 100, 4096, QCOW2_STORE_UNMAP, NULL));
	assert_int_equal(allocated(s), 4096);
	assert_int_equal(size_of(s), 4196);
	store_unref(s);
}

TEST(a_clone_shares_nothing)
{
	struct qcow2_store *s = make();
	struct qcow2_store *clone;
	char c;

	ok(store_pwrite(s, "ab", 2, 8191, 0, NULL));
	ok(store_mem_clone(s, &clone, NULL));
	ok(store_pwrite(s, "X", 1, 8191, 0, NULL));
	ok(store_pwrite(clone, "Y", 1, 8192, 0, NULL));
	assert_int_equal(size_of(clone), 8193);
	ok(store_pread(clone, &c, 1, 8191, 0, NULL));
	assert_int_equal(c, 'a');
	ok(store_pread(s, &c, 1, 8192, 0, NULL));
	assert_int_equal(c, 'b');
	store_unref(s);
	store_unref(clone);
}

TEST(only_memory_stores_can_be_cloned)
{
	struct qcow2_store *s = open_temp(".", 0);
	struct qcow2_store *clone;
	struct qcow2_error err = { 0 };

	assert_int_equal(store_mem_clone(s, &clone, &err), -EINVAL);
	assert_non_null(strstr(err.message, "is not a memory store"));
	store_unref(s);
}

#define N_THREADS 4
#define N_SLOTS 300
#define SLOT 1000 /* neighbours share pages */

struct job {
	struct qcow2_store *s;
	int id;
};

static void *write_slots(void *arg)
{
	struct job *job = arg;
	uint8_t buf[SLOT];
	uint8_t got[SLOT];

	memset(buf, job->id + 1, sizeof(buf));
	for (uint64_t i = 0; i < N_SLOTS; i++) {
		uint64_t off = (i * N_THREADS + (uint64_t)job->id) * SLOT;
		uint64_t len = 1 << 20;
		bool is_data;

		if (store_pwrite(job->s, buf, SLOT, off, 0, NULL) < 0 ||
		    store_pread(job->s, got, SLOT, off, 0, NULL) < 0 ||
		    store_extent(job->s, &len, 0, &is_data, NULL) < 0 ||
		    memcmp(buf, got, SLOT) != 0)
			return job;
	}
	return NULL;
}

TEST(many_threads_may_use_it)
{
	struct qcow2_store *s = make();
	pthread_t threads[N_THREADS];
	struct job jobs[N_THREADS];

	for (int i = 0; i < N_THREADS; i++) {
		jobs[i] = (struct job){ s, i };
		ok(pthread_create(&threads[i], NULL, write_slots, &jobs[i]));
	}
	for (int i = 0; i < N_THREADS; i++) {
		void *failed;

		ok(pthread_join(threads[i], &failed));
		assert_null(failed);
	}
	assert_int_equal(size_of(s), N_THREADS * N_SLOTS * SLOT);
	for (uint64_t i = 0; i < N_THREADS * N_SLOTS; i++) {
		char c;

		ok(store_pread(s, &c, 1, i * SLOT + SLOT / 2, 0, NULL));
		assert_int_equal(c, i % N_THREADS + 1);
	}
	store_unref(s);
}

/* ---- Its validator ------------------------------------------------------- */

TEST(bytes_kept_behind_the_end_are_found)
{
	struct qcow2_store *s = make();
	struct mem *m = s->self;

	ok(store_pwrite(s, "xyz", 3, PAGE_BYTES, 0, NULL));
	mem_validate(m);
	ASSERT_ABORTS(pages_get(&m->pages, 1)[3] = 1; mem_validate(m));
	ASSERT_ABORTS(m->size--; mem_validate(m));
	ASSERT_ABORTS(m->size = PAGE_BYTES; mem_validate(m));
	ASSERT_ABORTS(m->size = 0; mem_validate(m));
	ASSERT_ABORTS(m->size = (uint64_t)INT64_MAX + 1; mem_validate(m));
	store_unref(s);
}

TEST(a_name_is_told_and_copied)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_error err = { 0 };
	struct qcow2_image *img;
	struct qcow2_store *s;
	struct qcow2_store *clone;
	char name[] = "disk \x1b 7";

	ok(qcow2_store_new_memory_named(name, &s, NULL));
	memset(name, 'x', sizeof(name));
	ok(store_mem_clone(s, &clone, NULL));
	assert_string_equal(store_name(clone), "disk \x1b 7");
	store_unref(clone);
	opts.format = QCOW2_FORMAT_RAW;
	ok(qcow2_open_store(s, &opts, &img, NULL));
	assert_string_equal(qcow2_layer_filename(img, 0), "disk \x1b 7");
	ok(qcow2_close(img, NULL));
	/* In messages it is escaped. */
	opts.flags = QCOW2_OPEN_RDWR;
	ok(qcow2_open_store(s, &opts, &img, NULL));
	assert_int_equal(qcow2_open_store(s, NULL, &img, &err), -EBUSY);
	assert_non_null(strstr(err.message, "disk \\x1b 7"));
	ok(qcow2_close(img, NULL));
	store_unref(s);
}
