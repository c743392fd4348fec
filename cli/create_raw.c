/*
 * New raw files: a disk of zeros, converted to its place.
 */
#include "create.h"

#include <string.h>

#include "placing.h"

/* A store of zeros; self points to its size. */

static int zeros_preadv(void *self, const struct iovec *iov, int iovcnt,
			uint64_t off, unsigned flags, struct qcow2_error *err)
{
	(void)err;
	(void)self, (void)off, (void)flags;
	for (int i = 0; i < iovcnt; i++)
		memset(iov[i].iov_base, 0, iov[i].iov_len);
	return 0;
}

static int zeros_size(void *self, uint64_t *size, struct qcow2_error *err)
{
	(void)err;
	*size = *(uint64_t *)self;
	return 0;
}

static int zeros_extent(void *self, uint64_t *len, uint64_t off, int *is_data,
			struct qcow2_error *err)
{
	(void)err;
	(void)self, (void)off, (void)len;
	*is_data = 0;
	return 0;
}

/* The disk keeps the pointer to @size. */
static int open_zeros(uint64_t *size, struct qcow2_image **out,
		      struct qcow2_error *err)
{
	struct qcow2_store_ops ops = {
		.struct_size = sizeof(ops),
		.preadv = zeros_preadv,
		.size = zeros_size,
		.extent = zeros_extent,
	};
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_store *store;
	int ret;

	ret = qcow2_store_new(&ops, size, &store, err);
	if (ret < 0)
		return ret;
	opts.format = QCOW2_FORMAT_RAW;
	ret = qcow2_open_store(store, &opts, out, err);
	qcow2_store_unref(store);
	return ret;
}

static int write_zeros(const char *path, uint64_t size, uint32_t preallocation,
		       struct placing *placing, struct qcow2_error *err)
{
	struct qcow2_convert_opts opts = QCOW2_CONVERT_OPTS_INIT;
	struct qcow2_image *img;
	int ret;

	ret = open_zeros(&size, &img, err);
	if (ret < 0)
		return ret;
	placing_fill(placing, &opts);
	opts.preallocation = preallocation;
	ret = qcow2_convert_raw(img, path, &opts, err);
	qcow2_close(img, NULL);
	return ret;
}

int create_raw_preallocation(const struct cli *cli,
			     const struct create_plan *plan, uint32_t *mode)
{
	const char *text = plan->values[KEY_PREALLOCATION].text;

	*mode = QCOW2_PREALLOC_OFF;
	if (!text || strcmp(text, "off") == 0)
		return 0;
	if (strcmp(text, "falloc") == 0)
		*mode = QCOW2_PREALLOC_FALLOC;
	else if (strcmp(text, "full") == 0)
		*mode = QCOW2_PREALLOC_FULL;
	if (*mode != QCOW2_PREALLOC_OFF)
		return 0;
	cli_error(cli, plan->path,
		  "raw files have no preallocation '%s', only off, falloc and "
		  "full",
		  ESC(text));
	return -1;
}

int create_raw(const struct cli *cli, const struct create_plan *plan,
	       struct placing *placing)
{
	uint64_t size = (plan->values[KEY_SIZE].number + 511) & ~511ull;
	struct qcow2_error err;
	uint32_t mode;

	if (create_raw_preallocation(cli, plan, &mode) < 0)
		return -1;
	if (write_zeros(plan->path, size, mode, placing, &err) == 0)
		return 0;
	cli_report(cli, plan->path, &err);
	return -1;
}
