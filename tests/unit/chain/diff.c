/*
 * Where two disks may differ: exact for disks that are known.
 */
#include <errno.h>
#include <string.h>

#include "diff_rig.h"

static void put(struct qcow2_image *img, uint64_t n_clusters, uint64_t first)
{
	static uint8_t buf[DISK_BYTES];
	static uint8_t value;

	memset(buf, ++value, sizeof(buf));
	ok(qcow2_pwrite(img, buf, n_clusters * CLUSTER, first * CLUSTER, 0,
			NULL));
}

static void expect_at(struct qcow2_image *older, struct qcow2_image *newer,
		      uint64_t off, uint64_t len, bool differs)
{
	struct qcow2_diff_extent x = QCOW2_DIFF_EXTENT_INIT;
	uint64_t size = qcow2_size(newer) > qcow2_size(older)
				? qcow2_size(newer)
				: qcow2_size(older);

	ok(qcow2_diff(older, newer, size - off, off, 0, &x, NULL));
	assert_int_equal(x.off, off);
	assert_int_equal(x.len, len);
	assert_int_equal(x.flags, differs ? QCOW2_DIFF_MAY_DIFFER : 0);
}

/* Of the clusters of the larger disk, only [first, end) may differ. */
static void expect_changed(struct qcow2_image *older, struct qcow2_image *newer,
			   uint64_t first, uint64_t end)
{
	uint64_t n = DISK_BYTES / CLUSTER;

	if (first)
		expect_at(older, newer, 0, first * CLUSTER, false);
	expect_at(older, newer, first * CLUSTER, (end - first) * CLUSTER, true);
	if (end < n)
		expect_at(older, newer, end * CLUSTER, (n - end) * CLUSTER,
			  false);
}

static void expect_same(struct qcow2_image *older, struct qcow2_image *newer)
{
	expect_at(older, newer, 0, DISK_BYTES, false);
}

static void expect_all_changed(struct qcow2_image *older,
			       struct qcow2_image *newer)
{
	expect_at(older, newer, 0, DISK_BYTES, true);
}

/* ---- Disks that are known ------------------------------------------------ */

TEST(a_snapshot_differs_where_the_disk_was_written_since)
{
	struct qcow2_store *file = make_plain(NULL);
	struct qcow2_image *img = open_flags(file, NULL, QCOW2_OPEN_RDWR);
	struct qcow2_image *view;

	put(img, 8, 0);
	ok(qcow2_snapshot_create(img, "a", NULL, NULL));
	view = open_view(file, NULL, "a");
	expect_same(view, img);
	put(img, 2, 3);
	expect_changed(view, img, 3, 5);
	expect_changed(img, view, 3, 5);
	/* Overwriting in place what is the disk's alone changes nothing here. */
	put(img, 2, 3);
	expect_changed(view, img, 3, 5);
	ok(qcow2_close(view, NULL));
	ok(qcow2_close(img, NULL));
	qcow2_store_unref(file);
}

TEST(zeros_are_the_same_however_they_came)
{
	struct qcow2_store *file = make_plain(NULL);
	struct qcow2_image *img = open_flags(file, NULL, QCOW2_OPEN_RDWR);
	struct qcow2_image *view;

	put(img, 1, 0);
	ok(qcow2_zero(img, CLUSTER, 0, 0, NULL));
	ok(qcow2_snapshot_create(img, "a", NULL, NULL));
	view = open_view(file, NULL, "a");
	ok(qcow2_zero(img, 2 * CLUSTER, CLUSTER, 0, NULL));
	ok(qcow2_discard(img, CLUSTER, 0, 0, NULL));
	expect_same(view, img);
	ok(qcow2_close(view, NULL));
	ok(qcow2_close(img, NULL));
	qcow2_store_unref(file);
}

TEST(compressed_clusters_are_the_same_until_they_are_written)
{
	static const uint8_t buf[4 * CLUSTER];
	struct qcow2_store *file = make_plain(NULL);
	struct qcow2_image *img = open_flags(file, NULL, QCOW2_OPEN_RDWR);
	struct qcow2_image *view;

	ok(qcow2_write_compressed(img, buf, 4 * CLUSTER, 0, 0, NULL));
	ok(qcow2_snapshot_create(img, "a", NULL, NULL));
	view = open_view(file, NULL, "a");
	expect_same(view, img);
	ok(qcow2_write_compressed(img, buf, CLUSTER, CLUSTER, 0, NULL));
	expect_changed(view, img, 1, 2);
	ok(qcow2_close(view, NULL));
	ok(qcow2_close(img, NULL));
	qcow2_store_unref(file);
}

