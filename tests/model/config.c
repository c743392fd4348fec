#include "model/config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * KIB)

/* The most bytes of a disk that operations may touch. */
#define WINDOW_MAX (6 * MIB)
#define GROWTH_MAX (2 * MIB)

static uint64_t below(struct test_rng *rng, uint64_t limit)
{
	return test_rng_below(rng, limit);
}

static bool one_in(struct test_rng *rng, uint64_t n)
{
	return below(rng, n) == 0;
}

/* ---- Format -------------------------------------------------------------- */

static void choose_format(struct config *c, struct test_rng *rng)
{
	static const uint32_t bits[] = { 9,  9,  9,  10, 11, 12, 12, 12, 13,
					 14, 14, 15, 16, 16, 17, 19, 21 };

	c->cluster = 1u << bits[below(rng, sizeof(bits) / sizeof(bits[0]))];
	c->version = one_in(rng, 4) ? 2 : 3;
	c->refcount_bits = 16;
	if (c->version == 2)
		return;
	if (!one_in(rng, 3))
		c->refcount_bits = 1u << below(rng, 7);
	c->extended_l2 = c->cluster >= 16384 && !one_in(rng, 3);
	c->lazy = one_in(rng, 5);
	if (one_in(rng, 3))
		c->compression = QCOW2_COMPRESSION_ZSTD;
}

static void choose_files(struct config *c, struct test_rng *rng)
{
	if (!one_in(rng, 3))
		c->backing = 1 + (enum backing)below(rng, 2);
	if (c->version == 3 && one_in(rng, 4))
		c->data = DATA_FILE;
	if (c->data && !c->backing && one_in(rng, 2))
		c->data = DATA_FILE_RAW;
}

/* ---- Sizes --------------------------------------------------------------- */

/* Guest bytes that one L2 table describes. */
static uint64_t reach(const struct config *c)
{
	return (uint64_t)c->cluster * c->cluster / (c->extended_l2 ? 16 : 8);
}

static void add_window(struct config *c, uint64_t off, uint64_t len)
{
	struct window *w = &c->windows[c->n_windows++];

	w->off = off;
	w->len = min_u64(len, c->room - off);
}

/* A few clusters, and a tail that is no whole one. */
static void choose_small(struct config *c, struct test_rng *rng)
{
	uint64_t most = min_u64(WINDOW_MAX / c->cluster, 300);

	c->size = (1 + below(rng, most)) * c->cluster;
	if (!one_in(rng, 3))
		c->size += below(rng, c->cluster / 512) * 512;
	c->room = c->size + (1 + below(rng, GROWTH_MAX / 512)) * 512;
	if (!one_in(rng, 3))
		c->room = min_u64(c->room, c->size + 8 * c->cluster);
	add_window(c, 0, c->room);
}

/* More than one L2 table, with work at the borders. */
static void choose_large(struct config *c, struct test_rng *rng)
{
	uint64_t len = min_u64(max_u64(8 * c->cluster, 64 * KIB), WINDOW_MAX);
	uint64_t border = reach(c);

	c->size = border + len + below(rng, border / 512) * 512;
	c->room = c->size + len / 2;
	add_window(c, 0, min_u64(len, border / 2));
	add_window(c, border - min_u64(len, border) / 2, min_u64(len, border));
	if (c->size > border + 3 * len)
		add_window(c, c->size - len / 2, len);
	c->room += below(rng, 3) * border;
}

static void choose_backing_size(struct config *c, struct test_rng *rng)
{
	uint64_t sectors = c->size / 512;

	c->backing_size = c->size;
	if (one_in(rng, 3))
		c->backing_size = (1 + below(rng, sectors)) * 512;
	else if (one_in(rng, 2))
		c->backing_size += (1 + below(rng, 300)) * 512;
	if (c->backing == BACKING_RAW && one_in(rng, 4))
		c->backing_size -= below(rng, 512);
}

static void choose_sizes(struct config *c, struct test_rng *rng)
{
	if (c->data == DATA_INSIDE && one_in(rng, 2))
		choose_large(c, rng);
	else
		choose_small(c, rng);
	if (c->backing)
		choose_backing_size(c, rng);
}

/* ---- Makers and caches --------------------------------------------------- */

static void choose_maker(struct config *c, struct test_rng *rng, bool with_qemu)
{
	bool small = c->n_windows == 1;

	if (small && !c->backing && one_in(rng, 4))
		c->prealloc = (enum qcow2_preallocation)(1 + below(rng, 3));
	c->on_files = one_in(rng, 12);
	if (with_qemu && one_in(rng, 8))
		c->maker = MAKER_QEMU;
	if (with_qemu && small && !c->data && !c->backing && !c->prealloc &&
	    one_in(rng, 8))
		c->maker = MAKER_CONVERT;
	/* Sizes that are no whole sectors are possible, but only we make
	 * them. */
	if (c->maker == MAKER_OURS && !c->data && !c->prealloc &&
	    c->size > 1024 && one_in(rng, 8))
		c->size -= 1 + below(rng, 511);
}

