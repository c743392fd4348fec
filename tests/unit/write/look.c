/*
 * The clusters that a write meets, and the number of look-ups.
 */
#include "write/look.h"

#include <sched.h>

#include "base/bytes.h"
#include "disk_rig.h"

enum { SUB = CLUSTER / 32 };

/* Kinds of clusters in a row: nothing, data, data behind it, nothing, zeros
 * over a place, nothing, compressed, data. */
static void make_disk(struct disk_rig *t, struct disk_want want)
{
	disk_init(t, want);
	disk_fill(t, 1, 2 * CLUSTER, 1 * CLUSTER);
	disk_fill(t, 1, CLUSTER, 4 * CLUSTER);
	disk_compress(t, 1, 6);
	disk_fill(t, 1, CLUSTER, 7 * CLUSTER);
	assert_int_equal(qcow2_zero(t->disk, CLUSTER, 4 * CLUSTER, 0, NULL), 0);
}

static struct look look(struct disk_rig *t, uint64_t len, uint64_t off,
			unsigned flags)
{
	struct look l;

	assert_int_equal(look_at(t->img, len, off, flags, &l, NULL), 0);
	assert_true(l.off == off);
	assert_in_range(l.len, 1, len);
	return l;
}

TEST(without_a_table_nothing_is_there)
{
	struct disk_rig t;
	struct look l;

	disk_init(&t, (struct disk_want){ 0 });
	l = look(&t, 3 * CLUSTER, 1000, 0);
	assert_int_equal(l.kind, LOOK_NO_TABLE);
	assert_int_equal(l.len, 3 * CLUSTER);
	assert_int_equal(l.n_clusters, 0);
	l = look(&t, 512, 1000, QCOW2_NOWAIT);
	assert_int_equal(l.kind, LOOK_NO_TABLE);
	assert_int_equal(l.len, 512);
	disk_release(&t);
}

/* A look ends with the kind, or with the length that is asked for. */
TEST(a_look_goes_as_far_as_one_step)
{
	static const struct {
		uint64_t off, len, want_len;
		enum look_kind kind;
		uint64_t n_clusters, n_fresh;
	} t[] = {
		{ 0, 8 * CLUSTER, CLUSTER, LOOK_NEW, 1, 1 },
		{ 512, 1024, 1024, LOOK_NEW, 1, 1 },
		{ CLUSTER - 1, 8 * CLUSTER, 1, LOOK_NEW, 1, 1 },
		{ CLUSTER, 8 * CLUSTER, 2 * CLUSTER, LOOK_IN_PLACE, 0, 0 },
		{ CLUSTER + 512, 8 * CLUSTER, 2 * CLUSTER - 512, LOOK_IN_PLACE,
		  0, 0 },
		{ 2 * CLUSTER - 1, 2, 2, LOOK_IN_PLACE, 0, 0 },
		/* A cluster with flags alone is looked at alone. */
		{ 3 * CLUSTER, 8 * CLUSTER, CLUSTER, LOOK_NEW, 1, 1 },
		{ 4 * CLUSTER, 8 * CLUSTER, CLUSTER, LOOK_NEW, 1, 0 },
		/* Compressed data gets a new place together with a gap. */
		{ 5 * CLUSTER + 1, 8 * CLUSTER, 2 * CLUSTER - 1, LOOK_NEW, 2,
		  1 },
		{ 6 * CLUSTER, 8 * CLUSTER, CLUSTER, LOOK_NEW, 1, 0 },
		{ 7 * CLUSTER, 8 * CLUSTER, CLUSTER, LOOK_IN_PLACE, 0, 0 },
	};
	struct disk_rig rig;

	make_disk(&rig, (struct disk_want){ 0 });
	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct look l = look(&rig, t[i].len, t[i].off, 0);

		assert_int_equal(l.kind, t[i].kind);
		assert_int_equal(l.len, t[i].want_len);
		assert_int_equal(l.n_clusters, t[i].n_clusters);
		assert_int_equal(l.n_fresh, t[i].n_fresh);
	}
	disk_release(&rig);
}

TEST(the_place_of_the_first_byte_is_told)
{
	struct disk_rig t;
	uint64_t host_off;
	struct look l;

	make_disk(&t, (struct disk_want){ 0 });
	host_off = l2_host_off(disk_entry(&t, 2));
	l = look(&t, 512, 2 * CLUSTER + 1024, 0);
	assert_true(l.host_off == host_off + 1024);
	disk_release(&t);
}

TEST(data_that_lies_elsewhere_is_another_step)
{
	struct disk_rig t;
	struct look l;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 1, CLUSTER, CLUSTER);
	disk_fill(&t, 1, CLUSTER, 0);
	l = look(&t, 2 * CLUSTER, 0, 0);
	assert_int_equal(l.kind, LOOK_IN_PLACE);
	assert_int_equal(l.len, CLUSTER);
	disk_release(&t);
}

