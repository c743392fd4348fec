#include "rig.h"

#include <errno.h>
#include <pthread.h>

#include "base/bytes.h"
#include "format/header.h"
#include "format/limits.h"

static const struct qcow2_create_opts kinds[] = {
	{ .cluster_size = 65536 },
	{ .cluster_size = 512 },
	{ .cluster_size = 512, .refcount_bits = 64 },
	{ .cluster_size = 4096, .refcount_bits = 4 },
	{ .cluster_size = 4096, .version = 2 },
	{ .cluster_size = 16384, .flags = QCOW2_CREATE_EXTENDED_L2 },
	{ .cluster_size = 2 * 1024 * 1024 },
	{ .cluster_size = 4096, .preallocation = QCOW2_PREALLOC_METADATA },
};

enum { N_KINDS = sizeof(kinds) / sizeof(kinds[0]) };

#define DISK (4 * MIB)

static void scribble(struct rig *r, uint8_t value)
{
	rig_write(r, value, 200 * 1024, 100);
	rig_write(r, (uint8_t)(value + 1), 70 * 1024, MIB + 700);
	rig_write(r, (uint8_t)(value + 2), 5, DISK - 5);
}

TEST_SLOW(a_snapshot_stays_what_it_was)
{
	for (int i = 0; i < N_KINDS; i++) {
		struct rig r;
		uint8_t *then;

		rig_init(&r, DISK, &kinds[i]);
		scribble(&r, 1);
		then = rig_copy(&r);
		rig_create(&r, "then");
		rig_expect(&r);
		scribble(&r, 10);
		rig_write(&r, 7, 512 * 1024, 2 * MIB + 512);
		rig_expect(&r);
		rig_close(&r);
		rig_check(&r);
		rig_expect_view(&r, "then", then, DISK);
		free(then);
		rig_release(&r);
	}
}

TEST_SLOW(applying_brings_the_disk_back)
{
	for (int i = 0; i < N_KINDS; i++) {
		struct rig r;
		uint8_t *then;

		rig_init(&r, DISK, &kinds[i]);
		scribble(&r, 1);
		then = rig_copy(&r);
		rig_create(&r, "then");
		scribble(&r, 10);
		rig_write(&r, 7, 512 * 1024, 2 * MIB + 512);
		rig_apply(&r, "then");
		memcpy(r.disk, then, DISK);
		rig_expect(&r);
		rig_write(&r, 9, 300, 150);
		rig_expect(&r);
		rig_close(&r);
		rig_check(&r);
		rig_expect_view(&r, "1", then, DISK);
		rig_open(&r);
		rig_expect(&r);
		free(then);
		rig_release(&r);
	}
}

/* Tables that disk and snapshot share keep their counts: first those of all of
 * the disk, then those of a part of it. */
TEST_SLOW(tables_in_common_keep_their_references)
{
	for (int i = 0; i < N_KINDS; i++) {
		struct rig r;
		uint8_t *then;

		rig_init(&r, DISK, &kinds[i]);
		scribble(&r, 1);
		then = rig_copy(&r);
		rig_create(&r, "a");
		rig_apply(&r, "a");
		rig_expect(&r);
		rig_create(&r, "b");
		rig_write(&r, 9, 300, 150);
		rig_apply(&r, "a");
		memcpy(r.disk, then, DISK);
		rig_expect(&r);
		rig_delete(&r, "b");
		rig_write(&r, 7, 512, 2 * MIB);
		rig_expect(&r);
		rig_close(&r);
		rig_check(&r);
		rig_expect_view(&r, "a", then, DISK);
		free(then);
		rig_release(&r);
	}
}

static uint64_t file_size(struct rig *r)
{
	uint64_t size;

	assert_int_equal(store_size(r->store, &size, NULL), 0);
	return size;
}

TEST_SLOW(deleting_gives_back_what_only_the_snapshot_had)
{
	for (int i = 0; i < N_KINDS; i++) {
		struct rig r;

		rig_init(&r, DISK, &kinds[i]);
		scribble(&r, 1);
		rig_create(&r, "a");
		scribble(&r, 20);
		rig_create(&r, "b");
		scribble(&r, 40);
		rig_delete(&r, "a");
		rig_expect(&r);
		rig_close(&r);
		rig_check(&r);
		rig_open(&r);
		rig_delete(&r, "b");
		scribble(&r, 50);
		rig_expect(&r);
		rig_close(&r);
		rig_check(&r);
		rig_release(&r);
	}
}

