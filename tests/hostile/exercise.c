#include "exercise.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEP = 65536 };

/* Errors are negative, and their text is fit for a terminal. */
static void assert_clean(int rc, const struct qcow2_error *err)
{
	size_t len = strnlen(err->message, sizeof(err->message));

	assert(rc < 0);
	assert(rc == err->code);
	assert(len > 0 && len < sizeof(err->message));
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)err->message[i];

		assert(c >= 0x20 && c != 0x7f);
	}
	if (err->defect)
		assert(qcow2_defect_name(err->defect));
}

static int note(struct tally *t, int rc, const struct qcow2_error *err)
{
	t->calls++;
	if (rc == 0)
		return 0;
	assert_clean(rc, err);
	if (t->failed++ == 0)
		t->first = *err;
	if (t->verbose)
		printf("%s\n", err->message);
	return rc;
}

static void read_at(struct qcow2_image *img, uint64_t off, uint8_t *buf,
		    struct tally *t)
{
	struct qcow2_error err = { 0 };
	uint64_t left = qcow2_size(img) - off;
	size_t len = left < STEP ? (size_t)left : STEP;

	note(t, qcow2_pread(img, buf, len, off, 0, &err), &err);
}

/* Reads the whole disk if it is small, else a sample of it. */
static void exercise_reads(struct qcow2_image *img, uint8_t *buf,
			   struct tally *t)
{
	uint64_t size = qcow2_size(img);
	uint64_t step = STEP;

	if (size / STEP >= EXERCISE_READS)
		step = (size / EXERCISE_READS + 511) & ~UINT64_C(511);
	for (uint64_t off = 0; off < size; off += step)
		read_at(img, off, buf, t);
	if (size > 0)
		read_at(img, size - 1, buf, t);
}

static void exercise_bounds(struct qcow2_image *img, uint8_t *buf)
{
	uint64_t size = qcow2_size(img);
	struct qcow2_extent ext;

	assert(qcow2_pread(img, buf, 1, size, 0, NULL) < 0);
	assert(qcow2_pread(img, buf, 2, UINT64_MAX, 0, NULL) < 0);
	assert(qcow2_map(img, 0, 0, 0, &ext, NULL) < 0);
	assert(qcow2_map(img, UINT64_MAX, 1, 0, &ext, NULL) < 0);
}

static void assert_extent(const struct qcow2_extent *ext, uint64_t off,
			  uint64_t len, uint32_t layers)
{
	uint32_t known = QCOW2_EXTENT_DATA | QCOW2_EXTENT_ZERO |
			 QCOW2_EXTENT_PRESENT | QCOW2_EXTENT_COMPRESSED |
			 QCOW2_EXTENT_HOST_OFF;

	assert(ext->off == off);
	assert(ext->len > 0 && ext->len <= len);
	assert(ext->depth < layers);
	assert((ext->flags & ~known) == 0);
	if (ext->flags & QCOW2_EXTENT_PRESENT)
		assert(ext->flags & (QCOW2_EXTENT_DATA | QCOW2_EXTENT_ZERO));
}

/* Walks the map; after damage it goes on at the next 64 KiB. */
static void exercise_map(struct qcow2_image *img, unsigned flags, uint8_t *buf,
			 struct tally *t)
{
	uint64_t size = qcow2_size(img);
	uint64_t off = 0;

	for (int i = 0; i < EXERCISE_EXTENTS && off < size; i++) {
		struct qcow2_error err = { 0 };
		struct qcow2_extent ext;
		int rc = qcow2_map(img, size - off, off, flags, &ext, &err);

		if (note(t, rc, &err) < 0) {
			off += STEP < size - off ? STEP : size - off;
			continue;
		}
		assert_extent(&ext, off, size - off, qcow2_layer_count(img));
		if (i < 32 && ext.flags & QCOW2_EXTENT_DATA)
			read_at(img, off, buf, t);
		off += ext.len;
	}
}

