#include "ops/convert.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fake_disk.h"
#include "sink.h"
#include "store/hold.h"
#include "store/mem.h"
#include "store/store.h"
#include "watch.h"

#define KIB 1024
#define MIB (1024 * 1024)
#define MEMORY_PER_WORKER (8 * MIB)

static struct qcow2_convert_opts threads(uint32_t n)
{
	struct qcow2_convert_opts opts = QCOW2_CONVERT_OPTS_INIT;

	opts.n_threads = n;
	return opts;
}

static void assert_equals_disk(struct qcow2_store *store, const struct disk *d)
{
	uint8_t *got = malloc(d->size + 1);
	uint64_t size;

	assert_int_equal(store_size(store, &size, NULL), 0);
	assert_int_equal(size, d->size);
	assert_int_equal(store_pread(store, got, d->size, 0, 0, NULL), 0);
	assert_memory_equal(got, d->bytes, d->size);
	free(got);
}

static struct disk *random_disk(struct test_rng *r)
{
	struct disk *d = fake_new(512u << test_rng_below(r, 13));

	fake_add_random(d, r, 512 + 512 * test_rng_below(r, 16 * 1024));
	return d;
}

TEST(any_number_of_threads_writes_the_same_bytes)
{
	struct test_rng r = test_rng_init(test_seed());

	for (uint32_t n = 1; n <= 8; n++) {
		struct qcow2_convert_opts opts = threads(n);
		struct disk *d = random_disk(&r);
		struct qcow2_store *target;

		opts.sparse_bytes = 512 * test_rng_below(&r, 300);
		assert_int_equal(store_mem_new(&target, NULL), 0);
		assert_int_equal(ops_convert_raw_store(d, target, &opts, NULL),
				 0);
		assert_equals_disk(target, d);
		store_unref(target);
		fake_free(d);
	}
}

TEST_SLOW(a_device_full_of_garbage_becomes_the_disk)
{
	struct test_rng r = test_rng_init(test_seed());

	for (unsigned i = 0; i < 24; i++) {
		struct qcow2_convert_opts opts = threads(1 + i % 4);
		struct disk *d = random_disk(&r);
		struct qcow2_store *target;
		struct sink s;

		sink_init_device(&s, d->size + 4096 * (i % 3), &target);
		s.cannot_zero = i % 2;
		s.cannot_zero_all = i % 3;
		if (i % 8 == 7)
			opts.sparse_bytes = QCOW2_CONVERT_NOT_SPARSE;
		assert_int_equal(ops_convert_raw_store(d, target, &opts, NULL),
				 0);
		assert_memory_equal(s.bytes, d->bytes, d->size);
		for (uint64_t k = d->size; k < s.size; k++)
			assert_int_equal(s.bytes[k], 0xa5);
		sink_release(&s, target);
		fake_free(d);
	}
}

TEST(a_target_in_use_is_left_alone)
{
	struct qcow2_convert_opts opts = threads(1);
	struct disk *d = fake_new(65536);
	struct store_hold reader = { 0 };
	struct qcow2_store *target;
	struct sink s;

	fake_add(d, 65536, FAKE_DATA);
	sink_init(&s, &target);
	assert_int_equal(store_hold(&reader, target, HOLD_READ, NULL), 0);
	assert_int_equal(ops_convert_raw_store(d, target, &opts, NULL), -EBUSY);
	assert_int_equal(s.n_writes + s.n_truncates, 0);
	store_release(&reader);
	assert_int_equal(ops_convert_raw_store(d, target, &opts, NULL), 0);
	assert_int_equal(store_hold(&reader, target, HOLD_READ, NULL), 0);
	store_release(&reader);
	sink_release(&s, target);
	fake_free(d);
}

TEST(zeros_of_the_map_are_neither_read_nor_written)
{
	struct qcow2_convert_opts opts = threads(2);
	struct disk *d = fake_new(65536);
	struct qcow2_store *target;
	struct sink s;

	fake_add(d, 10 * MIB, FAKE_HOLE);
	fake_add(d, 65536, FAKE_DATA);
	fake_add(d, 10 * MIB, FAKE_ZERO);
	sink_init(&s, &target);
	assert_int_equal(ops_convert_raw_store(d, target, &opts, NULL), 0);
	assert_int_equal(d->n_reads, 1);
	assert_int_equal(d->largest_read, 65536);
	assert_int_equal(s.n_writes, 1);
	assert_int_equal(s.n_zeros, 0);
	assert_memory_equal(s.bytes, d->bytes, d->size);
	sink_release(&s, target);
	fake_free(d);
}

