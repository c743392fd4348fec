/*
 * Threads that write, zero, discard, compress, flush and read the same few
 * clusters at the same time.
 *
 *	threads [--seed N] [--rounds N]
 *
 * Without --rounds it runs 2000 rounds, or 300 under a sanitizer.
 *
 * A round is short: each thread makes some requests, then all stop, and some
 * order of the requests must explain everything that was read meanwhile and the
 * contents of the disk now.  Every few rounds the image is closed, checked, and
 * opened again.
 */
#include <assert.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "model/files.h"
#include "model/history.h"
#include "model/slow.h"
#include "model/stamps.h"
#include "support/amount.h"

enum {
	WRITERS = 4,
	READERS = 2,
	REQUESTS = 7, /* of one writer in one round */
	READS = 24,   /* of one reader in one round */
	ROUNDS_OPEN = 25,
	ROUNDS_CONFIG = 50,
};

struct seen {
	uint32_t off;
	uint32_t len;
	uint64_t begin;
	uint64_t end;
	uint32_t values[HISTORY_SECTORS];
};

struct rig {
	struct config config;
	struct files files;
	struct qcow2_image *img;
	uint32_t n_sectors;
	_Atomic uint64_t clock;
	_Atomic bool failed;
	uint32_t next_number;
	struct history history;
	struct seen *seen[READERS];
};

struct worker {
	struct rig *rig;
	pthread_t thread;
	unsigned index;
	uint64_t seed;
	unsigned n;
	struct event events[REQUESTS];
};

static void complain(struct rig *r, const char *what,
		     const struct qcow2_error *err)
{
	char text[512];

	config_describe(&r->config, text, sizeof(text));
	printf("FAILURE: %s%s%s\n  %s\n", what, err ? ": " : "",
	       err ? err->message : "", text);
	fflush(stdout);
	atomic_store(&r->failed, true);
}

/* ---- Writers ------------------------------------------------------------- */

enum kind {
	KIND_WRITE,
	KIND_ZERO,
	KIND_UNMAP,
	KIND_DISCARD,
	KIND_COMPRESS,
	KIND_FLUSH
};

static enum kind random_kind(struct test_rng *rng)
{
	static const enum kind kinds[] = {
		KIND_WRITE, KIND_WRITE,   KIND_WRITE,    KIND_WRITE, KIND_ZERO,
		KIND_UNMAP, KIND_DISCARD, KIND_COMPRESS, KIND_FLUSH,
	};

	return kinds[test_rng_below(rng, sizeof(kinds) / sizeof(kinds[0]))];
}

/* Most requests meet in a quarter of the disk. */
static void random_range(const struct rig *r, struct test_rng *rng, bool whole,
			 struct event *e)
{
	uint32_t unit = r->config.cluster / STAMP_SECTOR;
	uint32_t limit = r->n_sectors;
	uint32_t end;

	if (test_rng_below(rng, 4))
		limit /= 4;
	e->off = (uint32_t)test_rng_below(rng, limit);
	e->len = 1 + (uint32_t)test_rng_below(rng, 3 * unit);
	end = (uint32_t)min_u64(e->off + e->len, r->n_sectors);
	if (whole) {
		e->off = (uint32_t)align_down(e->off, unit);
		end = (uint32_t)align_up(end, unit);
	}
	e->len = end - e->off;
}

static int write_stamps(struct rig *r, const struct event *e, bool compress,
			struct qcow2_error *err)
{
	size_t bytes = (size_t)e->len * STAMP_SECTOR;
	CLEANUP_FREE uint8_t *buf = malloc(bytes);
	uint64_t off = (uint64_t)e->off * STAMP_SECTOR;

	assert(buf);
	for (uint32_t i = 0; i < e->len; i++)
		stamp_write(buf + (size_t)i * STAMP_SECTOR, e->off + i,
			    e->number);
	if (compress)
		return qcow2_write_compressed(r->img, buf, bytes, off, 0, err);
	return qcow2_pwrite(r->img, buf, bytes, off, 0, err);
}

/* A discard changes only whole clusters. */
static void narrow(const struct rig *r, struct event *e)
{
	uint32_t unit = r->config.cluster / STAMP_SECTOR;
	uint32_t end = (uint32_t)align_down(e->off + e->len, unit);

	e->off = (uint32_t)align_up(e->off, unit);
	e->len = end > e->off ? end - e->off : 0;
}

static int perform(struct rig *r, enum kind kind, struct event *e,
		   struct qcow2_error *err)
{
	uint64_t off = (uint64_t)e->off * STAMP_SECTOR;
	uint64_t len = (uint64_t)e->len * STAMP_SECTOR;

