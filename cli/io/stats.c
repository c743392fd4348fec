/*
 * stats: the work that was done with a layer of the disk.
 *
 * The library only counts up.  `stats -r` keeps the numbers that it printed,
 * and the next `stats` of that layer subtracts them.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/io.h"
#include "json.h"

/* ------------------------------------------------------------------------- */
/* Every number there is                                                     */

/* One number of struct qcow2_stats.  Those with the same object are
 * neighbours. */
struct number {
	const char *object; /* object that has it; NULL: the outermost */
	const char *key;
	size_t off;
	unsigned n;  /* how many there are, in a row */
	bool is_now; /* as large as it is now; the others count events */
};

#define NUMBER(object, key, member)                                         \
	{                                                                   \
		object, key, offsetof(struct qcow2_stats, member), 1, false \
	}
#define NOW(object, key, member)                                           \
	{                                                                  \
		object, key, offsetof(struct qcow2_stats, member), 1, true \
	}
#define STEPS(object, key, member)                                 \
	{                                                          \
		object, key, offsetof(struct qcow2_stats, member), \
			QCOW2_LATENCY_STEPS, false                 \
	}
#define REQUESTS(object, member)                         \
	NUMBER(object, "done", member.done),             \
		NUMBER(object, "bytes", member.bytes),   \
		NUMBER(object, "failed", member.failed), \
		NUMBER(object, "again", member.again),   \
		NUMBER(object, "ns", member.ns),         \
		NOW(object, "ns-max", member.ns_max),    \
		STEPS(object, "n-by-ns", member.n_by_ns)
#define HOST_FILE(object, member)                                  \
	NUMBER(object, "reads", member.reads),                     \
		NUMBER(object, "read-bytes", member.read_bytes),   \
		NUMBER(object, "writes", member.writes),           \
		NUMBER(object, "write-bytes", member.write_bytes), \
		NUMBER(object, "zeroes", member.zeroes),           \
		NUMBER(object, "zero-bytes", member.zero_bytes),   \
		NUMBER(object, "barriers", member.barriers),       \
		NUMBER(object, "failed", member.failed)
#define CACHE(object, member)                                  \
	NUMBER(object, "hits", member.hits),                   \
		NUMBER(object, "misses", member.misses),       \
		NUMBER(object, "evictions", member.evictions), \
		NOW(object, "bytes", member.bytes),            \
		NOW(object, "bytes-max", member.bytes_max)

static const struct number numbers[] = {
	REQUESTS("read", read),
	REQUESTS("write", write),
	REQUESTS("write-compressed", write_compressed),
	REQUESTS("zero", zero),
	REQUESTS("discard", discard),
	REQUESTS("flush", flush),
	HOST_FILE("file", file),
	HOST_FILE("data-file", data_file),
	CACHE("l2-cache", l2_cache),
	NUMBER(NULL, "decompressed-clusters", decompressed_clusters),
	CACHE("refcount-cache", refcount_cache),
	NUMBER(NULL, "copied-bytes", copied_bytes),
	NUMBER(NULL, "allocated-clusters", allocated_clusters),
	NUMBER(NULL, "freed-clusters", freed_clusters),
	NOW(NULL, "waiting-bytes", waiting_bytes),
	NUMBER(NULL, "commits", commits),
	NUMBER(NULL, "overlap-checks", overlap_checks),
	NOW(NULL, "dirty-bytes", dirty_bytes),
	NOW(NULL, "allocated-end", allocated_end),
};

#define N_NUMBERS (sizeof(numbers) / sizeof(numbers[0]))

static uint64_t *number_in(struct qcow2_stats *s, const struct number *n)
{
	return (uint64_t *)((char *)s + n->off);
}

static void take_away(struct qcow2_stats *s, struct qcow2_stats *before)
{
	for (size_t i = 0; i < N_NUMBERS; i++) {
		const struct number *n = &numbers[i];

		for (unsigned k = 0; k < n->n && !n->is_now; k++)
			number_in(s, n)[k] -= number_in(before, n)[k];
	}
}

static void print_number(struct json *j, const struct number *n,
			 const uint64_t *values)
{
	if (n->n == 1) {
		json_u64(j, n->key, *values);
		return;
	}
	json_list(j, n->key);
	for (unsigned k = 0; k < n->n; k++)
		json_u64(j, NULL, values[k]);
	json_end(j);
}

/* Goes from the object *@inside to @next, each NULL for the outermost. */
static void enter_object(struct json *j, const char **inside, const char *next)
{
	if (*inside && next && strcmp(*inside, next) == 0)
		return;
	if (*inside)
		json_end(j);
	if (next)
		json_object(j, next);
	*inside = next;
}

static void print_json(struct qcow2_stats *s, uint32_t depth)
{
	const char *object = NULL;
	struct json j;

	json_init(&j, stdout, JSON_LINE);
	json_object(&j, NULL);
	json_u64(&j, "depth", depth);
	for (size_t i = 0; i < N_NUMBERS; i++) {
		const struct number *n = &numbers[i];

		enter_object(&j, &object, n->object);
		print_number(&j, n, number_in(s, n));
	}
	json_end(&j);
}

/* ------------------------------------------------------------------------- */
/* For people                                                                */

/* The end of the step that has the slowest of every hundred. */
static uint64_t slow_ns(const struct qcow2_request_stats *r)
{
	uint64_t beyond = 0;
	unsigned i = QCOW2_LATENCY_STEPS - 1;

	while (i > 0 && (beyond += r->n_by_ns[i]) <= r->done / 100)
		i--;
	return UINT64_C(1024) << i;
}

