#include "crash/change_ops.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash/change.h"
#include "crash/model.h"

/* This name is longer than one sector has room for, and as long as the one
 * before. */
#define LONG_100                                      \
	"another-name-that-would-fit-into-the-place-" \
	"of-the-old-one-if-a-header-could-be-changed-where-it-is-/"

const struct change_case change_cases[] = {
	{ "512", "resize 101" },
	{ "512", "resize 5000" },
	{ "512-used", "resize 3000" },
	{ "512-used", "resize 64" },
	{ "512-used", "resize 7" },
	{ "512-wide", "resize 70" },
	{ "512-wide", "resize 9000" },
	{ "512-v2", "resize 1000" },
	{ "512-v2", "resize 40" },
	{ "512-rc64", "resize 2000" },
	{ "512-rc1", "resize 30" },
	{ "512-table", "resize 5000" },
	{ "512-holes", "resize 6000" },
	{ "512-holes", "resize 15" },
	{ "512-lazy", "resize 2000" },
	{ "512-lazy", "resize 20" },
	{ "512-compressed", "resize 6" },
	{ "512-compressed", "resize 23" },
	{ "512-snapshot", "resize 1000" },
	{ "512-snapshot", "resize 61" },
	{ "512-snapshot", "resize 5" },
	{ "512-punch", "resize 8" },
	{ "512", "grow metadata 150" },
	{ "512-used", "grow full 230" },
	{ "4k-used", "resize 41" },
	{ "4k-used", "resize 9001" },
	{ "4k-backing", "resize 300" },
	{ "4k-raw-backing", "resize 300" },
	{ "4k-v2-backing", "resize 300" },
	{ "4k-compressed", "resize 83" },
	{ "4k-snapshot", "resize 90" },
	{ "4k-snapshot-backing", "resize 20" },
	{ "4k-lazy", "resize 200" },
	{ "4k-lazy", "resize 20" },
	{ "4k-prealloc", "resize 50" },
	{ "4k-used", "grow falloc 200" },
	{ "4k-data", "resize 200" },
	{ "4k-data", "resize 12" },
	{ "4k-data-backing", "resize 200" },
	{ "4k-data-raw", "resize 200" },
	{ "4k-data-raw", "resize 12" },
	{ "sub-used", "resize 70" },
	{ "sub-used", "resize 400" },
	{ "sub-backing", "resize 300" },
	{ "sub-data", "resize 300" },
	{ "sub-snapshot", "resize 67" },
	{ "sub", "grow metadata 300" },
	{ "64k-used", "resize 100" },
	{ "64k-used", "resize 2000000" },
	{ "512", "amend version 2" },
	{ "512-v2", "amend version 3" },
	{ "512-zeros", "amend version 2" },
	{ "4k-zeros-backing", "amend version 2" },
	{ "4k-zeros-snapshot", "amend version 2" },
	{ "512-snapshot", "amend version 2" },
	{ "512-used", "amend refcount_bits 1" },
	{ "512-snapshot", "amend refcount_bits 64" },
	{ "512-rc64", "amend refcount_bits 16" },
	{ "4k-compressed", "amend refcount_bits 8" },
	{ "4k-snapshot", "amend refcount_bits 2" },
	{ "64k-used", "amend refcount_bits 32" },
	{ "512-lazy", "amend lazy 0" },
	{ "512-used", "amend lazy 1" },
	{ "512-used", "amend backing raw some/where/else" },
	{ "4k-backing", "amend backing qcow2 a-longer-name-than-before" },
	{ "4k-raw-backing", "amend backing raw b" },
	{ "64k-backing", "amend backing qcow2 another" },
	{ "64k-backing", "amend no backing" },
	{ "64k-used", "amend backing raw some/where/else" },
	{ "4k-long-name",
	  "amend backing raw " LONG_100 LONG_100 LONG_100 LONG_100 LONG_100 },
	{ "512-v2-snapshot", "amend version 3" },
	{ "4k-zeros-shared", "amend version 2" },
	{ "512-block", "resize 30000" },
	{ "512-table", "resize 30000" },
	{ "4k-data-raw", "amend raw 0" },
	{ "512-used", "amend size 30" },
	{ "4k-used", "amend size 300" },
};

const unsigned n_change_cases = sizeof(change_cases) / sizeof(change_cases[0]);

