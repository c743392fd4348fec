/*
 * The counters of an image.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <qcow2.h>

#include "support/test.h"

enum { CLUSTER = 65536, DISK_CLUSTERS = 64, PAGE = 4096 };

#define ok(expression) assert_int_equal((expression), 0)

struct fixture {
	struct qcow2_store *store;
	struct qcow2_store *base;
	struct qcow2_image *img;
	uint8_t bytes[CLUSTER];
};

static int setup(void **state)
{
	static struct fixture f;
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;

	memset(&f, 0, sizeof(f));
	memset(f.bytes, 0x5a, sizeof(f.bytes));
	create.virtual_size = (uint64_t)DISK_CLUSTERS * CLUSTER;
	opts.flags = QCOW2_OPEN_RDWR | QCOW2_OPEN_TRUST_REFCOUNTS;
	ok(qcow2_store_new_memory(&f.store, NULL));
	ok(qcow2_create_store(f.store, NULL, &create, NULL));
	ok(qcow2_open_store(f.store, &opts, &f.img, NULL));
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	ok(qcow2_close(f->img, NULL));
	qcow2_store_unref(f->store);
	qcow2_store_unref(f->base);
	return 0;
}

static struct qcow2_stats stats_of(struct fixture *f, uint32_t depth)
{
	struct qcow2_stats s = QCOW2_STATS_INIT;

	ok(qcow2_get_stats(f->img, depth, &s, NULL));
	return s;
}

static void expect_requests(const struct qcow2_request_stats *r, uint64_t done,
			    uint64_t bytes)
{
	assert_int_equal(r->done, done);
	assert_int_equal(r->bytes, bytes);
	assert_int_equal(r->failed, 0);
	assert_int_equal(r->again, 0);
}

TEST_WITH(requests_are_counted_by_kind, setup, teardown)
{
	struct fixture *f = *state;
	struct iovec iov[2] = { { f->bytes, 512 }, { f->bytes, 512 } };
	struct qcow2_stats s = stats_of(f, 0);

	expect_requests(&s.read, 0, 0);
	ok(qcow2_pread(f->img, f->bytes, PAGE, 0, 0, NULL));
	ok(qcow2_preadv(f->img, iov, 2, 0, 0, NULL));
	ok(qcow2_pwrite(f->img, f->bytes, PAGE, 0, 0, NULL));
	ok(qcow2_pwritev(f->img, iov, 2, 0, 0, NULL));
	ok(qcow2_pwrite(f->img, f->bytes, PAGE, PAGE, QCOW2_FUA, NULL));
	ok(qcow2_zero(f->img, CLUSTER, CLUSTER, 0, NULL));
	ok(qcow2_discard(f->img, 2 * CLUSTER, CLUSTER, 0, NULL));
	ok(qcow2_write_compressed(f->img, f->bytes, CLUSTER, 5 * CLUSTER,
				  QCOW2_FUA, NULL));
	ok(qcow2_flush(f->img, NULL));
	ok(qcow2_flush(f->img, NULL));

	s = stats_of(f, 0);
	expect_requests(&s.read, 2, PAGE + 1024);
	expect_requests(&s.write, 3, 2 * PAGE + 1024);
	expect_requests(&s.zero, 1, CLUSTER);
	expect_requests(&s.discard, 1, 2 * CLUSTER);
	expect_requests(&s.write_compressed, 1, CLUSTER);
	expect_requests(&s.flush, 2, 0);
}

TEST_WITH(refusals_are_not_failures, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_stats s;

	assert_int_equal(qcow2_pread(f->img, f->bytes, 1, UINT64_MAX, 0, NULL),
			 -EINVAL);
	assert_int_equal(qcow2_pwrite(f->img, f->bytes, 1, 0, 0x80, NULL),
			 -EINVAL);
	assert_int_equal(
		qcow2_write_compressed(f->img, f->bytes, PAGE, 1, 0, NULL),
		-EINVAL);
	s = stats_of(f, 0);
	expect_requests(&s.read, 0, 0);
	expect_requests(&s.write, 0, 0);
	expect_requests(&s.write_compressed, 0, 0);
}

TEST_WITH(a_write_that_would_wait_is_to_be_made_again, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_stats s;

	assert_int_equal(
		qcow2_pwrite(f->img, f->bytes, PAGE, 0, QCOW2_NOWAIT, NULL),
		-EAGAIN);
	s = stats_of(f, 0);
	assert_int_equal(s.write.again, 1);
	assert_int_equal(s.write.done, 0);
	assert_int_equal(s.write.failed, 0);
}

TEST_WITH(an_image_for_reading_has_no_writers_part, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_stats s, zero = QCOW2_STATS_INIT;

	ok(qcow2_pwrite(f->img, f->bytes, PAGE, 0, 0, NULL));
	ok(qcow2_close(f->img, NULL));
	ok(qcow2_open_store(f->store, NULL, &f->img, NULL));
	ok(qcow2_pread(f->img, f->bytes, PAGE, 0, 0, NULL));
	assert_int_equal(qcow2_pwrite(f->img, f->bytes, PAGE, 0, 0, NULL),
			 -EBADF);
	s = stats_of(f, 0);
	assert_int_equal(s.write.failed, 1);
	assert_int_equal(s.l2_cache.misses, 1);
	assert_memory_equal(
		&s.refcount_cache, &zero.refcount_cache,
		sizeof(zero) - offsetof(struct qcow2_stats, refcount_cache));
}

/* One look at the L2 table, one question, one write: nothing else. */
TEST_WITH(an_overwrite_costs_one_write, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_stats before, after;

	ok(qcow2_pwrite(f->img, f->bytes, CLUSTER, 0, 0, NULL));
	before = stats_of(f, 0);
	ok(qcow2_pwrite(f->img, f->bytes, PAGE, 2 * PAGE, 0, NULL));
	after = stats_of(f, 0);
	assert_int_equal(after.file.writes - before.file.writes, 1);
	assert_int_equal(after.file.write_bytes - before.file.write_bytes,
			 PAGE);
	assert_int_equal(after.file.reads, before.file.reads);
	assert_int_equal(after.file.barriers, before.file.barriers);
	assert_int_equal(after.l2_cache.hits - before.l2_cache.hits, 1);
	assert_int_equal(after.l2_cache.misses, before.l2_cache.misses);
	assert_true(after.overlap_checks > before.overlap_checks);
	assert_int_equal(after.copied_bytes, before.copied_bytes);
	assert_int_equal(after.commits, before.commits);
}

