/*
 * Comparison with qemu-img: the same numbers for images that it made, and the
 * same verdict for images that were broken at random, save for the differences
 * that docs/check-differences.md lists.  Skipped where qemu-img is not
 * installed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "check/check.h"
#include "format/defect.h"
#include "rig.h"
#include "store/file.h"

#define N_BASES 6
#define N_ROUNDS 60
#define IMAGE_BYTES_MAX (4u << 20)

/* The answer of qemu-img. */
struct theirs {
	int status; /* exit status; 1 is an error of any kind */
	uint64_t corruptions;
	uint64_t leaks;
	uint64_t check_errors;
	uint64_t allocated;
	uint64_t fragmented;
	uint64_t compressed;
	uint64_t total;
	uint64_t end_off;
};

struct dir {
	char path[64];
};

static void shell(const struct dir *d, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void shell(const struct dir *d, const char *fmt, ...)
{
	char cmd[600];
	int n = snprintf(cmd, sizeof(cmd), "cd %s && ", d->path);
	va_list ap;

	va_start(ap, fmt);
	n += vsnprintf(cmd + n, sizeof(cmd) - (size_t)n, fmt, ap);
	va_end(ap);
	assert_true(n < (int)sizeof(cmd));
	if (system(cmd) != 0)
		fail_msg("%s", cmd);
}

static int have_qemu(void)
{
	return system("qemu-img --version >/dev/null 2>&1 && "
		      "qemu-io --version >/dev/null 2>&1") == 0;
}

static struct dir *dir_new(void)
{
	struct dir *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	strcpy(d->path, "/tmp/check-qemu-XXXXXX");
	assert_non_null(mkdtemp(d->path));
	return d;
}

static void dir_free(struct dir *d)
{
	shell(d, "rm -rf %s", d->path);
	free(d);
}

/* The number behind "key": in qemu-img's JSON, 0 when it is left out. */
static uint64_t number(const char *json, const char *key)
{
	char quoted[64];
	const char *at;

	snprintf(quoted, sizeof(quoted), "\"%s\": ", key);
	at = strstr(json, quoted);
	return at ? strtoull(at + strlen(quoted), NULL, 10) : 0;
}

static struct theirs ask_qemu(const struct dir *d, const char *name)
{
	char cmd[200];
	char json[2000];
	struct theirs t;
	size_t len;
	FILE *f;

	snprintf(cmd, sizeof(cmd),
		 "cd %s && qemu-img check -f qcow2 "
		 "--output=json %s 2>/dev/null",
		 d->path, name);
	f = popen(cmd, "r");
	assert_non_null(f);
	len = fread(json, 1, sizeof(json) - 1, f);
	json[len] = 0;
	t.status = WEXITSTATUS(pclose(f));
	t.corruptions = number(json, "corruptions");
	t.leaks = number(json, "leaks");
	t.check_errors = number(json, "check-errors");
	t.allocated = number(json, "allocated-clusters");
	t.fragmented = number(json, "fragmented-clusters");
	t.compressed = number(json, "compressed-clusters");
	t.total = number(json, "total-clusters");
	t.end_off = number(json, "image-end-offset");
	return t;
}

static struct outcome *ask_us(const struct dir *d, const char *name)
{
	char path[200];
	struct qcow2_store *s;
	struct outcome *o;

	snprintf(path, sizeof(path), "%s/%s", d->path, name);
	assert_int_equal(store_file_open(path, 0, &s, NULL), 0);
	o = check_any(s, NULL);
	store_unref(s);
	return o;
}

static void same_numbers(const struct dir *d, const char *name)
{
	struct theirs t = ask_qemu(d, name);
	struct outcome *o = ask_us(d, name);

	assert_int_equal(o->rc, 0);
	assert_int_equal(o->result.corruptions, t.corruptions);
	assert_int_equal(o->result.leaks, t.leaks);
	assert_int_equal(o->result.check_errors, t.check_errors);
	assert_int_equal(o->result.allocated_clusters, t.allocated);
	assert_int_equal(o->result.fragmented_clusters, t.fragmented);
	assert_int_equal(o->result.compressed_clusters, t.compressed);
	assert_int_equal(o->result.total_clusters, t.total);
	assert_int_equal(o->result.image_end_off, t.end_off);
	free(o);
}

static void make(const struct dir *d, const char *name, const char *opts,
		 const char *size, const char *writes)
{
	shell(d,
	      "rm -f %s d.raw && qemu-img create -q -f qcow2 -o %s %s %s "
	      "&& qemu-io -f qcow2 %s %s >/dev/null",
	      name, opts, name, size, writes, name);
}

#define WRITES                                                      \
	"-c 'write 0 20k' -c 'write 30k 3k' -c 'write -c 64k 64k' " \
	"-c 'write -c 128k 64k'"
#define PLAIN "-c 'write 0 20k' -c 'write 3M 100k' -c 'write 30k 3k'"

TEST(images_that_qemu_made_have_the_same_numbers)
{
	static const struct {
		const char *opts;
		const char *size;
		const char *writes;
	} cases[] = {
		{ "compat=0.10", "8M", WRITES },
		{ "compat=0.10,cluster_size=512", "1M", WRITES },
		{ "compat=1.1,cluster_size=512,refcount_bits=1", "3M", WRITES },
		{ "cluster_size=4k,refcount_bits=64", "8M", WRITES },
		{ "cluster_size=4k,refcount_bits=2", "8M", WRITES },
		{ "cluster_size=64k,refcount_bits=8", "8M", WRITES },
		{ "cluster_size=2M", "1T", PLAIN },
		{ "extended_l2=on", "64M", WRITES },
		{ "extended_l2=on,cluster_size=2M", "64M", PLAIN },
		{ "extended_l2=on,preallocation=metadata", "8M", PLAIN },
		{ "preallocation=metadata", "64M", PLAIN },
		{ "preallocation=falloc", "8M", PLAIN },
		{ "lazy_refcounts=on", "8M", WRITES },
		{ "compression_type=zstd", "8M", WRITES },
		{ "data_file=d.raw", "8M", PLAIN },
		{ "data_file=d.raw,data_file_raw=on", "8M", PLAIN },
		{ "compat=1.1", "0", "-c 'read 0 0'" },
		{ "compat=1.1", "1T", "-c 'write 500G 64k'" },
	};
	struct dir *d;

	if (!have_qemu())
		skip();
	d = dir_new();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		make(d, "t", cases[i].opts, cases[i].size, cases[i].writes);
		same_numbers(d, "t");
	}
	dir_free(d);
}

