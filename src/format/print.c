#include "format/print.h"

#include "base/outbuf.h"
#include "format/refcount.h"

const char *header_to_text(const struct header *h, char *dst, size_t size)
{
	struct outbuf o = outbuf_init(dst, size);

	out_dec(&o, "header v", h->version);
	out_dec(&o, " cluster_bits=", h->cluster_bits);
	out_dec(&o, " size=", h->size);
	out_dec(&o, " crypt=", h->crypt_method);
	out_dec(&o, " l1=", h->l1_size);
	out_hex(&o, "@", h->l1_off);
	out_dec(&o, " refcount_table=", h->refcount_table_clusters);
	out_hex(&o, "@", h->refcount_table_off);
	out_dec(&o, " snapshots=", h->n_snapshots);
	out_hex(&o, "@", h->snapshots_off);
	out_dec(&o, " backing=", h->backing_len);
	out_hex(&o, "@", h->backing_off);
	out_hex(&o, " incompatible=", h->incompatible_features);
	out_hex(&o, " compatible=", h->compatible_features);
	out_hex(&o, " autoclear=", h->autoclear_features);
	out_dec(&o, " refcount_order=", h->refcount_order);
	out_dec(&o, " length=", h->header_length);
	out_dec(&o, " compression=", h->compression_type);
	return out_done(&o);
}

static const char *extension_name(uint32_t type)
{
	switch (type) {
	case EXT_BACKING_FORMAT:
		return "backing format";
	case EXT_FEATURE_NAMES:
		return "feature names";
	case EXT_BITMAPS:
		return "bitmaps";
	case EXT_CRYPTO:
		return "encryption header";
	case EXT_DATA_FILE:
		return "data file";
	default:
		return "unknown";
	}
}

const char *extension_to_text(const struct extension *x, char *dst, size_t size)
{
	struct outbuf o = outbuf_init(dst, size);

	out_str(&o, "extension ");
	out_str(&o, extension_name(x->type));
	out_hex(&o, " type=", x->type);
	out_dec(&o, " length=", x->len);
	out_hex(&o, "@", x->off);
	if (x->type == EXT_BACKING_FORMAT || x->type == EXT_DATA_FILE)
		out_text(&o, " text=", x->data, x->len);
	return out_done(&o);
}

const char *l1_entry_to_text(uint64_t entry, char *dst, size_t size)
{
	struct outbuf o = outbuf_init(dst, size);

	if (entry == 0) {
		out_str(&o, "unallocated");
		return out_done(&o);
	}
	out_hex(&o, "L2 table @", l1_table_off(entry));
	if (entry & ENTRY_COPIED)
		out_str(&o, " copied");
	if (entry & L1_RESERVED_MASK)
		out_hex(&o, " reserved=", entry & L1_RESERVED_MASK);
	return out_done(&o);
}

const char *cluster_kind_name(enum cluster_kind kind)
{
	static const char *const names[] = {
		[CLUSTER_UNALLOCATED] = "unallocated",
		[CLUSTER_ZERO_PLAIN] = "zero",
		[CLUSTER_ZERO_ALLOC] = "zero, allocated",
		[CLUSTER_NORMAL] = "normal",
		[CLUSTER_COMPRESSED] = "compressed",
		[CLUSTER_INVALID] = "invalid",
	};

	return names[kind];
}

const char *subcluster_kind_name(enum subcluster_kind kind)
{
	static const char *const names[] = {
		[SUBCLUSTER_UNALLOCATED_PLAIN] = "unallocated",
		[SUBCLUSTER_UNALLOCATED_ALLOC] = "unallocated, reserved",
		[SUBCLUSTER_ZERO_PLAIN] = "zero",
		[SUBCLUSTER_ZERO_ALLOC] = "zero, allocated",
		[SUBCLUSTER_NORMAL] = "normal",
		[SUBCLUSTER_COMPRESSED] = "compressed",
		[SUBCLUSTER_INVALID] = "invalid",
	};

	return names[kind];
}

