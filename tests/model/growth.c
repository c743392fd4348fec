/*
 * A disk that grows while threads write, zero, discard, compress, flush, read,
 * map and ask.
 *
 *	growth [--seed N] [--rounds N]
 *
 * Without --rounds it runs 60 rounds, or 12 under a sanitizer.
 *
 * The disk is cut into pieces, each of which belongs to one writer: so a writer
 * knows every byte of its own pieces at any time.  The others can tell a sector
 * that somebody wrote, zeros, and the first contents; everything else is wrong,
 * and so are first contents behind the end that the disk had first.  Two
 * threads make the disk larger.  At the end every sector is compared, twice.
 */
#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "model/files.h"
#include "model/slow.h"
#include "model/stamps.h"
#include "store/mem.h"
#include "store/store.h"
#include "support/amount.h"

enum {
	WRITERS = 3,
	GROWERS = 2,
	GROWTHS = 8, /* of each of them in a round */
	PIECE_MAX = 128,
	SECTORS_MAX = 16384,
};

struct rig {
	struct config config;
	struct files files;
	bool raw; /* a raw disk, without all that the config says */
	struct qcow2_image *img;
	uint32_t piece;   /* sectors */
	uint32_t n_first; /* sectors of the disk before it grew */
	_Atomic unsigned n_growing;
	_Atomic bool failed;
	uint32_t values[SECTORS_MAX]; /* as of stamp_read() */
};

struct worker {
	struct rig *rig;
	pthread_t thread;
	unsigned index;
	uint64_t seed;
};

static void complain(struct rig *r, const char *what, uint64_t number,
		     const struct qcow2_error *err)
{
	char text[512];

	config_describe(&r->config, text, sizeof(text));
	printf("FAILURE: %s (%" PRIu64 ")%s%s\n  %s%s\n", what, number,
	       err ? ": " : "", err ? err->message : "", r->raw ? "raw " : "",
	       text);
	fflush(stdout);
	atomic_store(&r->failed, true);
}

static bool goes_on(const struct rig *r)
{
	return atomic_load(&r->n_growing) && !atomic_load(&r->failed);
}

static uint32_t sectors_now(const struct rig *r)
{
	return (uint32_t)(qcow2_size(r->img) / STAMP_SECTOR);
}

/* ---- Writers ------------------------------------------------------------- */

struct piece {
	uint32_t off; /* sectors */
	uint32_t len;
};

/* A piece of this writer, or what the disk has of it; most are near the end. */
static struct piece choose(const struct worker *w, struct test_rng *rng)
{
	const struct rig *r = w->rig;
	uint32_t n = sectors_now(r);
	uint32_t n_own = n / r->piece / WRITERS + 1;
	uint32_t i =
		test_rng_below(rng, 3)
			? n_own - (uint32_t)min_u64(n_own,
						    1 + test_rng_below(rng, 3))
			: (uint32_t)test_rng_below(rng, n_own);
	struct piece p = { (i * WRITERS + w->index) * r->piece, 0 };

	if (p.off < n)
		p.len = (uint32_t)min_u64(r->piece, n - p.off);
	return p;
}

static bool has_clusters(const struct rig *r, struct piece p)
{
	return p.len == r->piece && !r->raw &&
	       (uint64_t)r->piece * STAMP_SECTOR % r->config.cluster == 0;
}

static int put(struct rig *r, struct piece p, uint32_t number, bool compress,
	       struct qcow2_error *err)
{
	uint8_t buf[PIECE_MAX * STAMP_SECTOR];
	uint64_t off = (uint64_t)p.off * STAMP_SECTOR;
	size_t len = (size_t)p.len * STAMP_SECTOR;

	for (uint32_t i = 0; i < p.len; i++)
		stamp_write(buf + (size_t)i * STAMP_SECTOR, p.off + i, number);
	return compress ? qcow2_write_compressed(r->img, buf, len, off, 0, err)
			: qcow2_pwrite(r->img, buf, len, off, 0, err);
}

static int change(struct rig *r, struct piece p, uint32_t number,
		  struct test_rng *rng, struct qcow2_error *err)
{
	uint64_t off = (uint64_t)p.off * STAMP_SECTOR;
	uint64_t len = (uint64_t)p.len * STAMP_SECTOR;
	uint32_t value = STAMP_ZERO;
	int rc;