/* Writes in place again: otherwise each costs a copy. */
TEST(clusters_of_the_disk_alone_are_overwritten_in_place)
{
	struct rig r;
	uint64_t before;

	rig_init(&r, DISK, &kinds[3]);
	scribble(&r, 1);
	rig_create(&r, "a");
	rig_delete(&r, "a");
	rig_close(&r);
	before = file_size(&r);
	rig_open(&r);
	scribble(&r, 90);
	rig_close(&r);
	assert_int_equal(file_size(&r), before);
	rig_check(&r);
	rig_release(&r);
}

static struct qcow2_snapshot_info info_of(struct rig *r, uint32_t i)
{
	struct qcow2_snapshot_info s = { .struct_size = sizeof(s) };

	assert_int_equal(qcow2_get_snapshot(r->img, i, &s, NULL), 0);
	return s;
}

TEST(ids_go_on_from_the_largest)
{
	struct qcow2_snapshot_opts opts = QCOW2_SNAPSHOT_OPTS_INIT;
	struct rig r;

	rig_init(&r, MIB, NULL);
	rig_create(&r, "same");
	rig_create(&r, "same");
	opts.id = "41";
	assert_int_equal(qcow2_snapshot_create(r.img, "forty-one", &opts, NULL),
			 0);
	rig_create(&r, "last");
	assert_string_equal(info_of(&r, 0).id, "1");
	assert_string_equal(info_of(&r, 1).id, "2");
	assert_string_equal(info_of(&r, 2).id, "41");
	assert_string_equal(info_of(&r, 3).id, "42");
	assert_int_equal(qcow2_snapshot_create(r.img, "x", &opts, NULL),
			 -EEXIST);
	rig_delete(&r, "42");
	rig_create(&r, "again");
	assert_string_equal(info_of(&r, 3).id, "42");
	rig_release(&r);
}

TEST(what_the_caller_says_is_kept)
{
	struct qcow2_snapshot_opts opts = QCOW2_SNAPSHOT_OPTS_INIT;
	struct qcow2_snapshot_info s;
	struct rig r;

	rig_init(&r, MIB, NULL);
	opts.date_sec = 1234;
	opts.date_nsec = 5678;
	opts.vm_clock_ns = 91011;
	opts.icount = UINT64_MAX;
	opts.vm_state_size = UINT64_C(1) << 33;
	opts.id = "id";
	assert_int_equal(qcow2_snapshot_create(r.img, "name", &opts, NULL), 0);
	rig_close(&r);
	rig_open(&r);
	s = info_of(&r, 0);
	assert_string_equal(s.id, "id");
	assert_string_equal(s.name, "name");
	assert_int_equal(s.date_sec, 1234);
	assert_int_equal(s.date_nsec, 5678);
	assert_int_equal(s.vm_clock_ns, 91011);
	assert_true(s.icount == UINT64_MAX);
	assert_true(s.vm_state_size == UINT64_C(1) << 33);
	assert_int_equal(s.disk_size, MIB);
	rig_release(&r);
}

TEST(refuses_what_makes_no_sense)
{
	struct qcow2_snapshot_opts opts = QCOW2_SNAPSHOT_OPTS_INIT;
	char longest[257];
	struct rig r;

	memset(longest, 'n', sizeof(longest));
	longest[256] = '\0';
	rig_init(&r, MIB, NULL);
	assert_int_equal(qcow2_snapshot_create(r.img, longest, NULL, NULL),
			 -ENAMETOOLONG);
	longest[255] = '\0';
	rig_create(&r, longest);
	opts.flags = 1;
	assert_int_equal(qcow2_snapshot_create(r.img, "x", &opts, NULL),
			 -EINVAL);
	opts.flags = 0;
	opts.id = "";
	assert_int_equal(qcow2_snapshot_create(r.img, "x", &opts, NULL),
			 -EINVAL);
	assert_int_equal(qcow2_snapshot_apply(r.img, "x", NULL), -ENOENT);
	assert_int_equal(qcow2_snapshot_delete(r.img, "x", NULL), -ENOENT);
	assert_int_equal(qcow2_snapshot_create(r.img, NULL, NULL, NULL),
			 -EINVAL);
	assert_int_equal(qcow2_snapshot_apply(r.img, NULL, NULL), -EINVAL);
	assert_int_equal(qcow2_snapshot_delete(NULL, "x", NULL), -EINVAL);
	rig_close(&r);
	rig_check(&r);
	rig_release(&r);
}

/* R4: a refcount that cannot count one more. */
TEST(a_full_refcount_stops_it_and_nothing_changes)
{
	struct qcow2_create_opts opts = { .cluster_size = 4096,
					  .refcount_bits = 2 };
	struct qcow2_error err;
	struct rig r;

	rig_init(&r, DISK, &opts);
	scribble(&r, 1);
	rig_create(&r, "a");
	rig_create(&r, "b");
	rig_write(&r, 3, 4096, 3 * MIB);
	assert_int_equal(qcow2_snapshot_create(r.img, "c", NULL, &err),
			 -ERANGE);
	rig_expect(&r);
	rig_close(&r);
	rig_check(&r);
	rig_open(&r);
	/* The disk has all that the snapshot has: a third reference. */
	rig_write(&r, 4, 300 * 1024, 0);
	rig_delete(&r, "a");
	rig_expect(&r);
	rig_close(&r);
	rig_check(&r);
	rig_release(&r);
}