static void choose_opening(struct config *c, struct test_rng *rng)
{
	if (one_in(rng, 2))
		c->discard = (uint32_t)below(rng, 16);
	if (one_in(rng, 2))
		c->l2_slice_bytes = min_u64(c->cluster, 512u << below(rng, 4));
	if (one_in(rng, 2))
		c->l2_cache_bytes = c->cluster * (1 + below(rng, 4));
	if (one_in(rng, 3))
		c->refcount_cache_bytes = c->cluster * (1 + below(rng, 4));
	/* Refcounts also tell which images were preallocated. */
	c->low = one_in(rng, 3) && !c->prealloc;
}

struct config config_random(uint64_t seed, bool with_qemu)
{
	struct test_rng rng = test_rng_init(seed);
	struct config c = { .seed = seed };

	choose_format(&c, &rng);
	choose_files(&c, &rng);
	choose_sizes(&c, &rng);
	choose_maker(&c, &rng, with_qemu);
	choose_opening(&c, &rng);
	return c;
}

/* ---- Simpler ------------------------------------------------------------- */

static void plain_files(struct config *c)
{
	c->data = DATA_INSIDE;
	c->backing = BACKING_NONE;
	c->backing_size = 0;
}

bool config_simplify(struct config *c, unsigned step)
{
	switch (step) {
	case 0:
		c->on_files = false;
		return true;
	case 1:
		c->maker = MAKER_OURS;
		return true;
	case 2:
		plain_files(c);
		return true;
	case 3:
		c->prealloc = QCOW2_PREALLOC_OFF;
		return true;
	case 4:
		c->refcount_bits = 16;
		return true;
	case 5:
		c->lazy = false;
		c->compression = QCOW2_COMPRESSION_ZLIB;
		return true;
	case 6:
		c->discard = 0;
		return true;
	case 7:
		c->l2_cache_bytes = c->l2_slice_bytes = 0;
		c->refcount_cache_bytes = 0;
		return true;
	case 8:
		c->extended_l2 = false;
		return true;
	case 9:
		c->plain_base = true;
		return true;
	/* The last option, which old programs do not know, goes first. */
	case 10:
		c->discard &= ~QCOW2_DISCARD_NO_UNREF;
		return true;
	case 11:
		c->discard &= ~QCOW2_DISCARD_OTHER;
		return true;
	case 12:
		c->discard &= ~QCOW2_DISCARD_SNAPSHOT;
		return true;
	case 13:
		c->low = false;
		return true;
	default:
		return false;
	}
}

/* ---- Text ---------------------------------------------------------------- */

static const char *const prealloc_names[] = { "off", "metadata", "falloc",
					      "full" };

void config_print(const struct config *c, char *text, size_t size)
{
	bool zstd = c->compression == QCOW2_COMPRESSION_ZSTD;

	snprintf(text, size,
		 "compat=%s,cluster_size=%" PRIu32 ",refcount_bits=%" PRIu32
		 "%s%s%s%s%s%s%s%s%s",
		 c->version == 2 ? "0.10" : "1.1", c->cluster, c->refcount_bits,
		 c->extended_l2 ? ",extended_l2=on" : "",
		 c->lazy ? ",lazy_refcounts=on" : "",
		 zstd ? ",compression_type=zstd" : "",
		 c->prealloc ? ",preallocation=" : "",
		 c->prealloc ? prealloc_names[c->prealloc] : "",
		 c->data ? ",data_file=data" : "",
		 c->data == DATA_FILE_RAW ? ",data_file_raw=on" : "",
		 c->backing ? ",backing_file=backing,backing_fmt=" : "",
		 c->backing == BACKING_NONE  ? ""
		 : c->backing == BACKING_RAW ? "raw"
					     : "qcow2");
}

void config_describe(const struct config *c, char *text, size_t size)
{
	static const char *const makers[] = { "ours", "qemu", "convert" };
	char options[256];

	config_print(c, options, sizeof(options));
	snprintf(text, size,
		 "size %" PRIu64 ", %s, made by %s%s%s, backing %" PRIu64
		 ", discard %#" PRIx32 ", caches %" PRIu64 " %" PRIu64
		 " %" PRIu64,
		 c->size, options, makers[c->maker],
		 c->on_files ? ", on files" : "",
		 c->low ? ", low refcounts" : "", c->backing_size, c->discard,
		 c->l2_cache_bytes, c->l2_slice_bytes, c->refcount_cache_bytes);
}
