/*
 * Random histories of snapshots: disk_diff() never says "the same" where bytes
 * differ.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diff_rig.h"
#include "support/amount.h"

enum { KEPT_MAX = 5, BYTES_MAX = 768 * 1024 };

struct kept {
	char name[16];
	uint64_t size;
	uint8_t *bytes;
};

struct history {
	struct test_rng rng;
	struct names names;
	struct qcow2_store *file;
	struct qcow2_image *img; /* open for writing */
	uint32_t cluster;
	bool resizes;
	struct kept kept[KEPT_MAX];
	unsigned n_kept;
	unsigned n_made;
	uint64_t same_bytes;  /* that the answers told */
	uint64_t equal_bytes; /* that there were */
};

static uint8_t *read_all(struct qcow2_image *img, uint64_t size)
{
	uint8_t *bytes = calloc(1, BYTES_MAX);

	assert_non_null(bytes);
	ok(qcow2_pread(img, bytes, (size_t)size, 0, 0, NULL));
	return bytes;
}

static void keep(struct history *h)
{
	struct kept *k = &h->kept[h->n_kept];

	if (h->n_kept == KEPT_MAX)
		return;
	snprintf(k->name, sizeof(k->name), "s%u", h->n_made++ % 10000);
	k->size = qcow2_size(h->img);
	k->bytes = read_all(h->img, k->size);
	ok(qcow2_snapshot_create(h->img, k->name, NULL, NULL));
	h->n_kept++;
}

static void forget(struct history *h)
{
	unsigned i;

	if (!h->n_kept)
		return;
	i = (unsigned)test_rng_below(&h->rng, h->n_kept);
	ok(qcow2_snapshot_delete(h->img, h->kept[i].name, NULL));
	free(h->kept[i].bytes);
	h->kept[i] = h->kept[--h->n_kept];
}

static void go_back(struct history *h)
{
	unsigned i;

	if (!h->n_kept)
		return;
	i = (unsigned)test_rng_below(&h->rng, h->n_kept);
	ok(qcow2_snapshot_apply(h->img, h->kept[i].name, NULL));
}

static void change_size(struct history *h)
{
	struct qcow2_resize_opts opts = QCOW2_RESIZE_OPTS_INIT;
	uint64_t sectors = BYTES_MAX / 512;

	opts.flags = QCOW2_RESIZE_SHRINK;
	if (h->resizes)
		ok(qcow2_resize(h->img,
				(1 + test_rng_below(&h->rng, sectors)) * 512,
				&opts, NULL));
}

static void write_somewhere(struct history *h, uint64_t what)
{
	static uint8_t buf[BYTES_MAX];
	uint64_t size = qcow2_size(h->img);
	uint64_t off = test_rng_below(&h->rng, size);
	uint64_t len = 1 + test_rng_below(&h->rng, 3 * h->cluster);

	if (len > size - off)
		len = size - off;
	test_rng_fill(&h->rng, buf, 64);
	for (uint64_t i = 64; i < len; i++)
		buf[i] = buf[i % 64];
	if (what < 8) {
		ok(qcow2_pwrite(h->img, buf, (size_t)len, off, 0, NULL));
	} else if (what < 10) {
		ok(qcow2_zero(h->img, len, off,
			      what & 1 ? QCOW2_ZERO_MAY_UNMAP : 0, NULL));
	} else if (what < 12) {
		ok(qcow2_discard(h->img, len, off, 0, NULL));
	} else {
		off -= off % h->cluster;
		len = size - off < h->cluster ? size - off : h->cluster;
		ok(qcow2_write_compressed(h->img, buf, (size_t)len, off, 0,
					  NULL));
	}
}

static void change(struct history *h)
{
	uint64_t what = test_rng_below(&h->rng, 22);

	if (what < 15)
		write_somewhere(h, what);
	else if (what < 18)
		keep(h);
	else if (what < 19)
		forget(h);
	else if (what < 20)
		go_back(h);
	else if (what < 21)
		change_size(h);
	else
		ok(qcow2_flush(h->img, NULL));
}

