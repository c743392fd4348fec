#include "write/pack.h"

#include "format/limits.h"
#include "unit/counts/rig.h"

struct pack_rig {
	struct rig rig;
	struct alloc alloc;
	struct pack pack;
};

static void init(struct pack_rig *t)
{
	rig_init(&t->rig);
	alloc_init(&t->alloc, &t->rig.refs, &t->rig.commit);
	t->alloc.ahead = 4;
	pack_init(&t->pack, &t->alloc, 0);
}

static void release(struct pack_rig *t)
{
	pack_release(&t->pack);
	alloc_release(&t->alloc);
	rig_release(&t->rig);
}

static uint64_t put(struct pack_rig *t, uint32_t len)
{
	uint64_t host_off;

	assert_int_equal(pack_reserve(&t->pack, len, &host_off, NULL), 0);
	return host_off;
}

static uint64_t count(struct pack_rig *t, uint64_t host_off)
{
	return rig_count(&t->rig, align_down(host_off, RIG_CLUSTER));
}

TEST(pieces_lie_side_by_side_and_are_counted)
{
	struct pack_rig t;
	uint64_t first;

	init(&t);
	first = put(&t, 100);
	assert_true(is_aligned(first, RIG_CLUSTER));
	assert_int_equal(put(&t, 50), first + 100);
	assert_int_equal(put(&t, 1), first + 150);
	assert_int_equal(count(&t, first), 3);
	release(&t);
}

TEST(a_piece_across_two_clusters_counts_in_both)
{
	struct pack_rig t;
	uint64_t first, second;

	init(&t);
	first = put(&t, 4000);
	second = put(&t, 200);
	assert_int_equal(second, first + 4000);
	assert_int_equal(count(&t, first), 2);
	assert_int_equal(count(&t, first + RIG_CLUSTER), 1);
	assert_int_equal(put(&t, 10), second + 200);
	assert_int_equal(count(&t, first + RIG_CLUSTER), 2);
	release(&t);
}

/* O7 */
TEST(after_a_commit_a_piece_begins_in_a_new_sector)
{
	struct pack_rig t;
	uint64_t first;

	init(&t);
	first = put(&t, 100);
	assert_int_equal(commit_flush(&t.rig.commit, NULL), 0);
	assert_int_equal(put(&t, 100), first + 512);
	assert_int_equal(put(&t, 100), first + 612);
	release(&t);
}

/* S8: an entry that ends where the file ended at its opening may count sectors
 * behind that end. */
TEST(no_piece_goes_on_across_the_old_end)
{
	struct pack_rig t;
	uint64_t first, second;

	init(&t);
	first = put(&t, 4000);
	t.pack.apart = first + RIG_CLUSTER;
	second = put(&t, 200);
	assert_int_equal(second, first + RIG_CLUSTER);
	assert_int_equal(count(&t, first), 1);
	release(&t);
}

TEST(what_is_cancelled_is_not_counted)
{
	struct pack_rig t;
	uint64_t first, second;

	init(&t);
	first = put(&t, 4000);
	second = put(&t, 200);
	pack_cancel(&t.pack, 200, second);
	assert_int_equal(count(&t, first), 1);
	assert_int_equal(count(&t, first + RIG_CLUSTER), 0);
	release(&t);
}

TEST(the_open_cluster_is_not_given_away_when_it_is_empty)
{
	struct pack_rig t;
	uint64_t first;

	init(&t);
	first = put(&t, 100);
	pack_cancel(&t.pack, 100, first);
	assert_int_equal(count(&t, first), 0);
	for (unsigned i = 0; i < 20; i++)
		assert_int_not_equal(rig_claim(&t.rig, 1).host_off, first);
	assert_int_equal(put(&t, 100), first + 100);
	assert_int_equal(count(&t, first), 1);
	release(&t);
}

/* A piece that fits goes elsewhere when the open cluster cannot be counted, and
 * later pieces follow it: they were once written to the open cluster and
 * counted in the next. */
TEST(pieces_are_counted_where_they_are)
{
	struct pack_rig t;
	uint64_t at[4];

	init(&t);
	at[0] = put(&t, 100);
	assert_int_equal(commit_flush(&t.rig.commit, NULL), 0);
	cache_release(&t.rig.refs.blocks);
	assert_int_equal(
		cache_init(&t.rig.refs.blocks, t.rig.file, 1 << 20, 4096, NULL),
		0);
	rig_fail(&t.rig, STORE_OP_READ, 1);
	for (unsigned i = 1; i < 4; i++)
		at[i] = put(&t, 100);
	assert_int_equal(fault_fired(&t.rig.fault), 1);
	for (unsigned i = 0; i < 4; i++) {
		uint64_t here = 0;

		for (unsigned k = 0; k < 4; k++)
			here += at[k] / RIG_CLUSTER == at[i] / RIG_CLUSTER;
		assert_int_equal(count(&t, at[i]), here);
	}
	release(&t);
}

TEST(a_full_refcount_opens_another_cluster)
{
	struct pack_rig t;
	uint64_t first;

	rig_init_with(&t.rig, RIG_CLUSTER, 1, 0);
	alloc_init(&t.alloc, &t.rig.refs, &t.rig.commit);
	pack_init(&t.pack, &t.alloc, 0);
	first = put(&t, 100);
	assert_int_equal(put(&t, 100), first + RIG_CLUSTER);
	assert_int_equal(count(&t, first), 1);
	assert_int_equal(count(&t, first + RIG_CLUSTER), 1);
	release(&t);
}

/* ---- Its validator ------------------------------------------------------- */

TEST(a_cluster_that_is_not_open_as_it_should_be_is_found)
{
	struct pack_rig t;
	struct pack *p = &t.pack;

	init(&t);
	pack_validate(p);
	put(&t, 100);
	pack_validate(p);
	ASSERT_ABORTS(p->apart++; pack_validate(p));
	ASSERT_ABORTS(p->end++; pack_validate(p));
	ASSERT_ABORTS(p->next = 0; pack_validate(p));
	ASSERT_ABORTS(p->next = p->end + 1; pack_validate(p));
	ASSERT_ABORTS(p->next -= RIG_CLUSTER; pack_validate(p));
	ASSERT_ABORTS(p->next += 1000 * RIG_CLUSTER;
		      p->end += 1000 * RIG_CLUSTER; pack_validate(p));
	ASSERT_ABORTS(p->generation += 1000; pack_validate(p));
	ASSERT_ABORTS(put(&t, 0));
	ASSERT_ABORTS(put(&t, RIG_CLUSTER + 1));
	release(&t);
}
