#include "rig.h"

#include <errno.h>

#include "format/limits.h"

enum { STATE_BYTES = 300000 };

static void fill(uint8_t *state, uint8_t value)
{
	for (unsigned i = 0; i < STATE_BYTES; i++)
		state[i] = (uint8_t)(i * 31 + i / 977 + value);
}

static void expect(struct qcow2_image *img, const uint8_t *want)
{
	uint8_t *now = malloc(STATE_BYTES + 4096);

	assert_non_null(now);
	assert_int_equal(
		qcow2_vmstate_read(img, now, STATE_BYTES + 4096, 0, NULL), 0);
	assert_memory_equal(now, want, STATE_BYTES);
	for (unsigned i = STATE_BYTES; i < STATE_BYTES + 4096; i++)
		assert_int_equal(now[i], 0);
	free(now);
}

static void write_in_pieces(struct rig *r, const uint8_t *state)
{
	struct qcow2_error err;

	for (unsigned at = 0, len = 700; at < STATE_BYTES; at += len) {
		len = len * 3 % 40009 + 1;
		if (len > STATE_BYTES - at)
			len = STATE_BYTES - at;
		if (qcow2_vmstate_write(r->img, state + at, len, at, &err) < 0)
			rig_fail("vmstate", &err);
	}
}

static void run(const struct qcow2_create_opts *kind)
{
	struct qcow2_snapshot_opts opts = QCOW2_SNAPSHOT_OPTS_INIT;
	struct qcow2_open_opts open = QCOW2_OPEN_OPTS_INIT;
	uint8_t *state = malloc(STATE_BYTES);
	uint8_t *zeros = calloc(1, STATE_BYTES);
	struct qcow2_image *img;
	struct rig r;

	assert_true(state && zeros);
	rig_init(&r, MIB, kind);
	rig_write(&r, 1, 100000, 500000);
	fill(state, 1);
	write_in_pieces(&r, state);
	expect(r.img, state);
	rig_expect(&r);
	opts.vm_state_size = STATE_BYTES;
	assert_int_equal(qcow2_snapshot_create(r.img, "vm", &opts, NULL), 0);
	expect(r.img, zeros);
	rig_close(&r);
	rig_check(&r);
	open.snapshot = "vm";
	assert_int_equal(qcow2_open_store(r.store, &open, &img, NULL), 0);
	expect(img, state);
	qcow2_close(img, NULL);
	rig_open(&r);
	rig_apply(&r, "vm");
	expect(r.img, state);
	rig_expect(&r);
	rig_delete(&r, "vm");
	expect(r.img, state);
	rig_close(&r);
	rig_check(&r);
	rig_release(&r);
	free(state);
	free(zeros);
}

TEST(a_snapshot_takes_the_state_along)
{
	static const struct qcow2_create_opts kinds[] = {
		{ .cluster_size = 65536 },
		{ .cluster_size = 512 },
		{ .cluster_size = 4096, .version = 2 },
		{ .cluster_size = 16384, .flags = QCOW2_CREATE_EXTENDED_L2 },
	};

	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		run(&kinds[i]);
}

/* The L1 table that applying had made was left in the overlap guard when VM
 * state made a longer one: the next table in its place was a corruption. */
TEST(an_l1_table_that_was_left_can_be_written)
{
	struct qcow2_create_opts kind = { .cluster_size = 512 };
	uint8_t saved[604] = { 0xf3 };
	struct rig r;

	rig_init(&r, MIB / 8, &kind);
	rig_create(&r, "s");
	for (unsigned i = 0; i < 3; i++) {
		rig_apply(&r, "s");
		assert_int_equal(qcow2_vmstate_write(r.img, saved,
						     sizeof(saved), 0, NULL),
				 0);
	}
	rig_close(&r);
	rig_check(&r);
	rig_release(&r);
}

TEST(state_beyond_the_l1_table_is_refused)
{
	struct qcow2_create_opts kind = { .cluster_size = 512 };
	struct rig r;

	rig_init(&r, MIB, &kind);
	assert_int_equal(
		qcow2_vmstate_write(r.img, "x", 1, UINT64_C(1) << 40, NULL),
		-EFBIG);
	assert_int_equal(qcow2_vmstate_write(r.img, "x", 1, UINT64_MAX, NULL),
			 -EINVAL);
	rig_close(&r);
	rig_check(&r);
	rig_release(&r);
}
