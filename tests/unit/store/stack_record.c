#include <errno.h>
#include <pthread.h>

#include "store_test.h"
#include "stores/fault.h"
#include "stores/record.h"
#include "stores/schedule.h"

static struct qcow2_store *memory(void)
{
	struct qcow2_store *s;

	ok(store_mem_new(&s, NULL));
	return s;
}

static void assert_bytes(struct qcow2_store *s, const char *text)
{
	char buf[64] = { 0 };
	uint64_t size;

	ok(store_size(s, &size, NULL));
	assert_int_equal(size, strlen(text));
	ok(store_pread(s, buf, size, 0, 0, NULL));
	assert_string_equal(buf, text);
}

/* A log of: write abc, flush, write X at 1, truncate to 2, write Z at 2. */
static struct record_log *make_log(struct qcow2_store **base)
{
	struct record_log *log = record_log_new();
	struct qcow2_store *mem = memory();
	struct qcow2_store *s;
	uint32_t file = 99;

	assert_non_null(log);
	ok(record_store_new(log, mem, &file, &s));
	assert_int_equal(file, 0);
	ok(store_pwrite(s, "abc", 3, 0, 0, NULL));
	ok(store_flush(s, NULL));
	ok(store_pwrite(s, "X", 1, 1, 0, NULL));
	ok(store_truncate(s, 2, NULL));
	ok(store_pwrite(s, "Z", 1, 2, 0, NULL));
	assert_bytes(mem, "aXZ");
	store_unref(mem);
	store_unref(s);
	*base = memory();
	return log;
}

TEST(records_changes_in_order_with_epochs)
{
	static const enum store_op ops[] = { STORE_OP_WRITE, STORE_OP_FLUSH,
					     STORE_OP_WRITE, STORE_OP_TRUNCATE,
					     STORE_OP_WRITE };
	struct qcow2_store *base;
	struct record_log *log = make_log(&base);

	assert_int_equal(record_n_events(log), 5);
	for (size_t i = 0; i < 5; i++) {
		const struct record_event *ev = record_event(log, i);

		assert_int_equal(ev->op, ops[i]);
		assert_int_equal(ev->epoch, i > 1);
		assert_int_equal(ev->rc, 0);
		assert_true(ev->began < ev->ended);
	}
	assert_memory_equal(record_event(log, 0)->data, "abc", 3);
	assert_int_equal(record_event(log, 3)->off, 2);
	store_unref(base);
	record_log_free(log);
}

TEST(rebuilds_every_prefix)
{
	static const char *const states[] = { "",    "abc", "abc",
					      "aXc", "aX",  "aXZ" };
	struct qcow2_store *base;
	struct record_log *log = make_log(&base);

	for (size_t n = 0; n <= 5; n++) {
		struct qcow2_store *image;

		ok(record_rebuild(log, 0, base, NULL, n, &image));
		assert_bytes(image, states[n]);
		store_unref(image);
	}
	store_unref(base);
	record_log_free(log);
}

TEST(rebuilds_any_subset)
{
	const bool keep[] = { true, true, false, true, true };
	struct qcow2_store *base;
	struct record_log *log = make_log(&base);
	struct qcow2_store *image;

	ok(record_rebuild(log, 0, base, keep, 5, &image));
	assert_bytes(image, "abZ");
	store_unref(image);
	assert_bytes(base, "");
	store_unref(base);
	record_log_free(log);
}

TEST(only_flushed_events_are_durable)
{
	struct qcow2_store *base;
	struct record_log *log = make_log(&base);
	const struct record_event *flush = record_event(log, 1);

	assert_true(record_is_durable(log, 0, record_now(log)));
	assert_true(record_is_durable(log, 0, flush->ended + 1));
	assert_false(record_is_durable(log, 0, flush->ended));
	for (size_t i = 1; i < 5; i++)
		assert_false(record_is_durable(log, i, record_now(log)));
	store_unref(base);
	record_log_free(log);
}

