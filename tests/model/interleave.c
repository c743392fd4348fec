/*
 * Two requests in every order of their store calls, and three in many.
 *
 *	interleave [--seed N] [--limit N] [--part I/N] [--only N] pairs|triples
 *
 * The limit counts the orders of one pair, or the triples.  Without --limit it
 * is 100 and 1000, or 10 and 100 under a sanitizer.
 *
 * In every order the disk must read as if the requests had come one after the
 * other, a read must have seen each sector as it was at some time, and the
 * closed image must be sound.
 */
#include <assert.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "model/files.h"
#include "model/oracle.h"
#include "model/steps.h"
#include "store/mem.h"
#include "store/store.h"
#include "support/amount.h"

enum { CLUSTER = 4096, DISK = 10 * CLUSTER, SECTOR = 512, N_ORDERS = 6 };

struct request {
	struct op op;
	uint8_t seen[DISK]; /* by a read */
	int rc;
};

struct scene {
	struct config config;
	struct files files;
	struct qcow2_store *base; /* the image before the requests */
	struct oracle before;
	struct steps *steps;
	struct qcow2_image *img;
	unsigned n;
	struct request requests[STEPS_THREADS];
	char why[256];
};

struct totals {
	uint64_t seed;
	uint64_t limit; /* interleavings of one pair; 0: the usual */
	unsigned part;
	unsigned n_parts;
	int64_t only;
	uint64_t done;
	uint64_t cut_short; /* pairs with more than the limit */
	uint64_t n_pairs;
	unsigned n_failures;
};

/* ---- Requests ------------------------------------------------------------ */

static int perform(struct qcow2_image *img, struct request *r)
{
	const struct op *op = &r->op;
	uint8_t buf[DISK];

	op_fill(op, buf, op->len, op->off);
	switch (op->kind) {
	case OP_WRITE:
		return qcow2_pwrite(img, buf, op->len, op->off, op->flags,
				    NULL);
	case OP_COMPRESS:
		return qcow2_write_compressed(img, buf, op->len, op->off, 0,
					      NULL);
	case OP_ZERO:
		return qcow2_zero(img, op->len, op->off, op->flags, NULL);
	case OP_DISCARD:
		return qcow2_discard(img, op->len, op->off, 0, NULL);
	case OP_READ:
		return qcow2_pread(img, r->seen, op->len, op->off, 0, NULL);
	default:
		return qcow2_flush(img, NULL);
	}
}

static void request_main(void *arg, unsigned i)
{
	struct scene *s = arg;

	s->requests[i].rc = perform(s->img, &s->requests[i]);
}

/* ---- The scene ----------------------------------------------------------- */

/* Clusters 0 and 1 hold data, 2 and 3 nothing, 4 and 5 are compressed, 6 is
 * zeros, 7 data that was written before and freed, 8 data, 9 zeros that keep
 * their place. */
static const struct op prefill[] = {
	{ .kind = OP_WRITE, .off = 0, .len = 2 * CLUSTER },
	{ .kind = OP_COMPRESS, .off = 4 * CLUSTER, .len = 2 * CLUSTER },
	{ .kind = OP_WRITE, .off = 6 * CLUSTER, .len = 4 * CLUSTER },
	{ .kind = OP_ZERO,
	  .off = 6 * CLUSTER,
	  .len = 2 * CLUSTER,
	  .flags = QCOW2_ZERO_MAY_UNMAP },
	{ .kind = OP_WRITE, .off = 7 * CLUSTER, .len = CLUSTER },
	{ .kind = OP_ZERO, .off = 9 * CLUSTER, .len = CLUSTER },
};

static void scene_init(struct scene *s, uint32_t discard)
{
	struct qcow2_error err = { 0 };
	int rc;

	memset(s, 0, sizeof(*s));
	s->config = (struct config){
		.size = DISK,
		.cluster = CLUSTER,
		.version = 3,
		.refcount_bits = 16,
		.discard = discard,
		.n_windows = 1,
		.windows = { { 0, DISK } },
	};
	s->before = oracle_new(&s->config);
	s->steps = steps_new();
	rc = files_make(&s->files, &s->config, NULL, &err);
	if (rc == 0)
		rc = files_open(&s->files, true, NULL, &s->img, &err);
	for (size_t i = 0; rc == 0 && i < sizeof(prefill) / sizeof(*prefill);
	     i++) {
		struct request r = { .op = prefill[i] };

		r.op.fill = FILL_STAMP;
		r.op.pattern = (uint8_t)(0x40 + i);
		rc = perform(s->img, &r);
		oracle_apply(&s->before, &r.op);
	}
	if (rc == 0)
		rc = qcow2_close(s->img, &err);
	assert(rc == 0);
	s->base = s->files.stores[FILE_TOP];
	s->files.stores[FILE_TOP] = NULL;
}

