/*
 * Transfers under way: threads take requests from a queue in order and put
 * them, done, on a list.  Only the shell's own thread prints their outcome, so
 * that lines never mix.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "io/io.h"

#define THREADS_MAX 64

struct list {
	struct io_request *first;
	struct io_request **last;
};

struct io_queue {
	struct io_shell *sh;
	pthread_mutex_t lock; /* protects the rest */
	pthread_cond_t work;  /* there is a request, or the end */
	pthread_cond_t done;  /* a request has ended */
	struct list waiting;
	struct list finished;
	unsigned n_open; /* added and not finished */
	unsigned n_idle; /* threads that wait for work */
	unsigned n_threads;
	bool stop;
	int event;                      /* readable when `finished` grew */
	pthread_t threads[THREADS_MAX]; /* the shell's thread only */
};

static void list_init(struct list *l)
{
	l->first = NULL;
	l->last = &l->first;
}

static void list_add(struct list *l, struct io_request *r)
{
	r->next = NULL;
	*l->last = r;
	l->last = &r->next;
}

static struct io_request *list_take(struct list *l)
{
	struct io_request *r = l->first;

	l->first = r->next;
	if (!l->first)
		l->last = &l->first;
	return r;
}

static void finish(struct io_queue *q, struct io_request *r)
{
	uint64_t one = 1;

	pthread_mutex_lock(&q->lock);
	list_add(&q->finished, r);
	q->n_open--;
	pthread_cond_signal(&q->done);
	pthread_mutex_unlock(&q->lock);
	/* The write can only fail when the counter is as good as full, and then
	 * the descriptor is readable. */
	while (write(q->event, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static struct io_request *take(struct io_queue *q)
{
	struct io_request *r = NULL;

	pthread_mutex_lock(&q->lock);
	q->n_idle++;
	while (!q->waiting.first && !q->stop)
		pthread_cond_wait(&q->work, &q->lock);
	q->n_idle--;
	if (q->waiting.first)
		r = list_take(&q->waiting);
	pthread_mutex_unlock(&q->lock);
	return r;
}

static void *work(void *opaque)
{
	struct io_queue *q = opaque;
	struct io_request *r = take(q);

	while (r) {
		io_request_run(q->sh, r);
		finish(q, r);
		r = take(q);
	}
	return NULL;
}

static struct io_queue *queue_new(struct io_shell *sh)
{
	struct io_queue *q = calloc(1, sizeof(*q));

	if (!q)
		return NULL;
	q->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->event < 0) {
		free(q);
		return NULL;
	}
	q->sh = sh;
	pthread_mutex_init(&q->lock, NULL);
	pthread_cond_init(&q->work, NULL);
	pthread_cond_init(&q->done, NULL);
	list_init(&q->waiting);
	list_init(&q->finished);
	return q;
}

/* Starts a thread if all are busy; a failure matters only without any. */
static int hire(struct io_queue *q)
{
	unsigned n_waiting = 0;
	bool enough;

	pthread_mutex_lock(&q->lock);
	for (struct io_request *r = q->waiting.first; r; r = r->next)
		n_waiting++;
	enough = n_waiting < q->n_idle || q->n_threads == THREADS_MAX;
	pthread_mutex_unlock(&q->lock);
	if (enough)
		return 0;
	if (pthread_create(&q->threads[q->n_threads], NULL, work, q) == 0)
		q->n_threads++;
	return q->n_threads ? 0 : -1;
}

int io_queue_add(struct io_shell *sh, struct io_request *r)
{
	struct io_queue *q = sh->queue ? sh->queue : queue_new(sh);

	sh->queue = q;
	if (!q || hire(q) < 0) {
		cli_error(sh->cli, NULL, "%s: no thread can be made", r->verb);
		io_request_release(r);
		free(r);
		return -1;
	}
	pthread_mutex_lock(&q->lock);
	list_add(&q->waiting, r);
	q->n_open++;
	pthread_cond_signal(&q->work);
	pthread_mutex_unlock(&q->lock);
	return 0;
}

static struct io_request *next_finished(struct io_queue *q)
{
	struct io_request *r = NULL;

	pthread_mutex_lock(&q->lock);
	if (q->finished.first)
		r = list_take(&q->finished);
	pthread_mutex_unlock(&q->lock);
	return r;
}

void io_queue_collect(struct io_shell *sh)
{
	struct io_request *r;
	uint64_t count;

	if (!sh->queue)
		return;
	/* The list is read after this, so that a later addition wakes again. */
	while (read(sh->queue->event, &count, sizeof(count)) < 0 &&
	       errno == EINTR)
		;
	while ((r = next_finished(sh->queue))) {
		io_request_report(sh, r);
		io_request_release(r);
		free(r);
	}
}

void io_queue_drain(struct io_shell *sh)
{
	struct io_queue *q = sh->queue;

	if (!q)
		return;
	pthread_mutex_lock(&q->lock);
	while (q->n_open > 0)
		pthread_cond_wait(&q->done, &q->lock);
	pthread_mutex_unlock(&q->lock);
	io_queue_collect(sh);
}

int io_queue_fd(const struct io_shell *sh)
{
	return sh->queue ? sh->queue->event : -1;
}

void io_queue_free(struct io_shell *sh)
{
	struct io_queue *q = sh->queue;

	if (!q)
		return;
	io_queue_drain(sh);
	pthread_mutex_lock(&q->lock);
	q->stop = true;
	pthread_cond_broadcast(&q->work);
	pthread_mutex_unlock(&q->lock);
	for (unsigned i = 0; i < q->n_threads; i++)
		pthread_join(q->threads[i], NULL);
	close(q->event);
	pthread_cond_destroy(&q->work);
	pthread_cond_destroy(&q->done);
	pthread_mutex_destroy(&q->lock);
	free(q);
	sh->queue = NULL;
}
