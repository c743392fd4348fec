/*
 * The model test: random operations on images of all kinds, held against an
 * array of bytes.
 *
 *	model [OPTION...]
 *
 *	--seed N       of everything random; else TEST_SEED, else the clock
 *	--ops N        about so many operations; 0: for ever; else 6000, or
 *	               2000 under a sanitizer
 *	--sequence N   only the sequence with this seed
 *	--length N     operations of a sequence at most
 *	--no-qemu      never ask qemu-img
 *	--first        stop at the first failure
 *	--script FILE  where to write the script of a failure; else it is only
 *	               printed
 *	--fill FILL,PATTERN,OFF,LEN
 *	               prints what such a write writes
 *
 * A failing sequence is shrunk and printed as a shell script.  Exit status 1
 * after a failure.
 */
#include <dirent.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/files.h"
#include "model/run.h"
#include "model/script.h"
#include "model/shrink.h"
#include "support/amount.h"

enum { DEFAULT_OPS = TEST_AMOUNT(6000, 2000), FAILURES_MAX = 3 };

struct model {
	uint64_t seed;
	uint64_t n_ops; /* 0: no limit */
	uint64_t only;  /* one sequence; 0: all */
	uint64_t length;
	bool with_qemu;
	unsigned most_failures;
	const char *script;
	char dir[64];
	uint64_t done_sequences;
	uint64_t done_ops;
	uint64_t done_qemu;
	unsigned n_failures;
};

/* ---- One sequence -------------------------------------------------------- */

static struct trial trial_random(const struct model *m, uint64_t seed)
{
	struct test_rng rng = test_rng_init(~seed);
	struct trial t = { .dir = m->dir };
	size_t n = 5 + test_rng_below(&rng, m->length);

	t.config = config_random(seed, m->with_qemu);
	t.ops = sequence_random(&t.config, &rng, n, m->with_qemu);
	t.ask_qemu = m->with_qemu;
	return t;
}

static void save_script(const struct model *m, const struct trial *t,
			const struct verdict *v)
{
	FILE *out = fopen(m->script, "w");

	if (!out) {
		perror(m->script);
		return;
	}
	script_print(t, v, out);
	fclose(out);
}

static void report(const struct model *m, struct trial *t, struct verdict *v,
		   uint64_t seed)
{
	char text[512];

	config_describe(&t->config, text, sizeof(text));
	printf("FAILURE: %s\n  %zu operations on %s\n"
	       "  run it again: model --sequence %" PRIu64 " --length %" PRIu64
	       "%s\n",
	       v->why, t->ops.n, text, seed, m->length,
	       m->with_qemu ? "" : " --no-qemu");
	fflush(stdout);
	trial_shrink(t, v);
	printf("  shrunk to %zu operations:\n\n", t->ops.n);
	script_print(t, v, stdout);
	putchar('\n');
	if (m->script)
		save_script(m, t, v);
}

static void empty_dir(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir)
		closedir(dir);
}

static void run_sequence(struct model *m, uint64_t seed)
{
	struct trial t = trial_random(m, seed);
	struct verdict v;

	trial_run_apart(&t, &v);
	m->done_sequences++;
	m->done_ops += t.ops.n;
	m->done_qemu += t.ask_qemu;
	if (!v.ok) {
		m->n_failures++;
		report(m, &t, &v, seed);
	}
	sequence_free(&t.ops);
	empty_dir(m->dir);
}

static void run_all(struct model *m)
{
	struct test_rng rng = test_rng_init(m->seed);

	while (m->n_failures < m->most_failures &&
	       (!m->n_ops || m->done_ops < m->n_ops))
		run_sequence(m, test_rng_next(&rng) >> 16);
}

/* ---- Command line -------------------------------------------------------- */

static bool print_fill(const char *text)
{
	struct op op = { .kind = OP_WRITE };
	unsigned pattern, fill;
	uint8_t *buf;

	if (sscanf(text, "%u,%u,%" SCNu64 ",%" SCNu64, &fill, &pattern, &op.off,
		   &op.len) != 4 ||
	    fill > FILL_RANDOM)
		return false;
	op.fill = (enum fill)fill;
	op.pattern = (uint8_t)pattern;
	buf = malloc(op.len + 1);
	if (!buf)
		return false;
	op_fill(&op, buf, op.len, op.off);
	fwrite(buf, 1, op.len, stdout);
	free(buf);
	return true;
}

static bool parse_options(struct model *m, int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "ops", required_argument, NULL, 'n' },
		{ "sequence", required_argument, NULL, 'o' },
		{ "length", required_argument, NULL, 'l' },
		{ "no-qemu", no_argument, NULL, 'q' },
		{ "first", no_argument, NULL, '1' },
		{ "script", required_argument, NULL, 'S' },
		{ "fill", required_argument, NULL, 'f' },
		{ NULL, 0, NULL, 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 's')
			m->seed = strtoull(optarg, NULL, 0);
		else if (opt == 'n')
			m->n_ops = strtoull(optarg, NULL, 0);
		else if (opt == 'o')
			m->only = strtoull(optarg, NULL, 0);
		else if (opt == 'l')
			m->length = strtoull(optarg, NULL, 0);
		else if (opt == 'q')
			m->with_qemu = false;
		else if (opt == '1')
			m->most_failures = 1;
		else if (opt == 'S')
			m->script = optarg;
		else if (opt == 'f')
			exit(print_fill(optarg) ? 0 : 2);
		else
			return false;
	}
	return optind == argc && m->length;
}

/* Memory is the best place for data that is read back at once. */
static bool make_dir(struct model *m)
{
	const char *tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

	snprintf(m->dir, sizeof(m->dir), "%s/qcow2-model.XXXXXX", tmp);
	return mkdtemp(m->dir);
}

static bool have_qemu(void)
{
	return system("qemu-img --version >/dev/null 2>&1") == 0;
}

int main(int argc, char **argv)
{
	struct model m = { .n_ops = DEFAULT_OPS,
			   .length = 110,
			   .most_failures = FAILURES_MAX };

	m.seed = test_seed();
	m.with_qemu = have_qemu();
	if (!parse_options(&m, argc, argv)) {
		fprintf(stderr, "model: wrong arguments; see model.c\n");
		return 2;
	}
	if (!m.with_qemu)
		printf("without qemu-img\n");
	if (!make_dir(&m)) {
		perror("model: scratch directory");
		return 2;
	}
	if (m.only)
		run_sequence(&m, m.only);
	else
		run_all(&m);
	rmdir(m.dir);
	printf("seed %" PRIu64 ": %" PRIu64 " sequences, %" PRIu64
	       " operations, %" PRIu64 " shown to qemu-img, %u failures\n",
	       m.seed, m.done_sequences, m.done_ops, m.done_qemu, m.n_failures);
	return m.n_failures ? 1 : 0;
}