	switch (test_rng_below(rng, 8)) {
	case 0:
		rc = qcow2_zero(r->img, len, off, 0, err);
		break;
	case 1:
		rc = qcow2_zero(r->img, len, off, QCOW2_ZERO_MAY_UNMAP, err);
		break;
	case 2:
		/* Version 2 keeps what the backing file would show. */
		rc = has_clusters(r, p) && r->config.version == 3
			     ? qcow2_discard(r->img, len, off, 0, err)
			     : qcow2_zero(r->img, len, off, 0, err);
		break;
	default:
		value = number;
		rc = put(r, p, number,
			 has_clusters(r, p) &&
				 config_has_compression(&r->config) &&
				 test_rng_below(rng, 4) == 0,
			 err);
	}
	for (uint32_t i = 0; i < p.len; i++)
		r->values[p.off + i] = value;
	return rc;
}

static void verify(struct rig *r, struct piece p)
{
	uint8_t buf[PIECE_MAX * STAMP_SECTOR];
	struct qcow2_error err = { 0 };

	if (qcow2_pread(r->img, buf, (size_t)p.len * STAMP_SECTOR,
			(uint64_t)p.off * STAMP_SECTOR, 0, &err) < 0)
		complain(r, "a read failed", p.off, &err);
	for (uint32_t i = 0; i < p.len; i++)
		if (stamp_read(buf + (size_t)i * STAMP_SECTOR, p.off + i) !=
		    r->values[p.off + i])
			complain(r, "a sector is not as it was written",
				 p.off + i, NULL);
}

static void *writer_main(void *arg)
{
	struct worker *w = arg;
	struct rig *r = w->rig;
	struct test_rng rng = test_rng_init(w->seed);
	uint32_t number = w->index + 1;

	while (goes_on(r)) {
		struct piece p = choose(w, &rng);
		struct qcow2_error err = { 0 };

		if (!p.len)
			continue;
		if (test_rng_below(&rng, 2))
			verify(r, p);
		number += WRITERS;
		if (change(r, p, number, &rng, &err) < 0)
			complain(r, "a change failed", p.off, &err);
		if (test_rng_below(&rng, 8) == 0 &&
		    qcow2_flush(r->img, &err) < 0)
			complain(r, "a flush failed", 0, &err);
	}
	return NULL;
}

/* ---- Readers, and those who ask ------------------------------------------ */

static void *reader_main(void *arg)
{
	struct worker *w = arg;
	struct rig *r = w->rig;
	struct test_rng rng = test_rng_init(w->seed);
	uint8_t buf[PIECE_MAX * STAMP_SECTOR];

	while (goes_on(r)) {
		uint32_t n = sectors_now(r);
		uint32_t off = (uint32_t)test_rng_below(&rng, n);
		uint32_t len = (uint32_t)min_u64(PIECE_MAX, n - off);
		struct qcow2_error err = { 0 };

		if (qcow2_pread(r->img, buf, (size_t)len * STAMP_SECTOR,
				(uint64_t)off * STAMP_SECTOR, 0, &err) < 0)
			complain(r, "a read failed", off, &err);
		for (uint32_t i = 0; i < len; i++)
			if (off + i >= r->n_first &&
			    stamp_read(buf + (size_t)i * STAMP_SECTOR,
				       off + i) == STAMP_FOREIGN)
				complain(r, "a sector nobody wrote", off + i,
					 NULL);
	}
	return NULL;
}

static void ask(struct rig *r, struct test_rng *rng, uint64_t *size)
{
	uint64_t now = qcow2_size(r->img);
	uint64_t off = test_rng_below(rng, now);
	struct qcow2_info info = QCOW2_INFO_INIT;
	struct qcow2_stats stats = QCOW2_STATS_INIT;
	struct qcow2_extent x;
	struct qcow2_error err = { 0 };

	if (now < *size)
		complain(r, "the disk became smaller", now, NULL);
	if (qcow2_map(r->img, now - off, off, 0, &x, &err) < 0 || !x.len ||
	    x.len > now - off)
		complain(r, "a map failed", off, &err);
	if (qcow2_get_info(r->img, 0, &info, &err) < 0 ||
	    info.virtual_size < now)
		complain(r, "the information is older than the size", now,
			 &err);
	*size = info.virtual_size;
	if (qcow2_get_stats(r->img, 0, &stats, &err) < 0)
		complain(r, "no statistics", 0, &err);
}