struct stop {
	unsigned n;
	unsigned at; /* the call that stops it */
	uint64_t done;
};

static int stop_at(void *opaque, uint64_t done, uint64_t total)
{
	struct stop *p = opaque;

	assert_true(done >= p->done && done <= total);
	p->done = done;
	return ++p->n == p->at;
}

/* While references are counted, and while flags change. */
TEST(taking_one_can_be_stopped_and_nothing_changes)
{
	for (int i = 0; i < 4; i++) {
		struct qcow2_snapshot_opts opts = QCOW2_SNAPSHOT_OPTS_INIT;
		struct stop p = { .at = 1 };
		struct qcow2_info info = QCOW2_INFO_INIT;
		struct rig r;

		rig_init(&r, DISK,
			 &(struct qcow2_create_opts){
				 .cluster_size = i % 2 ? 4096 : 512,
				 .version = 2 + (uint32_t)i / 2 });
		scribble(&r, 1);
		opts.progress = stop_at;
		opts.opaque = &p;
		while (qcow2_snapshot_create(r.img, "s", &opts, NULL) ==
		       -ECANCELED) {
			assert_int_equal(p.n, p.at);
			assert_int_equal(qcow2_get_info(r.img, 0, &info, NULL),
					 0);
			assert_int_equal(info.n_snapshots, 0);
			rig_expect(&r);
			scribble(&r, (uint8_t)p.at);
			p = (struct stop){ .at = p.at + 1 };
		}
		assert_true(p.at > 4 && p.n < p.at);
		rig_expect(&r);
		rig_close(&r);
		rig_check(&r);
		rig_release(&r);
	}
}

TEST(an_empty_disk_has_snapshots_too)
{
	struct rig r;

	rig_init(&r, 512, NULL);
	rig_create(&r, "a");
	rig_apply(&r, "a");
	rig_close(&r);
	rig_check(&r);
	rig_open(&r);
	rig_delete(&r, "a");
	rig_close(&r);
	rig_check(&r);
	rig_release(&r);
}

TEST(many_snapshots_come_and_go)
{
	struct test_rng rng = test_rng_init(test_seed());
	struct rig r;

	rig_init(&r, DISK, &kinds[1]);
	for (int i = 0; i < 60; i++) {
		char name[16];

		snprintf(name, sizeof(name), "s%d", i);
		rig_write(&r, (uint8_t)i, 1 + test_rng_below(&rng, 40000),
			  test_rng_below(&rng, DISK - 40000));
		rig_create(&r, name);
	}
	for (int i = 0; i < 60; i++) {
		char name[16];

		snprintf(name, sizeof(name), "s%d", (i * 37) % 60);
		rig_delete(&r, name);
		if (i % 20 == 7) {
			rig_close(&r);
			rig_check(&r);
			rig_open(&r);
		}
	}
	rig_expect(&r);
	rig_close(&r);
	rig_check(&r);
	rig_release(&r);
}

TEST(compressed_clusters_are_shared)
{
	struct qcow2_create_opts opts = { .cluster_size = 4096 };
	uint8_t *then;
	struct rig r;

	rig_init(&r, DISK, &opts);
	memset(r.disk, 'c', 80 * 4096);
	assert_int_equal(
		qcow2_write_compressed(r.img, r.disk, 80 * 4096, 0, 0, NULL),
		0);
	then = rig_copy(&r);
	rig_create(&r, "a");
	rig_write(&r, 5, 30 * 4096, 10 * 4096);
	rig_expect(&r);
	rig_create(&r, "b");
	rig_apply(&r, "a");
	memcpy(r.disk, then, DISK);
	rig_expect(&r);
	rig_delete(&r, "b");
	rig_close(&r);
	rig_check(&r);
	rig_expect_view(&r, "a", then, DISK);
	rig_open(&r);
	rig_delete(&r, "a");
	rig_expect(&r);
	rig_close(&r);
	rig_check(&r);
	free(then);
	rig_release(&r);
}

TEST(an_image_opened_for_reading_is_left_alone)
{
	struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_image *img;
	struct rig r;

	rig_init(&r, MIB, NULL);
	rig_create(&r, "a");
	rig_close(&r);
	assert_int_equal(qcow2_open_store(r.store, &open, &img, NULL), 0);
	assert_int_equal(qcow2_snapshot_create(img, "x", NULL, NULL), -EBADF);
	assert_int_equal(qcow2_snapshot_apply(img, "a", NULL), -EBADF);
	assert_int_equal(qcow2_snapshot_delete(img, "a", NULL), -EBADF);
	assert_int_equal(qcow2_vmstate_write(img, "x", 1, 0, NULL), -EBADF);
	qcow2_close(img, NULL);
	rig_release(&r);
}