static void exercise_layers(struct qcow2_image *img, struct tally *t)
{
	struct qcow2_info info = { .struct_size = sizeof(info) };
	struct qcow2_stats stats = QCOW2_STATS_INIT;
	uint32_t n = qcow2_layer_count(img);

	assert(n > 0);
	for (uint32_t i = 0; i < n; i++) {
		struct qcow2_error err = { 0 };

		note(t, qcow2_get_info(img, i, &info, &err), &err);
		note(t, qcow2_get_stats(img, i, &stats, &err), &err);
		qcow2_layer_filename(img, i);
		qcow2_layer_data_filename(img, i);
	}
	assert(qcow2_get_info(img, n, &info, NULL) < 0);
	assert(!qcow2_layer_filename(img, n));
	for (unsigned type = 0; type < 4; type++)
		for (unsigned bit = 0; bit <= 64; bit++)
			qcow2_feature_name(img, type, bit);
}

/* Snapshots, bitmaps, LUKS: every text is read to its end. */
static void exercise_records(struct qcow2_image *img, struct tally *t)
{
	struct qcow2_info info = { .struct_size = sizeof(info) };
	struct qcow2_snapshot_info s = { .struct_size = sizeof(s) };
	struct qcow2_bitmap_info b = { .struct_size = sizeof(b) };
	struct qcow2_luks_info luks = { .struct_size = sizeof(luks) };
	struct qcow2_error err = { 0 };
	size_t text = 0;

	if (qcow2_get_info(img, 0, &info, NULL) < 0)
		return;
	for (uint32_t i = 0; i < info.n_snapshots; i++)
		if (note(t, qcow2_get_snapshot(img, i, &s, &err), &err) == 0)
			text += strlen(s.id) + strlen(s.name);
	for (uint32_t i = 0; i < info.n_bitmaps; i++)
		if (note(t, qcow2_get_bitmap(img, i, &b, &err), &err) == 0)
			text += strlen(b.name);
	assert(qcow2_get_snapshot(img, info.n_snapshots, &s, NULL) < 0);
	assert(qcow2_get_bitmap(img, info.n_bitmaps, &b, NULL) < 0);
	if (info.encryption == QCOW2_ENCRYPTION_LUKS &&
	    note(t, qcow2_get_luks(img, &luks, &err), &err) == 0)
		text += strlen(luks.cipher_name) + strlen(luks.hash);
	assert(text < SIZE_MAX / 2);
}

void exercise_image(struct qcow2_image *img, struct tally *t)
{
	uint8_t *buf = malloc(STEP);

	assert(buf);
	exercise_layers(img, t);
	exercise_records(img, t);
	exercise_bounds(img, buf);
	exercise_map(img, 0, buf, t);
	exercise_map(img, QCOW2_MAP_TOP_ONLY, buf, t);
	exercise_map(img, QCOW2_MAP_MERGE, buf, t);
	exercise_reads(img, buf, t);
	free(buf);
}

static int open_either(const char *path, struct qcow2_store *store,
		       const struct qcow2_open_opts *opts,
		       struct qcow2_image **img, struct qcow2_error *err)
{
	return path ? qcow2_open_path(path, opts, img, err)
		    : qcow2_open_store(store, opts, img, err);
}

void exercise_views(struct qcow2_image *img, const char *path,
		    struct qcow2_store *store,
		    const struct qcow2_open_opts *opts, struct tally *t)
{
	struct qcow2_snapshot_info s = { .struct_size = sizeof(s) };

	for (uint32_t i = 0; i < EXERCISE_VIEWS; i++) {
		struct qcow2_open_opts own = *opts;
		struct qcow2_error err = { 0 };
		struct qcow2_image *view;

		if (qcow2_get_snapshot(img, i, &s, NULL) < 0)
			return;
		own.snapshot = s.id;
		if (note(t, open_either(path, store, &own, &view, &err), &err) <
		    0)
			continue;
		exercise_image(view, t);
		note(t, qcow2_close(view, &err), &err);
	}
}

static void exercise_check(struct qcow2_store *store, struct tally *t)
{
	struct qcow2_check_result result = { .struct_size = sizeof(result) };
	struct qcow2_error err = { 0 };

	note(t, qcow2_check_store(store, NULL, &result, &err), &err);
}

int exercise_store(struct qcow2_store *store,
		   const struct qcow2_open_opts *opts, struct tally *t)
{
	struct qcow2_error err = { 0 };
	struct qcow2_image *img;
	int rc = note(t, qcow2_open_store(store, opts, &img, &err), &err);

	if (rc == 0) {
		exercise_image(img, t);
		exercise_views(img, NULL, store, opts, t);
		note(t, qcow2_close(img, &err), &err);
	}
	exercise_check(store, t);
	return rc;
}
