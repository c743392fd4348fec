/*
 * A writer whose parts do not agree.
 */
#include "disk_rig.h"

#include "write/l1_grow.h"

TEST(a_writer_whose_parts_disagree_is_found)
{
	struct disk_rig t;
	struct writer *w;

	disk_init(&t, (struct disk_want){ 0 });
	disk_fill(&t, 1, CLUSTER, 0);
	w = t.img->writer;
	writer_idle_validate(t.img);
	ASSERT_ABORTS(w->commit.refs = NULL; writer_validate(w));
	ASSERT_ABORTS(w->alloc.commit = NULL; writer_validate(w));
	ASSERT_ABORTS(w->pack.alloc = NULL; writer_validate(w));
	ASSERT_ABORTS(w->guard.cluster_bits++; writer_validate(w));
	ASSERT_ABORTS(w->refs.inherited.doubted = true; writer_validate(w));
	ASSERT_ABORTS(w->below.read = NULL;
		      w->below.reads_zero =
			      (bool (*)(void *, uint64_t, uint64_t))abort;
		      writer_validate(w));
	ASSERT_ABORTS(t.img->sizes.file_end = &w->refs.high_water + 1;
		      writer_idle_validate(t.img));
	ASSERT_ABORTS(w->bitmaps_valid = true; writer_idle_validate(t.img));
	disk_release(&t);
}

TEST(a_proof_that_is_not_as_it_should_be_is_found)
{
	struct proof p = { .state = PROOF_OPEN };

	proof_validate(&p);
	ASSERT_ABORTS(p.state = PROOF_REFUSED + 1; proof_validate(&p));
	ASSERT_ABORTS(p.state = PROOF_FAILED; proof_validate(&p));
	ASSERT_ABORTS(p.state = PROOF_MADE; p.why.code = -EIO;
		      proof_validate(&p));
}

TEST(a_table_that_is_not_the_one_in_the_file_is_found)
{
	struct disk_rig t;

	disk_init(&t, (struct disk_want){ 0 });
	l1_grow_validate(t.img);
	ASSERT_ABORTS(t.img->map.l1.host_off += CLUSTER;
		      l1_grow_validate(t.img));
	ASSERT_ABORTS(t.img->map.l1.n_entries++; l1_grow_validate(t.img));
	ASSERT_ABORTS(t.img->header.l1_size = 0; writer_idle_validate(t.img));
	disk_release(&t);
}
