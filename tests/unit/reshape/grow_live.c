/*
 * A disk grows while requests are under way: the store holds one of their
 * calls, or one of the resize.
 */
#include "reshape/resize.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "api/handle.h"
#include "chain/disk_impl.h"
#include "image/image.h"
#include "store/mem.h"
#include "store/store.h"
#include "stores/schedule.h"
#include "support/test.h"
#include "write/writer.h"

/* An L2 table describes 32 KiB, so the L1 table soon becomes longer. */
enum { CLUSTER = 512, SMALL = 20 * CLUSTER, LARGE = 1 << 20 };

struct rig {
	struct qcow2_store *mem;
	struct qcow2_store *file;
	struct sched *sched;
	struct qcow2_image *disk;
	struct writer *writer;
	uint8_t buf[CLUSTER]; /* of the request that is held */
	uint64_t size;        /* that the disk gets */
	int rc;
};

static void rig_init(struct rig *r)
{
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;

	memset(r, 0, sizeof(*r));
	create.virtual_size = SMALL;
	create.cluster_size = CLUSTER;
	open.flags = QCOW2_OPEN_RDWR;
	r->size = LARGE;
	r->sched = sched_new();
	assert_int_equal(store_mem_new(&r->mem, NULL), 0);
	assert_int_equal(qcow2_create_store(r->mem, NULL, &create, NULL), 0);
	assert_int_equal(sched_store_new(r->sched, "disk", r->mem, &r->file),
			 0);
	assert_int_equal(qcow2_open_store(r->file, &open, &r->disk, NULL), 0);
	r->writer = r->disk->disk->layers[0].image->writer;
	memset(r->buf, 7, CLUSTER);
	assert_int_equal(qcow2_pwrite(r->disk, r->buf, CLUSTER, 0, 0, NULL), 0);
	assert_int_equal(qcow2_flush(r->disk, NULL), 0);
}

static void rig_release(struct rig *r)
{
	struct qcow2_check_result result = QCOW2_CHECK_RESULT_INIT;

	assert_int_equal(qcow2_close(r->disk, NULL), 0);
	assert_int_equal(qcow2_check_store(r->mem, NULL, &result, NULL), 0);
	assert_int_equal(result.corruptions + result.leaks, 0);
	store_unref(r->file);
	store_unref(r->mem);
	sched_free(r->sched);
}

static void *read_main(void *arg)
{
	struct rig *r = arg;

	memset(r->buf, 0, CLUSTER);
	r->rc = qcow2_pread(r->disk, r->buf, CLUSTER, 0, 0, NULL);
	return NULL;
}

static void *write_main(void *arg)
{
	struct rig *r = arg;

	memset(r->buf, 8, CLUSTER);
	r->rc = qcow2_pwrite(r->disk, r->buf, CLUSTER, 0, 0, NULL);
	return NULL;
}

static void *grow_main(void *arg)
{
	struct rig *r = arg;

	r->rc = qcow2_resize(r->disk, r->size, NULL, NULL);
	return NULL;
}

/* Starts @fn, which the store holds at @point. */
static struct sched_hold *start_held(struct rig *r, const char *point,
				     void *(*fn)(void *arg), pthread_t *thread)
{
	struct sched_hold *h = sched_hold(r->sched, point, 0, 0);

	assert_int_equal(pthread_create(thread, NULL, fn, r), 0);
	assert_true(sched_wait_caught(h));
	return h;
}

/* Old tables that still wait for readers. */
static unsigned count_tables(struct rig *r)
{
	unsigned n = 0;

	for (const struct freed_batch *b = r->writer->commit.batches; b;
	     b = b->next)
		n += b->l1 != NULL;
	return n;
}

