#include "rig.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "check/check.h"
#include "check/context.h"
#include "format/refcount.h"

static void must(int rc)
{
	assert_int_equal(rc, 0);
}

struct rig *rig_new(const struct rig_opts *o)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct header *h = &r->header;

	assert_non_null(r);
	must(store_mem_new(&r->store, NULL));
	h->version = o->version ? o->version : 3;
	h->cluster_bits = o->cluster_bits ? o->cluster_bits : 12;
	h->refcount_order = o->has_order ? o->refcount_order : 4;
	h->incompatible_features = o->incompatible_features;
	h->autoclear_features = o->autoclear_features;
	h->header_length = h->version < 3 ? HEADER_LENGTH_V2 : HEADER_LENGTH_V3;
	geometry_init(&r->geo, h);
	r->cs = r->geo.cluster_size;
	h->size = o->size ? o->size : 8 * geometry_l2_reach(&r->geo);
	h->l1_size = (uint32_t)geometry_l1_entries(&r->geo, h->size);
	rig_alloc(r, 1);
	return r;
}

/* The state of the check is in order with anything wrong in the image. */
static void validate_check(struct rig *r)
{
	struct qcow2_check_result result = { .struct_size = sizeof(result) };
	struct check c;

	check_begin(&c, r->store, NULL, &result);
	c.mode.tolerant = true;
	check_run(&c, NULL);
	check_validate(&c);
	check_end(&c);
}

void rig_free(struct rig *r)
{
	validate_check(r);
	store_unref(r->store);
	free(r);
}

uint64_t rig_alloc(struct rig *r, uint64_t n)
{
	uint64_t first = r->n_clusters;

	assert_true(first + n <= RIG_CLUSTERS);
	for (uint64_t i = first; i < first + n; i++)
		r->refcounts[i] = 1;
	r->n_clusters += n;
	return first * r->cs;
}

void rig_set_refcount(struct rig *r, uint64_t off, uint64_t refcount)
{
	r->refcounts[off / r->cs] = refcount;
}

void rig_put(struct rig *r, uint64_t off, const void *p, size_t len)
{
	must(store_pwrite(r->store, p, len, off, 0, NULL));
}

void rig_put64(struct rig *r, uint64_t off, uint64_t value)
{
	uint8_t p[8];

	put_be64(p, value);
	rig_put(r, off, p, sizeof(p));
}

void rig_put32(struct rig *r, uint64_t off, uint32_t value)
{
	uint8_t p[4];

	put_be32(p, value);
	rig_put(r, off, p, sizeof(p));
}

uint64_t rig_get64(struct rig *r, uint64_t off)
{
	uint8_t p[8];

	must(store_pread(r->store, p, sizeof(p), off, 0, NULL));
	return get_be64(p);
}

void rig_entry(struct rig *r, uint64_t l2_off, uint32_t i, uint64_t desc,
	       uint64_t bitmap)
{
	uint64_t at = l2_off + (uint64_t)i * r->geo.l2_entry_bytes;

	rig_put64(r, at, desc);
	if (r->geo.extended_l2)
		rig_put64(r, at + 8, bitmap);
}

uint64_t rig_l2(struct rig *r, uint32_t idx)
{
	uint64_t off = rig_alloc(r, 1);

	r->l1[idx] = off | ENTRY_COPIED;
	return off;
}

uint64_t rig_data(struct rig *r, uint64_t l2_off, uint32_t i)
{
	uint64_t off = rig_alloc(r, 1);

	rig_entry(r, l2_off, i, off | ENTRY_COPIED, SUB_ALL_ALLOC);
	return off;
}

struct small rig_small(struct rig *r)
{
	struct small s = { .l2 = rig_l2(r, 0) };

	for (uint32_t i = 0; i < 3; i++)
		s.data[i] = rig_data(r, s.l2, i);
	return s;
}

void rig_write_l1(struct rig *r, uint64_t off)
{
	for (uint32_t i = 0; i < r->header.l1_size; i++) {
		if (r->l1[i])
			rig_put64(r, off + i * 8, r->l1[i]);
	}
}

static uint64_t l1_clusters(const struct rig *r)
{
	return max_u64(div_round_up(r->header.l1_size * 8, r->cs), 1);
}

