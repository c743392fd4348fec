/*
 * Rules for options that go together: the same as qemu-img's.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "base/error.h"
#include "base/text.h"
#include "create/create.h"
#include "create/plan.h"

#define CLUSTER_SIZE_MIN (UINT32_C(1) << CLUSTER_BITS_MIN)
#define CLUSTER_SIZE_MAX (UINT32_C(1) << CLUSTER_BITS_MAX)
#define CLUSTER_SIZE_DEFAULT (UINT32_C(1) << CLUSTER_BITS_DEFAULT)
#define EXTENDED_L2_CLUSTER_SIZE_MIN \
	(UINT32_C(1) << CLUSTER_BITS_MIN_EXTENDED_L2)
#define REFCOUNT_BITS_MAX (UINT32_C(1) << REFCOUNT_ORDER_MAX)
#define REFCOUNT_BITS_V2 (UINT32_C(1) << REFCOUNT_ORDER_V2)

#define CREATE_FLAGS_KNOWN                                        \
	(QCOW2_CREATE_EXTENDED_L2 | QCOW2_CREATE_LAZY_REFCOUNTS | \
	 QCOW2_CREATE_DATA_FILE_RAW | QCOW2_CREATE_SIZE_ZERO |    \
	 QCOW2_CREATE_EXCL | QCOW2_CREATE_IN_PLACE | QCOW2_CREATE_REPLACE)

/* Names that a backing file's format may have.  The image remembers the name
 * for good, and a misspelt one makes it unreadable. */
static const char *const backing_formats[] = {
	"qcow2", "raw",         "bochs", "cloop",     "dmg",
	"file",  "host_device", "luks",  "parallels", "qcow",
	"qed",   "vdi",         "vhdx",  "vmdk",      "vpc",
};

static bool is_power_of_two(uint32_t v)
{
	return v && !(v & (v - 1));
}

static void fill_defaults(struct qcow2_create_opts *o)
{
	if (!o->version)
		o->version = 3;
	if (!o->cluster_size)
		o->cluster_size = CLUSTER_SIZE_DEFAULT;
	if (!o->refcount_bits)
		o->refcount_bits = REFCOUNT_BITS_V2;
}

static int opts_check_numbers(const struct qcow2_create_opts *o,
			      struct qcow2_error *err)
{
	if (o->flags & ~CREATE_FLAGS_KNOWN)
		return error_set(err, -EINVAL,
				 "flags are 0x%" PRIx32 ", of which this "
				 "version knows 0x%x",
				 o->flags, CREATE_FLAGS_KNOWN);
	if (o->version != 2 && o->version != 3)
		return error_set(err, -EINVAL,
				 "version is %" PRIu32 ", must "
				 "be 2 (compat=0.10) or 3 (compat=1.1)",
				 o->version);
	if (!is_power_of_two(o->cluster_size) ||
	    o->cluster_size < CLUSTER_SIZE_MIN ||
	    o->cluster_size > CLUSTER_SIZE_MAX)
		return error_set(
			err, -EINVAL,
			"cluster_size is %" PRIu32
			", must be a power of two from %" PRIu32 " to %" PRIu32,
			o->cluster_size, CLUSTER_SIZE_MIN, CLUSTER_SIZE_MAX);
	if (!is_power_of_two(o->refcount_bits) ||
	    o->refcount_bits > REFCOUNT_BITS_MAX)
		return error_set(err, -EINVAL,
				 "refcount_bits is %" PRIu32
				 ", must be a power of two up to %" PRIu32,
				 o->refcount_bits, REFCOUNT_BITS_MAX);
	return 0;
}

static int check_enums(const struct qcow2_create_opts *o,
		       struct qcow2_error *err)
{
	switch (o->compression) {
	case QCOW2_COMPRESSION_ZLIB:
	case QCOW2_COMPRESSION_ZSTD:
		break;
	default:
		return error_set(err, -EINVAL,
				 "compression_type is number %d, "
				 "must be 0 (zlib) or 1 (zstd)",
				 (int)o->compression);
	}
	switch (o->preallocation) {
	case QCOW2_PREALLOC_OFF:
	case QCOW2_PREALLOC_METADATA:
	case QCOW2_PREALLOC_FALLOC:
	case QCOW2_PREALLOC_FULL:
		return 0;
	}
	return error_set(err, -EINVAL,
			 "preallocation is number %d, must be 0 "
			 "(off), 1 (metadata), 2 (falloc) or 3 (full)",
			 (int)o->preallocation);
}

static int refuse_v2(const char *what, struct qcow2_error *err)
{
	return error_set(err, -EINVAL, "%s needs version 3 (compat=1.1)", what);
}

static int check_v2(const struct qcow2_create_opts *o, struct qcow2_error *err)
{
	if (o->version != 2)
		return 0;
	if (o->refcount_bits != REFCOUNT_BITS_V2)
		return refuse_v2("refcount_bits other than 16", err);
	if (o->flags & QCOW2_CREATE_LAZY_REFCOUNTS)
		return refuse_v2("lazy_refcounts", err);
	if (o->flags & QCOW2_CREATE_EXTENDED_L2)
		return refuse_v2("extended_l2", err);
	if (o->data_file)
		return refuse_v2("data_file", err);
	if (o->compression != QCOW2_COMPRESSION_ZLIB)
		return refuse_v2("compression_type other than zlib", err);
	return 0;
}

