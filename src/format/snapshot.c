#include "format/snapshot.h"

#include "base/checked.h"

enum {
	SNAPSHOT_OFF_ID_LEN = 12,
	SNAPSHOT_OFF_NAME_LEN = 14,
	SNAPSHOT_OFF_EXTRA_LEN = 36,
};

uint64_t snapshot_entry_bytes(const uint8_t *fixed)
{
	uint64_t bytes = SNAPSHOT_HEADER_BYTES;

	/* Entries with more are refused, so nobody needs more in memory. */
	bytes += min_u64(get_be32(fixed + SNAPSHOT_OFF_EXTRA_LEN),
			 SNAPSHOT_EXTRA_BYTES_MAX);
	bytes += get_be16(fixed + SNAPSHOT_OFF_ID_LEN);
	bytes += get_be16(fixed + SNAPSHOT_OFF_NAME_LEN);
	return align_up(bytes, 8);
}

static void read_fixed(struct snapshot *s, struct reader *r)
{
	s->l1_off = read_be64(r);
	s->l1_size = read_be32(r);
	s->id_len = read_be16(r);
	s->name_len = read_be16(r);
	s->date_sec = read_be32(r);
	s->date_nsec = read_be32(r);
	s->vm_clock_nsec = read_be64(r);
	s->vm_state_size = read_be32(r);
	s->extra_len = read_be32(r);
}

static void read_extra(struct snapshot *s, struct reader *r, uint64_t disk_size)
{
	const uint8_t *data = read_bytes(r, s->extra_len);
	struct reader extra = reader_init(data, data ? s->extra_len : 0);

	s->disk_size = disk_size;
	s->icount = UINT64_MAX;
	if (reader_left(&extra) >= 8)
		s->vm_state_size = read_be64(&extra);
	if (reader_left(&extra) >= 8)
		s->disk_size = read_be64(&extra);
	if (reader_left(&extra) >= 8)
		s->icount = read_be64(&extra);
	if (s->extra_len > SNAPSHOT_EXTRA_BYTES_ICOUNT) {
		s->unknown_extra = extra.pos;
		s->unknown_extra_len = (uint32_t)reader_left(&extra);
	}
}

static void skip_padding(const struct snapshot *s, struct reader *r)
{
	uint64_t len = (uint64_t)SNAPSHOT_HEADER_BYTES + s->extra_len +
		       s->id_len + s->name_len;

	/* The last entry's padding may be missing. */
	read_bytes(r, (size_t)min_u64(-len & 7, reader_left(r)));
}

enum defect snapshot_decode(struct snapshot *s, struct reader *r,
			    uint64_t disk_size, struct fault *fault)
{
	size_t left = reader_left(r);

	*s = (struct snapshot){ 0 };
	read_fixed(s, r);
	if (s->extra_len > SNAPSHOT_EXTRA_BYTES_MAX)
		return fault_set(fault, DEFECT_SNAPSHOT_EXTRA_SIZE,
				 "extra_data_size", SNAPSHOT_OFF_EXTRA_LEN,
				 s->extra_len, SNAPSHOT_EXTRA_BYTES_MAX);
	read_extra(s, r, disk_size);
	s->id = (const char *)read_bytes(r, s->id_len);
	s->name = (const char *)read_bytes(r, s->name_len);
	if (r->failed)
		return fault_set(fault, DEFECT_SNAPSHOT_TABLE, "length", 0,
				 left, 0);
	skip_padding(s, r);
	return DEFECT_NONE;
}

bool snapshot_lacks_extra(const struct snapshot *s, uint32_t version)
{
	return version >= 3 && s->extra_len < SNAPSHOT_EXTRA_BYTES_V3;
}

enum defect snapshot_l1_defect(const struct geometry *g,
			       const struct snapshot *s, uint64_t file_size)
{
	uint64_t bytes = (uint64_t)s->l1_size * L1_ENTRY_BYTES;

	if (bytes > L1_TABLE_BYTES_MAX)
		return DEFECT_SNAPSHOT_L1;
	if (s->l1_size && !geometry_table_fits(g, s->l1_off, bytes, file_size))
		return DEFECT_SNAPSHOT_L1;
	if (s->disk_size > VIRTUAL_SIZE_MAX ||
	    geometry_l1_entries(g, s->disk_size) > s->l1_size)
		return DEFECT_SNAPSHOT_DISK_SIZE;
	return DEFECT_NONE;
}

bool snapshot_is_misplaced(const struct geometry *g, const struct snapshot *s)
{
	return !s->l1_size && !is_aligned(s->l1_off, g->cluster_size);
}

static uint32_t extra_bytes(const struct snapshot *s)
{
	return SNAPSHOT_EXTRA_BYTES_ICOUNT + s->unknown_extra_len;
}

uint64_t snapshot_encoded_bytes(const struct snapshot *s)
{
	return align_up((uint64_t)SNAPSHOT_HEADER_BYTES + extra_bytes(s) +
				s->id_len + s->name_len,
			8);
}

void snapshot_encode(struct byte_writer *w, const struct snapshot *s)
{
	uint32_t extra = extra_bytes(s);
	size_t len =
		(size_t)SNAPSHOT_HEADER_BYTES + extra + s->id_len + s->name_len;

	write_be64(w, s->l1_off);
	write_be32(w, s->l1_size);
	write_be16(w, s->id_len);
	write_be16(w, s->name_len);
	write_be32(w, s->date_sec);
	write_be32(w, s->date_nsec);
	write_be64(w, s->vm_clock_nsec);
	write_be32(w, s->vm_state_size > UINT32_MAX
			      ? 0
			      : (uint32_t)s->vm_state_size);
	write_be32(w, extra);
	write_be64(w, s->vm_state_size);
	write_be64(w, s->disk_size);
	write_be64(w, s->icount);
	write_bytes(w, s->unknown_extra, s->unknown_extra_len);
	write_bytes(w, s->id, s->id_len);
	write_bytes(w, s->name, s->name_len);
	write_zeros(w, -len & 7);
}
