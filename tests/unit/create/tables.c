#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/zero.h"
#include "check/check.h"
#include "create/create.h"
#include "create/plan.h"
#include "format/extension.h"
#include "format/header.h"
#include "format/l2.h"
#include "format/refcount.h"
#include "rig.h"
#include "support/test.h"

/* An image under inspection. */
struct subject {
	uint8_t *bytes; /* all but the data */
	uint64_t size;
	struct header h;
	struct geometry g;
	uint8_t *refs; /* references found, one byte per cluster */
	uint64_t n_clusters;
	const char *what; /* the options, for messages */
};

/* Reads all that comes before the data into memory that every call uses again:
 * fresh pages for thousands of images would cost most of the time of this
 * test. */
static uint8_t *read_metadata(struct qcow2_store *store, uint64_t len)
{
	static uint8_t *room;
	static uint64_t room_size;

	if (len > room_size) {
		free(room);
		room = malloc(len);
		room_size = len;
	}
	assert_non_null(room);
	assert_int_equal(store_pread(store, room, len, 0, 0, NULL), 0);
	return room;
}

static void add_ref(struct subject *s, uint64_t off)
{
	if (!is_aligned(off, s->g.cluster_size) || off >= s->size)
		fail_msg("%s: offset %#llx", s->what, (unsigned long long)off);
	s->refs[off >> s->g.cluster_bits]++;
}

static void add_refs(struct subject *s, uint64_t off, uint64_t bytes)
{
	for (uint64_t done = 0; done < bytes; done += s->g.cluster_size)
		add_ref(s, off + done);
}

/* Extended entries are mapped to a cluster with all of its subclusters still
 * unallocated, so that a backing file shows through. */
static void check_l2_entry(struct subject *s, struct l2_entry e,
			   uint64_t guest_off)
{
	uint64_t off = l2_host_off(e);

	assert_int_equal(e.bitmap, 0);
	assert_int_equal(e.desc, off | ENTRY_COPIED);
	if (s->g.has_data_file)
		assert_int_equal(off, guest_off);
	else
		add_ref(s, off);
}

static void check_l1_entry(struct subject *s, uint64_t i)
{
	uint64_t entry = get_be64(s->bytes + s->h.l1_off + i * 8);
	const uint8_t *table = s->bytes + l1_table_off(entry);
	uint64_t n = geometry_l2_entries(&s->g);
	uint64_t used = min_u64(n, geometry_clusters(&s->g, s->h.size) - i * n);

	assert_true(entry & ENTRY_COPIED);
	add_ref(s, l1_table_off(entry));
	for (uint64_t k = 0; k < used; k++)
		check_l2_entry(s, l2_get(&s->g, table, k),
			       (i * n + k) << s->g.cluster_bits);
	assert_true(is_zero(table + used * s->g.l2_entry_bytes,
			    (n - used) * s->g.l2_entry_bytes));
}

static void check_l1(struct subject *s, bool mapped)
{
	uint64_t bytes = (uint64_t)s->h.l1_size * 8;

	assert_int_equal(s->h.l1_size, geometry_l1_entries(&s->g, s->h.size));
	add_refs(s, s->h.l1_off, bytes);
	if (!mapped)
		assert_true(is_zero(s->bytes + s->h.l1_off, bytes));
	for (uint64_t i = 0; mapped && i < s->h.l1_size; i++)
		check_l1_entry(s, i);
}

static void check_refcount(struct subject *s, const uint8_t *block, uint64_t k,
			   uint64_t cluster)
{
	uint64_t have = refcount_get(block, k, s->g.refcount_order);

	if (have != s->refs[cluster])
		fail_msg("%s: refcount of %llu is %llu, not %u", s->what,
			 (unsigned long long)cluster, (unsigned long long)have,
			 s->refs[cluster]);
}

/* A byte is the least that can be compared with zeros at once. */
static void check_refcount_block(struct subject *s, uint64_t off, uint64_t i)
{
	const uint8_t *block = s->bytes + off;
	uint64_t n = UINT64_C(1) << s->g.refcount_block_bits;
	uint64_t used = min_u64(n, s->n_clusters - i * n);
	uint64_t k;

	for (k = 0; k < used; k++)
		check_refcount(s, block, k, i * n + k);
	for (; k < n && k % 8; k++)
		assert_int_equal(refcount_get(block, k, s->g.refcount_order),
				 0);
	off = k * s->g.refcount_bits / 8;
	assert_true(is_zero(block + off, s->g.cluster_size - off));
}