/* ---- Beside others ------------------------------------------------------- */

struct writer_thread {
	pthread_t thread;
	struct rig *rig;
	uint64_t begin;
	_Atomic bool *stop;
	int rc;
};

/* Writes rounds of one value over its own part of the disk, and reads each
 * back. */
static void *write_rounds(void *opaque)
{
	struct writer_thread *w = opaque;
	uint8_t buf[8192], back[8192];

	for (unsigned i = 0; w->rc == 0 && !*w->stop; i++) {
		uint64_t off = w->begin + i * UINT64_C(5000) % (MIB - 8192);

		memset(buf, (int)(i % 251), sizeof(buf));
		w->rc = qcow2_pwrite(w->rig->img, buf, sizeof(buf), off, 0,
				     NULL);
		if (w->rc == 0)
			w->rc = qcow2_pread(w->rig->img, back, sizeof(back),
					    off, 0, NULL);
		if (w->rc == 0 && memcmp(buf, back, sizeof(buf)))
			w->rc = -EIO;
	}
	return NULL;
}

TEST(writers_go_on_beside_it)
{
	struct writer_thread w[3];
	_Atomic bool stop = false;
	struct rig r;

	rig_init(&r, DISK, &kinds[3]);
	for (unsigned i = 0; i < 3; i++) {
		w[i] = (struct writer_thread){ .rig = &r,
					       .begin = i * MIB,
					       .stop = &stop };
		assert_int_equal(
			pthread_create(&w[i].thread, NULL, write_rounds, &w[i]),
			0);
	}
	for (int i = 0; i < 20; i++) {
		rig_create(&r, "a");
		rig_create(&r, "b");
		rig_delete(&r, "a");
		rig_delete(&r, "b");
	}
	stop = true;
	for (unsigned i = 0; i < 3; i++) {
		pthread_join(w[i].thread, NULL);
		assert_int_equal(w[i].rc, 0);
	}
	rig_close(&r);
	rig_check(&r);
	rig_release(&r);
}

/* ---- Damage -------------------------------------------------------------- */

/* S6: refcounts that do not count the snapshot's references. */
static void init_uncounted(struct rig *r)
{
	struct qcow2_create_opts opts = { .cluster_size = 4096 };
	uint8_t raw[8], low[2] = { 0, 1 };
	uint64_t table, block;

	rig_init(r, DISK, &opts);
	rig_write(r, 1, 64 * 1024, 0);
	rig_create(r, "a");
	rig_close(r);
	assert_int_equal(store_pread(r->store, raw, 8,
				     HEADER_OFF_REFCOUNT_TABLE_OFF, 0, NULL),
			 0);
	table = get_be64(raw);
	assert_int_equal(store_pread(r->store, raw, 8, table, 0, NULL), 0);
	block = get_be64(raw);
	for (uint64_t i = 0; i < 64; i++) {
		assert_int_equal(
			store_pread(r->store, raw, 2, block + 2 * i, 0, NULL),
			0);
		if (get_be16(raw) == 2)
			assert_int_equal(store_pwrite(r->store, low, 2,
						      block + 2 * i, 0, NULL),
					 0);
	}
}

/* Clusters that the disk uses must not become free with the snapshot. */
TEST(deleting_never_frees_what_the_disk_uses)
{
	struct qcow2_error err = { 0 };
	struct rig r;

	init_uncounted(&r);
	r.open.flags = QCOW2_OPEN_TRUST_REFCOUNTS;
	rig_open(&r);
	assert_int_equal(qcow2_snapshot_delete(r.img, "a", &err), -EIO);
	rig_expect(&r);
	assert_int_equal(qcow2_pwrite(r.img, "x", 1, 3 * MIB, 0, NULL), -EIO);
	qcow2_close(r.img, NULL);
	r.img = NULL;
	rig_expect_view(&r, NULL, r.disk, DISK);
	rig_release(&r);
}

/* F01: a caller that proves the refcounts first has nothing to fear. */
TEST(refcounts_too_low_are_raised_before_a_snapshot_goes)
{
	struct rig r;

	init_uncounted(&r);
	rig_open(&r);
	rig_delete(&r, "a");
	rig_expect(&r);
	rig_write(&r, 2, 8192, 4096);
	rig_close(&r);
	rig_check(&r);
	rig_expect_view(&r, NULL, r.disk, DISK);
	rig_release(&r);
}
