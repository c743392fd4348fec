/*
 * Whole-disk jobs: argument checks.
 */
#include <errno.h>
#include <inttypes.h>

#include "api/handle.h"
#include "api/jobs.h"
#include "base/error.h"
#include "base/options.h"
#include "ops/compare.h"
#include "ops/convert.h"
#include "store/publish.h"

#define COMPARE_FLAGS_KNOWN QCOW2_COMPARE_STRICT
#define CONVERT_FLAGS_KNOWN                                 \
	(QCOW2_CONVERT_NO_SYNC | QCOW2_CONVERT_NO_REFLINK | \
	 QCOW2_CONVERT_DIRECT)

#define THREADS_MAX 1024
#define SPARSE_UNIT 512
#define SPARSE_BYTES_MAX (16 * 1024 * 1024)

static int check_common(uint32_t flags, uint32_t known, uint32_t n_threads,
			const char *job, struct qcow2_error *err)
{
	if (flags & ~known)
		return error_set(err, -EINVAL,
				 "%s flags 0x%" PRIx32 " are not known", job,
				 flags & ~known);
	if (n_threads > THREADS_MAX)
		return error_set(err, -EINVAL,
				 "n_threads is %" PRIu32
				 ", more than the limit of %d",
				 n_threads, THREADS_MAX);
	return 0;
}

static int check_sparse(uint64_t sparse_bytes, struct qcow2_error *err)
{
	if (sparse_bytes == QCOW2_CONVERT_NOT_SPARSE)
		return 0;
	if (sparse_bytes % SPARSE_UNIT || sparse_bytes > SPARSE_BYTES_MAX)
		return error_set(err, -EINVAL,
				 "sparse_bytes is %" PRIu64
				 ", not a multiple of %d up to %d",
				 sparse_bytes, SPARSE_UNIT, SPARSE_BYTES_MAX);
	return 0;
}

static int api_jobs_take_opts(const struct qcow2_convert_opts *opts,
			      uint32_t more, bool is_raw,
			      struct qcow2_convert_opts *own,
			      struct qcow2_error *err)
{
	int rc = options_copy(own, sizeof(*own), opts, "qcow2_convert_opts",
			      err);

	if (rc == 0)
		rc = check_common(own->flags, CONVERT_FLAGS_KNOWN | more,
				  own->n_threads, "convert", err);
	if (rc == 0 && own->preallocation && !is_raw)
		rc = error_set(err, -EINVAL,
			       "qcow2_convert_opts.preallocation is for raw "
			       "targets");
	if (rc == 0 && own->placement)
		rc = options_check_result(own->placement, err);
	return rc < 0 ? rc : check_sparse(own->sparse_bytes, err);
}

int jobs_take_convert_opts(const struct qcow2_convert_opts *opts, uint32_t more,
			   struct qcow2_convert_opts *own,
			   struct qcow2_error *err)
{
	return api_jobs_take_opts(opts, more, false, own, err);
}

int jobs_path_flags(uint32_t create_flags, uint32_t convert_flags,
		    unsigned *out, struct qcow2_error *err)
{
	static const struct {
		uint32_t create, convert;
		unsigned publish;
	} same[] = {
		{ 0, QCOW2_CONVERT_DIRECT, PUBLISH_DIRECT },
		{ QCOW2_CREATE_EXCL, QCOW2_CONVERT_EXCL, PUBLISH_EXCL },
		{ QCOW2_CREATE_IN_PLACE, QCOW2_CONVERT_IN_PLACE,
		  PUBLISH_IN_PLACE },
		{ QCOW2_CREATE_REPLACE, QCOW2_CONVERT_REPLACE,
		  PUBLISH_REPLACE },
	};
	const unsigned both = PUBLISH_IN_PLACE | PUBLISH_REPLACE;

	*out = 0;
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		if (create_flags & same[i].create ||
		    convert_flags & same[i].convert)
			*out |= same[i].publish;
	if ((*out & both) != both)
		return 0;
	return error_set(err, -EINVAL,
			 "a file is either replaced or written in place");
}

static int api_jobs_check_preallocation(uint32_t mode, struct qcow2_error *err)
{
	if (mode == QCOW2_PREALLOC_OFF || mode == QCOW2_PREALLOC_FALLOC ||
	    mode == QCOW2_PREALLOC_FULL)
		return 0;
	return error_set(err, -EINVAL,
			 "preallocation is %" PRIu32
			 ", raw files have only off, falloc and full",
			 mode);
}

static int take_raw_opts(const struct qcow2_convert_opts *opts, uint32_t more,
			 struct qcow2_convert_opts *own,
			 struct qcow2_error *err)
{
	int rc = api_jobs_take_opts(opts, more, true, own, err);

	if (rc == 0)
		rc = api_jobs_check_preallocation(own->preallocation, err);
	if (rc == 0 && (own->backing || own->compress_level))
		rc = error_set(err, -EINVAL,
			       "raw files have neither backing files nor "
			       "compression");
	return rc;
}

int qcow2_convert_raw(struct qcow2_image *img, const char *path,
		      const struct qcow2_convert_opts *opts,
		      struct qcow2_error *err)
{
	struct qcow2_convert_opts own;
	unsigned how;
	int rc;

	if (!path)
		return error_set(err, -EINVAL, "the path is NULL");
	rc = handle_check(img, err);
	if (rc == 0)
		rc = take_raw_opts(opts, CONVERT_PATH_FLAGS, &own, err);
	if (rc == 0)
		rc = jobs_path_flags(0, own.flags, &how, err);
	return rc < 0 ? rc : ops_convert_raw(img->disk, path, &own, how, err);
}

int qcow2_convert_raw_store(struct qcow2_image *img, struct qcow2_store *target,
			    const struct qcow2_convert_opts *opts,
			    struct qcow2_error *err)
{
	struct qcow2_convert_opts own;
	int rc;

	if (!target)
		return error_set(err, -EINVAL, "the target is NULL");
	rc = handle_check(img, err);
	if (rc == 0)
		rc = take_raw_opts(opts, 0, &own, err);
	if (rc == 0 && own.flags & QCOW2_CONVERT_DIRECT)
		return error_set(err, -EINVAL,
				 "QCOW2_CONVERT_DIRECT is for paths: an open "
				 "store has decided already");
	return rc < 0 ? rc
		      : ops_convert_raw_store(img->disk, target, &own, err);
}

int qcow2_compare(struct qcow2_image *a, struct qcow2_image *b,
		  const struct qcow2_compare_opts *opts,
		  struct qcow2_compare_result *result, struct qcow2_error *err)
{
	struct qcow2_compare_result full = { .struct_size = sizeof(full) };
	struct qcow2_compare_opts own;
	int rc;

	rc = handle_check(a, err);
	if (rc == 0)
		rc = handle_check(b, err);
	if (rc == 0)
		rc = options_check_result(result, err);
	if (rc == 0)
		rc = options_copy(&own, sizeof(own), opts, "qcow2_compare_opts",
				  err);
	if (rc == 0)
		rc = check_common(own.flags, COMPARE_FLAGS_KNOWN, own.n_threads,
				  "compare", err);
	if (rc < 0)
		return rc;
	rc = ops_compare(a->disk, b->disk, &own, &full, err);
	options_give(result, &full, sizeof(full), NULL);
	return rc;
}