static uint64_t count_equal(const uint8_t *a, const uint8_t *b, uint64_t n)
{
	uint64_t equal = 0;

	for (uint64_t i = 0; i < n; i++)
		equal += a[i] == b[i];
	return equal;
}

/* @a, @b: what the disks read as, with zeros behind. */
static void walk(struct history *h, struct qcow2_image *older,
		 struct qcow2_image *newer, const uint8_t *a, const uint8_t *b)
{
	uint64_t size = qcow2_size(older);
	uint32_t last = 2;
	uint64_t off = 0;

	if (qcow2_size(newer) > size)
		size = qcow2_size(newer);
	h->equal_bytes += count_equal(a, b, size);
	while (off < size) {
		struct qcow2_diff_extent x = QCOW2_DIFF_EXTENT_INIT;

		ok(qcow2_diff(older, newer, size - off, off, 0, &x, NULL));
		assert_int_equal(x.off, off);
		assert_in_range(x.len, 1, size - off);
		assert_int_not_equal(x.flags, last);
		last = x.flags;
		if (!(x.flags & QCOW2_DIFF_MAY_DIFFER)) {
			assert_memory_equal(a + off, b + off, x.len);
			h->same_bytes += x.len;
		}
		off += x.len;
	}
}

static void compare_all(struct history *h)
{
	uint8_t *now = read_all(h->img, qcow2_size(h->img));

	for (unsigned i = 0; i < h->n_kept; i++) {
		struct kept *k = &h->kept[i];
		struct qcow2_image *view =
			open_view(h->file, &h->names, k->name);

		assert_int_equal(qcow2_size(view), k->size);
		walk(h, view, h->img, k->bytes, now);
		for (unsigned j = 0; j < i; j++) {
			struct qcow2_image *other =
				open_view(h->file, &h->names, h->kept[j].name);

			walk(h, other, view, h->kept[j].bytes, k->bytes);
			ok(qcow2_close(other, NULL));
		}
		ok(qcow2_close(view, NULL));
	}
	free(now);
}

static void history_begin(struct history *h, struct test_rng rng)
{
	static const uint32_t clusters[] = { 512, 4096, 16384, 65536 };
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;
	static uint8_t buf[BYTES_MAX];

	*h = (struct history){ .rng = rng };
	h->cluster = clusters[test_rng_below(&h->rng, 4)];
	create.cluster_size = h->cluster;
	create.version = 2 + (uint32_t)test_rng_below(&h->rng, 2);
	create.virtual_size = (1 + test_rng_below(&h->rng, 1024)) * 512;
	h->resizes = create.version == 3;
	if (create.version == 3 && h->cluster >= 16384 &&
	    test_rng_below(&h->rng, 2))
		create.flags = QCOW2_CREATE_EXTENDED_L2;
	if (test_rng_below(&h->rng, 2)) {
		h->names.backing = new_store();
		test_rng_fill(&h->rng, buf, sizeof(buf));
		ok(qcow2_store_pwrite(
			h->names.backing, buf,
			(size_t)test_rng_below(&h->rng, sizeof(buf)), 0, 0,
			NULL));
	}
	h->file = make_image(&h->names, create);
	h->img = open_flags(h->file, &h->names, QCOW2_OPEN_RDWR);
}

static void history_end(struct history *h)
{
	ok(qcow2_close(h->img, NULL));
	for (unsigned i = 0; i < h->n_kept; i++)
		free(h->kept[i].bytes);
	qcow2_store_unref(h->file);
	qcow2_store_unref(h->names.backing);
}

TEST(bytes_that_are_the_same_never_differ)
{
	uint64_t seed = test_seed();
	uint64_t same = 0, equal = 0;

	for (uint64_t round = 0; round < TEST_AMOUNT(60, 12); round++) {
		struct history h;

		history_begin(&h, test_rng_init(seed + round));
		for (unsigned i = 0; i < 60; i++) {
			change(&h);
			if (i % 15 == 14)
				compare_all(&h);
		}
		same += h.same_bytes;
		equal += h.equal_bytes;
		history_end(&h);
	}
	/* And most of what is equal is known to be. */
	print_message("%llu of %llu equal bytes are known\n",
		      (unsigned long long)same, (unsigned long long)equal);
	assert_true(same > equal / 2);
}