TEST_WITH(a_read_costs_one_read, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_stats before, after;

	ok(qcow2_pwrite(f->img, f->bytes, CLUSTER, 0, 0, NULL));
	before = stats_of(f, 0);
	ok(qcow2_pread(f->img, f->bytes, PAGE, 2 * PAGE, 0, NULL));
	after = stats_of(f, 0);
	assert_int_equal(after.file.reads - before.file.reads, 1);
	assert_int_equal(after.file.read_bytes - before.file.read_bytes, PAGE);
	assert_int_equal(after.file.writes, before.file.writes);
	assert_int_equal(after.l2_cache.hits - before.l2_cache.hits, 1);
}

TEST_WITH(a_flush_is_one_commit_and_one_barrier, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_stats before, after;

	ok(qcow2_pwrite(f->img, f->bytes, CLUSTER, 0, 0, NULL));
	ok(qcow2_flush(f->img, NULL));
	before = stats_of(f, 0);
	ok(qcow2_pwrite(f->img, f->bytes, PAGE, 0, 0, NULL));
	ok(qcow2_flush(f->img, NULL));
	after = stats_of(f, 0);
	assert_int_equal(after.commits - before.commits, 1);
	assert_int_equal(after.file.barriers - before.file.barriers, 1);
}

/* The rest of a compressed cluster moves with the page that is written. */
TEST_WITH(what_is_copied_and_decompressed_is_counted, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_stats s;

	ok(qcow2_pwrite(f->img, f->bytes, PAGE, 9 * CLUSTER, 0, NULL));
	ok(qcow2_write_compressed(f->img, f->bytes, CLUSTER, 0, 0, NULL));
	s = stats_of(f, 0);
	assert_int_equal(s.copied_bytes, 0);
	assert_int_equal(s.decompressed_clusters, 0);
	ok(qcow2_pwrite(f->img, f->bytes, PAGE, PAGE, 0, NULL));
	s = stats_of(f, 0);
	assert_int_equal(s.copied_bytes, CLUSTER - PAGE);
	assert_int_equal(s.decompressed_clusters, 1);
}

