/*
 * Information about an image, in the caller's structures.
 */
#include "api/handle.h"
#include "base/options.h"
#include "base/text.h"
#include "compress/encode.h"
#include "format/defect.h"
#include "queue/ring.h"

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
	switch (capability) {
	case QCOW2_CAP_FAST_LEVELS:
		return encoder_has_level(CODEC_ZLIB, ENCODE_LEVEL_MAX_FAST);
	case QCOW2_CAP_RING:
		return uring_is_there();
	default:
		return 0;
	}
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
	int rc = handle_check(img, err);

	if (rc == 0)
		rc = options_check_result(out, err);
	if (rc == 0)
		rc = disk_get_info(img->disk, depth, &full, err);
	return rc < 0 ? rc : options_give(out, &full, sizeof(full), err);
}

int qcow2_get_limits(struct qcow2_image *img, struct qcow2_limits *out,
		     struct qcow2_error *err)
{
	struct qcow2_limits full = QCOW2_LIMITS_INIT;
	int rc = handle_check(img, err);

	if (rc == 0)
		rc = options_check_result(out, err);
	if (rc < 0)
		return rc;
	disk_get_limits(img->disk, &full);
	return options_give(out, &full, sizeof(full), err);
}

int qcow2_get_snapshot(struct qcow2_image *img, uint32_t index,
		       struct qcow2_snapshot_info *out, struct qcow2_error *err)
{
	struct qcow2_snapshot_info full = { .struct_size = sizeof(full) };
	int rc = handle_check(img, err);

	if (rc == 0)
		rc = disk_get_snapshot(img->disk, index, &full, err);
	return rc < 0 ? rc : options_give(out, &full, sizeof(full), err);
}

int qcow2_get_bitmap(struct qcow2_image *img, uint32_t index,
		     struct qcow2_bitmap_info *out, struct qcow2_error *err)
{
	struct qcow2_bitmap_info full = { .struct_size = sizeof(full) };
	int rc = handle_check(img, err);

	if (rc == 0)
		rc = disk_get_bitmap(img->disk, index, &full, err);
	return rc < 0 ? rc : options_give(out, &full, sizeof(full), err);
}

const char *qcow2_feature_name(struct qcow2_image *img, unsigned type,
			       unsigned bit)
{
	return img ? disk_get_feature_name(img->disk, type, bit) : NULL;
}

int qcow2_get_luks(struct qcow2_image *img, struct qcow2_luks_info *out,
		   struct qcow2_error *err)
{
	struct qcow2_luks_info full = { .struct_size = sizeof(full) };
	int rc = handle_check(img, err);

	if (rc == 0)
		rc = options_check_result(out, err);
	if (rc == 0)
		rc = disk_get_luks(img->disk, &full, err);
	return rc < 0 ? rc : options_give(out, &full, sizeof(full), err);
}
