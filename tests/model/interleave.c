/*
 * Two requests in every order of their store calls, and three in many; and a
 * disk that grows with one request to its end and one behind it.
 *
 *	interleave [--seed N] [--limit N] [--part I/N] [--only N]
 *		   pairs|triples|growth
 *
 * The limit counts the orders of one pair, or the triples.  Without --limit it
 * is 100 and 1000, or 10 and 100 under a sanitizer; as many for growth as for
 * triples.
 *
 * In every order the disk must read as if the requests had come one after the
 * other, a read must have seen each sector as it was at some time, and the
 * closed image must be sound.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "model/scene.h"
#include "support/amount.h"

/* A disk that grows ends in the middle of a cluster. */
enum { SMALL = 9 * CLUSTER + 3 * SECTOR };

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

/* ---- Growth -------------------------------------------------------------- */

/* The contents of the cluster in which the disk ends: data, nothing, compressed
 * data, zeros. */
static const struct op lasts[] = {
	{ .kind = OP_WRITE, .fill = FILL_STAMP, .pattern = 0x50 },
	{ .kind = OP_FLUSH },
	{ .kind = OP_COMPRESS, .fill = FILL_STAMP, .pattern = 0x51 },
	{ .kind = OP_ZERO, .flags = QCOW2_ZERO_MAY_UNMAP },
};

enum { N_LASTS = sizeof(lasts) / sizeof(lasts[0]), N_GROWTHS = 4 * N_LASTS };

static void growth_init(struct scene *s, unsigned i)
{
	struct config c = scene_config(policies[i % N_SCENES]);
	struct op last = lasts[i % N_LASTS];

	c.size = SMALL;
	if (i / N_LASTS % 2) {
		c.backing = BACKING_RAW;
		c.backing_size = DISK;
	}
	if (i / N_LASTS / 2)
		c.version = 2;
	last.off = 9 * CLUSTER;
	last.len = CLUSTER;
	scene_init(s, c, &last);
}

/* The disk grows; a request ends where it ends, or near there; another is
 * partly or all behind that place. */
static void put_growth(struct scene *s, struct test_rng *rng)
{
	static const unsigned char near[] = { 1, 3, 3, 11, 27 };
	unsigned end = SMALL / SECTOR - (unsigned)test_rng_below(rng, 3) / 2;
	unsigned len = near[test_rng_below(rng, sizeof(near))];
	unsigned back = (unsigned)test_rng_below(rng, 3);

	s->n = 3;
	s->requests[0] = (struct request){ 0 };
	s->requests[0].op = (struct op){
		.kind = OP_RESIZE,
		.size = DISK - SECTOR * test_rng_below(rng, 2),
		.prealloc = (enum qcow2_preallocation)test_rng_below(rng, 4),
	};
	put_request(s, 1, (unsigned)test_rng_below(rng, N_KINDS), end - len,
		    len);
	put_request(s, 2, (unsigned)test_rng_below(rng, N_KINDS),
		    SMALL / SECTOR - back,
		    1 + (unsigned)test_rng_below(rng, 4));
	for (unsigned i = 1; i < 3; i++)
		s->requests[i].op =
			op_cut(s->requests[i].op,
			       i == 1 ? SMALL : s->requests[0].op.size);
}

static void play_growth(struct totals *t)
{
	static struct scene scenes[N_GROWTHS];

	for (unsigned i = 0; i < N_GROWTHS; i++)
		growth_init(&scenes[i], i);
	for (uint64_t i = 0; i < t->limit && t->n_failures <= 3; i++) {
		struct test_rng rng = test_rng_init(t->seed * 1000003 + i);
		struct scene *s = &scenes[i % N_GROWTHS];
		struct choices c = { 0 };

		if (!is_mine(t, i))
			continue;
		put_growth(s, &rng);
		if (!scene_play(s, &c, &rng))
			report(t, s, &c, i);
		t->done++;
	}
	for (unsigned i = 0; i < N_GROWTHS; i++)
		scene_release(&scenes[i]);
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
	bool growth, triples;

	t.seed = test_seed();
	if (!parse_options(&t, argc, argv)) {
		fprintf(stderr, "interleave: wrong arguments; see "
				"interleave.c\n");
		return 2;
	}
	steps_share_processor();
	growth = strcmp(argv[optind], "growth") == 0;
	triples = strcmp(argv[optind], "triples") == 0;
	if (!t.limit)
		t.limit = usual_limit(triples || growth);
	for (unsigned i = 0; i < N_SCENES; i++)
		scene_init(&scenes[i], scene_config(policies[i]), NULL);
	if (growth)
		play_growth(&t);
	else if (triples)
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
