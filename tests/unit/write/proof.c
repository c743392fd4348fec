/*
 * F01: refcounts that are too low, in every place where they can be.  Every
 * byte that could be read before stays right through all that is done to such
 * an image.
 */
#include "proof_rig.h"

#include "stores/fault.h"

/* ---- An image that is not used ------------------------------------------- */

TEST_SLOW(opening_and_closing_changes_nothing)
{
	for (unsigned k = 0; k < N_WANTS * N_DAMAGES; k++) {
		const struct want *w = &wants[k % N_WANTS];
		uint64_t size, size_after;
		uint8_t *before, *after;
		struct rig r;

		make(&r, w);
		damage(&r, damages[k / N_WANTS]);
		before = bytes_of(&r, &size);
		rig_open(&r);
		rig_expect(&r);
		assert_int_equal(qcow2_flush(r.img, NULL), 0);
		assert_int_equal(qcow2_snapshot_delete(r.img, "nosuch", NULL),
				 -ENOENT);
		assert_int_equal(qcow2_resize(r.img, r.size - 1, NULL, NULL),
				 -EINVAL);
		rig_close(&r);
		after = bytes_of(&r, &size_after);
		assert_int_equal(size, size_after);
		assert_memory_equal(before, after, size);
		free(before);
		free(after);
		release(&r);
	}
}

/* ---- An image that is used ----------------------------------------------- */

typedef void use_fn(struct rig *r);

static void allocate(struct rig *r)
{
	uint32_t c = r->create.cluster_size;

	for (uint64_t i = 0; i < 20; i++)
		rig_write(r, (uint8_t)(100 + i), c,
			  (10 + 3 * i) % (r->size / c) * c);
}

static void overwrite(struct rig *r)
{
	for (uint64_t i = 0; i < 8; i++)
		rig_write(r, (uint8_t)(150 + i), 100,
			  i * r->create.cluster_size + 50);
}

static void discard(struct rig *r)
{
	uint64_t c = r->create.cluster_size;
	uint32_t flags = r->create.version == 2 ? 0 : QCOW2_ZERO_MAY_UNMAP;

	memset(r->disk + c, 0, 2 * c);
	assert_int_equal(qcow2_zero(r->img, 2 * c, c, flags, NULL), 0);
	memset(r->disk + 6 * c, 0, c);
	assert_int_equal(qcow2_zero(r->img, c, 6 * c, flags, NULL), 0);
	assert_int_equal(qcow2_flush(r->img, NULL), 0);
}

static void take_snapshots(struct rig *r)
{
	if (r->create.refcount_bits < 4)
		return;
	rig_create(r, "t");
	overwrite(r);
	rig_delete(r, "t");
}

static void lose_the_snapshot(struct rig *r)
{
	if (!old_disk)
		return;
	rig_delete(r, "s");
	free(old_disk);
	old_disk = NULL;
}

static void shrink(struct rig *r)
{
	struct qcow2_resize_opts o = QCOW2_RESIZE_OPTS_INIT;

	if (old_disk && r->create.version == 2)
		return;
	o.flags = QCOW2_RESIZE_SHRINK;
	assert_int_equal(qcow2_resize(r->img, r->size - 32768, &o, NULL), 0);
	r->size -= 32768;
	if (old_disk) {
		/* The view keeps its own size. */
		rig_delete(r, "s");
		free(old_disk);
		old_disk = NULL;
	}
}

static void widen(struct rig *r)
{
	struct qcow2_amend_opts o = QCOW2_AMEND_OPTS_INIT;

	if (r->create.version == 2 || r->create.refcount_bits == 64)
		return;
	o.set = QCOW2_AMEND_REFCOUNT_BITS;
	o.refcount_bits = 2 * r->create.refcount_bits;
	assert_int_equal(qcow2_amend(r->img, &o, NULL), 0);
	r->create.refcount_bits *= 2;
}

static use_fn *const uses[] = {
	allocate,          overwrite, discard, take_snapshots,
	lose_the_snapshot, shrink,    widen,
};

enum { N_USES = sizeof(uses) / sizeof(uses[0]) };

static uint64_t n_raised(struct rig *r)
{
	struct qcow2_info info = QCOW2_INFO_INIT;

	assert_int_equal(qcow2_get_info(r->img, 0, &info, NULL), 0);
	return info.refcounts_raised;
}

static void use_image(struct rig *r, use_fn *first, use_fn *second)
{
	rig_open(r);
	first(r);
	rig_expect(r);
	second(r);
	allocate(r);
	rig_expect(r);
	assert_true(n_raised(r) > 0);
	rig_close(r);
	rig_check(r);
	expect_all(r);
}

