/*
 * An image whose parts do not agree.
 */
#include "image/image.h"

#include "unit/write/disk_rig.h"

TEST(an_image_whose_parts_disagree_is_found)
{
	struct disk_rig t;
	struct image *img;

	disk_init(&t, (struct disk_want){ 0 });
	img = t.img;
	image_validate(img);
	ASSERT_ABORTS(img->data = NULL; image_validate(img));
	ASSERT_ABORTS(img->sizes.file_end = NULL; image_validate(img));
	ASSERT_ABORTS(img->header.cluster_bits++; image_validate(img));
	ASSERT_ABORTS(img->header.refcount_order++; image_validate(img));
	ASSERT_ABORTS(img->geo.cluster_size++; image_validate(img));
	ASSERT_ABORTS(img->header.version = img->geo.version = 2;
		      img->header.compatible_features = 1; image_validate(img));
	ASSERT_ABORTS(img->header.tail = (const uint8_t *)img;
		      image_validate(img));
	ASSERT_ABORTS(img->header.n_snapshots++; image_validate(img));
	ASSERT_ABORTS(img->lacks = QCOW2_LACKS_SNAPSHOT_TABLE;
		      image_validate(img));
	ASSERT_ABORTS(img->map.sizes = NULL; image_validate(img));
	ASSERT_ABORTS(img->map.l1.host_off++; image_validate(img));
	ASSERT_ABORTS(img->virtual_size = UINT64_C(1) << 40;
		      image_validate(img));
	ASSERT_ABORTS(img->budget.taken = img->budget.limit + 1;
		      image_validate(img));
	disk_release(&t);
}
