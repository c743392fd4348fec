#include "support/test.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

uint64_t test_seed(void)
{
	const char *env = getenv("TEST_SEED");
	struct timespec now;
	uint64_t seed;

	clock_gettime(CLOCK_REALTIME, &now);
	seed = (uint64_t)now.tv_sec * 1000000007u + (uint64_t)now.tv_nsec;
	if (env && *env)
		seed = strtoull(env, NULL, 0);
	printf("TEST_SEED=%" PRIu64 "\n", seed);
	return seed;
}

struct test_rng test_rng_init(uint64_t seed)
{
	return (struct test_rng){ seed };
}

/* splitmix64: every seed is good, every state follows from the seed. */
uint64_t test_rng_next(struct test_rng *rng)
{
	uint64_t z = rng->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint64_t test_rng_below(struct test_rng *rng, uint64_t limit)
{
	return test_rng_next(rng) % limit;
}

void test_rng_fill(struct test_rng *rng, void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len) {
		uint64_t word = test_rng_next(rng);
		size_t n = len < sizeof(word) ? len : sizeof(word);

		memcpy(p, &word, n);
		p += n;
		len -= n;
	}
}

static size_t page_bytes(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

static size_t pages_for(size_t len)
{
	return (len + page_bytes() - 1) / page_bytes() * page_bytes();
}

void *guard_alloc(size_t len)
{
	size_t bytes = pages_for(len);
	char *p = mmap(NULL, bytes + page_bytes(), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || mprotect(p + bytes, page_bytes(), PROT_NONE))
		abort();
	return p + bytes - len;
}

void guard_free(void *p, size_t len)
{
	size_t bytes = pages_for(len);

	munmap((char *)p + len - bytes, bytes + page_bytes());
}

/* No core file, and no message that looks like a failure of the test. */
static void prepare_to_abort(void)
{
	struct rlimit none = { 0 };
	int null = open("/dev/null", O_WRONLY);

	setrlimit(RLIMIT_CORE, &none);
	signal(SIGABRT, SIG_DFL);
	dup2(null, STDERR_FILENO);
}

bool test_in_child(void)
{
	int status;
	pid_t child;

	fflush(NULL);
	child = fork();
	if (child == 0) {
		prepare_to_abort();
		return true;
	}
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
	return false;
}

void test_child_survived(void)
{
	_exit(0);
}