TEST(not_sparse_touches_every_sector)
{
	struct test_rng r = test_rng_init(test_seed());
	struct qcow2_convert_opts opts = threads(3);
	struct disk *d = random_disk(&r);
	struct qcow2_store *target;
	struct sink s;

	opts.sparse_bytes = QCOW2_CONVERT_NOT_SPARSE;
	sink_init(&s, &target);
	assert_int_equal(ops_convert_raw_store(d, target, &opts, NULL), 0);
	assert_memory_equal(s.bytes, d->bytes, d->size);
	for (uint64_t i = 0; i < d->size / 512; i++)
		assert_true(s.state[i] == SINK_WRITTEN ||
			    s.state[i] == SINK_ZEROED);
	sink_release(&s, target);
	fake_free(d);
}

TEST(zeros_on_a_device_are_asked_for_in_long_ranges)
{
	struct qcow2_convert_opts opts = threads(2);
	struct disk *d = fake_new(65536);
	struct qcow2_store *target;
	struct sink s;

	for (unsigned i = 0; i < 100; i++) {
		fake_add(d, 64 * KIB, FAKE_HOLE);
		fake_add(d, 64 * KIB, FAKE_ZERO);
	}
	sink_init_device(&s, d->size, &target);
	s.cannot_zero_all = true;
	assert_int_equal(ops_convert_raw_store(d, target, &opts, NULL), 0);
	assert_memory_equal(s.bytes, d->bytes, d->size);
	/* One for all, and as many as zeroing 512 KiB at a time would take. */
	assert_true(s.n_zeros <= 1 + d->size / (512 * KIB) + 1);
	assert_int_equal(d->n_reads, 0);
	sink_release(&s, target);
	fake_free(d);
}

TEST(each_compressed_cluster_is_read_once)
{
	static const uint32_t sizes[] = { 4096, 65536, 2 * MIB };

	for (unsigned i = 0; i < 3; i++) {
		struct qcow2_convert_opts opts = threads(4);
		struct disk *d = fake_new(sizes[i]);
		struct qcow2_store *target;

		fake_add(d, 3 * sizes[i], FAKE_HOLE);
		fake_add(d, 4 * sizes[i], FAKE_COMPRESSED);
		fake_add(d, sizes[i], FAKE_DATA);
		fake_add(d, 5 * sizes[i], FAKE_COMPRESSED);
		fake_count_clusters(d);
		assert_int_equal(store_mem_new(&target, NULL), 0);
		assert_int_equal(ops_convert_raw_store(d, target, &opts, NULL),
				 0);
		for (unsigned c = 0; c < 13; c++)
			assert_int_equal(d->cluster_reads[c], c >= 3);
		assert_equals_disk(target, d);
		store_unref(target);
		fake_free(d);
	}
}

TEST(scattered_clusters_are_read_in_large_pieces)
{
	struct qcow2_convert_opts opts = threads(2);
	struct disk *d = fake_new(4096);
	struct qcow2_store *target;

	for (unsigned i = 0; i < 1024; i++) {
		fake_add(d, 4096, FAKE_DATA);
		fake_add(d, 4096, i % 2 ? FAKE_HOLE : FAKE_COMPRESSED);
	}
	assert_int_equal(store_mem_new(&target, NULL), 0);
	assert_int_equal(ops_convert_raw_store(d, target, &opts, NULL), 0);
	assert_true(d->n_reads <= d->size / (512 * KIB));
	assert_equals_disk(target, d);
	store_unref(target);
	fake_free(d);
}

TEST(data_behind_many_holes_is_found)
{
	struct qcow2_convert_opts opts = threads(1);
	struct disk *d = fake_new(512);
	struct qcow2_store *target;

	for (unsigned i = 0; i < 10000; i++)
		fake_add(d, 512, i % 2 ? FAKE_HOLE : FAKE_ZERO);
	fake_add(d, 4096, FAKE_DATA);
	assert_int_equal(store_mem_new(&target, NULL), 0);
	assert_int_equal(ops_convert_raw_store(d, target, &opts, NULL), 0);
	assert_equals_disk(target, d);
	store_unref(target);
	fake_free(d);
}