static void check_refcounts(struct subject *s)
{
	uint64_t bytes = (uint64_t)s->h.refcount_table_clusters
			 << s->g.cluster_bits;
	const uint8_t *table = s->bytes + s->h.refcount_table_off;
	uint64_t n_blocks = div_round_up(
		s->n_clusters, UINT64_C(1) << s->g.refcount_block_bits);

	add_refs(s, s->h.refcount_table_off, bytes);
	for (uint64_t i = 0; i < n_blocks; i++)
		add_ref(s, get_be64(table + i * 8));
	assert_true(is_zero(table + n_blocks * 8, bytes - n_blocks * 8));
	for (uint64_t i = 0; i < n_blocks; i++)
		check_refcount_block(s, get_be64(table + i * 8), i);
}

static void check_header(struct subject *s, const struct create_plan *plan)
{
	const struct qcow2_create_opts *o = &plan->opts;
	struct extensions x;
	struct fault fault;
	size_t len = (size_t)min_u64(s->size, o->cluster_size);

	assert_int_equal(header_decode(&s->h, s->bytes, len, &fault), 0);
	assert_int_equal(header_validate(&s->h, s->size, &fault), 0);
	assert_int_equal(
		extensions_decode(&x, &s->h, s->bytes, len, s->size, &fault),
		0);
	geometry_init(&s->g, &s->h);
	assert_int_equal(s->h.version, o->version);
	assert_int_equal(s->h.size, o->virtual_size);
	assert_int_equal(s->g.cluster_size, o->cluster_size);
	assert_int_equal(s->g.refcount_bits, o->refcount_bits);
	assert_int_equal(s->g.extended_l2,
			 !!(o->flags & QCOW2_CREATE_EXTENDED_L2));
	assert_int_equal(s->g.has_data_file, o->data_file != NULL);
	assert_int_equal(s->g.data_file_raw,
			 !!(o->flags & QCOW2_CREATE_DATA_FILE_RAW));
	assert_int_equal(x.data_file_len,
			 o->data_file ? strlen(o->data_file) : 0);
	assert_int_equal(x.feature_names_len ? 1 : 0,
			 o->version == 3 && o->cluster_size >= 8192);
}

/* The checker knows nothing of creation and must find nothing either. */
static void check_findings(struct qcow2_store *file, struct subject *s,
			   uint64_t n_mapped)
{
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	struct qcow2_check_result result = { .struct_size = sizeof(result) };
	struct qcow2_error err = { 0 };

	if (check_store(file, &opts, &result, &err))
		fail_msg("%s: %s", s->what, err.message);
	if (result.corruptions || result.leaks || result.check_errors)
		fail_msg("%s: %llu corruptions, %llu leaks", s->what,
			 (unsigned long long)result.corruptions,
			 (unsigned long long)result.leaks);
	assert_int_equal(result.allocated_clusters, n_mapped);
	assert_int_equal(result.fragmented_clusters, 0);
	assert_int_equal(result.image_end_off, s->size);
}

/* Everything about the image follows from the options; nothing is lost. */
static void check_image(struct qcow2_store *file, struct qcow2_store *data,
			const struct create_plan *plan, const char *what)
{
	struct subject s = { .what = what };
	bool mapped = plan->opts.preallocation != QCOW2_PREALLOC_OFF;
	uint64_t data_size;

	assert_int_equal(store_size(file, &s.size, NULL), 0);
	s.bytes = read_metadata(file, data ? s.size : plan->layout.data_off);
	check_header(&s, plan);
	assert_true(is_aligned(s.size, s.g.cluster_size));
	s.n_clusters = s.size >> s.g.cluster_bits;
	s.refs = calloc(1, s.n_clusters);
	assert_non_null(s.refs);
	add_ref(&s, 0);
	check_l1(&s, mapped);
	check_refcounts(&s);
	for (uint64_t i = 0; i < s.n_clusters; i++)
		assert_int_equal(s.refs[i], 1);
	check_findings(file, &s, plan->layout.n_l2_entries);
	if (data) {
		assert_int_equal(store_size(data, &data_size, NULL), 0);
		assert_int_equal(data_size, plan->opts.virtual_size);
	}
	free(s.refs);
}