static void scene_release(struct scene *s)
{
	store_unref(s->base);
	oracle_free(&s->before);
	steps_free(s->steps);
}

/* Opens a copy of the base, with tables in memory. */
static void scene_open(struct scene *s)
{
	CLEANUP_STORE struct qcow2_store *copy = NULL;
	uint8_t buf[DISK];
	int rc = store_mem_clone(s->base, &copy, NULL);

	if (rc == 0)
		rc = steps_store_new(s->steps, copy,
				     &s->files.stores[FILE_TOP]);
	if (rc == 0)
		rc = files_open(&s->files, true, NULL, &s->img, NULL);
	if (rc == 0)
		rc = qcow2_pread(s->img, buf, DISK, 0, 0, NULL);
	assert(rc == 0);
	(void)rc;
}

/* ---- Judging ------------------------------------------------------------- */

static bool wrong(struct scene *s, const char *what, uint64_t off)
{
	snprintf(s->why, sizeof(s->why), "%s (byte %" PRIu64 ")", what, off);
	return false;
}

static const unsigned char orders[N_ORDERS][STEPS_THREADS] = {
	{ 0, 1, 2 }, { 1, 0, 2 }, { 0, 2, 1 },
	{ 2, 0, 1 }, { 1, 2, 0 }, { 2, 1, 0 },
};

static struct oracle in_order(const struct scene *s, unsigned order)
{
	struct oracle o = oracle_copy(&s->before);

	for (unsigned i = 0; i < STEPS_THREADS; i++)
		if (orders[order][i] < s->n)
			oracle_apply(&o, &s->requests[orders[order][i]].op);
	return o;
}

/* A compressed write is a request for each of its clusters. */
static uint64_t grain(const struct scene *s)
{
	for (unsigned i = 0; i < s->n; i++)
		if (s->requests[i].op.kind == OP_COMPRESS)
			return CLUSTER;
	return DISK;
}

static bool is_serial(struct scene *s, const uint8_t *disk, uint64_t len,
		      uint64_t off)
{
	bool found = false;

	for (unsigned i = 0; i < N_ORDERS && !found; i++) {
		struct oracle o = in_order(s, i);

		found = memcmp(disk + off, o.bytes[0] + off, len) == 0;
		oracle_free(&o);
	}
	return found;
}

static bool disk_is_serial(struct scene *s, const uint8_t *disk)
{
	uint64_t step = grain(s);

	for (uint64_t off = 0; off < DISK; off += step)
		if (!is_serial(s, disk, step, off))
			return wrong(s, "no serial order explains the disk",
				     off);
	return true;
}

/* Every state in which a sector can have been: after some of the requests, in
 * some order. */
static bool sector_was_there(struct scene *s, const uint8_t *seen, uint64_t off)
{
	bool found = memcmp(seen, s->before.bytes[0] + off, SECTOR) == 0;

	for (unsigned k = 0; k < N_ORDERS && !found; k++) {
		struct oracle o = oracle_copy(&s->before);

		for (unsigned i = 0; i < STEPS_THREADS && !found; i++) {
			if (orders[k][i] >= s->n)
				continue;
			oracle_apply(&o, &s->requests[orders[k][i]].op);
			found = memcmp(seen, o.bytes[0] + off, SECTOR) == 0;
		}
		oracle_free(&o);
	}
	return found;
}

static bool requests_are_right(struct scene *s)
{
	for (unsigned i = 0; i < s->n; i++) {
		const struct request *r = &s->requests[i];

		if (r->rc < 0)
			return wrong(s, "a request failed", r->op.off);
		if (r->op.kind != OP_READ)
			continue;
		for (uint64_t at = 0; at < r->op.len; at += SECTOR)
			if (!sector_was_there(s, r->seen + at, r->op.off + at))
				return wrong(s,
					     "a read saw what was never "
					     "there",
					     r->op.off + at);
	}
	return true;
}

static bool check_is_clean(struct scene *s)
{
	struct qcow2_check_result result = { .struct_size = sizeof(result) };
	int rc = qcow2_check_store(s->files.stores[FILE_TOP], NULL, &result,
				   NULL);

	if (rc < 0 || result.corruptions || result.leaks)
		return wrong(s, "check finds something", 0);
	return true;
}