	switch (kind) {
	case KIND_WRITE:
	case KIND_COMPRESS:
		return write_stamps(r, e, kind == KIND_COMPRESS, err);
	case KIND_ZERO:
		return qcow2_zero(r->img, len, off, 0, err);
	case KIND_UNMAP:
		return qcow2_zero(r->img, len, off, QCOW2_ZERO_MAY_UNMAP, err);
	case KIND_DISCARD:
		narrow(r, e);
		return qcow2_discard(r->img, len, off, 0, err);
	default:
		e->len = 0;
		return qcow2_flush(r->img, err);
	}
}

static void *writer_main(void *arg)
{
	struct worker *w = arg;
	struct rig *r = w->rig;
	struct test_rng rng = test_rng_init(w->seed);

	for (w->n = 0; w->n < REQUESTS; w->n++) {
		struct event *e = &w->events[w->n];
		enum kind kind = random_kind(&rng);
		struct qcow2_error err = { 0 };

		*e = (struct event){ 0 };
		random_range(r, &rng, kind == KIND_COMPRESS, e);
		e->number = r->next_number + w->index * REQUESTS + w->n;
		e->zeroes = kind != KIND_WRITE && kind != KIND_COMPRESS;
		if (kind == KIND_COMPRESS)
			e->piece = r->config.cluster / STAMP_SECTOR;
		e->begin = atomic_fetch_add(&r->clock, 1);
		if (perform(r, kind, e, &err) < 0)
			complain(r, "a request failed", &err);
		e->end = atomic_fetch_add(&r->clock, 1);
	}
	return NULL;
}

/* ---- Readers ------------------------------------------------------------- */

static void read_once(struct rig *r, struct seen *s)
{
	size_t bytes = (size_t)s->len * STAMP_SECTOR;
	CLEANUP_FREE uint8_t *buf = malloc(bytes);
	struct qcow2_error err = { 0 };

	assert(buf);
	s->begin = atomic_fetch_add(&r->clock, 1);
	if (qcow2_pread(r->img, buf, bytes, (uint64_t)s->off * STAMP_SECTOR, 0,
			&err) < 0)
		complain(r, "a read failed", &err);
	s->end = atomic_fetch_add(&r->clock, 1);
	for (uint32_t i = 0; i < s->len; i++)
		s->values[i] =
			stamp_read(buf + (size_t)i * STAMP_SECTOR, s->off + i);
}

static void *reader_main(void *arg)
{
	struct worker *w = arg;
	struct rig *r = w->rig;
	struct test_rng rng = test_rng_init(w->seed);

	for (unsigned i = 0; i < READS; i++) {
		struct event e;

		random_range(r, &rng, false, &e);
		r->seen[w->index][i].off = e.off;
		r->seen[w->index][i].len = e.len;
		read_once(r, &r->seen[w->index][i]);
	}
	return NULL;
}

/* ---- Judging ------------------------------------------------------------- */

static void read_disk(struct rig *r, struct seen *s)
{
	s->off = 0;
	s->len = r->n_sectors;
	read_once(r, s);
}

static bool reads_are_right(struct rig *r)
{
	for (unsigned k = 0; k < READERS * READS; k++) {
		const struct seen *s = &r->seen[k / READS][k % READS];

		for (uint32_t i = 0; i < s->len; i++) {
			if (history_allows(&r->history, s->off + i,
					   s->values[i], s->begin, s->end))
				continue;
			printf("sector %" PRIu32 ": %#" PRIx32 "\n", s->off + i,
			       s->values[i]);
			return false;
		}
	}
	return true;
}

static void judge(struct rig *r)
{
	static struct seen now;
	uint32_t sector;

	if (!reads_are_right(r))
		complain(r, "a read saw what cannot have been there", NULL);
	read_disk(r, &now);
	if (!history_explains(&r->history, now.values, &sector)) {
		printf("sector %" PRIu32 "\n", sector);
		complain(r, "no order explains the disk", NULL);
	}
	memcpy(r->history.before, now.values, sizeof(now.values));
}

static void check(struct rig *r)
{
	struct qcow2_check_result result = { .struct_size = sizeof(result) };
	struct qcow2_error err = { 0 };

	if (qcow2_close(r->img, &err) < 0)
		complain(r, "close", &err);
	if (qcow2_check_store(r->files.stores[FILE_TOP], NULL, &result, &err) <
		    0 ||
	    result.corruptions || result.leaks)
		complain(r, "check finds something", &err);
	if (files_open(&r->files, true, NULL, &r->img, &err) < 0) {
		complain(r, "open", &err);
		exit(1);
	}
}

