/*
 * Layers of a kind that exists only here: the chain asks their table and
 * nothing else.
 */
#include "chain/layer.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "store/mem.h"
#include "support/test.h"

static void ok(int rc)
{
	assert_int_equal(rc, 0);
}

/* Every other block of 512 bytes is its own, and reads as its depth. */
enum { BLOCK = 512 };

static bool is_own(uint64_t off)
{
	return off / BLOCK % 2 == 0;
}

static uint64_t left_in_block(uint64_t len, uint64_t off)
{
	uint64_t here = BLOCK - off % BLOCK;

	return here < len ? here : len;
}

static int striped_map(struct layer *l, uint64_t len, uint64_t off,
		       struct qcow2_extent *out, struct qcow2_error *err)
{
	(void)l;
	(void)err;
	*out = (struct qcow2_extent){
		.off = off,
		.len = left_in_block(len, off),
		.flags = is_own(off) ? QCOW2_EXTENT_DATA : 0,
	};
	return 0;
}

static int striped_read(struct layer *l, struct iov_cursor *dst, uint64_t len,
			uint64_t off, unsigned flags, struct qcow2_error *err)
{
	while (len) {
		uint64_t here = left_in_block(len, off);
		uint8_t block[BLOCK];

		memset(block, (int)l->depth + 1, sizeof(block));
		if (is_own(off))
			iov_copy_in(dst, block, here);
		else
			ok(layer_read_below(l, dst, here, off, flags, err));
		off += here;
		len -= here;
	}
	return 0;
}

static int broken_read(struct layer *l, struct iov_cursor *dst, uint64_t len,
		       uint64_t off, unsigned flags, struct qcow2_error *err)
{
	(void)l;
	(void)dst;
	(void)len;
	(void)off;
	(void)flags;
	return error_set(err, -EIO, "broken");
}

static int zero_map(struct layer *l, uint64_t len, uint64_t off,
		    struct qcow2_extent *out, struct qcow2_error *err)
{
	(void)l;
	(void)err;
	*out = (struct qcow2_extent){ .off = off,
				      .len = len,
				      .flags = QCOW2_EXTENT_ZERO };
	return 0;
}

static const struct layer_ops striped = { .name = "striped",
					  .map = striped_map,
					  .read = striped_read };
static const struct layer_ops broken = { .name = "broken",
					 .map = zero_map,
					 .read = broken_read };

static void read_all(struct layer *top, uint8_t *buf, size_t len)
{
	struct iovec iov = { buf, len };
	struct iov_cursor dst = iov_cursor_init(&iov, 1);

	ok(layer_read(top, &dst, len, 0, 0, NULL));
}

static void all_are(const uint8_t *buf, size_t len, int byte)
{
	for (size_t i = 0; i < len; i++)
		assert_int_equal(buf[i], byte);
}

TEST(what_a_layer_lacks_comes_from_below_as_far_as_that_reaches)
{
	uint8_t buf[4 * BLOCK];
	struct layer base = { .ops = &striped, .size = BLOCK, .depth = 1 };
	struct layer top = { .ops = &striped,
			     .size = 3 * BLOCK,
			     .below = &base };

	memset(buf, 0xff, sizeof(buf));
	read_all(&top, buf, sizeof(buf));
	all_are(buf, BLOCK, 1);
	all_are(buf + BLOCK, BLOCK, 0); /* the base ends before */
	all_are(buf + 2 * BLOCK, BLOCK, 1);
	all_are(buf + 3 * BLOCK, BLOCK, 0); /* and here the top ends */
}

TEST(below_the_last_layer_are_zeros)
{
	struct layer only = { .ops = &striped, .size = 4 * BLOCK };
	struct layer none = { .ops = &broken, .size = 4 * BLOCK, .depth = 1 };
	struct layer top = { .ops = &striped,
			     .size = 4 * BLOCK,
			     .below = &none };

	assert_true(layer_reads_zero(&only, BLOCK, BLOCK));
	assert_false(layer_reads_zero(&only, BLOCK, 0));
	assert_false(layer_reads_zero(&only, BLOCK + 1, BLOCK));
	assert_true(layer_reads_zero(&top, BLOCK, BLOCK));
}

TEST(nothing_is_known_of_a_layer_that_was_left_unopened)
{
	struct layer only = { .ops = &striped,
			      .size = 4 * BLOCK,
			      .below_unknown = true };

	assert_false(layer_reads_zero(&only, BLOCK, BLOCK));
}

TEST(an_error_tells_the_layer_it_is_from)
{
	struct qcow2_error err = { .layer = QCOW2_LAYER_UNKNOWN };
	struct layer base = { .ops = &broken, .size = 4 * BLOCK, .depth = 1 };
	struct layer top = { .ops = &striped,
			     .size = 4 * BLOCK,
			     .below = &base };
	uint8_t buf[BLOCK];
	struct iovec iov = { buf, sizeof(buf) };
	struct iov_cursor dst = iov_cursor_init(&iov, 1);

	assert_int_equal(layer_read_below(&top, &dst, BLOCK, 0, 0, &err), -EIO);
	assert_int_equal(err.layer, 1);
}

TEST(a_refusal_names_the_format)
{
	struct layer l = { .ops = &striped };
	struct qcow2_error err = { 0 };

	assert_int_equal(layer_refuse(&l, "cannot fly", &err), -ENOTSUP);
	assert_string_equal(err.message, "a striped image cannot fly");
}

TEST(formats_have_the_names_that_images_give_them)
{
	enum qcow2_format format = QCOW2_FORMAT_DEFAULT;

	assert_true(layer_find_format("qcow2", &format));
	assert_int_equal(format, QCOW2_FORMAT_QCOW2);
	assert_true(layer_find_format("raw", &format));
	assert_int_equal(format, QCOW2_FORMAT_RAW);
	assert_false(layer_find_format("QCOW2", &format));
	assert_false(layer_find_format("vmdk", &format));
	assert_false(layer_find_format("", &format));
}

static const struct layer_ops *probed(const char *bytes)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct identities ids = { NULL, 0 };
	struct layer_opening o = { .file = { NULL, GATE_DIR_NONE },
				   .format = QCOW2_FORMAT_PROBE,
				   .opts = &opts,
				   .ids = &ids };
	const struct layer_ops *ops;
	struct layer l;

	ok(store_mem_new(&o.file.store, NULL));
	ok(store_pwrite(o.file.store, bytes, strlen(bytes), 0, 0, NULL));
	if (layer_open(&l, &o, NULL) < 0)
		return l.ops;
	ops = l.ops;
	ok(layer_close(&l, NULL));
	return ops;
}

TEST(a_probe_goes_by_the_magic)
{
	assert_ptr_equal(probed("QFI"), &raw_layer_ops);
	assert_ptr_equal(probed("QFI\xfa"), &raw_layer_ops);
	assert_ptr_equal(probed("QFI\xfb"), &qcow2_layer_ops);
}
