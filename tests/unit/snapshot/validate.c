/*
 * Operations on snapshots whose state is not as it should be.
 */
#include "snapshot/context.h"

#include "image/image.h"
#include "support/test.h"

/* The places of tables in these images. */
enum { OLD_L1 = 3 << 16, NEW_L1 = 7 << 16, NEW_TABLE = 9 << 16 };

static const struct image some_image = {
	.geo = { .cluster_bits = 16, .cluster_size = 1 << 16 },
	.header = { .l1_off = OLD_L1 },
};

/* @text: an id and a name of one byte each. */
static struct snapshot_info some_snapshot(char text[4])
{
	return (struct snapshot_info){ .id = text,
				       .id_len = 1,
				       .name = text + 2,
				       .name_len = 1,
				       .l1_off = NEW_L1,
				       .l1_size = 1 };
}

TEST(a_creation_that_is_not_as_it_should_be_is_found)
{
	char text[4] = "1\0a";
	struct snapshot_info list[2] = { some_snapshot(text),
					 some_snapshot(text) };
	struct image img = some_image;
	uint64_t l1 = 0;
	struct creation c = { .img = &img,
			      .info = list[0],
			      .next = { .list = list, .n = 1 },
			      .tree = { .l1 = &l1, .n_l1 = 1 },
			      .counted = true,
			      .l1_off = NEW_L1,
			      .table = { NEW_TABLE, 64 } };

	creation_validate(&c);
	ASSERT_ABORTS(c.counted = false; creation_validate(&c));
	ASSERT_ABORTS(c.next.n = 0; creation_validate(&c));
	ASSERT_ABORTS(c.next.n = 2; creation_validate(&c));
	ASSERT_ABORTS(c.info.id = NULL; creation_validate(&c));
	ASSERT_ABORTS(c.table.bytes = 0; creation_validate(&c));
	ASSERT_ABORTS(c.table.host_off++; creation_validate(&c));
	ASSERT_ABORTS(c.l1_off = c.info.l1_off = 0; creation_validate(&c));
	ASSERT_ABORTS(c.l1_off = c.info.l1_off = OLD_L1; creation_validate(&c));
	ASSERT_ABORTS(c.info.l1_off = NEW_TABLE; creation_validate(&c));
	ASSERT_ABORTS(c.info.l1_size = 2; creation_validate(&c));
	ASSERT_ABORTS(c.tree.l1 = NULL; creation_validate(&c));
}

TEST(a_deletion_that_is_not_as_it_should_be_is_found)
{
	char text[4] = "1\0a", other[4] = "2\0b";
	struct snapshot_info list[2] = { some_snapshot(text),
					 some_snapshot(other) };
	struct image img = some_image;
	uint64_t l1 = 0;
	struct deletion d = { .img = &img,
			      .info = list[0],
			      .next = { .list = &list[1], .n = 1 },
			      .tree = {
				      .l1 = &l1, .n_l1 = 1, .allowed = true } };

	img.snapshots = (struct snapshots){ .list = list, .n = 2 };
	deletion_validate(&d);
	ASSERT_ABORTS(d.next.n = 0; deletion_validate(&d));
	ASSERT_ABORTS(d.next.list = list; deletion_validate(&d));
	ASSERT_ABORTS(d.info.l1_size = 2; deletion_validate(&d));
	ASSERT_ABORTS(d.tree.allowed = false; deletion_validate(&d));
	ASSERT_ABORTS(d.switched = true; deletion_validate(&d));
	ASSERT_ABORTS(list[1].name = NULL; deletion_validate(&d));
	ASSERT_ABORTS(d.tree.l1 = NULL; deletion_validate(&d));
}

TEST(an_application_that_is_not_as_it_should_be_is_found)
{
	struct image img = some_image;
	uint64_t l1 = 0;
	struct tree tree = { .l1 = &l1, .n_l1 = 1, .allowed = true };
	struct application a = { .img = &img,
				 .old = tree,
				 .tree = tree,
				 .lost = tree,
				 .gained = tree,
				 .counted = true,
				 .l1_off = NEW_L1,
				 .memory = { .to = { .n_entries = 1,
						     .host_off = NEW_L1 } } };

	application_validate(&a);
	ASSERT_ABORTS(a.old.l1 = NULL; application_validate(&a));
	ASSERT_ABORTS(a.tree.l1 = NULL; application_validate(&a));
	ASSERT_ABORTS(a.lost.n_l1 = 0; application_validate(&a));
	ASSERT_ABORTS(a.gained.n_l1 = 0; application_validate(&a));
	ASSERT_ABORTS(a.lost.allowed = false; application_validate(&a));
	ASSERT_ABORTS(a.counted = false; application_validate(&a));
	ASSERT_ABORTS(a.in_place = true; application_validate(&a));
	ASSERT_ABORTS(a.l1_off = 0; application_validate(&a));
	ASSERT_ABORTS(a.l1_off = OLD_L1; application_validate(&a));
	ASSERT_ABORTS(a.memory.to.n_entries = 2; application_validate(&a));
	/* "The old table becomes the new one." */
	a.in_place = true;
	a.l1_off = 0;
	application_validate(&a);
}