uint64_t rig_snapshot(struct rig *r, const struct small *s)
{
	struct snapshot snap = {
		.l1_size = r->header.l1_size,
		.id_len = 1,
		.name_len = 4,
		.id = "1",
		.name = "snap",
		.disk_size = r->header.size,
		.icount = UINT64_MAX,
	};
	uint8_t buf[200];
	struct byte_writer w = byte_writer_init(buf, sizeof(buf));

	for (uint32_t i = 0; i < 3; i++) {
		rig_set_refcount(r, s->data[i], 2);
		rig_entry(r, s->l2, i, s->data[i], SUB_ALL_ALLOC);
	}
	rig_set_refcount(r, s->l2, 2);
	r->l1[0] = s->l2;
	snap.l1_off = rig_alloc(r, l1_clusters(r));
	rig_write_l1(r, snap.l1_off);
	snapshot_encode(&w, &snap);
	r->header.snapshots_off = rig_alloc(r, 1);
	r->header.n_snapshots = 1;
	rig_put(r, r->header.snapshots_off, buf, byte_writer_len(&w));
	return snap.l1_off;
}

struct rig_bitmap rig_bitmap(struct rig *r, const char *name)
{
	struct rig_bitmap b;
	struct bitmap entry = {
		.type = BITMAP_TYPE_DIRTY,
		.granularity_bits = 16,
		.name_len = (uint16_t)strlen(name),
		.name = name,
	};
	uint8_t buf[1200];
	struct byte_writer w = byte_writer_init(buf, sizeof(buf));

	b.directory = r->has_bitmaps ? r->bitmaps.directory_off
				     : rig_alloc(r, 1);
	b.table = rig_alloc(r, 1);
	b.data = rig_alloc(r, 1);
	entry.table_off = b.table;
	entry.table_size =
		(uint32_t)bitmap_table_entries(&r->geo, r->header.size, 16);
	bitmap_encode(&w, &entry);
	rig_put(r, b.directory + r->bitmaps.directory_size, buf,
		byte_writer_len(&w));
	rig_put64(r, b.table, b.data);
	r->has_bitmaps = true;
	r->header.autoclear_features |= AUTOCLEAR_BITMAPS;
	r->bitmaps.n_bitmaps++;
	r->bitmaps.directory_off = b.directory;
	r->bitmaps.directory_size += byte_writer_len(&w);
	return b;
}

static void write_header(struct rig *r)
{
	uint8_t buf[512] = { 0 };
	size_t len = header_encode(&r->header, buf, sizeof(buf));
	struct byte_writer w = byte_writer_init(buf + len, sizeof(buf) - len);

	assert_int_not_equal(len, 0);
	if (r->has_bitmaps)
		extension_encode_bitmaps(&w, &r->bitmaps);
	if (r->has_crypto)
		extension_encode_crypto(&w, &r->crypto);
	if (r->data_file)
		extension_encode(&w, EXT_DATA_FILE, r->data_file,
				 (uint32_t)strlen(r->data_file));
	extension_encode_end(&w);
	assert_false(w.failed);
	rig_put(r, 0, buf, sizeof(buf));
}

void rig_poke_refcount(struct rig *r, uint64_t off, uint64_t refcount)
{
	uint64_t idx = off / r->cs;
	uint64_t mask = (UINT64_C(1) << r->geo.refcount_block_bits) - 1;
	uint64_t entry = r->table_off + (idx >> r->geo.refcount_block_bits) * 8;
	uint8_t *block = malloc(r->cs);
	uint64_t block_off = rig_get64(r, entry);

	assert_non_null(block);
	must(store_pread(r->store, block, r->cs, block_off, 0, NULL));
	refcount_put(block, idx & mask, r->geo.refcount_order, refcount);
	rig_put(r, block_off, block, r->cs);
	free(block);
}