TEST(memory_is_bounded_per_worker)
{
	struct qcow2_convert_opts opts = threads(4);
	struct disk *d = fake_new(2 * MIB);
	struct qcow2_store *target;

	fake_add(d, 40 * MIB, FAKE_DATA);
	assert_int_equal(store_mem_new(&target, NULL), 0);
	assert_int_equal(ops_convert_raw_store(d, target, &opts, NULL), 0);
	assert_in_range(d->n_buffers, 1, 4);
	assert_true(d->largest_read <= MEMORY_PER_WORKER);
	for (unsigned i = 0; i < d->n_buffers; i++)
		assert_int_equal((uintptr_t)d->buffers[i] % 4096, 0);
	store_unref(target);
	fake_free(d);
}

TEST(progress_rises_to_the_total)
{
	struct test_rng r = test_rng_init(test_seed());

	for (uint32_t n = 1; n <= 4; n++) {
		struct watcher w = { .stop_at = UINT64_MAX };
		struct qcow2_convert_opts opts = threads(n);
		struct disk *d = random_disk(&r);
		struct qcow2_store *target;

		opts.progress = watch;
		opts.opaque = &w;
		assert_int_equal(store_mem_new(&target, NULL), 0);
		assert_int_equal(ops_convert_raw_store(d, target, &opts, NULL),
				 0);
		assert_false(w.wrong);
		assert_int_equal(w.last, d->size);
		assert_int_equal(w.total, d->size);
		store_unref(target);
		fake_free(d);
	}
}

TEST(an_empty_disk_gives_an_empty_file)
{
	struct qcow2_convert_opts opts = threads(4);
	struct disk *d = fake_new(65536);
	struct qcow2_store *target;
	struct sink s;

	sink_init(&s, &target);
	assert_int_equal(ops_convert_raw_store(d, target, &opts, NULL), 0);
	assert_int_equal(s.size, 0);
	assert_int_equal(d->n_maps, 0);
	sink_release(&s, target);
	fake_free(d);
}

TEST(flushes_unless_told_not_to)
{
	struct qcow2_convert_opts opts = threads(1);
	struct disk *d = fake_new(65536);
	struct qcow2_store *target;
	struct sink s;

	fake_add(d, 65536, FAKE_DATA);
	sink_init(&s, &target);
	assert_int_equal(ops_convert_raw_store(d, target, &opts, NULL), 0);
	assert_int_equal(s.n_flushes, 1);
	opts.flags = QCOW2_CONVERT_NO_SYNC;
	assert_int_equal(ops_convert_raw_store(d, target, &opts, NULL), 0);
	assert_int_equal(s.n_flushes, 1);
	sink_release(&s, target);
	fake_free(d);
}

TEST_SLOW(a_full_target_ends_the_job)
{
	for (uint32_t n = 1; n <= 4; n++) {
		struct qcow2_convert_opts opts = threads(n);
		struct disk *d = fake_new(65536);
		struct qcow2_error err = { 0 };
		struct qcow2_store *target;
		struct sink s;

		fake_add(d, 20 * MIB, FAKE_DATA);
		sink_init(&s, &target);
		s.full_off = 6 * MIB;
		assert_int_equal(ops_convert_raw_store(d, target, &opts, &err),
				 -ENOSPC);
		assert_non_null(strstr(err.message, "the sink"));
		assert_non_null(strstr(err.message, "offset"));
		assert_true(d->n_reads < 20);
		sink_release(&s, target);
		fake_free(d);
	}
}

/* A directory with one file "target" in it that says "old". */
struct place {
	char dir[64];
	char path[80];
};

static void place_init(struct place *p)
{
	FILE *f;

	snprintf(p->dir, sizeof(p->dir), "convert-test-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->path, sizeof(p->path), "%s/target", p->dir);
	f = fopen(p->path, "w");
	assert_non_null(f);
	fputs("old", f);
	fclose(f);
}

static void place_release(struct place *p)
{
	unlink(p->path);
	assert_int_equal(rmdir(p->dir), 0);
}

static void assert_place_untouched(const struct place *p)
{
	char text[8] = { 0 };
	struct dirent *entry;
	DIR *dir = opendir(p->dir);
	FILE *f = fopen(p->path, "r");

	assert_non_null(f);
	assert_int_equal(fread(text, 1, sizeof(text), f), 3);
	fclose(f);
	assert_string_equal(text, "old");
	assert_non_null(dir);
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.' ||
		    (entry->d_name[1] && entry->d_name[1] != '.'))
			assert_string_equal(entry->d_name, "target");
	closedir(dir);
}

