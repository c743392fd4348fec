/*
 * The answers of a qcow2 layer about itself to the chain.
 */
#include <errno.h>
#include <string.h>

#include "chain/disk_impl.h"
#include "image/image.h"
#include "store/mem.h"
#include "support/builder.h"
#include "support/test.h"

enum { SIZE = 1 << 20, CLUSTER = 4096 };

static void ok(int rc)
{
	assert_int_equal(rc, 0);
}

struct rig {
	struct builder image;
	struct disk *disk;
};

static void rig_init(struct rig *r)
{
	struct builder_opts opts = { .version = 3,
				     .cluster_bits = 12,
				     .size = SIZE };

	memset(r, 0, sizeof(*r));
	builder_init(&r->image, &opts);
}

static void rig_open(struct rig *r, uint32_t flags)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;

	builder_finish(&r->image);
	opts.flags = flags;
	ok(disk_open_store(r->image.file, &opts, &r->disk, NULL));
}

static void rig_close(struct rig *r)
{
	ok(disk_close(r->disk, NULL));
	builder_release(&r->image);
}

TEST(it_has_the_size_and_the_unit_of_its_image)
{
	struct rig r;

	rig_init(&r);
	rig_open(&r, 0);
	assert_int_equal(disk_size(r.disk), SIZE);
	assert_int_equal(disk_cluster_size(r.disk), CLUSTER);
	assert_true(disk_gives_places(r.disk));
	assert_ptr_equal(r.disk->layers[0].data, r.image.file);
	assert_null(disk_layer_data_filename(r.disk, 0));
	rig_close(&r);
}

TEST(it_names_its_backing_file)
{
	struct qcow2_reference ref;
	struct rig r;

	rig_init(&r);
	r.image.backing_file = "base.img";
	r.image.backing_format = "raw";
	rig_open(&r, QCOW2_OPEN_NO_BACKING);
	assert_true(layer_backing(&r.disk->layers[0], &ref));
	assert_int_equal(ref.kind, QCOW2_REFERENCE_BACKING);
	assert_string_equal(ref.name, "base.img");
	assert_string_equal(ref.format, "raw");
	assert_int_equal(ref.depth, 0);
	rig_close(&r);

	rig_init(&r);
	rig_open(&r, 0);
	assert_false(layer_backing(&r.disk->layers[0], &ref));
	rig_close(&r);
}

/* Without the base nobody knows what an unallocated cluster reads as, unless
 * the caller said that there is to be none. */
TEST(an_unopened_base_leaves_the_map_open)
{
	struct qcow2_extent x;
	struct rig r;

	rig_init(&r);
	r.image.backing_file = "base.img";
	r.image.backing_format = "raw";
	rig_open(&r, QCOW2_OPEN_METADATA_ONLY);
	ok(disk_map(r.disk, SIZE, 0, 0, &x, NULL));
	assert_int_equal(x.flags, 0);
	rig_close(&r);

	rig_init(&r);
	r.image.backing_file = "base.img";
	r.image.backing_format = "raw";
	rig_open(&r, QCOW2_OPEN_NO_BACKING);
	ok(disk_map(r.disk, SIZE, 0, 0, &x, NULL));
	assert_int_equal(x.flags, QCOW2_EXTENT_ZERO);
	rig_close(&r);
}

/* Opens a file that the caller has in memory, under any name. */
static int give_store(void *opaque, const struct qcow2_reference *ref,
		      struct qcow2_store **out, struct qcow2_error *err)
{
	(void)ref, (void)err;
	*out = qcow2_store_ref(opaque);
	return 0;
}

static void open_above(struct rig *r, struct qcow2_store *base, uint32_t flags)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_gate gate = QCOW2_GATE_INIT;

	rig_init(r);
	r->image.backing_file = "base.img";
	r->image.backing_format = "qcow2";
	builder_finish(&r->image);
	gate.open = give_store;
	gate.opaque = base;
	opts.gate = &gate;
	opts.flags = flags;
	ok(disk_open_store(r->image.file, &opts, &r->disk, NULL));
}

/* A base that is open is asked for its map, though not for its data. */
TEST(an_opened_base_answers_the_map_of_metadata)
{
	uint8_t cluster[CLUSTER] = { 1 };
	struct qcow2_extent x;
	struct l2_entry e = { 0 };
	struct rig base;
	struct rig r;

	rig_init(&base);
	e.desc = builder_add_data(&base.image, cluster) | ENTRY_COPIED;
	builder_set_entry(&base.image, 0, e);
	builder_finish(&base.image);
	open_above(&r, base.image.file,
		   QCOW2_OPEN_METADATA_ONLY | QCOW2_OPEN_METADATA_CHAIN);
	assert_int_equal(disk_layer_count(r.disk), 2);
	ok(disk_map(r.disk, SIZE, 0, 0, &x, NULL));
	assert_int_equal(x.depth, 1);
	assert_int_equal(x.len, CLUSTER);
	assert_true(x.flags & QCOW2_EXTENT_DATA);
	assert_int_equal(x.host_off, e.desc & ~ENTRY_COPIED);
	ok(disk_map(r.disk, SIZE - CLUSTER, CLUSTER, 0, &x, NULL));
	assert_int_equal(x.len, SIZE - CLUSTER);
	assert_int_equal(x.flags, QCOW2_EXTENT_ZERO);
	rig_close(&r);
	open_above(&r, base.image.file, QCOW2_OPEN_METADATA_ONLY);
	ok(disk_map(r.disk, SIZE, 0, 0, &x, NULL));
	assert_int_equal(x.flags, 0);
	rig_close(&r);
	builder_release(&base.image);
}

TEST(its_extents_are_in_the_file_that_has_the_data)
{
	uint8_t cluster[CLUSTER];
	struct qcow2_extent x;
	struct l2_entry e = { 0 };
	struct rig r;

	memset(cluster, 0x22, sizeof(cluster));
	rig_init(&r);
	e.desc = builder_add_data(&r.image, cluster) | ENTRY_COPIED;
	builder_set_entry(&r.image, CLUSTER, e);
	rig_open(&r, 0);
	ok(disk_map(r.disk, CLUSTER, CLUSTER, 0, &x, NULL));
	assert_int_equal(x.host_off, e.desc & ~ENTRY_COPIED);
	assert_ptr_equal(disk_extent_store(r.disk, &x), r.image.file);
	ok(disk_map(r.disk, CLUSTER, 0, 0, &x, NULL));
	assert_null(disk_extent_store(r.disk, &x));
	rig_close(&r);
}

TEST(its_validator_sees_what_is_not_its_images)
{
	struct layer *l;
	struct rig r;

	rig_init(&r);
	rig_open(&r, 0);
	l = &r.disk->layers[0];
	layer_validate(l);
	ASSERT_ABORTS(l->size++; layer_validate(l));
	ASSERT_ABORTS(l->cluster_size *= 2; layer_validate(l));
	ASSERT_ABORTS(l->data = NULL; layer_validate(l));
	ASSERT_ABORTS(l->has_data_file = true; layer_validate(l));
	ASSERT_ABORTS(l->depth++; disk_validate(r.disk));
	ASSERT_ABORTS(l->below = l; disk_validate(r.disk));
	ASSERT_ABORTS(l->below_unknown = true; disk_validate(r.disk));
	rig_close(&r);
}
