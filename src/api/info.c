/*
 * What is in an image, told in the caller's structures.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "api/image.h"
#include "api/snapshot_list.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/options.h"
#include "base/text.h"
#include "format/defect.h"
#include "format/luks.h"
#include "image/image.h"

#ifdef HAVE_ISAL
static const int has_fast_levels = 1;
#else
static const int has_fast_levels;
#endif

const char *qcow2_version(void)
{
	return QCOW2_VERSION_STRING;
}

uint32_t qcow2_version_number(void)
{
	return QCOW2_VERSION_NUMBER;
}

int qcow2_supports(uint32_t capability)
{
	return capability == QCOW2_CAP_FAST_LEVELS && has_fast_levels;
}

uint32_t qcow2_defect_count(void)
{
	return DEFECT_COUNT - 1;
}

const char *qcow2_defect_name(int defect)
{
	const struct defect_info *info = defect_info(defect);

	return info ? info->name : NULL;
}

const char *qcow2_defect_text(int defect)
{
	const struct defect_info *info = defect_info(defect);

	return info ? info->text : NULL;
}

enum qcow2_severity qcow2_defect_severity(int defect)
{
	const struct defect_info *info = defect_info(defect);

	return info ? (enum qcow2_severity)info->severity : QCOW2_SEVERITY_NONE;
}

size_t qcow2_escape(char *dst, size_t dst_size, const void *src, size_t len)
{
	return text_escape(dst, dst_size, src, len);
}

uint32_t qcow2_layer_count(const struct qcow2_image *img)
{
	return img ? disk_layer_count(img->disk) : 0;
}

const char *qcow2_layer_filename(const struct qcow2_image *img, uint32_t depth)
{
	return img ? disk_layer_filename(img->disk, depth) : NULL;
}

const char *qcow2_layer_data_filename(const struct qcow2_image *img,
				      uint32_t depth)
{
	return img ? disk_layer_data_filename(img->disk, depth) : NULL;
}

int qcow2_get_info(struct qcow2_image *img, uint32_t depth,
		   struct qcow2_info *out, struct qcow2_error *err)
{
	struct qcow2_info full = { .struct_size = sizeof(full) };
	int rc = image_check_handle(img, err);

	if (rc == 0)
		rc = options_check_result(out, err);
	if (rc == 0)
		rc = disk_get_info(img->disk, depth, &full, err);
	return rc < 0 ? rc : options_give(out, &full, sizeof(full), err);
}

int qcow2_get_snapshot(struct qcow2_image *img, uint32_t index,
		       struct qcow2_snapshot_info *out, struct qcow2_error *err)
{
	struct snapshot_info s;
	struct image *top;
	int rc = image_check_handle(img, err);

	if (rc < 0)
		return rc;
	top = disk_top_image(img->disk);
	if (!top)
		return error_set(err, -EINVAL, "a raw image has no snapshots");
	rc = image_get_snapshot(top, index, &s, err);
	return rc < 0 ? rc : snapshot_give(out, &s, err);
}

int qcow2_get_bitmap(struct qcow2_image *img, uint32_t index,
		     struct qcow2_bitmap_info *out, struct qcow2_error *err)
{
	struct qcow2_bitmap_info full = { .struct_size = sizeof(full) };
	struct image *top;
	int rc = image_check_handle(img, err);

	if (rc < 0)
		return rc;
	top = disk_top_image(img->disk);
	if (!top || index >= top->bitmaps.n)
		return error_set(err, -EINVAL,
				 "there is no bitmap number %" PRIu32, index);
	full.name = top->bitmaps.list[index].name;
	full.granularity = UINT64_C(1)
			   << top->bitmaps.list[index].granularity_bits;
	full.flags = top->bitmaps.list[index].flags;
	return options_give(out, &full, sizeof(full), err);
}

const char *qcow2_feature_name(struct qcow2_image *img, unsigned type,
			       unsigned bit)
{
	struct image *top = img ? disk_top_image(img->disk) : NULL;

	return top ? names_feature(&top->names, type, bit) : NULL;
}

static void fill_slots(struct qcow2_luks_info *out, const struct luks_header *l)
{
	for (unsigned i = 0; i < QCOW2_LUKS_SLOTS; i++) {
		const struct luks_slot *slot = &l->slots[i];

		out->slots[i] = (struct qcow2_luks_slot){
			.active = slot->state == LUKS_SLOT_ACTIVE,
			.iterations = slot->iterations,
			.stripes = slot->stripes,
			.key_off =
				(uint64_t)slot->key_off_sectors * SECTOR_BYTES,
		};
	}
}

/* The decoded header, read on first use and kept for its strings. */
static int get_luks_header(struct qcow2_image *img,
			   const struct luks_header **out,
			   struct qcow2_error *err)
{
	struct image *top = disk_top_image(img->disk);
	struct luks_header *l;
	int rc;
	SCOPED_LOCK(&img->lock);

	*out = img->luks;
	if (img->luks)
		return 0;
	if (!top)
		return error_set(err, -ENOENT,
				 "a raw image has no LUKS header");
	l = malloc(sizeof(*l));
	if (!l)
		return error_nomem(err, "the LUKS header", sizeof(*l));
	rc = luks_read(&top->luks, top->file, l, err);
	if (rc < 0) {
		free(l);
		return rc;
	}
	*out = img->luks = l;
	return 0;
}

int qcow2_get_luks(struct qcow2_image *img, struct qcow2_luks_info *out,
		   struct qcow2_error *err)
{
	struct qcow2_luks_info full = { .struct_size = sizeof(full) };
	const struct luks_header *l;
	int rc = image_check_handle(img, err);

	if (rc == 0)
		rc = options_check_result(out, err);
	if (rc == 0)
		rc = get_luks_header(img, &l, err);
	if (rc < 0)
		return rc;
	full.cipher_name = l->cipher_name;
	full.cipher_mode = l->cipher_mode;
	full.hash = l->hash;
	full.uuid = l->uuid;
	full.payload_off = (uint64_t)l->payload_off_sectors * SECTOR_BYTES;
	full.key_bytes = l->key_bytes;
	full.iterations = l->digest_iterations;
	fill_slots(&full, l);
	return options_give(out, &full, sizeof(full), err);
}
