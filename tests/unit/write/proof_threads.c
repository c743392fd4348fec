/*
 * Several writers come to an image whose refcounts nobody has proved: one makes
 * the proof, the others wait for it, and readers go on.
 */
#include "proof_rig.h"

#include <pthread.h>

enum { N_THREADS = 4, N_ROUNDS = 12 };

struct client {
	pthread_t thread;
	struct rig *r;
	unsigned number;
	int rc;
};

/* Each has clusters of its own: some are there, some are not. */
static void *write_some(void *arg)
{
	struct client *w = arg;
	uint64_t c = w->r->create.cluster_size;

	for (unsigned i = 0; w->rc == 0 && i < 20; i++) {
		uint64_t off = (i * N_THREADS + w->number) * c;

		memset(w->r->disk + off, (int)(w->number + i), c);
		w->rc = qcow2_pwrite(w->r->img, w->r->disk + off, c, off, 0,
				     NULL);
		if (w->rc == 0)
			w->rc = qcow2_flush(w->r->img, NULL);
	}
	return NULL;
}

static void *read_all(void *arg)
{
	struct client *w = arg;
	uint8_t *bytes = malloc(w->r->size);

	for (unsigned i = 0; bytes && w->rc == 0 && i < 20; i++)
		w->rc = qcow2_pread(w->r->img, bytes, w->r->size, 0, 0, NULL);
	free(bytes);
	return NULL;
}

TEST(one_of_many_writers_makes_the_proof)
{
	static const struct want w = { 3, 4096, 16, false, true };

	for (unsigned round = 0; round < N_ROUNDS; round++) {
		struct client writers[N_THREADS + 1];
		struct rig r;

		make(&r, &w);
		damage(&r, damages[round % N_DAMAGES]);
		rig_open(&r);
		for (unsigned i = 0; i <= N_THREADS; i++) {
			writers[i] = (struct client){ .r = &r, .number = i };
			assert_int_equal(
				pthread_create(&writers[i].thread, NULL,
					       i < N_THREADS ? write_some
							     : read_all,
					       &writers[i]),
				0);
		}
		for (unsigned i = 0; i <= N_THREADS; i++) {
			pthread_join(writers[i].thread, NULL);
			assert_int_equal(writers[i].rc, 0);
		}
		assert_int_equal(proof_of(&r)->state, PROOF_MADE);
		rig_expect(&r);
		rig_close(&r);
		rig_check(&r);
		expect_all(&r);
		release(&r);
	}
}
