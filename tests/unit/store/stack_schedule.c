#include <pthread.h>
#include <stdatomic.h>

#include "store_test.h"
#include "stores/schedule.h"

struct bench {
	struct sched *sched;
	struct qcow2_store *s;
};

static struct bench set_up(void)
{
	struct bench b = { .sched = sched_new() };
	struct qcow2_store *mem;

	assert_non_null(b.sched);
	ok(store_mem_new(&mem, NULL));
	ok(sched_store_new(b.sched, "disk", mem, &b.s));
	store_unref(mem);
	return b;
}

static void tear_down(struct bench *b)
{
	store_unref(b->s);
	sched_free(b->sched);
}

struct byte_writer {
	pthread_t thread;
	struct qcow2_store *s;
	const char *byte;
	uint64_t off;
	atomic_bool done;
};

static void *write_byte(void *arg)
{
	struct byte_writer *w = arg;

	store_pwrite(w->s, w->byte, 1, w->off, 0, NULL);
	atomic_store(&w->done, true);
	return NULL;
}

static void start(struct byte_writer *w)
{
	ok(pthread_create(&w->thread, NULL, write_byte, w));
}

static char byte_at(struct qcow2_store *s, uint64_t off)
{
	char c = 0;

	ok(store_pread(s, &c, 1, off, 0, NULL));
	return c;
}

TEST(two_writes_end_in_the_chosen_order)
{
	for (int first = 0; first < 2; first++) {
		struct bench b = set_up();
		struct byte_writer w[2] = { { .s = b.s, .byte = "a" },
					    { .s = b.s, .byte = "b" } };
		struct sched_hold *h[2];

		for (int i = 0; i < 2; i++) {
			h[i] = sched_hold(b.sched, "disk.write.before", 0, 1);
			start(&w[i]);
			assert_true(sched_wait_caught(h[i]));
		}
		sched_release(h[first]);
		ok(pthread_join(w[first].thread, NULL));
		assert_false(atomic_load(&w[!first].done));
		sched_release(h[!first]);
		ok(pthread_join(w[!first].thread, NULL));
		assert_int_equal(byte_at(b.s, 0), *w[!first].byte);
		tear_down(&b);
	}
}

TEST(a_call_held_after_has_already_happened)
{
	struct bench b = set_up();
	struct byte_writer w = { .s = b.s, .byte = "a", .off = 4 };
	struct sched_hold *h = sched_hold(b.sched, "disk.write.after", 4, 1);

	start(&w);
	assert_true(sched_wait_caught(h));
	assert_true(sched_is_caught(h));
	assert_int_equal(byte_at(b.s, 4), 'a');
	assert_false(atomic_load(&w.done));
	sched_release(h);
	assert_false(sched_is_caught(h));
	ok(pthread_join(w.thread, NULL));
	tear_down(&b);
}

TEST(other_calls_pass_by)
{
	struct bench b = set_up();
	struct sched_hold *h = sched_hold(b.sched, "disk.write.before", 8, 4);

	ok(store_pwrite(b.s, "x", 1, 7, 0, NULL));
	ok(store_pwrite(b.s, "x", 1, 12, 0, NULL));
	assert_int_equal(byte_at(b.s, 8), 0);
	ok(store_flush(b.s, NULL));
	assert_false(sched_is_caught(h));
	sched_release(h);
	ok(store_pwrite(b.s, "x", 1, 8, 0, NULL));
	tear_down(&b);
}

TEST(a_hold_catches_one_call)
{
	struct bench b = set_up();
	struct byte_writer w = { .s = b.s, .byte = "a" };
	struct sched_hold *h = sched_hold(b.sched, "disk.write.before", 0, 0);

	start(&w);
	assert_true(sched_wait_caught(h));
	ok(store_pwrite(b.s, "b", 1, 0, 0, NULL));
	assert_int_equal(byte_at(b.s, 0), 'b');
	sched_release(h);
	ok(pthread_join(w.thread, NULL));
	assert_int_equal(byte_at(b.s, 0), 'a');
	tear_down(&b);
}

static void *pass_point(void *sched)
{
	sched_point(sched, "mine");
	return NULL;
}

TEST(points_of_the_test_can_be_held)
{
	struct bench b = set_up();
	struct sched_hold *h = sched_hold(b.sched, "mine", 0, 0);
	pthread_t thread;

	sched_point(b.sched, "other");
	ok(pthread_create(&thread, NULL, pass_point, b.sched));
	assert_true(sched_wait_caught(h));
	sched_release(h);
	ok(pthread_join(thread, NULL));
	tear_down(&b);
}