static bool reads_again(struct scene *s, const uint8_t *disk)
{
	uint8_t again[DISK];
	int rc = files_open(&s->files, false, NULL, &s->img, NULL);

	if (rc == 0)
		rc = qcow2_pread(s->img, again, DISK, 0, 0, NULL);
	if (rc == 0)
		rc = qcow2_close(s->img, NULL);
	if (rc < 0 || memcmp(disk, again, DISK) != 0)
		return wrong(s, "it reads otherwise when opened again", 0);
	return true;
}

/* One interleaving. */
static bool scene_play(struct scene *s, struct choices *c, struct test_rng *rng)
{
	uint8_t disk[DISK];
	bool ok;
	int rc;

	scene_open(s);
	if (!steps_run(s->steps, s->n, request_main, s, c, rng)) {
		wrong(s, "the requests wait for one another for ever", 0);
		printf("FAILURE: %s\n", s->why);
		exit(1);
	}
	ok = requests_are_right(s);
	rc = qcow2_pread(s->img, disk, DISK, 0, 0, NULL);
	ok = ok && (rc == 0 || wrong(s, "it cannot be read", 0));
	rc = qcow2_close(s->img, NULL);
	ok = ok && (rc == 0 || wrong(s, "it cannot be closed", 0));
	ok = ok && disk_is_serial(s, disk) && check_is_clean(s) &&
	     reads_again(s, disk);
	store_unref(s->files.stores[FILE_TOP]);
	s->files.stores[FILE_TOP] = NULL;
	return ok;
}

/* ---- Scenes -------------------------------------------------------------- */

static const struct request kinds[] = {
	{ .op = { .kind = OP_WRITE } },
	{ .op = { .kind = OP_ZERO } },
	{ .op = { .kind = OP_ZERO, .flags = QCOW2_ZERO_MAY_UNMAP } },
	{ .op = { .kind = OP_DISCARD } },
	{ .op = { .kind = OP_COMPRESS } },
	{ .op = { .kind = OP_READ } },
	{ .op = { .kind = OP_FLUSH } },
	{ .op = { .kind = OP_WRITE, .flags = QCOW2_FUA } },
};

enum { N_KINDS = sizeof(kinds) / sizeof(kinds[0]) };

/* In sectors: two requests and their places. */
static const struct {
	unsigned char off[2], len[2];
} places[] = {
	{ { 0, 0 }, { 16, 16 } },  /* the same two clusters, in place */
	{ { 0, 4 }, { 4, 4 } },    /* adjacent in one cluster */
	{ { 12, 8 }, { 12, 16 } }, /* across data and nothing */
	{ { 16, 20 }, { 4, 4 } },  /* adjacent in a cluster that is new */
	{ { 34, 32 }, { 4, 8 } },  /* in a compressed cluster */
	{ { 32, 36 }, { 4, 4 } },  /* adjacent in it */
	{ { 40, 46 }, { 8, 12 } }, /* across compressed and zeros */
	{ { 72, 70 }, { 8, 6 } },  /* zeros that keep their place */
	{ { 0, 16 }, { 8, 8 } },   /* apart: freed here, allocated there */
};

/* The ways in which freed clusters can be treated. */
static const uint32_t policies[] = {
	0,
	QCOW2_DISCARD_REQUEST | QCOW2_DISCARD_OTHER,
	QCOW2_DISCARD_REQUEST | QCOW2_DISCARD_NO_UNREF,
};

enum { N_SCENES = sizeof(policies) / sizeof(policies[0]) };

enum { N_PLACES = sizeof(places) / sizeof(places[0]) };

static void put_request(struct scene *s, unsigned i, unsigned kind,
			unsigned off, unsigned len)
{
	struct request *r = &s->requests[i];

	memset(r, 0, sizeof(*r));
	r->op = kinds[kind].op;
	r->op.fill = FILL_STAMP;
	r->op.pattern = (uint8_t)(1 + i);
	r->op.off = off * SECTOR;
	r->op.len = len * SECTOR;
	if (r->op.kind == OP_COMPRESS) {
		uint64_t end = align_up(r->op.off + r->op.len, CLUSTER);

		r->op.off = align_down(r->op.off, CLUSTER);
		r->op.len = end - r->op.off;
	}
}

static void report(struct totals *t, const struct scene *s,
		   const struct choices *c, uint64_t number)
{
	t->n_failures++;
	printf("FAILURE: %s\n  number %" PRIu64 ", choices", s->why, number);
	for (unsigned i = 0; i < c->n; i++)
		printf(" %u", c->at[i].taken);
	putchar('\n');
	for (unsigned i = 0; i < s->n; i++)
		printf("  request %u: kind %d, flags %#x, %" PRIu64
		       " bytes at %" PRIu64 "\n",
		       i, (int)s->requests[i].op.kind, s->requests[i].op.flags,
		       s->requests[i].op.len, s->requests[i].op.off);
	fflush(stdout);
}