/* Clusters that a discard frees wait for the commit that makes it durable. */
TEST_WITH(freed_clusters_wait_for_a_commit, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_stats before, after;

	ok(qcow2_pwrite(f->img, f->bytes, CLUSTER, 0, 0, NULL));
	ok(qcow2_flush(f->img, NULL));
	before = stats_of(f, 0);
	assert_true(before.allocated_clusters >= 2);
	assert_int_equal(before.waiting_bytes, 0);
	ok(qcow2_discard(f->img, CLUSTER, 0, 0, NULL));
	after = stats_of(f, 0);
	assert_int_equal(after.waiting_bytes, CLUSTER);
	assert_int_equal(after.freed_clusters, before.freed_clusters);
	ok(qcow2_flush(f->img, NULL));
	after = stats_of(f, 0);
	assert_int_equal(after.waiting_bytes, 0);
	assert_int_equal(after.freed_clusters, before.freed_clusters + 1);
	assert_int_equal(after.allocated_clusters, before.allocated_clusters);
}

/* In an image with no clusters but those of its header and tables, the clusters
 * in use are those allocated since, less those freed. */
TEST_WITH(allocated_less_freed_is_in_use, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_check_result r = QCOW2_CHECK_RESULT_INIT;
	struct qcow2_stats s;

	for (uint64_t i = 0; i < 40; i++)
		ok(qcow2_pwrite(f->img, f->bytes, CLUSTER, i * CLUSTER, 0,
				NULL));
	ok(qcow2_discard(f->img, 10 * CLUSTER, 3 * CLUSTER, 0, NULL));
	ok(qcow2_flush(f->img, NULL));
	s = stats_of(f, 0);
	ok(qcow2_close(f->img, NULL));
	ok(qcow2_open_store(f->store, NULL, &f->img, NULL));
	ok(qcow2_check_store(f->store, NULL, &r, NULL));
	/* 30 of data, an L2 table; clusters claimed ahead have gone back. */
	assert_int_equal(r.allocated_clusters, 30);
	assert_true(s.allocated_clusters - s.freed_clusters >= 31);
	assert_true(s.freed_clusters >= 10);
}

TEST_WITH(requests_take_time, setup, teardown)
{
	struct fixture *f = *state;
	uint64_t n = 0;
	struct qcow2_stats s;

	for (unsigned i = 0; i < 100; i++)
		ok(qcow2_pwrite(f->img, f->bytes, PAGE, 0, 0, NULL));
	s = stats_of(f, 0);
	for (unsigned i = 0; i < QCOW2_LATENCY_STEPS; i++)
		n += s.write.n_by_ns[i];
	assert_int_equal(n, 100);
	assert_true(s.write.ns_max > 0);
	assert_true(s.write.ns >= s.write.ns_max);
	assert_true(s.write.ns <= 100 * s.write.ns_max);
	assert_int_equal(s.read.ns + s.read.ns_max, 0);
}

/* The header, an L1 table and refcounts are written at once; the L2 slice and
 * the slice of refcounts wait. */
TEST_WITH(dirty_metadata_waits_for_a_flush, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_stats s = stats_of(f, 0);

	assert_int_equal(s.dirty_bytes, 0);
	ok(qcow2_pwrite(f->img, f->bytes, PAGE, 0, 0, NULL));
	s = stats_of(f, 0);
	assert_true(s.dirty_bytes >= 2 * PAGE);
	assert_true(s.dirty_bytes <= 4 * PAGE);
	ok(qcow2_flush(f->img, NULL));
	s = stats_of(f, 0);
	assert_int_equal(s.dirty_bytes, 0);
}

/* The file is much longer, as a volume is that holds an image. */
TEST_WITH(the_end_of_allocation_is_not_that_of_the_file, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	uint64_t end = stats_of(f, 0).allocated_end;
	struct qcow2_stats s;

	assert_true(end > 0 && end < (uint64_t)CLUSTER * DISK_CLUSTERS);
	ok(qcow2_pwrite(f->img, f->bytes, CLUSTER, 0, 0, NULL));
	assert_true(stats_of(f, 0).allocated_end > end);
	ok(qcow2_close(f->img, NULL));
	ok(qcow2_store_size(f->store, &end, NULL));
	ok(qcow2_store_truncate(f->store, (uint64_t)1 << 40, NULL));
	opts.flags = QCOW2_OPEN_RDWR;
	ok(qcow2_open_store(f->store, &opts, &f->img, NULL));
	assert_int_equal(stats_of(f, 0).allocated_end, end);
	ok(qcow2_pwrite(f->img, f->bytes, CLUSTER, CLUSTER, 0, NULL));
	s = stats_of(f, 0);
	assert_true(s.allocated_end > end);
	assert_true(s.allocated_end <= end + 16 * (uint64_t)CLUSTER);
	ok(qcow2_discard(f->img, 2 * CLUSTER, 0, 0, NULL));
	ok(qcow2_flush(f->img, NULL));
	assert_int_equal(stats_of(f, 0).allocated_end, s.allocated_end);
}

