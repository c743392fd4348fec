#include <errno.h>
#include <string.h>

#include "store/mem.h"
#include "store/store.h"
#include "stores/hook.h"
#include "support/test.h"

enum { CLUSTER = 65536, SIZE = 4 * CLUSTER, OLD = 0x11, NEW = 0x22 };

/* An overlay of one file of old data, the reads of which are looked at. */
struct rig {
	struct qcow2_store *file;
	struct qcow2_store *backing;
	struct qcow2_image *img;
	uint64_t n_reads;
	uint64_t bad_off;     /* reads of this byte fail; UINT64_MAX: none */
	uint64_t watched_off; /* how many touch this byte */
	uint64_t n_watched;
};

static bool covers(const struct store_call *call, uint64_t off)
{
	return call->off <= off && off < call->off + call->len;
}

static struct hook_answer on_call(void *opaque, const struct store_call *call)
{
	struct hook_answer fail = { .what = HOOK_FAIL, .code = -EIO };
	struct hook_answer pass = { .what = HOOK_PASS };
	struct rig *t = opaque;

	if (call->op != STORE_OP_READ)
		return pass;
	t->n_reads++;
	t->n_watched += covers(call, t->watched_off);
	return covers(call, t->bad_off) ? fail : pass;
}

static int open_backing(void *opaque, const struct qcow2_reference *ref,
			struct qcow2_store **out, struct qcow2_error *err)
{
	struct rig *t = opaque;

	(void)ref, (void)err;
	*out = store_ref(t->backing);
	return 0;
}

static void make_backing(struct rig *t)
{
	struct hook hook = { .enter = on_call, .opaque = t };
	struct qcow2_store *mem;
	uint8_t old[CLUSTER];

	memset(old, OLD, sizeof(old));
	assert_int_equal(store_mem_new(&mem, NULL), 0);
	for (uint64_t off = 0; off < SIZE; off += CLUSTER)
		assert_int_equal(store_pwrite(mem, old, CLUSTER, off, 0, NULL),
				 0);
	assert_int_equal(hook_store_new(mem, &hook, &t->backing), 0);
	store_unref(mem);
}

static void rig_init(struct rig *t)
{
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_gate gate = QCOW2_GATE_INIT;

	*t = (struct rig){ .bad_off = UINT64_MAX, .watched_off = UINT64_MAX };
	make_backing(t);
	assert_int_equal(store_mem_new(&t->file, NULL), 0);
	create.virtual_size = SIZE;
	create.cluster_size = CLUSTER;
	create.backing_file = "backing";
	create.backing_format = "raw";
	assert_int_equal(qcow2_create_store(t->file, NULL, &create, NULL), 0);
	gate.open = open_backing;
	gate.opaque = t;
	opts.gate = &gate;
	opts.flags = QCOW2_OPEN_RDWR;
	assert_int_equal(qcow2_open_store(t->file, &opts, &t->img, NULL), 0);
	t->n_reads = 0;
}

static void rig_release(struct rig *t)
{
	assert_int_equal(qcow2_close(t->img, NULL), 0);
	store_unref(t->file);
	store_unref(t->backing);
}

static int write_new(struct rig *t, size_t len, uint64_t off)
{
	uint8_t bytes[CLUSTER];

	memset(bytes, NEW, sizeof(bytes));
	return qcow2_pwrite(t->img, bytes, len, off, 0, NULL);
}

/* The second cluster holds new data in [off, off + len), else old data. */
static void assert_new(struct rig *t, size_t len, uint64_t off)
{
	uint8_t got[CLUSTER];

	assert_int_equal(qcow2_pread(t->img, got, CLUSTER, CLUSTER, 0, NULL),
			 0);
	for (uint64_t i = CLUSTER; i < 2 * CLUSTER; i++)
		assert_int_equal(got[i - CLUSTER],
				 i >= off && i < off + len ? NEW : OLD);
}

TEST(one_read_fetches_what_is_around_little_data)
{
	uint64_t off = CLUSTER + 20480;
	struct rig t;

	rig_init(&t);
	assert_int_equal(write_new(&t, 4096, off), 0);
	assert_int_equal(t.n_reads, 1);
	assert_new(&t, 4096, off);
	rig_release(&t);
}

TEST(much_data_is_not_read_before_it_is_overwritten)
{
	uint64_t off = CLUSTER + 4096;
	struct rig t;

	rig_init(&t);
	t.watched_off = off + 8192;
	assert_int_equal(write_new(&t, 49152, off), 0);
	assert_int_equal(t.n_reads, 2);
	assert_int_equal(t.n_watched, 0);
	assert_new(&t, 49152, off);
	rig_release(&t);
}

TEST(what_is_overwritten_need_not_be_readable)
{
	uint64_t off = CLUSTER + 20480;
	struct rig t;

	rig_init(&t);
	t.bad_off = off + 512;
	assert_int_equal(write_new(&t, 4096, off), 0);
	assert_new(&t, 4096, off);
	t.bad_off = 2 * CLUSTER;
	assert_int_equal(write_new(&t, 4096, 2 * CLUSTER + 4096), -EIO);
	t.bad_off = UINT64_MAX;
	rig_release(&t);
}

TEST(data_at_the_edge_of_a_cluster_needs_one_read)
{
	struct rig t;

	rig_init(&t);
	t.watched_off = CLUSTER;
	assert_int_equal(write_new(&t, 512, CLUSTER), 0);
	assert_int_equal(t.n_reads, 1);
	assert_int_equal(t.n_watched, 0);
	assert_new(&t, 512, CLUSTER);
	rig_release(&t);
}
