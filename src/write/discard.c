/*
 * Discard: whole clusters are unmapped, parts of clusters stay.
 */
#include "base/checked.h"
#include "image/image.h"
#include "store/store.h"
#include "write/change.h"
#include "write/entry.h"
#include "write/writer.h"

static struct l2_entry zero_entry(const struct image *img, uint64_t desc)
{
	if (img->geo.extended_l2)
		return (struct l2_entry){ desc, SUB_ALL_ZERO };
	return (struct l2_entry){ desc | L2_ZERO, 0 };
}

/* Without zero flag (version 2) a cluster can only be unmapped where nothing
 * shines through from below. */
static struct change discard_v2(const struct image *img, struct l2_entry old,
				uint64_t guest_off)
{
	if (!old.desc || !entry_below_is_zero(img, guest_off))
		return (struct change){ .skip = true };
	return (struct change){ .frees = true };
}

static struct change discard_cluster(const struct image *img,
				     struct l2_entry old, uint64_t guest_off,
				     unsigned flags)
{
	bool own = (old.desc & ENTRY_COPIED) && !(old.desc & L2_COMPRESSED);
	struct l2_entry zero = zero_entry(img, 0);

	(void)flags;
	/* Readers of a raw data file see no flags; it gets real zeros. */
	if (img->geo.data_file_raw)
		return (struct change){ .skip = true };
	if (img->geo.version < 3)
		return discard_v2(img, old, guest_off);
	if (!old.desc && !old.bitmap && entry_below_is_zero(img, guest_off))
		return (struct change){ .skip = true };
	if (old.desc == zero.desc && old.bitmap == zero.bitmap)
		return (struct change){ .skip = true };
	if (own && (img->writer->policy.no_unref || img->geo.has_data_file))
		return (struct change){
			.entry = zero_entry(img, old.desc & ~L2_ZERO),
			.punches = img->writer->policy.request &&
				   !img->geo.has_data_file,
		};
	return (struct change){ .entry = zero, .frees = true };
}

/* A data file holds guest bytes at guest offsets: its space can go at once,
 * since old contents and zeros are both allowed.  A raw one must read like the
 * disk, so there it is not a matter of policy. */
static int discard_data_file(struct image *img, uint64_t end, uint64_t off,
			     struct qcow2_error *err)
{
	int rc = commit_check(&img->writer->commit, err);

	end = min_u64(end, img->virtual_size);
	if (rc < 0 || !img->geo.has_data_file || off >= end)
		return rc;
	if (img->geo.data_file_raw)
		return store_zero(img->data, end - off, off, QCOW2_STORE_UNMAP,
				  err);
	if (img->writer->policy.request)
		store_zero(img->data, end - off, off,
			   QCOW2_STORE_UNMAP | QCOW2_STORE_NO_FALLBACK, NULL);
	return 0;
}

/* The last cluster counts as whole when the disk ends in it. */
static uint64_t whole_end(const struct image *img, uint64_t end)
{
	uint32_t cluster = img->geo.cluster_size;

	return end == img->virtual_size ? align_up(end, cluster)
					: align_down(end, cluster);
}

static int discard_clusters(struct image *img, uint64_t end, uint64_t off,
			    unsigned flags, struct qcow2_error *err)
{
	int rc;

	end = whole_end(img, end);
	if (off >= end)
		return 0;
	rc = change_clusters(img, end, off, discard_cluster, flags, err);
	return rc < 0 ? rc : discard_data_file(img, end, off, err);
}

int image_discard(struct image *img, uint64_t len, uint64_t off, unsigned flags,
		  struct qcow2_error *err)
{
	uint64_t end = off + len;

	/* The end of the disk is looked at again when its cluster is in
	 * flight. */
	if (end != img->virtual_size)
		end = whole_end(img, end);
	off = align_up(off, img->geo.cluster_size);
	return change_regions(img, max_u64(end, off), off, discard_clusters,
			      flags, err);
}