/* Asked only after the first write, it has what was there before too. */
TEST_WITH(the_end_of_allocation_is_found_late, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	uint64_t end;

	for (uint64_t i = 0; i < 16; i++)
		ok(qcow2_pwrite(f->img, f->bytes, CLUSTER, i * CLUSTER, 0,
				NULL));
	ok(qcow2_discard(f->img, 4 * CLUSTER, 0, 0, NULL));
	ok(qcow2_close(f->img, NULL));
	ok(qcow2_store_size(f->store, &end, NULL));
	opts.flags = QCOW2_OPEN_RDWR;
	ok(qcow2_open_store(f->store, &opts, &f->img, NULL));
	ok(qcow2_pwrite(f->img, f->bytes, PAGE, 0, 0, NULL));
	assert_int_equal(stats_of(f, 0).allocated_end, end);
}

TEST_WITH(the_caches_say_how_large_they_are, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_stats s;

	ok(qcow2_pwrite(f->img, f->bytes, PAGE, 0, 0, NULL));
	s = stats_of(f, 0);
	assert_true(s.l2_cache.bytes > 0);
	assert_true(s.l2_cache.bytes <= s.l2_cache.bytes_max);
	assert_true(s.refcount_cache.bytes > 0);
	assert_true(s.refcount_cache.bytes <= s.refcount_cache.bytes_max);
	assert_int_equal(s.l2_cache.evictions, 0);
}

/* ---- Layers -------------------------------------------------------------- */

static int open_base(void *opaque, const struct qcow2_reference *ref,
		     struct qcow2_store **out, struct qcow2_error *err)
{
	struct fixture *f = opaque;

	(void)ref;
	(void)err;
	*out = qcow2_store_ref(f->base);
	return 0;
}

/* @f's image becomes an empty one over a raw base. */
static void put_over_base(struct fixture *f)
{
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_gate gate = QCOW2_GATE_INIT;

	ok(qcow2_close(f->img, NULL));
	ok(qcow2_store_new_memory(&f->base, NULL));
	ok(qcow2_store_truncate(f->base, (uint64_t)DISK_CLUSTERS * CLUSTER,
				NULL));
	create.virtual_size = (uint64_t)DISK_CLUSTERS * CLUSTER;
	create.backing_file = "base";
	create.backing_format = "raw";
	ok(qcow2_create_store(f->store, NULL, &create, NULL));
	gate.open = open_base;
	gate.opaque = f;
	opts.gate = &gate;
	opts.flags = QCOW2_OPEN_RDWR | QCOW2_OPEN_TRUST_REFCOUNTS;
	ok(qcow2_open_store(f->store, &opts, &f->img, NULL));
}

TEST_WITH(every_layer_has_its_own, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_stats before, after;

	put_over_base(f);
	before = stats_of(f, 1);
	ok(qcow2_pread(f->img, f->bytes, PAGE, 0, 0, NULL));
	after = stats_of(f, 1);
	assert_int_equal(after.file.reads - before.file.reads, 1);
	assert_int_equal(after.file.read_bytes - before.file.read_bytes, PAGE);
	expect_requests(&after.read, 1, PAGE);
	after = stats_of(f, 0);
	expect_requests(&after.read, 1, PAGE);
}

/* The part that the top layer has is not asked of the base; nor is what lies
 * behind its end. */