TEST(a_reader_waits_for_nobody_and_keeps_its_table)
{
	struct sched_hold *h;
	pthread_t reader;
	struct rig r;

	rig_init(&r);
	h = start_held(&r, "disk.read.before", read_main, &reader);
	assert_int_equal(qcow2_resize(r.disk, LARGE, NULL, NULL), 0);
	assert_int_equal(qcow2_resize(r.disk, 2 * LARGE, NULL, NULL), 0);
	assert_int_equal(qcow2_flush(r.disk, NULL), 0);
	assert_int_equal(count_tables(&r), 2);
	sched_release(h);
	pthread_join(reader, NULL);
	assert_int_equal(r.rc, 0);
	assert_int_equal(r.buf[CLUSTER - 1], 7);
	assert_int_equal(qcow2_flush(r.disk, NULL), 0);
	assert_int_equal(count_tables(&r), 0);
	rig_release(&r);
}

TEST(a_write_under_way_comes_before_the_l1_table_changes)
{
	struct sched_hold *h, *in_resize;
	pthread_t writer, grower;
	struct rig r;

	rig_init(&r);
	h = start_held(&r, "disk.write.before", write_main, &writer);
	/* It gets to its first call only when the write has ended. */
	in_resize = sched_hold(r.sched, "disk.flush.before", 0, 0);
	assert_int_equal(pthread_create(&grower, NULL, grow_main, &r), 0);
	nanosleep(&(struct timespec){ 0, 20000000 }, NULL);
	assert_false(sched_is_caught(in_resize));
	assert_int_equal(qcow2_size(r.disk), SMALL);
	sched_release(h);
	pthread_join(writer, NULL);
	sched_release(in_resize);
	pthread_join(grower, NULL);
	assert_int_equal(r.rc, 0);
	assert_int_equal(qcow2_size(r.disk), LARGE);
	rig_release(&r);
}

/* Callers learn of the new size when it is durable. */
TEST(requests_go_on_while_the_size_is_on_its_way)
{
	struct sched_hold *h;
	struct qcow2_info info = QCOW2_INFO_INIT;
	struct qcow2_extent x;
	pthread_t grower;
	uint8_t buf[CLUSTER];
	struct rig r;

	rig_init(&r);
	/* All that comes before the header is on its way. */
	r.size = SMALL + CLUSTER;
	h = start_held(&r, "disk.flush.before", grow_main, &grower);
	assert_int_equal(qcow2_size(r.disk), SMALL);
	assert_int_equal(qcow2_get_info(r.disk, 0, &info, NULL), 0);
	assert_int_equal(info.virtual_size, SMALL);
	assert_int_equal(
		qcow2_pread(r.disk, buf, CLUSTER, SMALL - CLUSTER, 0, NULL), 0);
	assert_int_equal(qcow2_pread(r.disk, buf, CLUSTER, SMALL, 0, NULL),
			 -EINVAL);
	assert_int_equal(qcow2_map(r.disk, SMALL, 0, 0, &x, NULL), 0);
	memset(buf, 9, CLUSTER);
	assert_int_equal(
		qcow2_pwrite(r.disk, buf, CLUSTER, SMALL - CLUSTER, 0, NULL),
		0);
	sched_release(h);
	pthread_join(grower, NULL);
	assert_int_equal(r.rc, 0);
	assert_int_equal(qcow2_size(r.disk), SMALL + CLUSTER);
	assert_int_equal(
		qcow2_pread(r.disk, buf, CLUSTER, SMALL - CLUSTER, 0, NULL), 0);
	assert_int_equal(buf[0], 9);
	rig_release(&r);
}

TEST(a_smaller_size_than_another_gave_is_refused)
{
	struct sched_hold *h;
	pthread_t grower;
	struct rig r;

	rig_init(&r);
	r.size = SMALL + 4 * CLUSTER;
	h = start_held(&r, "disk.write.before", grow_main, &grower);
	sched_release(h);
	assert_int_equal(qcow2_resize(r.disk, SMALL + CLUSTER, NULL, NULL),
			 -EINVAL);
	pthread_join(grower, NULL);
	assert_int_equal(qcow2_size(r.disk), SMALL + 4 * CLUSTER);
	rig_release(&r);
}