TEST(what_was_there_is_told_of_both_ends)
{
	struct disk_rig t;
	struct look l;

	make_disk(&t, (struct disk_want){ 0 });
	l = look(&t, 2 * CLUSTER, 5 * CLUSTER, 0);
	assert_true(l.first.old.desc == 0 && l.first.guest_off == 5 * CLUSTER);
	assert_true(l.last.old.desc & L2_COMPRESSED);
	assert_true(l.last.guest_off == 6 * CLUSTER);
	assert_false(l.reads_zero);
	l = look(&t, 512, 5 * CLUSTER, 0);
	assert_true(l.reads_zero);
	l = look(&t, 512, 4 * CLUSTER, 0);
	assert_true(l.reads_zero && l.first.keeps_host);
	disk_release(&t);
}

TEST(over_a_backing_file_nothing_is_no_zeros)
{
	struct disk_rig t;
	struct look l;

	make_disk(&t, (struct disk_want){ .backing = true });
	l = look(&t, 512, 0, 0);
	assert_int_equal(l.kind, LOOK_NEW);
	assert_false(l.reads_zero);
	assert_int_equal(l.n_fresh, 1);
	disk_release(&t);
}

TEST(subclusters_that_are_there_end_a_look)
{
	struct disk_rig t;
	struct look l;

	disk_init(&t, (struct disk_want){ .flags = QCOW2_CREATE_EXTENDED_L2 });
	disk_fill(&t, 1, 2 * SUB, 4 * SUB);
	l = look(&t, CLUSTER, 4 * SUB + 10, 0);
	assert_int_equal(l.kind, LOOK_IN_PLACE);
	assert_int_equal(l.len, 2 * SUB - 10);
	l = look(&t, 2 * CLUSTER, 6 * SUB, 0);
	assert_int_equal(l.kind, LOOK_NEW);
	assert_int_equal(l.len, CLUSTER - 6 * SUB);
	assert_true(l.first.keeps_host);
	disk_release(&t);
}

TEST(who_does_not_wait_sees_the_same)
{
	struct disk_rig t;
	struct look l;

	make_disk(&t, (struct disk_want){ 0 });
	l = look(&t, 2 * CLUSTER, 5 * CLUSTER, QCOW2_NOWAIT);
	assert_int_equal(l.kind, LOOK_NEW);
	assert_int_equal(l.n_clusters, 2);
	l = look(&t, 2 * CLUSTER, CLUSTER, QCOW2_NOWAIT);
	assert_int_equal(l.kind, LOOK_IN_PLACE);
	assert_int_equal(l.len, 2 * CLUSTER);
	disk_release(&t);
}

/* Changes a word of the cached slice: the entry of @cluster_idx. */
static void put_entry(struct disk_rig *t, uint64_t cluster_idx, uint64_t desc)
{
	struct map_window w;
	uint64_t off = cluster_idx * CLUSTER;

	assert_int_equal(
		map_window_get(&t->img->map, off + CLUSTER, off, 0, &w, NULL),
		0);
	put_be64(w.slice->data + w.first * 8, desc);
	map_window_put(&t->img->map, &w);
}

TEST(damage_is_told_to_who_reaches_it)
{
	struct qcow2_error err = { 0 };
	struct disk_rig t;
	struct look l;
	uint64_t good;

	make_disk(&t, (struct disk_want){ 0 });
	good = disk_entry(&t, 2).desc;
	put_entry(&t, 2, good + 512);
	l = look(&t, 2 * CLUSTER, CLUSTER, 0);
	assert_int_equal(l.kind, LOOK_IN_PLACE);
	assert_int_equal(l.len, CLUSTER);
	assert_int_equal(look_at(t.img, 512, 2 * CLUSTER + 512, 0, &l, &err),
			 -EIO);
	assert_int_not_equal(err.defect, 0);
	assert_int_equal(l.len, 0);
	put_entry(&t, 2, good);
	assert_int_not_equal(qcow2_close(t.disk, NULL), 0);
	store_unref(t.file);
	store_unref(t.mem);
}

TEST(data_that_is_a_table_is_not_overwritten)
{
	struct qcow2_error err = { 0 };
	struct disk_rig t;
	struct look l;

	make_disk(&t, (struct disk_want){ 0 });
	put_entry(&t, 2, t.img->header.l1_off | ENTRY_COPIED);
	assert_int_equal(qcow2_pwrite(t.disk, "x", 1, 2 * CLUSTER, 0, &err),
			 -EIO);
	assert_int_equal(err.defect, DEFECT_CLUSTER_OVERLAP);
	assert_int_equal(look_at(t.img, 1, 2 * CLUSTER, 0, &l, NULL), -EIO);
	qcow2_close(t.disk, NULL);
	store_unref(t.file);
	store_unref(t.mem);
}

