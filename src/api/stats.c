/*
 * The counters of an image, in the caller's structure.
 */
#include "api/handle.h"
#include "base/options.h"

static void give_requests(const struct requests *r, enum request_kind kind,
			  struct qcow2_request_stats *out)
{
	const struct tally *done = &r->done[kind / REQUEST_TALLY_KINDS];
	unsigned number = kind % REQUEST_TALLY_KINDS * 2;

	out->done = tally_sum(done, number);
	out->bytes = tally_sum(done, number + 1);
	out->failed =
		atomic_load_explicit(&r->failed[kind], memory_order_relaxed);
	out->again =
		atomic_load_explicit(&r->again[kind], memory_order_relaxed);
}

static void give_all_requests(const struct requests *r, struct qcow2_stats *out)
{
	give_requests(r, REQUEST_READ, &out->read);
	give_requests(r, REQUEST_WRITE, &out->write);
	give_requests(r, REQUEST_WRITE_COMPRESSED, &out->write_compressed);
	give_requests(r, REQUEST_ZERO, &out->zero);
	give_requests(r, REQUEST_DISCARD, &out->discard);
	give_requests(r, REQUEST_FLUSH, &out->flush);
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
		give_all_requests(&img->requests, &full);
	return options_give(out, &full, sizeof(full), err);
}