static void create_and_check(const struct qcow2_create_opts *o)
{
	struct qcow2_store *file;
	struct qcow2_store *data;
	struct create_plan plan;
	char what[200];

	assert_int_equal(create_plan_make(&plan, o, NULL), 0);
	create_in_memory(&file, &data, o);
	create_text(o, what, sizeof(what));
	check_image(file, data, &plan, what);
	store_unref(file);
	store_unref(data);
}

static uint64_t size_limit(const struct qcow2_create_opts *o)
{
	uint64_t per_table = o->cluster_size /
			     (o->flags & QCOW2_CREATE_EXTENDED_L2 ? 16 : 8);

	return L1_TABLE_BYTES_MAX / 8 * per_table * o->cluster_size;
}

/* Options that would only take long: large fills, and large tables more than
 * once. */
static bool is_slow(const struct qcow2_create_opts *o)
{
	uint64_t n = o->virtual_size / o->cluster_size;

	if (o->cluster_size >= MIB && o->refcount_bits != 16)
		return o->virtual_size != MIB + 512;
	if (o->preallocation >= QCOW2_PREALLOC_FALLOC)
		return o->virtual_size > 4 * MIB || o->refcount_bits != 16;
	return o->preallocation == QCOW2_PREALLOC_METADATA && n > 4096 &&
	       (n > 262144 || o->refcount_bits != 16);
}

static void try_sizes(struct qcow2_create_opts *o, unsigned *n)
{
	const uint64_t sizes[] = { 0,       1,         512,
				   512 * 3, MIB + 512, 4 * o->cluster_size + 1,
				   GIB };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		o->virtual_size = sizes[i];
		if (create_check_opts(o, NULL) || is_slow(o))
			continue;
		create_and_check(o);
		++*n;
	}
}

static void try_preallocations(struct qcow2_create_opts *o, unsigned *n)
{
	for (int p = QCOW2_PREALLOC_OFF; p <= QCOW2_PREALLOC_FULL; p++) {
		o->preallocation = (enum qcow2_preallocation)p;
		try_sizes(o, n);
	}
}

static void try_shapes(uint32_t version, uint32_t cluster_size,
		       uint32_t refcount_bits, unsigned *n)
{
	for (uint32_t shape = 0; shape < 6; shape++) {
		struct qcow2_create_opts o = {
			.struct_size = sizeof(o),
			.version = version,
			.cluster_size = cluster_size,
			.refcount_bits = refcount_bits,
			.data_file = shape / 2 ? "disk.raw" : NULL,
		};

		if (shape % 2)
			o.flags |= QCOW2_CREATE_EXTENDED_L2;
		if (shape / 2 == 2)
			o.flags |= QCOW2_CREATE_DATA_FILE_RAW;
		if (!create_check_opts(&o, NULL))
			try_preallocations(&o, n);
	}
}

static const uint32_t cluster_sizes[] = { 512,   1024,    4096,   16384,
					  65536, 1 << 20, 2 << 20 };
#define N_CLUSTER_SIZES (sizeof(cluster_sizes) / sizeof(cluster_sizes[0]))

TEST(the_whole_matrix_is_consistent)
{
	unsigned n = 0;

	for (uint32_t version = 2; version <= 3; version++)
		for (size_t c = 0; c < N_CLUSTER_SIZES; c++)
			for (uint32_t bits = 1; bits <= 64; bits *= 2)
				try_shapes(version, cluster_sizes[c], bits, &n);
	printf("%u images\n", n);
	assert_true(n > 2000);
}

TEST(the_largest_disk_of_each_cluster_size_is_made)
{
	for (size_t c = 0; c < N_CLUSTER_SIZES; c++) {
		struct qcow2_create_opts o = {
			.struct_size = sizeof(o),
			.cluster_size = cluster_sizes[c],
		};

		o.virtual_size = size_limit(&o);
		create_and_check(&o);
		o.virtual_size++;
		assert_int_equal(create_check_opts(&o, NULL), -EFBIG);
	}
}
