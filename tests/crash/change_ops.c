#include "crash/change_ops.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash/change.h"
#include "crash/model.h"

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
};

const unsigned n_change_cases = sizeof(change_cases) / sizeof(change_cases[0]);

void change_facts_get(struct change_facts *f, struct qcow2_image *img)
{
	struct qcow2_info info = { .struct_size = sizeof(info) };
	int rc = qcow2_get_info(img, 0, &info, NULL);

	assert(rc == 0);
	(void)rc;
	f->size = info.virtual_size;
	snprintf(f->text, sizeof(f->text), "size %" PRIu64, info.virtual_size);
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

int change_perform(struct qcow2_image *img, const char *text,
		   struct qcow2_error *err)
{
	uint64_t sectors;
	char mode[16];

	if (sscanf(text, "resize %" SCNu64, &sectors) == 1)
		return resize(img, sectors, QCOW2_PREALLOC_OFF, err);
	if (sscanf(text, "grow %15s %" SCNu64, mode, &sectors) == 2)
		return resize(img, sectors, mode_of(mode), err);
	fprintf(stderr, "crash: no such change: %s\n", text);
	abort();
}