TEST(an_overlay_differs_from_its_base_where_it_has_clusters)
{
	struct qcow2_store *base_file = make_plain(NULL);
	struct names none = { 0 };
	struct names n = { base_file, NULL, &none };
	struct qcow2_store *file = make_plain(&n);
	struct qcow2_image *base = open_flags(base_file, NULL, QCOW2_OPEN_RDWR);
	struct qcow2_image *img;

	put(base, 4, 0);
	ok(qcow2_close(base, NULL));
	base = open_flags(base_file, NULL, 0);
	img = open_flags(file, &n, QCOW2_OPEN_RDWR);
	expect_same(base, img);
	put(img, 2, 2);
	expect_changed(base, img, 2, 4);
	ok(qcow2_close(img, NULL));
	ok(qcow2_close(base, NULL));
	qcow2_store_unref(file);
	qcow2_store_unref(base_file);
}

/* The same, and the base has its data in a file of its own. */
TEST(a_data_file_that_nobody_writes_has_places_too)
{
	struct names base_names = { NULL, new_store(), NULL };
	struct qcow2_store *base_file = make_plain(&base_names);
	struct names n = { base_file, NULL, &base_names };
	struct qcow2_store *file = make_plain(&n);
	struct qcow2_image *base =
		open_flags(base_file, &base_names, QCOW2_OPEN_RDWR);
	struct qcow2_image *img;

	put(base, 4, 0);
	ok(qcow2_close(base, NULL));
	base = open_flags(base_file, &base_names, 0);
	img = open_flags(file, &n, QCOW2_OPEN_RDWR);
	expect_same(base, img);
	put(img, 2, 2);
	expect_changed(base, img, 2, 4);
	ok(qcow2_close(img, NULL));
	ok(qcow2_close(base, NULL));
	qcow2_store_unref(file);
	qcow2_store_unref(base_file);
	qcow2_store_unref(base_names.data);
}

/* It is overwritten in place: a place says nothing of what was there. */
TEST(a_file_that_is_written_in_place_may_differ_from_itself)
{
	struct names n = { NULL, new_store(), NULL };
	struct qcow2_open_opts raw = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_store *file = make_plain(&n);
	struct qcow2_image *img = open_flags(file, &n, QCOW2_OPEN_RDWR);
	struct qcow2_image *other;

	put(img, DISK_BYTES / CLUSTER, 0);
	ok(qcow2_flush(img, NULL));
	other = open_view(file, &n, NULL);
	expect_all_changed(other, img);
	ok(qcow2_close(other, NULL));
	ok(qcow2_close(img, NULL));

	raw.format = QCOW2_FORMAT_RAW;
	raw.flags = QCOW2_OPEN_RDWR;
	img = open_with(n.data, NULL, raw);
	raw.flags = QCOW2_OPEN_NO_LOCK;
	other = open_with(n.data, NULL, raw);
	expect_all_changed(other, img);
	ok(qcow2_close(img, NULL));
	/* Now nobody does. */
	img = open_with(n.data, NULL, raw);
	expect_same(other, img);
	ok(qcow2_close(img, NULL));
	ok(qcow2_close(other, NULL));
	qcow2_store_unref(file);
	qcow2_store_unref(n.data);
}

TEST(the_active_disk_is_no_snapshot_of_itself)
{
	struct qcow2_store *file = make_plain(NULL);
	struct qcow2_image *img = open_flags(file, NULL, QCOW2_OPEN_RDWR);
	struct qcow2_image *other;

	put(img, 4, 0);
	ok(qcow2_flush(img, NULL));
	other = open_view(file, NULL, NULL);
	expect_changed(other, img, 0, 4);
	ok(qcow2_close(other, NULL));
	ok(qcow2_close(img, NULL));
	qcow2_store_unref(file);
}