static void check_contents(struct rig *r)
{
	static struct seen now;

	check(r);
	read_disk(r, &now);
	if (memcmp(now.values, r->history.before,
		   r->n_sectors * sizeof(now.values[0])) != 0)
		complain(r, "it reads otherwise when opened again", NULL);
}

/* ---- Rounds -------------------------------------------------------------- */

static void start(struct worker *w, struct rig *r, unsigned index,
		  struct test_rng *rng, void *(*fn)(void *arg))
{
	int rc;

	w->rig = r;
	w->index = index;
	w->seed = test_rng_next(rng);
	rc = pthread_create(&w->thread, NULL, fn, w);
	assert(rc == 0);
	(void)rc;
}

static void play(struct rig *r, struct test_rng *rng)
{
	struct worker w[WRITERS + READERS] = { 0 };

	for (unsigned i = 0; i < WRITERS; i++)
		start(&w[i], r, i, rng, writer_main);
	for (unsigned i = 0; i < READERS; i++)
		start(&w[WRITERS + i], r, i, rng, reader_main);
	r->history.n = 0;
	for (unsigned i = 0; i < WRITERS + READERS; i++) {
		pthread_join(w[i].thread, NULL);
		for (unsigned k = 0; k < w[i].n; k++)
			if (w[i].events[k].len)
				r->history.events[r->history.n++] =
					w[i].events[k];
	}
	r->next_number += WRITERS * REQUESTS;
	judge(r);
}

static struct config random_config(struct test_rng *rng)
{
	static const uint32_t clusters[] = { 512, 2048, 4096, 16384, 65536 };
	struct config c = { .version = 3, .refcount_bits = 16 };

	c.cluster = clusters[test_rng_below(rng, 5)];
	c.size = min_u64(c.cluster * UINT64_C(40),
			 HISTORY_SECTORS * UINT64_C(512));
	c.extended_l2 = c.cluster >= 16384 && test_rng_below(rng, 2);
	c.lazy = test_rng_below(rng, 4) == 0;
	c.discard = (uint32_t)test_rng_below(rng, 16);
	if (test_rng_below(rng, 3) == 0)
		c.compression = QCOW2_COMPRESSION_ZSTD;
	if (test_rng_below(rng, 2)) {
		c.l2_slice_bytes = 512;
		c.l2_cache_bytes = c.cluster;
	}
	return c;
}

static void rig_open(struct rig *r, struct test_rng *rng)
{
	struct qcow2_error err = { 0 };

	memset(&r->history, 0, sizeof(r->history));
	r->config = random_config(rng);
	r->n_sectors = (uint32_t)(r->config.size / STAMP_SECTOR);
	r->history.n_sectors = r->n_sectors;
	r->next_number = 1;
	atomic_store(&r->clock, 1);
	if (files_make(&r->files, &r->config, NULL, &err) < 0) {
		complain(r, "make", &err);
		exit(1);
	}
	slow_down(&r->files.stores[FILE_TOP]);
	if (files_open(&r->files, true, NULL, &r->img, &err) < 0) {
		complain(r, "open", &err);
		exit(1);
	}
}

static void rig_close(struct rig *r)
{
	check_contents(r);
	qcow2_close(r->img, NULL);
	files_release(&r->files);
}

static void run(struct rig *r, uint64_t seed, uint64_t rounds)
{
	struct test_rng rng = test_rng_init(seed);

	for (uint64_t i = 0; i < rounds && !atomic_load(&r->failed); i++) {
		if (i % ROUNDS_CONFIG == 0)
			rig_open(r, &rng);
		play(r, &rng);
		if (i % ROUNDS_OPEN == ROUNDS_OPEN - 1)
			check_contents(r);
		if (i % ROUNDS_CONFIG == ROUNDS_CONFIG - 1 || i + 1 == rounds)
			rig_close(r);
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "rounds", required_argument, NULL, 'r' },
		{ NULL, 0, NULL, 0 },
	};
	static struct rig r;
	uint64_t seed = test_seed();
	uint64_t rounds = TEST_AMOUNT(2000, 300);
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 's')
			seed = strtoull(optarg, NULL, 0);
		else if (opt == 'r')
			rounds = strtoull(optarg, NULL, 0);
		else
			return 2;
	}
	for (unsigned i = 0; i < READERS; i++) {
		r.seen[i] = calloc(READS, sizeof(*r.seen[i]));
		assert(r.seen[i]);
	}
	run(&r, seed, rounds);
	for (unsigned i = 0; i < READERS; i++)
		free(r.seen[i]);
	printf("seed %" PRIu64 ": %" PRIu64 " rounds of %d requests\n", seed,
	       rounds, WRITERS * REQUESTS);
	return atomic_load(&r.failed) ? 1 : 0;
}
