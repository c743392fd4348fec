#include "model/steps.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "stores/hook.h"

/* A thread that has not moved for so long never will. */
enum { PATIENCE_SEC = 20 };

enum { WHILE_NSEC = 100000, NSEC_PER_SEC = 1000000000 };

enum turn { TURN_RUNNING, TURN_STOPPED, TURN_LET_GO, TURN_ENDED };

struct stepper {
	struct steps *steps;
	unsigned index;
	pthread_t thread;
	int stat_fd; /* of /proc, for is_asleep() */
	enum turn turn;
	pthread_cond_t go; /* it was let go */
};

struct steps {
	pthread_mutex_t lock; /* guards the turns */
	pthread_cond_t moved; /* a thread stopped or ended */
	unsigned n;
	void (*fn)(void *arg, unsigned i);
	void *arg;
	struct stepper threads[STEPS_THREADS];
};

/* The number of this thread; NULL in all others, which never stop. */
static _Thread_local struct stepper *self;

struct steps *steps_new(void)
{
	struct steps *s = calloc(1, sizeof(*s));

	assert(s);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->moved, NULL);
	return s;
}

void steps_free(struct steps *s)
{
	pthread_cond_destroy(&s->moved);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

void steps_share_processor(void)
{
	int cpu = sched_getcpu();
	cpu_set_t one;

	CPU_ZERO(&one);
	if (cpu >= 0)
		CPU_SET((unsigned)cpu, &one);
	/* It is as right without this, only slower. */
	(void)sched_setaffinity(0, sizeof(one), &one);
	(void)prctl(PR_SET_TIMERSLACK, 1);
}

/* ---- Points -------------------------------------------------------------- */

static void stop(struct stepper *t)
{
	struct steps *s = t->steps;
	SCOPED_LOCK(&s->lock);

	t->turn = TURN_STOPPED;
	pthread_cond_signal(&s->moved);
	while (t->turn == TURN_STOPPED)
		pthread_cond_wait(&t->go, &s->lock);
	t->turn = TURN_RUNNING;
}

static bool is_point(enum store_op op)
{
	return op == STORE_OP_READ || op == STORE_OP_WRITE ||
	       op == STORE_OP_FLUSH || op == STORE_OP_ZERO ||
	       op == STORE_OP_TRUNCATE;
}

static struct hook_answer enter(void *opaque, const struct store_call *call)
{
	(void)opaque;
	if (self && is_point(call->op))
		stop(self);
	return (struct hook_answer){ .what = HOOK_PASS };
}

static void leave(void *opaque, const struct store_call *call, void *token,
		  int rc)
{
	(void)opaque;
	(void)token;
	(void)rc;
	if (self && call->op == STORE_OP_WRITE)
		stop(self);
}

int steps_store_new(struct steps *s, struct qcow2_store *inner,
		    struct qcow2_store **out)
{
	struct hook hook = { .enter = enter, .leave = leave, .opaque = s };

	return hook_store_new(inner, &hook, out);
}

/* ---- Threads ------------------------------------------------------------- */

static void *thread_main(void *arg)
{
	struct stepper *t = arg;
	struct steps *s = t->steps;

	self = t;
	t->stat_fd = open("/proc/thread-self/stat", O_RDONLY | O_CLOEXEC);
	stop(t);
	s->fn(s->arg, t->index);
	SCOPED_LOCK(&s->lock);
	t->turn = TURN_ENDED;
	pthread_cond_signal(&s->moved);
	return NULL;
}

/* The thread is asleep outside of a point: it waits for a lock of the
 * library. */
static bool is_asleep(const struct stepper *t)
{
	char text[128] = "";
	const char *state;

	if (pread(t->stat_fd, text, sizeof(text) - 1, 0) < 0)
		return false;
	state = strrchr(text, ')');
	return state && state[1] && state[2] == 'S';
}

/* Gives @i a little time to move, unless it stands.  To wait here passes the
 * processor on at once; to yield may pass it to another process. */
static enum turn turn_after_a_while(struct steps *s, unsigned i)
{
	const struct stepper *t = &s->threads[i];
	struct timespec until;
	SCOPED_LOCK(&s->lock);

	if (t->turn == TURN_STOPPED || t->turn == TURN_ENDED)
		return t->turn;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += WHILE_NSEC;
	until.tv_sec += until.tv_nsec / NSEC_PER_SEC;
	until.tv_nsec %= NSEC_PER_SEC;
	pthread_cond_timedwait(&s->moved, &s->lock, &until);
	return t->turn;
}

/* Waits until @i stops, ends or waits for another. */
static void settle_one(struct steps *s, unsigned i)
{
	unsigned asleep = 0;

	while (asleep < 2) {
		enum turn turn = turn_after_a_while(s, i);

		if (turn == TURN_STOPPED || turn == TURN_ENDED)
			return;
		asleep = turn == TURN_RUNNING && is_asleep(&s->threads[i])
				 ? asleep + 1
				 : 0;
	}
}

/* The thread that came last may have woken one that waits. */
static void settle(struct steps *s)
{
	for (unsigned round = 0; round < 2; round++)
		for (unsigned i = 0; i < s->n; i++)
			settle_one(s, i);
}

static unsigned stopped(struct steps *s, unsigned who[STEPS_THREADS],
			bool *all_ended)
{
	unsigned n = 0;
	SCOPED_LOCK(&s->lock);

	*all_ended = true;
	for (unsigned i = 0; i < s->n; i++) {
		*all_ended &= s->threads[i].turn == TURN_ENDED;
		if (s->threads[i].turn == TURN_STOPPED)
			who[n++] = i;
	}
	return n;
}

static void let_go(struct steps *s, unsigned i)
{
	SCOPED_LOCK(&s->lock);

	s->threads[i].turn = TURN_LET_GO;
	pthread_cond_signal(&s->threads[i].go);
}

/* ---- Choices ------------------------------------------------------------- */

static unsigned choose(struct choices *c, unsigned at, unsigned n,
		       struct test_rng *rng)
{
	unsigned taken = rng ? (unsigned)test_rng_below(rng, n) : 0;

	assert(at < STEPS_CHOICES);
	if (at < c->n)
		taken = c->at[at].taken;
	if (taken >= n)
		taken = n - 1;
	c->at[at].taken = (unsigned char)taken;
	c->at[at].of = (unsigned char)n;
	return taken;
}

bool choices_next(struct choices *c)
{
	while (c->n && c->at[c->n - 1].taken + 1 >= c->at[c->n - 1].of)
		c->n--;
	if (!c->n)
		return false;
	c->at[c->n - 1].taken++;
	return true;
}

static bool go_on(struct steps *s, struct choices *c, struct test_rng *rng)
{
	time_t moved = time(NULL);
	unsigned at = 0;
	bool all_ended = false;

	while (!all_ended) {
		unsigned who[STEPS_THREADS];
		unsigned n;

		settle(s);
		n = stopped(s, who, &all_ended);
		if (n) {
			let_go(s, who[n == 1 ? 0 : choose(c, at, n, rng)]);
			at += n > 1;
			moved = time(NULL);
		} else if (time(NULL) - moved > PATIENCE_SEC) {
			return false;
		}
	}
	c->n = at;
	return true;
}

bool steps_run(struct steps *s, unsigned n, void (*fn)(void *arg, unsigned i),
	       void *arg, struct choices *c, struct test_rng *rng)
{
	bool ok;

	assert(n <= STEPS_THREADS);
	s->n = n;
	s->fn = fn;
	s->arg = arg;
	for (unsigned i = 0; i < n; i++) {
		struct stepper *t = &s->threads[i];
		int rc;

		*t = (struct stepper){ .steps = s,
				       .index = i,
				       .turn = TURN_LET_GO };
		pthread_cond_init(&t->go, NULL);
		rc = pthread_create(&t->thread, NULL, thread_main, t);
		assert(rc == 0);
		(void)rc;
	}
	ok = go_on(s, c, rng);
	for (unsigned i = 0; ok && i < n; i++) {
		pthread_join(s->threads[i].thread, NULL);
		pthread_cond_destroy(&s->threads[i].go);
		close(s->threads[i].stat_fd);
	}
	return ok;
}