TEST(past_the_end_of_the_smaller_disk_are_zeros)
{
	struct qcow2_store *file = make_plain(NULL);
	struct qcow2_image *img = open_flags(file, NULL, QCOW2_OPEN_RDWR);
	struct qcow2_resize_opts shrink = QCOW2_RESIZE_OPTS_INIT;
	struct qcow2_image *view;

	shrink.flags = QCOW2_RESIZE_SHRINK;
	put(img, 1, 8);
	ok(qcow2_snapshot_create(img, "a", NULL, NULL));
	ok(qcow2_resize(img, 4 * CLUSTER, &shrink, NULL));
	view = open_view(file, NULL, "a");
	expect_changed(view, img, 8, 9);
	ok(qcow2_resize(img, DISK_BYTES, NULL, NULL));
	expect_changed(view, img, 8, 9);
	ok(qcow2_close(view, NULL));
	ok(qcow2_close(img, NULL));
	qcow2_store_unref(file);
}

TEST(vast_disks_take_a_moment)
{
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_diff_extent x = QCOW2_DIFF_EXTENT_INIT;
	struct qcow2_store *file;
	struct qcow2_image *img, *view;

	create.virtual_size = UINT64_C(1) << 43;
	file = make_image(NULL, create);
	img = open_flags(file, NULL, QCOW2_OPEN_RDWR);
	ok(qcow2_snapshot_create(img, "a", NULL, NULL));
	put(img, 1, UINT64_C(1) << 20);
	view = open_view(file, NULL, "a");
	ok(qcow2_diff(view, img, create.virtual_size, 0, 0, &x, NULL));
	assert_int_equal(x.len, CLUSTER << 20);
	ok(qcow2_close(view, NULL));
	ok(qcow2_close(img, NULL));
	qcow2_store_unref(file);
}

TEST(metadata_of_a_chain_that_is_not_open_says_nothing)
{
	struct names n = { new_store(), NULL, NULL };
	struct qcow2_store *file = make_plain(&n);
	struct qcow2_image *a = open_flags(file, &n, QCOW2_OPEN_METADATA_ONLY);

	expect_all_changed(a, a);
	ok(qcow2_close(a, NULL));
	qcow2_store_unref(file);
	qcow2_store_unref(n.backing);
}

TEST(damage_is_the_call_s_that_reaches_it)
{
	struct qcow2_store *file = make_plain(NULL);
	struct qcow2_image *img = open_flags(file, NULL, QCOW2_OPEN_RDWR);
	struct qcow2_diff_extent x = QCOW2_DIFF_EXTENT_INIT;
	uint8_t beyond[8] = { 0x80, 0x7f, 0, 0, 0, 0, 0, 0 };
	struct qcow2_error err = { 0 };
	struct qcow2_extent first;

	put(img, 4, 0);
	ok(qcow2_map(img, CLUSTER, 0, 0, &first, NULL));
	ok(qcow2_close(img, NULL));
	/* The third entry of the L2 table, which lies before the data. */
	ok(qcow2_store_pwrite(file, beyond, sizeof(beyond),
			      first.host_off - CLUSTER + 16, 0, NULL));
	img = open_flags(file, NULL, 0);
	expect_at(img, img, 0, 2 * CLUSTER, false);
	assert_int_equal(
		qcow2_diff(img, img, CLUSTER, 2 * CLUSTER, 0, &x, &err), -EIO);
	assert_true(err.defect > 0);
	ok(qcow2_close(img, NULL));
	qcow2_store_unref(file);
}

/* ---- Arguments ----------------------------------------------------------- */

TEST(arguments_that_are_wrong_are_refused)
{
	struct qcow2_store *file = make_plain(NULL);
	struct qcow2_image *img = open_flags(file, NULL, 0);
	struct qcow2_diff_extent x = QCOW2_DIFF_EXTENT_INIT;
	struct qcow2_diff_extent unset = { 0 };

	assert_int_equal(qcow2_diff(img, img, 1, 0, 0, &unset, NULL), -EINVAL);
	assert_int_equal(qcow2_diff(img, img, 0, 0, 0, &x, NULL), -EINVAL);
	assert_int_equal(qcow2_diff(img, img, 2, DISK_BYTES - 1, 0, &x, NULL),
			 -EINVAL);
	assert_int_equal(qcow2_diff(img, img, 1, UINT64_MAX, 0, &x, NULL),
			 -EINVAL);
	assert_int_equal(qcow2_diff(img, img, 1, 0, 1, &x, NULL), -EINVAL);
	ok(qcow2_close(img, NULL));
	qcow2_store_unref(file);
}