TEST(a_failed_read_leaves_the_old_file)
{
	struct disk *d = fake_new(65536);
	struct place p;

	place_init(&p);
	fake_add(d, 8 * MIB, FAKE_DATA);
	d->fail_read_off = 5 * MIB + 17;
	for (uint32_t n = 1; n <= 4; n++) {
		struct qcow2_convert_opts opts = threads(n);
		struct qcow2_error err = { 0 };

		assert_int_equal(ops_convert_raw(d, p.path, &opts, 0, &err),
				 -EIO);
		assert_string_equal(err.message, "the fake disk fails");
		assert_place_untouched(&p);
	}
	place_release(&p);
	fake_free(d);
}

TEST(a_damaged_map_leaves_the_old_file)
{
	struct qcow2_convert_opts opts = threads(2);
	struct disk *d = fake_new(65536);
	struct qcow2_error err = { 0 };
	struct place p;

	place_init(&p);
	fake_add(d, 2 * MIB, FAKE_DATA);
	fake_add(d, 2 * MIB, FAKE_HOLE);
	d->fail_map_off = 3 * MIB;
	assert_int_equal(ops_convert_raw(d, p.path, &opts, 0, &err), -EIO);
	assert_string_equal(err.message, "the fake map fails");
	assert_place_untouched(&p);
	place_release(&p);
	fake_free(d);
}

TEST(a_cancelled_job_leaves_the_old_file)
{
	struct disk *d = fake_new(65536);
	struct place p;

	place_init(&p);
	fake_add(d, 8 * MIB, FAKE_DATA);
	for (uint32_t n = 1; n <= 4; n++) {
		struct watcher w = { .stop_at = n % 2 ? 1 : d->size };
		struct qcow2_convert_opts opts = threads(n);

		opts.progress = watch;
		opts.opaque = &w;
		assert_int_equal(ops_convert_raw(d, p.path, &opts, 0, NULL),
				 -ECANCELED);
		assert_place_untouched(&p);
	}
	place_release(&p);
	fake_free(d);
}

/* Bytes, size and holes of the file at @path are those of the disk. */
static void assert_file(const char *path, const struct disk *d)
{
	uint8_t *got = malloc(d->size);
	int fd = open(path, O_RDONLY);
	struct stat st;

	assert_true(fd >= 0 && got);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, d->size);
	assert_int_equal(pread(fd, got, d->size, 0), d->size);
	assert_memory_equal(got, d->bytes, d->size);
	free(got);
	close(fd);
}

TEST(a_finished_file_replaces_the_old_one)
{
	struct test_rng r = test_rng_init(test_seed());
	static const uint32_t flags[] = { 0, QCOW2_CONVERT_NO_SYNC,
					  QCOW2_CONVERT_NO_REFLINK,
					  QCOW2_CONVERT_DIRECT };
	struct place p;

	place_init(&p);
	for (unsigned i = 0; i < 4; i++) {
		struct qcow2_convert_opts opts = threads(i);
		struct disk *d = random_disk(&r);

		opts.flags = flags[i];
		assert_int_equal(ops_convert_raw(d, p.path, &opts, 0, NULL), 0);
		assert_file(p.path, d);
		fake_free(d);
	}
	place_release(&p);
}

TEST(zeros_in_the_data_become_holes_of_the_file)
{
	struct qcow2_convert_opts opts = threads(2);
	struct disk *d = fake_new(65536);
	struct place p;
	int fd;

	place_init(&p);
	fake_add(d, 4 * MIB, FAKE_DATA);
	memset(d->bytes + MIB, 0, MIB);
	assert_int_equal(ops_convert_raw(d, p.path, &opts, 0, NULL), 0);
	assert_file(p.path, d);
	fd = open(p.path, O_RDONLY);
	assert_int_equal(lseek(fd, 0, SEEK_HOLE), MIB);
	assert_int_equal(lseek(fd, MIB, SEEK_DATA), 2 * MIB);
	close(fd);
	place_release(&p);
	fake_free(d);
}

TEST(a_size_that_is_no_multiple_of_anything_is_kept)
{
	struct qcow2_convert_opts opts = threads(2);
	struct disk *d = fake_new(65536);
	struct place p;

	place_init(&p);
	fake_add(d, 2 * MIB, FAKE_DATA);
	fake_add(d, 12345, FAKE_DATA);
	assert_int_equal(ops_convert_raw(d, p.path, &opts, 0, NULL), 0);
	assert_file(p.path, d);
	fake_add(d, 77, FAKE_ZERO);
	opts.flags = QCOW2_CONVERT_DIRECT;
	assert_int_equal(ops_convert_raw(d, p.path, &opts, 0, NULL), 0);
	assert_file(p.path, d);
	place_release(&p);
	fake_free(d);
}
