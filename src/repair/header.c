/*
 * All that repair changes in the header lies in its first sector, so that it
 * changes at once.
 */
#include "base/bytes.h"
#include "repair/context.h"
#include "store/store.h"

/* From the refcount table's offset to the refcount order. */
#define PART_OFF HEADER_OFF_REFCOUNT_TABLE_OFF
#define PART_BYTES (HEADER_OFF_HEADER_LENGTH - PART_OFF)
#define PART_BYTES_V2 (HEADER_LENGTH_V2 - PART_OFF)

struct repair_header_part {
	uint8_t bytes[PART_BYTES];
	size_t len;
};

static int part_read(struct repair *r, struct repair_header_part *p,
		     struct qcow2_error *err)
{
	p->len = r->c.header.version >= 3 ? PART_BYTES : PART_BYTES_V2;
	return store_pread(r->file, p->bytes, p->len, PART_OFF, 0, err);
}

static int part_write(struct repair *r, const struct repair_header_part *p,
		      struct qcow2_error *err)
{
	int rc = store_pwrite(r->file, p->bytes, p->len, PART_OFF, 0, err);

	return rc < 0 ? rc : store_flush(r->file, err);
}

static uint8_t *field(struct repair_header_part *p, enum header_field off)
{
	return p->bytes + (off - PART_OFF);
}

static bool clear(struct repair_header_part *p, enum header_field off,
		  uint64_t bits)
{
	uint64_t old;

	if (p->len < PART_BYTES)
		return false;
	old = get_be64(field(p, off));
	put_be64(field(p, off), old & ~bits);
	return old & bits;
}

int repair_switch(struct repair *r, const struct header_switch *s,
		  struct qcow2_error *err)
{
	struct repair_header_part p;
	int rc = part_read(r, &p, err);

	if (rc < 0)
		return rc;
	put_be64(field(&p, HEADER_OFF_REFCOUNT_TABLE_OFF),
		 s->refcount_table_off);
	put_be32(field(&p, HEADER_OFF_REFCOUNT_TABLE_CLUSTERS),
		 s->refcount_table_clusters);
	put_be32(field(&p, HEADER_OFF_SNAPSHOT_COUNT), s->n_snapshots);
	put_be64(field(&p, HEADER_OFF_SNAPSHOTS_OFF), s->snapshots_off);
	clear(&p, HEADER_OFF_AUTOCLEAR, s->clear_autoclear);
	if (p.len == PART_BYTES)
		put_be32(field(&p, HEADER_OFF_REFCOUNT_ORDER),
			 s->refcount_order);
	return part_write(r, &p, err);
}

int repair_clear_bits(struct repair *r, uint64_t incompatible,
		      uint64_t autoclear, struct qcow2_error *err)
{
	struct repair_header_part p;
	int rc = part_read(r, &p, err);
	bool change;

	if (rc < 0)
		return rc;
	change = clear(&p, HEADER_OFF_INCOMPAT, incompatible);
	change |= clear(&p, HEADER_OFF_AUTOCLEAR, autoclear);
	return change ? part_write(r, &p, err) : 0;
}

int repair_set_snapshots(struct repair *r, uint32_t n, struct qcow2_error *err)
{
	struct repair_header_part p;
	int rc = part_read(r, &p, err);

	if (rc < 0)
		return rc;
	put_be32(field(&p, HEADER_OFF_SNAPSHOT_COUNT), n);
	return part_write(r, &p, err);
}