TEST(a_failed_flush_makes_nothing_durable)
{
	struct fault_plan plan = { .ops = FAULT_ON(STORE_OP_FLUSH),
				   .nth = 1,
				   .code = -EIO };
	struct fault_injector fault = FAULT_INIT;
	struct record_log *log = record_log_new();
	struct qcow2_store *mem = memory();
	struct qcow2_store *failing;
	struct qcow2_store *s;

	ok(fault_store_new(&fault, mem, &failing));
	ok(record_store_new(log, failing, NULL, &s));
	fault_arm(&fault, &plan);
	ok(store_pwrite(s, "a", 1, 0, 0, NULL));
	assert_int_equal(store_flush(s, NULL), -EIO);
	assert_int_equal(record_event(log, 1)->rc, -EIO);
	assert_false(record_is_durable(log, 0, record_now(log)));
	ok(store_pwrite(s, "b", 1, 0, 0, NULL));
	assert_int_equal(record_event(log, 2)->epoch, 0);
	store_unref(s);
	store_unref(failing);
	store_unref(mem);
	record_log_free(log);
}

TEST(files_have_their_own_epochs_and_flushes)
{
	struct record_log *log = record_log_new();
	struct qcow2_store *mem = memory();
	struct qcow2_store *s[2];
	uint32_t file[2];

	for (int i = 0; i < 2; i++) {
		ok(record_store_new(log, mem, &file[i], &s[i]));
		assert_int_equal(file[i], i);
	}
	ok(store_pwrite(s[0], "a", 1, 0, 0, NULL));
	ok(store_flush(s[1], NULL));
	ok(store_pwrite(s[0], "b", 1, 0, 0, NULL));
	assert_false(record_is_durable(log, 0, record_now(log)));
	assert_int_equal(record_event(log, 2)->epoch, 0);
	store_unref(s[0]);
	store_unref(s[1]);
	store_unref(mem);
	record_log_free(log);
}

TEST(torn_events_apply_in_part)
{
	struct qcow2_store *base;
	struct record_log *log = make_log(&base);

	ok(store_truncate(base, 3, NULL));
	ok(record_apply_part(base, record_event(log, 0), 1, 2));
	ok(store_pwrite(base, "-", 1, 0, 0, NULL));
	ok(store_pwrite(base, "-", 1, 2, 0, NULL));
	assert_bytes(base, "-b-");
	ok(record_apply_part(base, record_event(log, 0), 2, 99));
	assert_bytes(base, "-bc");
	store_unref(base);
	record_log_free(log);
}

static void *write_one(void *s)
{
	return store_pwrite(s, "w", 1, 0, 0, NULL) < 0 ? s : NULL;
}

/* A write that had not ended when the flush began is not covered by it. */
TEST(a_flush_covers_only_what_had_ended)
{
	struct record_log *log = record_log_new();
	struct sched *sched = sched_new();
	struct qcow2_store *mem = memory();
	struct qcow2_store *held;
	struct qcow2_store *s;
	struct sched_hold *hold;
	pthread_t thread;
	void *failed;

	ok(sched_store_new(sched, "disk", mem, &held));
	ok(record_store_new(log, held, NULL, &s));
	hold = sched_hold(sched, "disk.write.before", 0, 0);
	ok(pthread_create(&thread, NULL, write_one, s));
	assert_true(sched_wait_caught(hold));
	assert_int_equal(record_event(log, 0)->ended, RECORD_NEVER);
	ok(store_flush(s, NULL));
	sched_release(hold);
	ok(pthread_join(thread, &failed));
	assert_null(failed);
	assert_false(record_is_durable(log, 0, record_now(log)));
	ok(store_flush(s, NULL));
	assert_true(record_is_durable(log, 0, record_now(log)));
	store_unref(s);
	store_unref(held);
	store_unref(mem);
	sched_free(sched);
	record_log_free(log);
}
