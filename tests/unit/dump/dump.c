#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lines.h"
#include "store/hold.h"

/* A dump of damage may tell anything, but each dump ends, and a dump of the
 * header always says something. */
TEST(random_damage_is_told)
{
	struct test_rng rng = test_rng_init(test_seed());
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	struct small s = rig_small(r);

	rig_snapshot(r, &s);
	rig_bitmap(r, "b");
	rig_finish(r);
	for (int i = 0; i < 3000; i++) {
		/* Half of them in the header. */
		uint64_t room = i % 2 ? 160 : r->n_clusters * r->cs;
		uint64_t off = test_rng_below(&rng, room);
		uint8_t before, byte = (uint8_t)test_rng_next(&rng);

		assert_int_equal(
			store_pread(r->store, &before, 1, off, 0, NULL), 0);
		rig_put(r, off, &byte, 1);
		for (uint32_t what = 0; what <= QCOW2_DUMP_ENTRY; what++) {
			struct lines *l = lines_of_what(r, what, 0);

			assert_true(what || l->rc == 0);
			assert_true(l->rc == 0 || l->rc == -EINVAL ||
				    l->rc == -E2BIG);
			lines_free(l);
		}
		if (i % 8)
			rig_put(r, off, &before, 1);
	}
	rig_free(r);
}

TEST(the_caller_stops_it)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });

	rig_finish(r);
	for (uint32_t what = 0; what <= QCOW2_DUMP_ENTRY; what++) {
		struct lines *all = lines_of_what(r, what, 0);

		assert_int_equal(all->rc, 0);
		for (uint32_t n = 1; n <= all->n; n++) {
			struct lines *l = lines_stopped(r, what, n);

			assert_int_equal(l->rc, -ECANCELED);
			assert_int_equal(l->n, n);
			assert_memory_equal(l->text, all->text, l->len);
			lines_free(l);
		}
		lines_free(all);
	}
	rig_free(r);
}

/* A caller need not listen. */
TEST(without_a_callback_it_is_only_read)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	struct qcow2_error err;

	rig_finish(r);
	assert_int_equal(qcow2_dump_store(r->store, NULL, &err), 0);
	rig_free(r);
}

TEST(an_image_that_somebody_writes_to_is_left_alone)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_dump_opts dump = QCOW2_DUMP_OPTS_INIT;
	struct qcow2_image *img;

	rig_finish(r);
	opts.flags = QCOW2_OPEN_RDWR;
	assert_int_equal(qcow2_open_store(r->store, &opts, &img, NULL), 0);
	assert_int_equal(qcow2_dump_store(r->store, &dump, NULL), -EBUSY);
	dump.flags = QCOW2_DUMP_NO_LOCK;
	assert_int_equal(qcow2_dump_store(r->store, &dump, NULL), 0);
	assert_int_equal(qcow2_close(img, NULL), 0);
	rig_free(r);
}

/* Entries that all differ make the longest output. */
TEST(there_is_an_end_to_what_is_told)
{
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	uint64_t n = L1_TABLE_BYTES_MAX / 8;
	uint8_t *table = malloc(n * 8);
	struct qcow2_dump_opts opts = QCOW2_DUMP_OPTS_INIT;
	struct qcow2_error err;

	assert_non_null(table);
	rig_finish(r);
	for (uint64_t i = 0; i < n; i++)
		put_be64(table + 8 * i, (i & 1) << 20);
	rig_put(r, 1 << 20, table, n * 8);
	free(table);
	rig_put64(r, HEADER_OFF_L1_OFF, 1 << 20);
	rig_put32(r, HEADER_OFF_L1_SIZE, (uint32_t)n);
	opts.what = QCOW2_DUMP_L1;
	/* One more record than there may be: that of the table itself. */
	assert_int_equal(qcow2_dump_store(r->store, &opts, &err), -E2BIG);
	assert_int_equal(err.reason, QCOW2_REASON_BUDGET);
	opts.index = 1;
	assert_int_equal(qcow2_dump_store(r->store, &opts, &err), 0);
	rig_free(r);
}

TEST(under_a_writer_it_is_refused_unless_it_takes_no_lock)
{
	struct qcow2_dump_opts opts = QCOW2_DUMP_OPTS_INIT;
	struct rig *r = rig_new(&(struct rig_opts){ 0 });
	struct store_hold writer = { 0 };
	struct lines *l;

	rig_finish(r);
	assert_int_equal(store_hold(&writer, r->store, HOLD_WRITE, NULL), 0);
	l = lines_of(r->store, &opts);
	assert_int_equal(l->rc, -EBUSY);
	assert_int_equal(l->n, 0);
	lines_free(l);
	opts.flags = QCOW2_DUMP_NO_LOCK;
	l = lines_of(r->store, &opts);
	assert_int_equal(l->rc, 0);
	lines_free(l);
	store_release(&writer);
	rig_free(r);
}
