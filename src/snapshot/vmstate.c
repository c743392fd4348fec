#include "snapshot/vmstate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "image/image.h"
#include "snapshot/ops.h"
#include "write/l1_grow.h"
#include "write/tree.h"
#include "write/write.h"
#include "write/writer.h"

static uint64_t first_index(const struct image *img)
{
	return geometry_l1_entries(&img->geo, img->virtual_size);
}

uint64_t vmstate_begin(const struct image *img)
{
	return first_index(img) * geometry_l2_reach(&img->geo);
}

uint64_t vmstate_room(const struct image *img)
{
	uint64_t first = first_index(img);
	uint64_t n = img->map.l1.n_entries;

	return n > first ? (n - first) * geometry_l2_reach(&img->geo) : 0;
}

/* ---- Reading ------------------------------------------------------------- */

/* Nothing of VM state is in a backing file. */
static int read_room(struct image *img, struct iov_cursor *dst, uint64_t len,
		     uint64_t guest_off, struct qcow2_error *err)
{
	while (len) {
		struct image_extent x;
		int rc = image_map(img, len, guest_off, 0, &x, err);

		if (rc < 0)
			return rc;
		if (x.kind == SUBCLUSTER_UNALLOCATED_PLAIN ||
		    x.kind == SUBCLUSTER_UNALLOCATED_ALLOC)
			iov_zero(dst, x.len);
		else
			rc = image_read(img, dst, x.len, guest_off, &x, 0, err);
		if (rc < 0)
			return rc;
		len -= x.len;
		guest_off += x.len;
	}
	return 0;
}

static int read_state(struct image *img, void *buf, size_t len, uint64_t off,
		      struct qcow2_error *err)
{
	struct iovec iov = { buf, len };
	struct iov_cursor dst = iov_cursor_init(&iov, 1);
	struct grace_ref ref = writer_grace_begin(img);
	uint64_t room = vmstate_room(img);
	uint64_t here = off < room ? min_u64(len, room - off) : 0;
	int rc =
		here ? read_room(img, &dst, here, vmstate_begin(img) + off, err)
		     : 0;

	if (rc == 0)
		iov_zero(&dst, len - here);
	writer_grace_end(ref);
	return rc;
}

/* A disk that grows moves the place where the state begins. */
int image_vmstate_read(struct image *img, void *buf, size_t len, uint64_t off,
		       struct qcow2_error *err)
{
	if (!img->writer)
		return read_state(img, buf, len, off, err);
	SCOPED_LOCK(&img->writer->snapshot_lock);
	return read_state(img, buf, len, off, err);
}

/* ---- Writing ------------------------------------------------------------- */

static int vmstate_make_room(struct image *img, uint64_t end,
			     struct qcow2_error *err)
{
	uint64_t reach = geometry_l2_reach(&img->geo);
	uint64_t max = L1_TABLE_BYTES_MAX / L1_ENTRY_BYTES;
	struct inflight_freeze freeze;
	int rc;

	if (end <= vmstate_room(img))
		return 0;
	if (div_round_up(end, reach) > max - first_index(img))
		return error_set(err, -EFBIG,
				 "%" PRIu64
				 " bytes of VM state do not fit into "
				 "an L1 table of %" PRIu64 " bytes",
				 end, L1_TABLE_BYTES_MAX);
	rc = snapshot_begin(img, &freeze, err);
	if (rc == 0)
		rc = l1_lengthen(
			img, first_index(img) + div_round_up(end, reach), err);
	snapshot_end(img, &freeze);
	return rc;
}

static int vmstate_write_clusters(struct image *img, const uint8_t *buf,
				  uint64_t len, uint64_t off,
				  struct qcow2_error *err)
{
	struct iovec iov = { (void *)(uintptr_t)buf, to_size(len) };
	struct iov_cursor src = iov_cursor_init(&iov, 1);

	return write_regions(img, &src, len, vmstate_begin(img) + off, 0, err);
}

/* A part of one cluster: copy-on-write would look below, where other things
 * are. */
static int write_part(struct image *img, const uint8_t *buf, uint64_t len,
		      uint64_t off, struct qcow2_error *err)
{
	uint32_t size = img->geo.cluster_size;
	uint64_t in_cluster = geometry_in_cluster(&img->geo, off);
	CLEANUP_FREE uint8_t *cluster = malloc(size);
	int rc;

	if (!cluster)
		return error_nomem(err, "a cluster of VM state", size);
	rc = image_vmstate_read(img, cluster, size, off - in_cluster, err);
	if (rc < 0)
		return rc;
	memcpy(cluster + in_cluster, buf, to_size(len));
	return vmstate_write_clusters(img, cluster, size, off - in_cluster,
				      err);
}

static int write_pieces(struct image *img, const uint8_t *buf, uint64_t len,
			uint64_t off, struct qcow2_error *err)
{
	uint32_t size = img->geo.cluster_size;
	int rc = 0;

	while (rc == 0 && len) {
		uint64_t here = size - geometry_in_cluster(&img->geo, off);

		if (here == size && len >= size)
			here = align_down(len, size);
		here = min_u64(here, len);
		rc = here % size
			     ? write_part(img, buf, here, off, err)
			     : vmstate_write_clusters(img, buf, here, off, err);
		buf += here;
		off += here;
		len -= here;
	}
	return rc;
}

int image_vmstate_write(struct image *img, const void *buf, size_t len,
			uint64_t off, struct qcow2_error *err)
{
	int rc;

	if (img->geo.has_data_file)
		return snapshot_refuse_data_file(err);
	if (!len)
		return 0;
	rc = proof_make(img, err);
	if (rc == 0)
		rc = vmstate_make_room(img, off + len, err);
	return rc < 0 ? rc : write_pieces(img, buf, len, off, err);
}

/* ---- Dropping ------------------------------------------------------------ */

static int unlink_tables(struct image *img, const struct tree *t,
			 struct qcow2_error *err)
{
	struct commit *c = &img->writer->commit;

	for (uint64_t i = 0; i < t->n_l1; i++) {
		int rc;

		if (!t->l1[i])
			continue;
		rc = commit_begin(c, 0, err);
		if (rc < 0)
			return rc;
		commit_set_l1(c, i, 0);
		commit_end(c);
		guard_remove(&img->writer->guard, QCOW2_OVERLAP_ACTIVE_L2, 1,
			     l1_table_off(t->l1[i]));
	}
	return commit_flush(c, err);
}

int vmstate_drop(struct image *img, struct qcow2_error *err)
{
	struct tree t;
	int rc = tree_of_image(&t, img, err);

	if (rc == 0 && t.n_l1)
		memset(t.l1, 0,
		       to_size(min_u64(first_index(img), t.n_l1) *
			       sizeof(*t.l1)));
	if (rc == 0)
		rc = unlink_tables(img, &t, err);
	if (rc == 0)
		rc = tree_drop_references(img, &t, err);
	tree_release(&t);
	return rc;
}