/* ---- The number of look-ups ---------------------------------------------- */

struct asked {
	uint64_t n_slices; /* times that the L2 cache was asked for a slice */
	uint64_t n_guard;  /* and the guard about host clusters */
};

static struct asked asked(const struct disk_rig *t)
{
	struct qcow2_cache_stats c;

	cache_get_stats(&t->img->map.l2, &c);
	return (struct asked){ c.hits + c.misses,
			       guard_count_asked(&t->img->writer->guard) };
}

static void expect_asked(const struct disk_rig *t, struct asked since,
			 uint64_t n_slices, uint64_t n_guard)
{
	struct asked now = asked(t);

	assert_int_equal(now.n_slices - since.n_slices, n_slices);
	assert_int_equal(now.n_guard - since.n_guard, n_guard);
}

TEST(an_allocating_write_looks_and_links)
{
	struct asked before;
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 1, 4096, 0);
	for (unsigned i = 1; i < 4; i++) {
		before = asked(&t);
		disk_fill(&t, 1, 4096, i * CLUSTER + 8192);
		expect_asked(&t, before, 2, 1);
	}
	disk_release(&t);
}

TEST(an_overwrite_looks_once_and_asks_the_guard_once)
{
	struct asked before;
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 1, 2 * CLUSTER, 0);
	before = asked(&t);
	disk_fill(&t, 2, 4096, 4096);
	expect_asked(&t, before, 1, 1);
	before = asked(&t);
	disk_fill(&t, 3, CLUSTER, CLUSTER);
	expect_asked(&t, before, 1, 1);
	disk_release(&t);
}

TEST(a_cluster_that_stays_is_asked_about_once)
{
	struct asked before;
	struct disk_rig t;

	make_disk(&t, (struct disk_want){ 0 });
	before = asked(&t);
	disk_fill(&t, 2, CLUSTER, 4 * CLUSTER);
	expect_asked(&t, before, 2, 1);
	disk_release(&t);
}

TEST(a_read_looks_once)
{
	struct asked before;
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 1, CLUSTER, 0);
	before = asked(&t);
	disk_expect(&t, 1, 4096, 4096);
	expect_asked(&t, before, 1, 0);
	disk_release(&t);
}

/* Returns NULL when it could. */
static void *write_apart(void *opaque)
{
	struct disk_rig *t = opaque;
	uint8_t bytes[512];

	memset(bytes, 2, sizeof(bytes));
	return qcow2_pwrite(t->disk, bytes, sizeof(bytes), 2 * CLUSTER + 4096,
			    0, NULL) == 0
		       ? NULL
		       : opaque;
}

/* Waits until the other writer has looked, and has left its bytes to wait for
 * the whole cluster. */
static void await_second_wait(struct disk_rig *t, struct asked before)
{
	struct inflight *f = &t->img->writer->inflight;
	uint64_t off = 2 * CLUSTER + 4096;
	struct inflight_range probe;

	while (asked(t).n_slices == before.n_slices)
		sched_yield();
	while (!inflight_enter(f, &probe, off, off + 512, false))
		sched_yield();
	inflight_leave(f, &probe);
}

TEST(a_write_that_waits_for_its_cluster_looks_again)
{
	struct inflight_range other;
	struct asked before;
	pthread_t thread;
	struct disk_rig t;
	void *failed;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 1, 4096, 0);
	assert_true(inflight_enter(&t.img->writer->inflight, &other,
				   2 * CLUSTER, 2 * CLUSTER + 512, false));
	assert_int_equal(qcow2_pwrite(t.disk, "x", 1, 2 * CLUSTER + 4096,
				      QCOW2_NOWAIT, NULL),
			 -EAGAIN);
	before = asked(&t);
	assert_int_equal(pthread_create(&thread, NULL, write_apart, &t), 0);
	await_second_wait(&t, before);
	assert_int_equal(disk_entry(&t, 2).desc, 0);
	inflight_leave(&t.img->writer->inflight, &other);
	pthread_join(thread, &failed);
	assert_null(failed);
	/* One of these was the test's own. */
	expect_asked(&t, before, 4, 1);
	disk_expect(&t, 2, 512, 2 * CLUSTER + 4096);
	disk_release(&t);
}

TEST(overwrites_of_one_cluster_do_not_wait_for_each_other)
{
	struct inflight_range other;
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 1, CLUSTER, 0);
	assert_true(inflight_enter(&t.img->writer->inflight, &other, 0, 512,
				   false));
	assert_int_equal(qcow2_pwrite(t.disk, "x", 1, 4096, QCOW2_NOWAIT, NULL),
			 0);
	inflight_leave(&t.img->writer->inflight, &other);
	disk_release(&t);
}