const char *l2_entry_to_text(const struct geometry *g, struct l2_entry e,
			     char *dst, size_t size)
{
	struct outbuf o = outbuf_init(dst, size);
	enum cluster_kind kind = l2_cluster_kind(g, e);
	struct compressed c;

	out_str(&o, cluster_kind_name(kind));
	if (kind == CLUSTER_COMPRESSED) {
		c = compressed_decode(g, e.desc);
		out_dec(&o, " ", c.len);
		out_hex(&o, "@", c.host_off);
	} else if (l2_host_off(e)) {
		out_hex(&o, " @", l2_host_off(e));
	}
	if (e.desc & ENTRY_COPIED)
		out_str(&o, " copied");
	if (kind != CLUSTER_COMPRESSED && (e.desc & L2_RESERVED_MASK))
		out_hex(&o, " reserved=", e.desc & L2_RESERVED_MASK);
	if (g->extended_l2) {
		out_hex(&o, " alloc=", (uint32_t)e.bitmap);
		out_hex(&o, " zero=", e.bitmap >> 32);
	}
	return out_done(&o);
}

const char *refcount_table_entry_to_text(uint64_t entry, char *dst, size_t size)
{
	struct outbuf o = outbuf_init(dst, size);

	if (entry == 0)
		out_str(&o, "no refcount block");
	else
		out_hex(&o, "refcount block @", refcount_block_off(entry));
	if (entry & ~REFCOUNT_TABLE_OFFSET_MASK)
		out_hex(&o, " reserved=", entry & ~REFCOUNT_TABLE_OFFSET_MASK);
	return out_done(&o);
}

const char *snapshot_to_text(const struct snapshot *s, char *dst, size_t size)
{
	struct outbuf o = outbuf_init(dst, size);

	out_text(&o, "snapshot id=", s->id, s->id_len);
	out_text(&o, " name=", s->name, s->name_len);
	out_dec(&o, " l1=", s->l1_size);
	out_hex(&o, "@", s->l1_off);
	out_dec(&o, " date=", s->date_sec);
	out_dec(&o, " disk_size=", s->disk_size);
	out_dec(&o, " vm_state=", s->vm_state_size);
	out_dec(&o, " vm_clock=", s->vm_clock_nsec);
	if (s->icount != UINT64_MAX)
		out_dec(&o, " icount=", s->icount);
	out_dec(&o, " extra=", s->extra_len);
	return out_done(&o);
}

const char *bitmap_to_text(const struct bitmap *b, char *dst, size_t size)
{
	struct outbuf o = outbuf_init(dst, size);

	out_text(&o, "bitmap name=", b->name, b->name_len);
	out_dec(&o, " type=", b->type);
	out_dec(&o, " granularity_bits=", b->granularity_bits);
	out_hex(&o, " flags=", b->flags);
	out_dec(&o, " table=", b->table_size);
	out_hex(&o, "@", b->table_off);
	out_dec(&o, " extra=", b->extra_len);
	return out_done(&o);
}

const char *luks_to_text(const struct luks_header *l, char *dst, size_t size)
{
	struct outbuf o = outbuf_init(dst, size);
	unsigned n_active = 0;

	for (unsigned i = 0; i < LUKS_SLOTS; i++)
		n_active += l->slots[i].state == LUKS_SLOT_ACTIVE;
	out_text(&o, "luks cipher=", l->cipher_name, strlen(l->cipher_name));
	out_text(&o, "-", l->cipher_mode, strlen(l->cipher_mode));
	out_text(&o, " hash=", l->hash, strlen(l->hash));
	out_text(&o, " uuid=", l->uuid, strlen(l->uuid));
	out_dec(&o, " key_bytes=", l->key_bytes);
	out_dec(&o, " payload_sector=", l->payload_off_sectors);
	out_dec(&o, " active_slots=", n_active);
	return out_done(&o);
}