TEST(snapshots_and_bitmaps_have_the_same_numbers)
{
	struct dir *d;

	if (!have_qemu())
		skip();
	d = dir_new();
	make(d, "t", "cluster_size=4k", "8M", WRITES);
	for (int i = 0; i < 5; i++) {
		shell(d,
		      "qemu-img snapshot -c s%d t && "
		      "qemu-io -c 'write %dk 9k' t >/dev/null",
		      i, i * 7);
		same_numbers(d, "t");
	}
	shell(d, "qemu-img bitmap --add -g 512 t b0 && "
		 "qemu-img bitmap --add t b1 && "
		 "qemu-io -c 'write 5M 30k' t >/dev/null");
	same_numbers(d, "t");
	shell(d, "qemu-img snapshot -d s2 t && qemu-img bitmap --remove t b0");
	same_numbers(d, "t");
	dir_free(d);
}

/* qemu-io killed before it can write its refcounts. */
TEST(images_that_qemu_left_dirty_have_the_same_numbers)
{
	struct dir *d;

	if (!have_qemu())
		skip();
	d = dir_new();
	make(d, "t", "lazy_refcounts=on", "8M", WRITES);
	shell(d, "qemu-io -c 'write 2M 300k' -c flush -c 'sigraise 9' t "
		 ">/dev/null 2>&1 || true");
	same_numbers(d, "t");
	make(d, "t", "compat=1.1", "8M", WRITES);
	shell(d, "qemu-io -c 'write 2M 300k' -c flush -c 'write 4M 300k' "
		 "-c 'discard 0 1M' -c 'sigraise 9' t >/dev/null 2>&1 || true");
	same_numbers(d, "t");
	dir_free(d);
}

/* ---- Random damage ------------------------------------------------------- */