TEST_SLOW(every_byte_is_right_after_every_use)
{
	for (unsigned k = 0; k < N_WANTS * N_DAMAGES * N_USES; k++) {
		const struct want *w = &wants[k % N_WANTS];
		unsigned d = k / N_WANTS % N_DAMAGES;
		unsigned u = k / N_WANTS / N_DAMAGES;
		struct rig r;

		if (!w->snapshot && damages[d] == snapshots_do_not_count)
			continue;
		if (!w->snapshot && damages[d] == flags_lie)
			continue;
		make(&r, w);
		damage(&r, damages[d]);
		use_image(&r, uses[u], uses[(u + k) % N_USES]);
		release(&r);
	}
}

/* A sound image is not changed by the proof, and reuses its space. */
TEST(a_sound_image_does_not_grow)
{
	static const struct want w = { 3, 4096, 16, false, false };
	uint64_t before, after;
	struct rig r;

	make(&r, &w);
	rig_open(&r);
	discard(&r);
	rig_close(&r);
	free(bytes_of(&r, &before));
	rig_open(&r);
	rig_write(&r, 9, 4096, 40 * 4096);
	rig_write(&r, 9, 4096, 41 * 4096);
	assert_int_equal(proof_of(&r)->state, PROOF_MADE);
	assert_int_equal(n_raised(&r), 0);
	rig_close(&r);
	free(bytes_of(&r, &after));
	assert_int_equal(before, after);
	rig_check(&r);
	release(&r);
}

/* An entry points to where the file ended a moment ago: the next cluster that
 * is claimed would be the one it names, and then belong to two guest
 * clusters. */
TEST(nothing_is_put_where_an_entry_past_the_end_points)
{
	static const struct want w = { 3, 4096, 16, false, false };
	struct qcow2_error err = { 0 };
	uint8_t byte = 1;
	struct raw raw;
	struct rig r;

	make(&r, &w);
	raw_open(&raw, &r);
	raw_put(&raw, (raw.n_clusters * 4096) | ENTRY_COPIED,
		(raw_get(&raw, raw.header.l1_off) & ENTRY_OFFSET_MASK) +
			20 * L2_ENTRY_BYTES);
	rig_open(&r);
	assert_int_equal(qcow2_pwrite(r.img, &byte, 1, 30 * 4096, 0, &err),
			 -EIO);
	assert_int_equal(err.defect, DEFECT_L2_ENTRY_BEYOND_EOF);
	assert_int_equal(proof_of(&r)->state, PROOF_REFUSED);
	qcow2_close(r.img, NULL);
	r.img = NULL;
	release(&r);
}

/* A write that must not wait gets no proof, and none is needed afterwards. */
TEST(nobody_waits_for_it_who_must_not)
{
	static const struct want w = { 3, 4096, 16, false, false };
	struct rig r;

	make(&r, &w);
	rig_open(&r);
	assert_int_equal(qcow2_pwrite(r.img, "x", 1, 0, QCOW2_NOWAIT, NULL),
			 -EAGAIN);
	assert_int_equal(proof_of(&r)->state, PROOF_OPEN);
	rig_write(&r, 1, 1, 0);
	r.disk[0] = 'x';
	assert_int_equal(qcow2_pwrite(r.img, "x", 1, 0, QCOW2_NOWAIT, NULL), 0);
	rig_expect(&r);
	release(&r);
}

TEST(who_vouches_for_refcounts_has_none_proved)
{
	static const struct want w = { 3, 4096, 16, false, true };
	struct rig r;

	make(&r, &w);
	r.open.flags = QCOW2_OPEN_TRUST_REFCOUNTS;
	rig_open(&r);
	assert_int_equal(proof_of(&r)->state, PROOF_MADE);
	overwrite(&r);
	allocate(&r);
	rig_close(&r);
	rig_check(&r);
	expect_all(&r);
	release(&r);
}

/* ---- Without a proof ----------------------------------------------------- */

/* An entry that takes a table for data. */
TEST(other_damage_is_refused)
{
	static const struct want w = { 3, 4096, 16, false, false };
	struct qcow2_error err = { 0 };
	struct rig r;
	struct raw raw;

	make(&r, &w);
	raw_open(&raw, &r);
	raw_put(&raw, raw.header.l1_off | ENTRY_COPIED,
		(raw_get(&raw, raw.header.l1_off) & ENTRY_OFFSET_MASK) +
			8 * 100);
	rig_open(&r);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(qcow2_pwrite(r.img, "x", 1, 0, 0, &err), -EIO);
	assert_int_equal(qcow2_snapshot_create(r.img, "t", NULL, NULL), -EIO);
	assert_int_equal(qcow2_close(r.img, NULL), -EIO);
	r.img = NULL;
	raw_open(&raw, &r);
	assert_int_equal(raw.header.incompatible_features, INCOMPAT_CORRUPT);
	release(&r);
}

