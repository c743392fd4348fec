#include "create/create.h"

#include <errno.h>
#include <stdbool.h>

#include "base/error.h"
#include "create/plan.h"
#include "store/store.h"

static int prepare_file(struct qcow2_store *file,
			const struct create_plan *plan, struct qcow2_error *err)
{
	enum qcow2_preallocation mode = plan->opts.preallocation;
	uint64_t size = create_file_bytes(&plan->layout);
	bool zeroed;
	int rc = create_space_empty(file, size, &zeroed, err);

	/* With a data file, it is that file which gets the space. */
	if (plan->opts.data_file)
		mode = QCOW2_PREALLOC_OFF;
	return rc < 0 ? rc : create_space_fill(file, size, zeroed, mode, err);
}

static int prepare_data(struct qcow2_store *data,
			const struct create_plan *plan, struct qcow2_error *err)
{
	enum qcow2_preallocation mode = plan->opts.preallocation;
	uint64_t size = plan->opts.virtual_size;
	bool zeroed;
	int rc = create_space_empty(data, size, &zeroed, err);

	/* Nobody reads clusters that no L2 entry maps. */
	if (rc < 0 || mode == QCOW2_PREALLOC_OFF)
		return rc;
	return create_space_fill(data, size, zeroed, mode, err);
}

static int flush_both(struct qcow2_store *file, struct qcow2_store *data,
		      struct qcow2_error *err)
{
	int rc = data ? store_flush(data, err) : 0;

	return rc < 0 ? rc : store_flush(file, err);
}

/* The sector with the magic makes the image.  It is written last, when all it
 * refers to is durable; disks write a sector whole or not at all. */
static int write_header(struct qcow2_store *file, struct qcow2_store *data,
			const struct create_plan *plan, struct qcow2_error *err)
{
	uint8_t buf[CREATE_HEADER_BYTES_MAX] = { 0 };
	size_t len = create_header_encode(plan, buf, sizeof(buf));
	int rc = 0;

	if (len > SECTOR_BYTES)
		rc = store_pwrite(file, buf + SECTOR_BYTES, len - SECTOR_BYTES,
				  SECTOR_BYTES, 0, err);
	if (!rc)
		rc = flush_both(file, data, err);
	if (!rc)
		rc = store_pwrite(file, buf, SECTOR_BYTES, 0, 0, err);
	return rc < 0 ? rc : store_flush(file, err);
}

int create_image(struct qcow2_store *file, struct qcow2_store *data,
		 const struct qcow2_create_opts *opts, struct qcow2_error *err)
{
	struct create_plan plan;
	int rc = create_plan_make(&plan, opts, err);

	if (rc < 0)
		return rc;
	if (!data != !opts->data_file)
		return error_set(
			err, -EINVAL,
			data ? "a data store is given without data_file"
			     : "data_file is set but no data store is given");
	if (data == file)
		return error_set(err, -EINVAL,
				 "image and data file are the same store");
	/* The file comes first: the present image stops being one before its
	 * data goes. */
	rc = prepare_file(file, &plan, err);
	if (!rc && data)
		rc = prepare_data(data, &plan, err);
	if (!rc)
		rc = create_tables_write(file, &plan.layout, err);
	return rc < 0 ? rc : write_header(file, data, &plan, err);
}