static void make_bases(const struct dir *d)
{
	make(d, "b0", "cluster_size=4k", "1M", WRITES);
	make(d, "b1", "cluster_size=4k", "1M", WRITES);
	shell(d, "for i in 0 1; do qemu-img snapshot -c s$i b1 && "
		 "qemu-io -c \"write ${i}5k 6k\" b1 >/dev/null; done");
	make(d, "b2", "cluster_size=16k,extended_l2=on", "1M", WRITES);
	make(d, "b3", "cluster_size=4k", "64M", PLAIN);
	shell(d, "qemu-img bitmap --add -g 512 b3 b && "
		 "qemu-io -c 'write 1k 10k' b3 >/dev/null");
	make(d, "b4", "cluster_size=512,refcount_bits=1", "256k", WRITES);
	make(d, "b5", "cluster_size=4k,compat=0.10", "1M", WRITES);
}

struct bytes {
	uint8_t *p;
	size_t len;
};

static struct bytes slurp(const struct dir *d, const char *name)
{
	struct bytes b = { .p = malloc(IMAGE_BYTES_MAX) };
	char path[200];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", d->path, name);
	f = fopen(path, "rb");
	assert_non_null(f);
	assert_non_null(b.p);
	b.len = fread(b.p, 1, IMAGE_BYTES_MAX, f);
	fclose(f);
	return b;
}

static void spill(const struct dir *d, const char *name, struct bytes b)
{
	char path[200];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", d->path, name);
	f = fopen(path, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(b.p, 1, b.len, f), b.len);
	fclose(f);
}

/* Words of metadata: in use, and other than the fill that qemu-io writes. */
static bool is_metadata(struct bytes b, size_t at)
{
	uint64_t v = get_be64(b.p + at);

	return v != 0 && b.p[at] != 0xcd;
}

/* Spares the header, whose rules other tests hold. */
static void damage(struct test_rng *rng, struct bytes b)
{
	size_t at;

	do {
		at = 512 + test_rng_below(rng, b.len / 8 - 64) * 8;
	} while (!is_metadata(b, at));
	if (test_rng_below(rng, 5) == 0)
		put_be64(b.p + at, 0);
	else
		b.p[at + test_rng_below(rng, 8)] ^=
			(uint8_t)(1u << test_rng_below(rng, 8));
}

/* Defects that qemu-img does not look for. */
static bool is_only_ours(const struct outcome *o)
{
	static const int32_t ours[] = {
		DEFECT_L2_ENTRY_COPIED_WITHOUT_OFFSET,
		DEFECT_L2_ENTRY_ZERO_V2,
		DEFECT_L2_ENTRY_RESERVED,
		DEFECT_COMPRESSED_BEYOND_EOF,
		DEFECT_SNAPSHOT_DISK_SIZE,
		DEFECT_SNAPSHOT_L1,
		DEFECT_CLUSTER_OVERLAP,
		DEFECT_COPIED_FLAG,
		DEFECT_BITMAP_TABLE,
		DEFECT_BITMAP_ENTRY,
	};

	for (size_t i = 0; i < o->n && i < RIG_FINDINGS; i++) {
		for (size_t k = 0; k < sizeof(ours) / sizeof(ours[0]); k++) {
			if (o->found[i].defect == ours[k])
				return true;
		}
	}
	return false;
}

static bool is_bad(const struct outcome *o)
{
	return o->rc < 0 || o->result.corruptions || o->result.leaks ||
	       o->result.check_errors;
}

static void compare_verdicts(const struct dir *d, const char *base)
{
	struct theirs t = ask_qemu(d, "z");
	struct outcome *o = ask_us(d, "z");
	bool agree = is_bad(o) == (t.status != 0);

	if (!agree && is_bad(o))
		agree = is_only_ours(o);
	if (!agree) {
		shell(d, "cp z /tmp/check-disagreement.qcow2");
		print_message("%s: qemu-img %d, we %s; kept as "
			      "/tmp/check-disagreement.qcow2\n",
			      base, t.status,
			      is_bad(o) ? "found something" : "did not");
	}
	free(o);
	assert_true(agree);
}

TEST(randomly_broken_images_have_the_same_verdict)
{
	struct test_rng rng = test_rng_init(test_seed());
	struct dir *d;

	if (!have_qemu())
		skip();
	d = dir_new();
	make_bases(d);
	for (unsigned i = 0; i < N_ROUNDS; i++) {
		char base[8];
		struct bytes b;

		snprintf(base, sizeof(base), "b%u", i % N_BASES);
		b = slurp(d, base);
		damage(&rng, b);
		if (test_rng_below(&rng, 2))
			damage(&rng, b);
		spill(d, "z", b);
		free(b.p);
		compare_verdicts(d, base);
	}
	dir_free(d);
}