static void print_times(const struct qcow2_request_stats *r)
{
	double slow = (double)slow_ns(r), longest = (double)r->ns_max;

	if (!r->done)
		return;
	printf(", mean %.1f us, 99%% within %.0f us, longest %.1f us",
	       (double)r->ns / (double)r->done / 1e3,
	       (slow < longest ? slow : longest) / 1e3, longest / 1e3);
}

static void print_requests(const char *name,
			   const struct qcow2_request_stats *r)
{
	char text[IO_TEXT_MAX];

	printf("%s: %" PRIu64 " ops, %s", name, r->done,
	       io_size_text((double)r->bytes, text));
	print_times(r);
	if (r->failed)
		printf(", %" PRIu64 " failed", r->failed);
	if (r->again)
		printf(", %" PRIu64 " to be made again", r->again);
	printf("\n");
}

static void print_file(const char *name, const struct qcow2_file_stats *f)
{
	char read[IO_TEXT_MAX], written[IO_TEXT_MAX], zeroed[IO_TEXT_MAX];

	printf("%s: %" PRIu64 " reads, %s; %" PRIu64 " writes, %s; %" PRIu64
	       " zeroes, %s; %" PRIu64 " barriers",
	       name, f->reads, io_size_text((double)f->read_bytes, read),
	       f->writes, io_size_text((double)f->write_bytes, written),
	       f->zeroes, io_size_text((double)f->zero_bytes, zeroed),
	       f->barriers);
	if (f->failed)
		printf("; %" PRIu64 " failed", f->failed);
	printf("\n");
}

static void print_cache(const char *name, const struct qcow2_cache_stats *c)
{
	char now[IO_TEXT_MAX], max[IO_TEXT_MAX];

	printf("%s: %" PRIu64 " hits, %" PRIu64 " misses, %" PRIu64
	       " evictions; now %s of %s\n",
	       name, c->hits, c->misses, c->evictions,
	       io_size_text((double)c->bytes, now),
	       io_size_text((double)c->bytes_max, max));
}

static void print_clusters(const struct qcow2_stats *s)
{
	char copied[IO_TEXT_MAX], waiting[IO_TEXT_MAX], dirty[IO_TEXT_MAX];

	printf("clusters: %" PRIu64 " allocated, %" PRIu64 " freed, %" PRIu64
	       " decompressed\n",
	       s->allocated_clusters, s->freed_clusters,
	       s->decompressed_clusters);
	printf("copied: %s\n", io_size_text((double)s->copied_bytes, copied));
	printf("in quarantine now: %s\n",
	       io_size_text((double)s->waiting_bytes, waiting));
	printf("metadata to be written now: %s\n",
	       io_size_text((double)s->dirty_bytes, dirty));
	printf("end of allocation: %" PRIu64 "\n", s->allocated_end);
	printf("commits: %" PRIu64 "\noverlap checks: %" PRIu64 "\n",
	       s->commits, s->overlap_checks);
}

static void print_text(const struct qcow2_stats *s)
{
	print_requests("read", &s->read);
	print_requests("write", &s->write);
	print_requests("write compressed", &s->write_compressed);
	print_requests("zero", &s->zero);
	print_requests("discard", &s->discard);
	print_requests("flush", &s->flush);
	print_file("image file", &s->file);
	print_file("data file", &s->data_file);
	print_cache("L2 cache", &s->l2_cache);
	print_cache("refcount cache", &s->refcount_cache);
	print_clusters(s);
}

/* ------------------------------------------------------------------------- */
/* The command                                                               */

void io_stats_forget(struct io_shell *sh)
{
	free(sh->stats);
	sh->stats = NULL;
	sh->n_stats = 0;
}

/* Layers that were never asked for have zeros. */
static int keep(struct io_shell *sh, uint32_t depth,
		const struct qcow2_stats *now)
{
	size_t n = (size_t)depth + 1;
	struct qcow2_stats *kept = sh->stats;

	if (n > sh->n_stats) {
		kept = realloc(kept, n * sizeof(*kept));
		if (!kept) {
			cli_error(sh->cli, NULL, "out of memory");
			return -1;
		}
		sh->stats = kept;
	}
	for (; sh->n_stats < n; sh->n_stats++)
		kept[sh->n_stats] = (struct qcow2_stats)QCOW2_STATS_INIT;
	kept[depth] = *now;
	return 0;
}

struct stats_options {
	bool json;
	bool reset;
	uint32_t depth;
};

static int tell(struct io_shell *sh, const struct stats_options *o)
{
	struct qcow2_stats now = QCOW2_STATS_INIT, since;
	struct qcow2_error err;

	if (qcow2_get_stats(sh->img, o->depth, &now, &err) < 0) {
		cli_report(sh->cli, sh->path, &err);
		return -1;
	}
	since = now;
	if (o->depth < sh->n_stats)
		take_away(&since, &sh->stats[o->depth]);
	if (o->json)
		print_json(&since, o->depth);
	else
		print_text(&since);
	return o->reset ? keep(sh, o->depth, &now) : 0;
}

int io_run_stats(struct io_shell *sh, const struct io_command *self, int argc,
		 char **argv)
{
	struct stats_options o = { .json = false };
	uint64_t depth = 0;
	int c;

	IO_OPTIONS_BEGIN();
	while ((c = getopt(argc, argv, "jr")) >= 0) {
		if (c == '?')
			return io_usage(self);
		o.json |= c == 'j';
		o.reset |= c == 'r';
	}
	if (optind < argc - 1)
		return io_usage(self);
	if (optind < argc && io_parse_size(argv[optind], &depth) < 0)
		return -1;
	o.depth = depth < UINT32_MAX ? (uint32_t)depth : UINT32_MAX;
	return tell(sh, &o);
}