TEST(the_defect_is_named)
{
	static const struct want w = { 3, 4096, 16, false, false };
	struct qcow2_error err = { 0 };
	struct rig r;
	struct raw raw;

	make(&r, &w);
	raw_open(&raw, &r);
	raw_put(&raw, raw.header.l1_off | ENTRY_COPIED,
		(raw_get(&raw, raw.header.l1_off) & ENTRY_OFFSET_MASK) +
			8 * 100);
	rig_open(&r);
	assert_int_equal(qcow2_pwrite(r.img, "x", 1, 0, 0, &err), -EIO);
	assert_int_equal(err.defect, DEFECT_CLUSTER_OVERLAP);
	assert_int_equal(qcow2_close(r.img, NULL), -EIO);
	r.img = NULL;
	release(&r);
}

/* One bit cannot say that a cluster has two owners: such an image is not marked
 * corrupt, since it needs wider refcounts. */
TEST(refcounts_that_are_too_narrow_are_refused)
{
	static const struct want w = { 3, 4096, 1, false, false };
	struct qcow2_error err = { 0 };
	struct rig r;
	struct raw raw;
	uint64_t l2;

	make(&r, &w);
	raw_open(&raw, &r);
	l2 = raw_get(&raw, raw.header.l1_off) & ENTRY_OFFSET_MASK;
	raw_put(&raw, raw_get(&raw, l2), l2 + 8 * 100);
	rig_open(&r);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(qcow2_pwrite(r.img, "x", 1, 0, 0, &err), -EIO);
	assert_int_equal(err.defect, DEFECT_REFCOUNT_TOO_LOW);
	rig_close(&r);
	raw_open(&raw, &r);
	assert_int_equal(raw.header.incompatible_features, 0);
	release(&r);
}

static void count_other(void *opaque, const struct qcow2_finding *f)
{
	unsigned *n = opaque;

	*n += f->defect != DEFECT_COPIED_FLAG;
}

/* An entry that is alone again may lack its flag, which costs a copy. */
static void expect_sound_but_flags(struct rig *r)
{
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	struct qcow2_check_result result = { .struct_size = sizeof(result) };
	unsigned n = 0;

	opts.report = count_other;
	opts.opaque = &n;
	assert_int_equal(check_store(r->store, &opts, &result, NULL), 0);
	assert_int_equal(n, 0);
}

/* Two entries of one disk for one cluster: each is written without the
 * other. */
TEST(two_entries_for_one_cluster_part)
{
	static const struct want w = { 3, 4096, 16, false, false };
	struct rig r;
	struct raw raw;
	uint64_t l2;

	make(&r, &w);
	raw_open(&raw, &r);
	l2 = raw_get(&raw, raw.header.l1_off) & ENTRY_OFFSET_MASK;
	raw_put(&raw, raw_get(&raw, l2), l2 + 8 * 100);
	memcpy(r.disk + 100 * 4096, r.disk, 4096);
	rig_open(&r);
	rig_write(&r, 77, 10, 20);
	rig_expect(&r);
	rig_close(&r);
	expect_sound_but_flags(&r);
	expect_all(&r);
	release(&r);
}

TEST(without_memory_for_the_proof_the_file_only_grows)
{
	static const struct want w = { 3, 4096, 16, false, false };
	struct qcow2_resize_opts o = QCOW2_RESIZE_OPTS_INIT;
	uint64_t before, after;
	struct rig r;

	make(&r, &w);
	damage(&r, the_tail_does_not_count);
	free(bytes_of(&r, &before));
	r.open.budget.metadata_bytes = 100000;
	rig_open(&r);
	allocate(&r);
	assert_int_equal(proof_of(&r)->state, PROOF_FAILED);
	discard(&r);
	allocate(&r);
	rig_expect(&r);
	o.flags = QCOW2_RESIZE_SHRINK;
	assert_int_equal(qcow2_resize(r.img, DISK / 2, &o, NULL), -E2BIG);
	assert_int_equal(qcow2_snapshot_create(r.img, "t", NULL, NULL), -E2BIG);
	rig_expect(&r);
	rig_close(&r);
	free(bytes_of(&r, &after));
	assert_true(after > before);
	expect_all(&r);
	release(&r);
}