static int check_contradictions(const struct qcow2_create_opts *o,
				struct qcow2_error *err)
{
	bool extended_l2 = o->flags & QCOW2_CREATE_EXTENDED_L2;
	bool raw = o->flags & QCOW2_CREATE_DATA_FILE_RAW;

	if (extended_l2 && o->cluster_size < EXTENDED_L2_CLUSTER_SIZE_MIN)
		return error_set(err, -EINVAL,
				 "extended_l2 needs a "
				 "cluster_size of at least %" PRIu32
				 ", it is %" PRIu32,
				 EXTENDED_L2_CLUSTER_SIZE_MIN, o->cluster_size);
	if (raw && !o->data_file)
		return error_set(err, -EINVAL, "data_file_raw needs data_file");
	if (raw && o->backing_file)
		return error_set(err, -EINVAL,
				 "data_file_raw and backing_file "
				 "exclude each other");
	if (o->backing_file && o->preallocation != QCOW2_PREALLOC_OFF &&
	    !extended_l2)
		return error_set(err, -EINVAL,
				 "preallocation together with "
				 "backing_file needs extended_l2: it would "
				 "hide the backing file");
	return 0;
}

static int opts_check_name(const char *option, const char *name, size_t max,
			   struct qcow2_error *err)
{
	size_t len = strlen(name);

	if (!len)
		return error_set(err, -EINVAL, "%s is empty", option);
	if (len > max)
		return error_set(err, -EINVAL,
				 "%s is %zu bytes long, the "
				 "limit is %zu",
				 option, len, max);
	return 0;
}

static int check_backing_format(const char *name, struct qcow2_error *err)
{
	size_t n = sizeof(backing_formats) / sizeof(backing_formats[0]);

	for (size_t i = 0; i < n; i++)
		if (!strcmp(name, backing_formats[i]))
			return 0;
	return error_set(err, -EINVAL,
			 "backing_format is '%s', which is not a "
			 "format that a backing file can have (raw, qcow2, "
			 "...)",
			 TEXT(name, strlen(name)));
}

static int opts_check_backing(const struct qcow2_create_opts *o,
			      struct qcow2_error *err)
{
	int rc;

	if (!o->backing_file && o->backing_format)
		return error_set(err, -EINVAL,
				 "backing_format needs backing_file");
	if (!o->backing_file)
		return 0;
	rc = opts_check_name("backing_file", o->backing_file,
			     BACKING_NAME_BYTES_MAX, err);
	if (rc < 0)
		return rc;
	if (!o->backing_format)
		return error_set(err, -EINVAL,
				 "backing_file needs "
				 "backing_format: the format is never guessed");
	return check_backing_format(o->backing_format, err);
}

/* QEMU takes the text before a colon in the first component of a path for a
 * protocol, while we take the whole for a plain name: such an image would mean
 * two different files. */
static bool names_protocol(const char *name)
{
	return name[strcspn(name, ":/")] == ':';
}

static int check_data_file(const struct qcow2_create_opts *o,
			   struct qcow2_error *err)
{
	int rc;

	if (!o->data_file)
		return 0;
	rc = opts_check_name("data_file", o->data_file,
			     DATA_FILE_NAME_BYTES_MAX, err);
	if (rc < 0)
		return rc;
	if (names_protocol(o->data_file))
		return error_set(err, -EINVAL,
				 "data_file is '%s': the part "
				 "before the colon reads as a protocol; begin "
				 "a file name with ./",
				 TEXT(o->data_file, strlen(o->data_file)));
	return 0;
}

static int check_names_fit(const struct create_plan *plan,
			   struct qcow2_error *err)
{
	uint8_t buf[CREATE_HEADER_BYTES_MAX];

	if (create_header_encode(plan, buf, sizeof(buf)))
		return 0;
	return error_set(err, -EINVAL,
			 "backing_file and data_file do not fit "
			 "into the first cluster of %" PRIu32 " bytes with the "
			 "header; use shorter names or a larger cluster_size",
			 plan->opts.cluster_size);
}

static int check_all(const struct qcow2_create_opts *o, struct qcow2_error *err)
{
	static int (*const checks[])(const struct qcow2_create_opts *,
				     struct qcow2_error *) = {
		opts_check_numbers,   check_enums,        check_v2,
		check_contradictions, opts_check_backing, check_data_file,
	};

	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		int rc = checks[i](o, err);

		if (rc < 0)
			return rc;
	}
	return 0;
}

int create_plan_make(struct create_plan *plan,
		     const struct qcow2_create_opts *opts,
		     struct qcow2_error *err)
{
	int rc;

	plan->opts = *opts;
	fill_defaults(&plan->opts);
	rc = check_all(&plan->opts, err);
	if (rc < 0)
		return rc;
	/* Readers of the raw file see what the guest sees only while every
	 * cluster is mapped to its own offset. */
	if (plan->opts.flags & QCOW2_CREATE_DATA_FILE_RAW &&
	    plan->opts.preallocation == QCOW2_PREALLOC_OFF)
		plan->opts.preallocation = QCOW2_PREALLOC_METADATA;
	rc = create_layout_solve(&plan->layout, &plan->opts, err);
	if (rc < 0)
		return rc;
	plan->opts.virtual_size =
		align_up(plan->opts.virtual_size, SECTOR_BYTES);
	return check_names_fit(plan, err);
}

int create_check_opts(const struct qcow2_create_opts *opts,
		      struct qcow2_error *err)
{
	struct create_plan plan;

	return create_plan_make(&plan, opts, err);
}
