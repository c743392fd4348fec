/*
 * The counters of an image, in the caller's structure.
 */
#include "api/handle.h"
#include "base/options.h"

static void give_requests(const struct qcow2_image *img,
			  struct qcow2_stats *out)
{
	const struct requests *r = img->requests;

	requests_get(&r[REQUEST_READ], &out->read);
	requests_get(&r[REQUEST_WRITE], &out->write);
	requests_get(&r[REQUEST_WRITE_COMPRESSED], &out->write_compressed);
	requests_get(&r[REQUEST_ZERO], &out->zero);
	requests_get(&r[REQUEST_DISCARD], &out->discard);
	requests_get(&r[REQUEST_FLUSH], &out->flush);
}

int qcow2_get_stats(struct qcow2_image *img, uint32_t depth,
		    struct qcow2_stats *out, struct qcow2_error *err)
{
	struct qcow2_stats full = QCOW2_STATS_INIT;
	int rc = handle_check(img, err);

	if (rc == 0)
		rc = options_check_result(out, err);
	if (rc == 0)
		rc = disk_get_stats(img->disk, depth, &full, err);
	if (rc < 0)
		return rc;
	if (depth == 0)
		give_requests(img, &full);
	return options_give(out, &full, sizeof(full), err);
}