/* I3a: the owner of the flags is not known, so the contents of the file are
 * copied. */
TEST(without_a_proof_no_flag_is_believed)
{
	for (unsigned i = 0; i < N_WANTS; i++) {
		struct rig r;

		if (!wants[i].snapshot)
			continue;
		make(&r, &wants[i]);
		damage(&r, flags_lie);
		rig_open(&r);
		proof_of(&r)->state = PROOF_FAILED;
		proof_of(&r)->why.code = -EFBIG;
		overwrite(&r);
		discard(&r);
		overwrite(&r);
		rig_expect(&r);
		rig_close(&r);
		expect_all(&r);
		release(&r);
	}
}

static void make_shared(struct rig *r);

/* The table, too, may be the snapshot's. */
TEST(without_a_proof_no_table_is_changed_in_place)
{
	struct rig r;

	make_shared(&r);
	r.open.budget.metadata_bytes = 100000;
	rig_open(&r);
	rig_write(&r, 99, 512, 40000);
	assert_int_equal(proof_of(&r)->state, PROOF_FAILED);
	rig_write(&r, 98, 5000, 50000);
	rig_expect(&r);
	rig_close(&r);
	expect_all(&r);
	release(&r);
}

static void find_damage(void *opaque, const struct qcow2_finding *f)
{
	bool *found = opaque;

	*found |= f->severity == QCOW2_SEVERITY_CORRUPTION;
}

static bool is_damaged(struct qcow2_store *store)
{
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	struct qcow2_check_result result = { .struct_size = sizeof(result) };
	bool found = false;

	opts.report = find_damage;
	opts.opaque = &found;
	assert_int_equal(check_store(store, &opts, &result, NULL), 0);
	return found;
}

/* One of two L2 tables is shared with the snapshot, but neither refcount nor
 * flag says so. */
static void make_shared(struct rig *r)
{
	struct qcow2_create_opts o = QCOW2_CREATE_OPTS_INIT;
	struct raw w;
	uint64_t second;

	o.cluster_size = 512;
	rig_init(r, DISK, &o);
	rig_write(r, 1, 65536, 0);
	rig_create(r, "s");
	old_disk = rig_copy(r);
	rig_write(r, 60, 512, 0);
	rig_close(r);
	raw_open(&w, r);
	second = w.header.l1_off + 8;
	change_count(&w, (raw_get(&w, second) & ENTRY_OFFSET_MASK) / 512, 1);
	raw_put(&w, raw_get(&w, second) | ENTRY_COPIED, second);
}

/* The @first write finds no room, and so does the @second of those that come
 * through. */
static bool apply_without_room(uint64_t first, uint64_t second)
{
	struct fault_plan plan = { .ops = FAULT_ON(STORE_OP_WRITE),
				   .nth = first,
				   .code = -ENOSPC };
	struct fault_injector outer = FAULT_INIT, inner = FAULT_INIT;
	struct qcow2_store *file, *between;
	struct rig r;
	uint8_t value;
	bool proved;
	int rc;

	make_shared(&r);
	file = r.store;
	assert_int_equal(fault_store_new(&inner, file, &between), 0);
	assert_int_equal(fault_store_new(&outer, between, &r.store), 0);
	rig_open(&r);
	fault_arm(&outer, &plan);
	plan.nth = second;
	fault_arm(&inner, &plan);
	rc = qcow2_snapshot_apply(r.img, "s", NULL);
	fault_arm(&outer, NULL);
	fault_arm(&inner, NULL);
	proved = proof_of(&r)->state == PROOF_MADE;
	assert_true(rc == 0 || rc == -ENOSPC);
	/* Steps that failed behind the switch are done all the same. */
	assert_int_equal(qcow2_pread(r.img, &value, 1, 0, 0, NULL), 0);
	assert_true(rc < 0 || value == old_disk[0]);
	if (value == old_disk[0])
		memcpy(r.disk, old_disk, r.size);
	rig_close(&r);
	expect_all(&r);
	if (proved && is_damaged(file))
		fail_msg("writes %d and %d", (int)first, (int)second);
	qcow2_store_unref(between);
	qcow2_store_unref(r.store);
	r.store = file;
	release(&r);
	return proved && rc < 0;
}

/* A table in place that cannot be written is put back as the proof left it. */
TEST_SLOW(a_failed_apply_puts_no_wrong_flag_back)
{
	unsigned n = 0;

	for (uint64_t first = 1; first < 20; first++)
		for (uint64_t second = first; second < 20; second++)
			n += apply_without_room(first, second);
	assert_true(n > 0);
}
