#include "cache/dirty.h"

#include "unit/counts/rig.h"

static struct slice *get_slice(struct rig *t, uint64_t off)
{
	struct slice *s;

	assert_int_equal(cache_get(&t->l2, off, off + 512, 0, &s, NULL), 0);
	return s;
}

static void mark(struct rig *t, struct dirty *d, uint64_t off, uint8_t value)
{
	struct slice *s = get_slice(t, off);

	assert_int_equal(dirty_reserve(d, NULL), 0);
	s->data[0] = value;
	dirty_mark(d, s);
	cache_put(&t->l2, s);
}

TEST(a_slice_marked_twice_is_written_once)
{
	struct writes w = { 0 };
	struct dirty d;
	struct rig t;

	rig_init(&t);
	dirty_init(&d, &t.l2);
	mark(&t, &d, 1 << 20, 1);
	mark(&t, &d, 1 << 20, 2);
	assert_int_equal(dirty_collect(&d, &w, NULL), 0);
	assert_int_equal(w.n, 1);
	assert_int_equal(w.list[0].bytes[0], 2);
	assert_int_equal(w.list[0].host_off, 1 << 20);
	assert_int_equal(w.list[0].len, 512);
	dirty_written(&d);
	writes_release(&w);
	dirty_release(&d);
	rig_release(&t);
}

TEST(a_dirty_slice_stays_in_the_cache)
{
	struct writes w = { 0 };
	struct dirty d;
	struct rig t;

	rig_init(&t);
	cache_release(&t.l2);
	assert_int_equal(cache_init(&t.l2, t.file, 2 * 512, 512, NULL), 0);
	dirty_init(&d, &t.l2);
	mark(&t, &d, 1 << 20, 9);
	for (unsigned round = 0; round < 2; round++) {
		struct slice *s;

		for (uint64_t i = 1; i < 64; i++)
			cache_put(&t.l2, get_slice(&t, i * 512));
		s = get_slice(&t, 1 << 20);
		assert_int_equal(s->data[0], 9);
		cache_put(&t.l2, s);
		/* Second round: while it is being written. */
		if (round == 0)
			assert_int_equal(dirty_collect(&d, &w, NULL), 0);
	}
	dirty_written(&d);
	writes_release(&w);
	dirty_release(&d);
	rig_release(&t);
}

TEST(what_changes_while_it_is_written_is_dirty_again)
{
	struct writes first = { 0 }, second = { 0 };
	struct dirty d;
	struct rig t;

	rig_init(&t);
	dirty_init(&d, &t.l2);
	mark(&t, &d, 1 << 20, 1);
	assert_int_equal(dirty_bytes(&d), 512);
	assert_int_equal(dirty_collect(&d, &first, NULL), 0);
	assert_int_equal(dirty_bytes(&d), 512);
	mark(&t, &d, 1 << 20, 2);
	assert_int_equal(dirty_bytes(&d), 512);
	assert_int_equal(first.list[0].bytes[0], 1);
	dirty_written(&d);
	assert_int_equal(d.waiting.n, 1);
	assert_int_equal(dirty_collect(&d, &second, NULL), 0);
	assert_int_equal(second.list[0].bytes[0], 2);
	dirty_written(&d);
	assert_int_equal(d.waiting.n, 0);
	writes_release(&first);
	writes_release(&second);
	dirty_release(&d);
	rig_release(&t);
}

/* Some of them are dirty again already, and there are more than before. */
TEST(what_could_not_be_written_is_dirty_again)
{
	struct writes first = { 0 }, second = { 0 };
	struct dirty d;
	struct rig t;

	rig_init(&t);
	dirty_init(&d, &t.l2);
	for (uint64_t i = 0; i < 100; i++)
		mark(&t, &d, (2048 + i) * 512, 1);
	assert_int_equal(dirty_collect(&d, &first, NULL), 0);
	for (uint64_t i = 50; i < 150; i++)
		mark(&t, &d, (2048 + i) * 512, 2);
	dirty_failed(&d);
	assert_int_equal(d.writing.n, 0);
	assert_int_equal(d.waiting.n, 150);
	assert_int_equal(dirty_collect(&d, &second, NULL), 0);
	assert_int_equal(second.n, 150);
	for (size_t i = 0; i < second.n; i++) {
		uint64_t index = second.list[i].host_off / 512 - 2048;

		assert_int_equal(second.list[i].bytes[0], index < 50 ? 1 : 2);
	}
	dirty_written(&d);
	writes_release(&first);
	writes_release(&second);
	dirty_release(&d);
	rig_release(&t);
}

TEST(a_mark_finds_the_room_that_was_reserved)
{
	struct dirty d;
	struct rig t;

	rig_init(&t);
	dirty_init(&d, &t.l2);
	for (uint64_t i = 0; i < 500; i++)
		mark(&t, &d, (2048 + i) * 512, 1);
	assert_int_equal(d.waiting.n, 500);
	dirty_release(&d);
	assert_int_equal(d.waiting.n, 0);
	rig_release(&t);
}

TEST(a_set_that_forgot_a_pin_or_a_mark_is_noticed)
{
	struct slice *other;
	struct dirty d;
	struct rig t;

	rig_init(&t);
	dirty_init(&d, &t.l2);
	mark(&t, &d, 1 << 20, 1);
	mark(&t, &d, 1 << 21, 2);
	other = get_slice(&t, 1 << 22);
	dirty_validate(&d);
	ASSERT_ABORTS(d.waiting.n = d.waiting.capacity + 1; dirty_validate(&d));
	ASSERT_ABORTS(d.waiting.list[1] = d.waiting.list[0];
		      dirty_validate(&d));
	ASSERT_ABORTS(d.waiting.list[0]->dirty = false; dirty_validate(&d));
	ASSERT_ABORTS(d.waiting.list[0]->pins = 0; dirty_validate(&d));
	ASSERT_ABORTS(d.waiting.list[0]->host_off++; dirty_validate(&d));
	/* In the list of those being written, and dirty for nobody. */
	other->dirty = true;
	ASSERT_ABORTS(d.writing = (struct dirty_list){ &other, 1, 1 };
		      dirty_validate(&d));
	other->dirty = false;
	cache_put(&t.l2, other);
	dirty_release(&d);
	rig_release(&t);
}