static void *asker_main(void *arg)
{
	struct worker *w = arg;
	struct test_rng rng = test_rng_init(w->seed);
	uint64_t size = 0;

	while (goes_on(w->rig))
		ask(w->rig, &rng, &size);
	return NULL;
}

/* ---- Growers ------------------------------------------------------------- */

static void grow(struct rig *r, struct test_rng *rng)
{
	struct qcow2_resize_opts opts = QCOW2_RESIZE_OPTS_INIT;
	uint64_t now = qcow2_size(r->img);
	uint64_t left = r->config.room - now;
	uint64_t step = test_rng_below(rng, 2) ? 3 * r->config.cluster : left;
	uint64_t size =
		now + align_down(test_rng_below(rng, min_u64(step, left) + 1),
				 STAMP_SECTOR);
	struct qcow2_error err = { 0 };
	int rc;

	if (test_rng_below(rng, 2))
		opts.preallocation = (uint32_t)test_rng_below(rng, 4);
	if (r->raw && opts.preallocation == QCOW2_PREALLOC_METADATA)
		opts.preallocation = QCOW2_PREALLOC_OFF;
	rc = qcow2_resize(r->img, size, &opts, &err);
	/* The other one may have been faster. */
	if (rc < 0 && (rc != -EINVAL || qcow2_size(r->img) < size))
		complain(r, "it does not grow", size, &err);
	if (rc == 0 && qcow2_size(r->img) < size)
		complain(r, "it has not grown", size, NULL);
}

static void *grower_main(void *arg)
{
	struct worker *w = arg;
	struct test_rng rng = test_rng_init(w->seed);

	for (unsigned i = 0; i < GROWTHS; i++)
		grow(w->rig, &rng);
	atomic_fetch_sub(&w->rig->n_growing, 1);
	return NULL;
}

/* ---- Rounds -------------------------------------------------------------- */

static struct config growth_config(struct test_rng *rng)
{
	static const uint32_t clusters[] = { 512, 512, 4096, 16384, 65536 };
	struct config c = { .version = 3, .refcount_bits = 16 };

	c.cluster = clusters[test_rng_below(rng, 5)];
	c.size = (1 + test_rng_below(rng, 60)) * STAMP_SECTOR;
	c.room = SECTORS_MAX * STAMP_SECTOR;
	if (c.cluster == 512)
		c.room /= 8;
	c.n_windows = 1;
	c.windows[0] = (struct window){ 0, c.room };
	c.lazy = test_rng_below(rng, 4) == 0;
	c.discard = (uint32_t)test_rng_below(rng, 16);
	if (test_rng_below(rng, 2)) {
		c.backing = BACKING_RAW;
		c.backing_size = c.size + test_rng_below(rng, c.room / 4);
	}
	if (test_rng_below(rng, 4) == 0)
		c.data = c.backing ? DATA_FILE
				   : (enum data)(1 + test_rng_below(rng, 2));
	else if (test_rng_below(rng, 4) == 0)
		c.version = 2;
	if (c.version == 2)
		c.lazy = false;
	c.extended_l2 = c.version == 3 && c.cluster >= 16384 &&
			test_rng_below(rng, 2);
	if (test_rng_below(rng, 2)) {
		c.l2_slice_bytes = 512;
		c.l2_cache_bytes = c.cluster;
	}
	return c;
}

static int open_raw(struct rig *r, struct qcow2_error *err)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_store **top = &r->files.stores[FILE_TOP];
	int rc = 0;

	opts.flags = QCOW2_OPEN_RDWR;
	opts.format = QCOW2_FORMAT_RAW;
	if (!*top) {
		rc = store_mem_new(top, err);
		if (rc == 0)
			rc = store_truncate(*top, r->config.size, err);
		if (rc == 0)
			slow_down(top);
	}
	return rc < 0 ? rc : qcow2_open_store(*top, &opts, &r->img, err);
}

