/*
 * The race that loses data elsewhere, deliberately: a request has looked a
 * cluster up and is on its way to the disk; another frees that cluster, by a
 * discard, by zeroing, or by writing it anew; a third gets the cluster.  The
 * data of the third must stay, and the first must read its own.
 */
#include "support/test.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "api/handle.h"
#include "base/cleanup.h"
#include "chain/disk_impl.h"
#include "image/image.h"
#include "model/files.h"
#include "store/store.h"
#include "stores/schedule.h"
#include "write/writer.h"

enum { CLUSTER = 4096, N_CLUSTERS = 64, OLD = 0x11, NEW = 0x22, OTHER = 0x33 };

/* The ways in which the first cluster of the disk loses its place. */
enum freeing { BY_DISCARD, BY_UNMAP, BY_COMPRESSING, N_FREEINGS };

struct rig {
	struct config config;
	struct files files;
	struct sched *sched;
	struct qcow2_image *img;
	enum freeing freeing;
	uint8_t buf[CLUSTER]; /* of the request that is held */
	int held_rc;
	int freeing_rc;
};

static void rig_open(struct rig *r, enum freeing freeing, uint32_t discard)
{
	struct qcow2_store *inner;

	memset(r, 0, sizeof(*r));
	r->freeing = freeing;
	r->config = (struct config){
		.size = N_CLUSTERS * CLUSTER,
		.cluster = CLUSTER,
		.version = 3,
		.refcount_bits = 16,
		.discard = discard,
	};
	r->sched = sched_new();
	assert_int_equal(files_make(&r->files, &r->config, NULL, NULL), 0);
	inner = r->files.stores[FILE_TOP];
	assert_int_equal(sched_store_new(r->sched, "disk", inner,
					 &r->files.stores[FILE_TOP]),
			 0);
	store_unref(inner);
	assert_int_equal(files_open(&r->files, true, NULL, &r->img, NULL), 0);
	/* Otherwise the test would use up the claims ahead first. */
	r->img->disk->layers[0].image->writer->alloc.ahead = 1;
}

static void assert_sound(struct rig *r)
{
	struct qcow2_check_result result = { .struct_size = sizeof(result) };

	assert_int_equal(qcow2_close(r->img, NULL), 0);
	assert_int_equal(qcow2_check_store(r->files.stores[FILE_TOP], NULL,
					   &result, NULL),
			 0);
	assert_int_equal(result.corruptions, 0);
	assert_int_equal(result.leaks, 0);
	files_release(&r->files);
	sched_free(r->sched);
}

static void put(struct rig *r, unsigned cluster, uint8_t pattern)
{
	uint8_t buf[CLUSTER];

	memset(buf, pattern, CLUSTER);
	assert_int_equal(qcow2_pwrite(r->img, buf, CLUSTER,
				      (uint64_t)cluster * CLUSTER, 0, NULL),
			 0);
}

static void assert_reads(struct rig *r, unsigned cluster, uint8_t pattern)
{
	uint8_t buf[CLUSTER];
	uint8_t want[CLUSTER];

	memset(want, pattern, CLUSTER);
	assert_int_equal(qcow2_pread(r->img, buf, CLUSTER,
				     (uint64_t)cluster * CLUSTER, 0, NULL),
			 0);
	assert_memory_equal(buf, want, CLUSTER);
}

static bool is_all(const uint8_t *buf, uint8_t pattern)
{
	return buf[0] == pattern && memcmp(buf, buf + 1, CLUSTER - 1) == 0;
}

static int free_first(struct rig *r)
{
	uint8_t buf[CLUSTER] = { 0 };

	if (r->freeing == BY_DISCARD)
		return qcow2_discard(r->img, CLUSTER, 0, 0, NULL);
	if (r->freeing == BY_UNMAP)
		return qcow2_zero(r->img, CLUSTER, 0, QCOW2_ZERO_MAY_UNMAP,
				  NULL);
	return qcow2_write_compressed(r->img, buf, CLUSTER, 0, 0, NULL);
}

/* Takes every cluster that can be had, and makes the library look for more
 * again and again. */
static void take_all(struct rig *r)
{
	for (unsigned i = 8; i < N_CLUSTERS; i++) {
		put(r, i, OTHER);
		if (i % 4 == 0)
			assert_int_equal(qcow2_flush(r->img, NULL), 0);
	}
}