static void write_refcounts(struct rig *r)
{
	uint64_t per_block = UINT64_C(1) << r->geo.refcount_block_bits;
	uint64_t blocks[RIG_CLUSTERS / 64 + 1] = { 0 };
	uint64_t n = 0;

	r->header.refcount_table_clusters = 1;
	while (RIG_CLUSTERS / per_block * 8 >
	       r->header.refcount_table_clusters * r->cs)
		r->header.refcount_table_clusters++;
	r->table_off = rig_alloc(r, r->header.refcount_table_clusters);
	while (n * per_block < r->n_clusters)
		blocks[n++] = rig_alloc(r, 1);
	r->block_off = blocks[0];
	for (uint64_t i = 0; i < n; i++)
		rig_put64(r, r->table_off + i * 8, blocks[i]);
	for (uint64_t i = 0; i < r->n_clusters; i++) {
		if (r->refcounts[i])
			rig_poke_refcount(r, i * r->cs, r->refcounts[i]);
	}
}

void rig_finish(struct rig *r)
{
	r->l1_off = rig_alloc(r, l1_clusters(r));
	rig_write_l1(r, r->l1_off);
	write_refcounts(r);
	r->header.l1_off = r->l1_off;
	r->header.refcount_table_off = r->table_off;
	write_header(r);
	must(store_truncate(r->store, r->n_clusters * r->cs, NULL));
}

static void collect(void *opaque, const struct qcow2_finding *f)
{
	struct outcome *o = opaque;
	size_t i = o->n++;

	if (i >= RIG_FINDINGS)
		return;
	o->found[i].defect = f->defect;
	o->found[i].severity = f->severity;
	o->found[i].host_off = f->host_off;
	strncpy(o->found[i].message, f->message,
		sizeof(o->found[i].message) - 1);
}

struct outcome *check_any(struct qcow2_store *s,
			  const struct qcow2_check_opts *opts)
{
	struct outcome *o = calloc(1, sizeof(*o));
	struct qcow2_check_opts own = QCOW2_CHECK_OPTS_INIT;

	assert_non_null(o);
	if (opts)
		own = *opts;
	own.report = collect;
	own.opaque = o;
	o->result.struct_size = sizeof(o->result);
	o->rc = check_store(s, &own, &o->result, &o->err);
	return o;
}

struct outcome *check_rig(struct rig *r)
{
	return check_any(r->store, NULL);
}

static void print_outcome(const struct outcome *o)
{
	print_message("rc %d %s\n", o->rc, o->rc < 0 ? o->err.message : "");
	for (size_t i = 0; i < o->n && i < RIG_FINDINGS; i++)
		print_message("  %d at 0x%" PRIx64 ": %s\n",
			      (int)o->found[i].defect, o->found[i].host_off,
			      o->found[i].message);
}

/* Takes one finding that matches out of the outcome. */
static bool take(struct outcome *o, const struct expected *e)
{
	for (size_t i = 0; i < o->n && i < RIG_FINDINGS; i++) {
		if (o->found[i].defect != e->defect)
			continue;
		if (e->host_off != ANYWHERE &&
		    o->found[i].host_off != e->host_off)
			continue;
		o->found[i].defect = -1;
		return true;
	}
	return false;
}

static size_t not_taken(const struct outcome *o)
{
	size_t left = 0;

	for (size_t i = 0; i < o->n && i < RIG_FINDINGS; i++) {
		if (o->found[i].defect != -1 &&
		    o->found[i].severity != QCOW2_SEVERITY_NONE)
			left++;
	}
	return left;
}

void expect_list(struct rig *r, const struct expected *list, size_t n)
{
	struct outcome *o = check_rig(r);
	bool good = o->rc == 0;

	for (size_t i = 0; i < n; i++) {
		if (take(o, &list[i]))
			continue;
		print_message("missing: defect %d at 0x%" PRIx64 "\n",
			      (int)list[i].defect, list[i].host_off);
		good = false;
	}
	good = good && not_taken(o) == 0;
	good = good &&
	       (o->result.corruptions + o->result.leaks != 0) == (n != 0);
	if (!good)
		print_outcome(o);
	free(o);
	assert_true(good);
}

void expect_refused(struct rig *r, int code, int32_t defect)
{
	struct outcome *o = check_rig(r);

	if (o->rc != code || o->err.defect != defect)
		print_outcome(o);
	assert_int_equal(o->rc, code);
	assert_int_equal(o->err.defect, defect);
	assert_int_equal(o->result.image_end_off, 0);
	free(o);
}