static void rig_open(struct rig *r, bool again)
{
	struct qcow2_error err = { 0 };
	int rc = 0;

	if (r->raw) {
		rc = open_raw(r, &err);
	} else {
		if (!again) {
			rc = files_make(&r->files, &r->config, NULL, &err);
			if (rc == 0)
				slow_down(&r->files.stores[FILE_TOP]);
		}
		if (rc == 0)
			rc = files_open(&r->files, true, NULL, &r->img, &err);
	}
	if (rc < 0) {
		complain(r, "open", 0, &err);
		exit(1);
	}
}

static void read_all(struct rig *r, uint32_t *values)
{
	struct qcow2_error err = { 0 };
	uint64_t size = qcow2_size(r->img);
	uint8_t *buf = malloc(size);

	assert(buf);
	if (qcow2_pread(r->img, buf, size, 0, 0, &err) < 0)
		complain(r, "a read failed", 0, &err);
	for (uint32_t i = 0; i < size / STAMP_SECTOR; i++)
		values[i] = stamp_read(buf + (size_t)i * STAMP_SECTOR, i);
	free(buf);
}

static void compare_all(struct rig *r, const char *when)
{
	static uint32_t now[SECTORS_MAX];

	read_all(r, now);
	for (uint32_t i = 0; i < sectors_now(r); i++)
		if (now[i] != r->values[i]) {
			complain(r, when, i, NULL);
			return;
		}
}

static void check(struct rig *r)
{
	struct qcow2_check_result result = QCOW2_CHECK_RESULT_INIT;
	struct qcow2_error err = { 0 };

	if (qcow2_close(r->img, &err) < 0)
		complain(r, "close", 0, &err);
	if (r->raw)
		return;
	if (qcow2_check_store(r->files.stores[FILE_TOP], NULL, &result, &err) <
		    0 ||
	    result.corruptions || result.leaks)
		complain(r, "check finds something", result.corruptions, &err);
}

static void start(struct worker *w, struct rig *r, unsigned index,
		  struct test_rng *rng, void *(*fn)(void *arg))
{
	int rc;

	*w = (struct worker){ .rig = r, .index = index };
	w->seed = test_rng_next(rng);
	rc = pthread_create(&w->thread, NULL, fn, w);
	assert(rc == 0);
	(void)rc;
}

static void play(struct rig *r, struct test_rng *rng)
{
	enum { ALL = WRITERS + GROWERS + 2 };
	struct worker w[ALL];
	unsigned n = 0;

	atomic_store(&r->n_growing, GROWERS);
	for (unsigned i = 0; i < WRITERS; i++)
		start(&w[n++], r, i, rng, writer_main);
	for (unsigned i = 0; i < GROWERS; i++)
		start(&w[n++], r, i, rng, grower_main);
	start(&w[n++], r, 0, rng, reader_main);
	start(&w[n++], r, 0, rng, asker_main);
	for (unsigned i = 0; i < n; i++)
		pthread_join(w[i].thread, NULL);
}

static void round_play(struct rig *r, struct test_rng *rng)
{
	r->config = growth_config(rng);
	r->raw = test_rng_below(rng, 8) == 0;
	r->piece = test_rng_below(rng, 2) ? 3
					  : r->config.cluster / STAMP_SECTOR;
	memset(r->values, 0, sizeof(r->values));
	rig_open(r, false);
	r->n_first = sectors_now(r);
	read_all(r, r->values);
	play(r, rng);
	compare_all(r, "a sector is not as it was written, at the end");
	check(r);
	rig_open(r, true);
	compare_all(r, "a sector reads otherwise when opened again");
	qcow2_close(r->img, NULL);
	files_release(&r->files);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "rounds", required_argument, NULL, 'r' },
		{ NULL, 0, NULL, 0 },
	};
	static struct rig r;
	uint64_t rounds = TEST_AMOUNT(60, 12);
	uint64_t seed = test_seed();
	struct test_rng rng;
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 's')
			seed = strtoull(optarg, NULL, 0);
		else if (opt == 'r')
			rounds = strtoull(optarg, NULL, 0);
		else
			return 2;
	}
	rng = test_rng_init(seed);
	for (uint64_t i = 0; i < rounds && !atomic_load(&r.failed); i++)
		round_play(&r, &rng);
	printf("seed %" PRIu64 ": %" PRIu64 " rounds\n", seed, rounds);
	return atomic_load(&r.failed) ? 1 : 0;
}