TEST_WITH(reads_count_in_the_layers_that_they_reach, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_stats s;

	put_over_base(f);
	ok(qcow2_pwrite(f->img, f->bytes, CLUSTER, CLUSTER, 0, NULL));
	ok(qcow2_pread(f->img, f->bytes, PAGE, CLUSTER, 0, NULL));
	s = stats_of(f, 1);
	expect_requests(&s.read, 0, 0);
	ok(qcow2_pread(f->img, f->bytes, PAGE, CLUSTER - 512, 0, NULL));
	s = stats_of(f, 1);
	expect_requests(&s.read, 1, 512);
	assert_true(s.read.ns >= s.read.ns_max);
	assert_int_equal(s.write.done, 0);
}

TEST_WITH(a_write_over_a_base_copies_the_rest_of_a_cluster, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_stats s;

	put_over_base(f);
	ok(qcow2_pwrite(f->img, f->bytes, PAGE, 3 * PAGE, 0, NULL));
	s = stats_of(f, 0);
	assert_int_equal(s.copied_bytes, CLUSTER - PAGE);
	s = stats_of(f, 1);
	assert_int_equal(s.file.writes, 0);
	assert_int_equal(s.copied_bytes, 0);
	/* One read has what is before the page and what is behind it. */
	assert_int_equal(s.read.done, 1);
	assert_int_equal(s.read.bytes, CLUSTER);
}

TEST_WITH(a_layer_that_is_not_there_is_refused, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_stats s = QCOW2_STATS_INIT;
	struct qcow2_stats unset = { 0 };

	assert_int_equal(qcow2_get_stats(f->img, 1, &s, NULL), -EINVAL);
	assert_int_equal(qcow2_get_stats(f->img, 0, &unset, NULL), -EINVAL);
}

TEST_WITH(a_caller_who_knows_less_gets_less, setup, teardown)
{
	struct fixture *f = *state;
	struct qcow2_stats s;

	memset(&s, 0x55, sizeof(s));
	s.struct_size = offsetof(struct qcow2_stats, write);
	ok(qcow2_pread(f->img, f->bytes, PAGE, 0, 0, NULL));
	ok(qcow2_get_stats(f->img, 0, &s, NULL));
	assert_int_equal(s.read.done, 1);
	assert_int_equal(s.write.done, UINT64_C(0x5555555555555555));
}

/* ---- Threads ------------------------------------------------------------- */

enum { N_THREADS = 8, N_EACH = 2000 };

struct worker {
	struct fixture *f;
	uint64_t off;
};

static void *read_and_write(void *arg)
{
	struct worker *w = arg;
	uint8_t page[PAGE] = { 0 };

	for (unsigned i = 0; i < N_EACH; i++) {
		if (qcow2_pwrite(w->f->img, page, PAGE, w->off, 0, NULL) < 0 ||
		    qcow2_pread(w->f->img, page, PAGE, w->off, 0, NULL) < 0)
			return w;
	}
	return NULL;
}

TEST_WITH(threads_lose_nothing, setup, teardown)
{
	struct fixture *f = *state;
	struct worker workers[N_THREADS];
	pthread_t threads[N_THREADS];
	struct qcow2_stats before, s;
	uint64_t last = 0;

	for (unsigned i = 0; i < N_THREADS; i++)
		ok(qcow2_pwrite(f->img, f->bytes, CLUSTER,
				(uint64_t)i * CLUSTER, 0, NULL));
	before = stats_of(f, 0);
	for (unsigned i = 0; i < N_THREADS; i++) {
		workers[i] = (struct worker){ f, (uint64_t)i * CLUSTER };
		ok(pthread_create(&threads[i], NULL, read_and_write,
				  &workers[i]));
	}
	for (unsigned i = 0; i < 200; i++) {
		s = stats_of(f, 0);
		assert_true(s.write.done >= last);
		last = s.write.done;
	}
	for (unsigned i = 0; i < N_THREADS; i++) {
		void *failed;

		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	s = stats_of(f, 0);
	expect_requests(&s.write, before.write.done + N_THREADS * N_EACH,
			before.write.bytes +
				(uint64_t)N_THREADS * N_EACH * PAGE);
	expect_requests(&s.read, N_THREADS * N_EACH,
			(uint64_t)N_THREADS * N_EACH * PAGE);
	assert_int_equal(s.file.writes - before.file.writes,
			 N_THREADS * N_EACH);
	assert_int_equal(s.file.reads - before.file.reads, N_THREADS * N_EACH);
	assert_int_equal(s.l2_cache.hits - before.l2_cache.hits,
			 2 * N_THREADS * N_EACH);
}