void change_facts_get(struct change_facts *f, struct qcow2_image *img)
{
	struct qcow2_info info = { .struct_size = sizeof(info) };
	int rc = qcow2_get_info(img, 0, &info, NULL);

	assert(rc == 0);
	(void)rc;
	f->size = info.virtual_size;
	snprintf(f->text, sizeof(f->text),
		 "size %" PRIu64 ", version %" PRIu32 ", refcount bits %" PRIu32
		 ", lazy %d, raw %d, backing %s (%s), data file %s, %" PRIu32
		 " snapshots, bit 0 is %s",
		 info.virtual_size, info.version, info.refcount_bits,
		 info.lazy_refcounts, info.data_file_raw,
		 info.backing_file ? info.backing_file : "none",
		 info.backing_format ? info.backing_format : "none",
		 info.data_file ? info.data_file : "none", info.n_snapshots,
		 qcow2_feature_name(img, 0, 0) ? qcow2_feature_name(img, 0, 0)
					       : "nameless");
}

bool change_facts_equal(const struct change_facts *a,
			const struct change_facts *b)
{
	return strcmp(a->text, b->text) == 0;
}

static int resize(struct qcow2_image *img, uint64_t sectors,
		  enum qcow2_preallocation mode, struct qcow2_error *err)
{
	struct qcow2_resize_opts opts = QCOW2_RESIZE_OPTS_INIT;

	opts.flags = QCOW2_RESIZE_SHRINK;
	opts.preallocation = mode;
	return qcow2_resize(img, sectors * MODEL_SECTOR, &opts, err);
}

static enum qcow2_preallocation mode_of(const char *name)
{
	return strcmp(name, "full") == 0     ? QCOW2_PREALLOC_FULL
	       : strcmp(name, "falloc") == 0 ? QCOW2_PREALLOC_FALLOC
					     : QCOW2_PREALLOC_METADATA;
}

/* "PART REST": true when @text begins with @part; *rest follows it. */
static bool begins(const char *text, const char *part, const char **rest)
{
	size_t len = strlen(part);

	if (strncmp(text, part, len))
		return false;
	*rest = text + len;
	return true;
}

static int amend(struct qcow2_image *img, const char *text,
		 struct qcow2_error *err)
{
	struct qcow2_amend_opts o = QCOW2_AMEND_OPTS_INIT;
	char format[16] = "", name[1024] = "";
	const char *rest;

	o.flags = QCOW2_AMEND_SHRINK;
	if (begins(text, "version ", &rest)) {
		o.set = QCOW2_AMEND_VERSION;
		o.version = (uint32_t)atoi(rest);
	} else if (begins(text, "refcount_bits ", &rest)) {
		o.set = QCOW2_AMEND_REFCOUNT_BITS;
		o.refcount_bits = (uint32_t)atoi(rest);
	} else if (begins(text, "lazy ", &rest)) {
		o.set = QCOW2_AMEND_LAZY_REFCOUNTS;
		o.lazy_refcounts = (uint32_t)atoi(rest);
	} else if (begins(text, "raw ", &rest)) {
		o.set = QCOW2_AMEND_DATA_FILE_RAW;
	} else if (begins(text, "size ", &rest)) {
		o.set = QCOW2_AMEND_SIZE;
		o.size = (uint64_t)atoi(rest) * MODEL_SECTOR;
	} else if (begins(text, "no backing", &rest)) {
		o.set = QCOW2_AMEND_BACKING;
	} else if (sscanf(text, "backing %15s %1023s", format, name) == 2) {
		o.set = QCOW2_AMEND_BACKING;
		o.backing_file = name;
		o.backing_format = format;
	}
	return qcow2_amend(img, &o, err);
}

int change_perform(struct qcow2_image *img, const char *text,
		   struct qcow2_error *err)
{
	uint64_t sectors;
	const char *rest;
	char mode[16];

	if (begins(text, "amend ", &rest))
		return amend(img, rest, err);
	if (sscanf(text, "resize %" SCNu64, &sectors) == 1)
		return resize(img, sectors, QCOW2_PREALLOC_OFF, err);
	if (sscanf(text, "grow %15s %" SCNu64, mode, &sectors) == 2)
		return resize(img, sectors, mode_of(mode), err);
	fprintf(stderr, "crash: no such change: %s\n", text);
	abort();
}