static void assert_others(struct rig *r)
{
	for (unsigned i = 8; i < N_CLUSTERS; i++)
		assert_reads(r, i, OTHER);
}

/* ---- Requests on their way ----------------------------------------------- */

static void *write_main(void *arg)
{
	struct rig *r = arg;

	memset(r->buf, NEW, CLUSTER);
	r->held_rc = qcow2_pwrite(r->img, r->buf, CLUSTER, 0, 0, NULL);
	return NULL;
}

static void *read_main(void *arg)
{
	struct rig *r = arg;

	r->held_rc = qcow2_pread(r->img, r->buf, CLUSTER, 0, 0, NULL);
	return NULL;
}

static void *free_main(void *arg)
{
	struct rig *r = arg;

	r->freeing_rc = free_first(r);
	return NULL;
}

static struct sched_hold *start_held(struct rig *r, const char *point,
				     void *(*fn)(void *arg), pthread_t *thread)
{
	struct sched_hold *h = sched_hold(r->sched, point, 0, 0);

	assert_int_equal(pthread_create(thread, NULL, fn, r), 0);
	assert_true(sched_wait_caught(h));
	return h;
}

static void write_against(enum freeing freeing, uint32_t discard)
{
	struct sched_hold *h;
	pthread_t writer, freer;
	struct rig r;
	uint8_t now[CLUSTER];

	rig_open(&r, freeing, discard);
	put(&r, 0, OLD);
	assert_int_equal(qcow2_flush(r.img, NULL), 0);
	h = start_held(&r, "disk.write.before", write_main, &writer);
	assert_int_equal(pthread_create(&freer, NULL, free_main, &r), 0);
	take_all(&r);
	sched_release(h);
	pthread_join(writer, NULL);
	pthread_join(freer, NULL);
	assert_int_equal(r.held_rc, 0);
	assert_int_equal(r.freeing_rc, 0);
	assert_others(&r);
	assert_int_equal(qcow2_pread(r.img, now, CLUSTER, 0, 0, NULL), 0);
	assert_true(is_all(now, NEW) || is_all(now, 0));
	assert_sound(&r);
}

static void read_against(enum freeing freeing, uint32_t discard,
			 bool compressed)
{
	struct sched_hold *h;
	uint8_t buf[CLUSTER];
	pthread_t reader;
	struct rig r;

	rig_open(&r, freeing, discard);
	memset(buf, OLD, CLUSTER);
	if (compressed)
		assert_int_equal(
			qcow2_write_compressed(r.img, buf, CLUSTER, 0, 0, NULL),
			0);
	else
		put(&r, 0, OLD);
	assert_int_equal(qcow2_flush(r.img, NULL), 0);
	h = start_held(&r, "disk.read.before", read_main, &reader);
	assert_int_equal(free_first(&r), 0);
	take_all(&r);
	sched_release(h);
	pthread_join(reader, NULL);
	assert_int_equal(r.held_rc, 0);
	assert_true(is_all(r.buf, OLD) || is_all(r.buf, 0));
	assert_others(&r);
	assert_reads(&r, 0, 0);
	assert_sound(&r);
}

/* ---- Tests --------------------------------------------------------------- */

enum { PUNCH = QCOW2_DISCARD_REQUEST | QCOW2_DISCARD_OTHER };

static void
r01_a_write_under_way_stays_out_of_clusters_that_are_freed(void **state)
{
	(void)state;
	for (int i = 0; i < N_FREEINGS; i++) {
		write_against((enum freeing)i, 0);
		write_against((enum freeing)i, PUNCH);
	}
}

static void r01_a_read_under_way_sees_nobody_elses_data(void **state)
{
	(void)state;
	for (int i = 0; i < N_FREEINGS; i++) {
		read_against((enum freeing)i, 0, false);
		read_against((enum freeing)i, PUNCH, false);
	}
}

static void
r01_a_read_under_way_decodes_what_was_compressed_for_it(void **state)
{
	(void)state;
	for (int i = 0; i < N_FREEINGS; i++) {
		read_against((enum freeing)i, 0, true);
		read_against((enum freeing)i, PUNCH, true);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			r01_a_write_under_way_stays_out_of_clusters_that_are_freed),
		cmocka_unit_test(r01_a_read_under_way_sees_nobody_elses_data),
		cmocka_unit_test(
			r01_a_read_under_way_decodes_what_was_compressed_for_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