static bool is_mine(const struct totals *t, uint64_t number)
{
	if (t->only >= 0)
		return number == (uint64_t)t->only;
	return number % t->n_parts == t->part;
}

/* This is more orders than most pairs have; the other pairs get a sample. */
static uint64_t usual_limit(bool triples)
{
	return triples ? TEST_AMOUNT(1000, 100) : TEST_AMOUNT(100, 10);
}

/* All interleavings; beyond the limit, as many at random. */
static void play_all(struct totals *t, struct scene *s, uint64_t number)
{
	struct test_rng rng = test_rng_init(t->seed + number);
	struct choices c = { 0 };
	bool more = true;
	uint64_t n = 0;

	for (; more && n < t->limit; n++) {
		if (!scene_play(s, &c, NULL)) {
			report(t, s, &c, number);
			return;
		}
		more = choices_next(&c);
	}
	t->cut_short += more;
	for (uint64_t i = 0; more && i < t->limit; i++, n++) {
		c.n = 0;
		if (!scene_play(s, &c, &rng)) {
			report(t, s, &c, number);
			return;
		}
	}
	t->done += n;
	t->n_pairs++;
}

static void play_pairs(struct totals *t, struct scene *scenes)
{
	for (uint64_t i = 0; i < N_PLACES * N_KINDS * N_KINDS; i++) {
		uint64_t place = i / (N_KINDS * N_KINDS);
		struct scene *s = &scenes[(t->seed + i) % N_SCENES];

		if (!is_mine(t, i) || t->n_failures > 3)
			continue;
		s->n = 2;
		put_request(s, 0, (unsigned)(i % N_KINDS), places[place].off[0],
			    places[place].len[0]);
		put_request(s, 1, (unsigned)(i / N_KINDS % N_KINDS),
			    places[place].off[1], places[place].len[1]);
		play_all(t, s, i);
	}
}

static void play_triples(struct totals *t, struct scene *scenes)
{
	for (uint64_t i = 0; i < t->limit && t->n_failures <= 3; i++) {
		struct test_rng rng = test_rng_init(t->seed * 1000003 + i);
		unsigned first = (unsigned)test_rng_below(&rng, 60);
		struct scene *s = &scenes[i % N_SCENES];
		struct choices c = { 0 };

		if (!is_mine(t, i))
			continue;
		s->n = 3;
		for (unsigned k = 0; k < 3; k++)
			put_request(s, k,
				    (unsigned)test_rng_below(&rng, N_KINDS),
				    first + (unsigned)test_rng_below(&rng, 8),
				    1 + (unsigned)test_rng_below(&rng, 12));
		if (!scene_play(s, &c, &rng))
			report(t, s, &c, i);
		t->done++;
	}
}

/* ---- Command line -------------------------------------------------------- */

static bool parse_options(struct totals *t, int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "limit", required_argument, NULL, 'n' },
		{ "part", required_argument, NULL, 'p' },
		{ "only", required_argument, NULL, 'o' },
		{ NULL, 0, NULL, 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 's')
			t->seed = strtoull(optarg, NULL, 0);
		else if (opt == 'n')
			t->limit = strtoull(optarg, NULL, 0);
		else if (opt == 'o')
			t->only = strtoll(optarg, NULL, 0);
		else if (opt != 'p' ||
			 sscanf(optarg, "%u/%u", &t->part, &t->n_parts) != 2 ||
			 t->part >= t->n_parts)
			return false;
	}
	return optind + 1 == argc;
}

int main(int argc, char **argv)
{
	struct totals t = { .n_parts = 1, .only = -1 };
	static struct scene scenes[N_SCENES];
	bool triples;

	t.seed = test_seed();
	if (!parse_options(&t, argc, argv)) {
		fprintf(stderr, "interleave: wrong arguments; see "
				"interleave.c\n");
		return 2;
	}
	triples = strcmp(argv[optind], "triples") == 0;
	if (!t.limit)
		t.limit = usual_limit(triples);
	for (unsigned i = 0; i < N_SCENES; i++)
		scene_init(&scenes[i], policies[i]);
	if (triples)
		play_triples(&t, scenes);
	else
		play_pairs(&t, scenes);
	for (unsigned i = 0; i < N_SCENES; i++)
		scene_release(&scenes[i]);
	printf("seed %" PRIu64 ": %" PRIu64 " interleavings, %" PRIu64
	       " pairs, %" PRIu64 " of them not all, %u failures\n",
	       t.seed, t.done, t.n_pairs, t.cut_short, t.n_failures);
	return t.n_failures ? 1 : 0;
}
