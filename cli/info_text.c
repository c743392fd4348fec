/*
 * `info` for people, as qemu-img prints it.
 */
#include "info.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "size.h"

void info_each_snapshot(const struct layer *layer, void *opaque,
			void (*print)(void *opaque,
				      const struct qcow2_snapshot_info *s))
{
	struct qcow2_snapshot_info s = { .struct_size = sizeof(s) };

	for (uint32_t i = 0; i < layer->info.n_snapshots; i++) {
		if (qcow2_get_snapshot(layer->img, i, &s, NULL) < 0)
			return;
		print(opaque, &s);
	}
}

static void print_head(const struct layer *layer)
{
	const struct qcow2_info *info = &layer->info;
	char size[SIZE_TEXT_MAX], disk[SIZE_TEXT_MAX];

	printf("image: %s\n", ESC(layer->path));
	printf("file format: %s\n",
	       info->format == QCOW2_FORMAT_RAW ? "raw" : "qcow2");
	printf("virtual size: %s (%" PRIu64 " bytes)\n",
	       size_text(info->virtual_size, size), info->virtual_size);
	printf("disk size: %s\n", size_text(info->allocated_bytes, disk));
	if (info->encryption != QCOW2_ENCRYPTION_NONE)
		printf("encrypted: yes\n");
	if (info->cluster_size)
		printf("cluster_size: %" PRIu32 "\n", info->cluster_size);
	if (info->dirty)
		printf("cleanly shut down: no\n");
}

static void print_backing(const struct layer *layer)
{
	const char *name = layer->info.backing_file;

	if (!name)
		return;
	printf("backing file: %s", ESC(name));
	if (strcmp(name, layer->backing_path) != 0)
		printf(" (actual path: %s)", ESC(layer->backing_path));
	putchar('\n');
	if (layer->info.backing_format)
		printf("backing file format: %s\n",
		       ESC(layer->info.backing_format));
}

static void format_date(char *buf, size_t size, uint32_t date_sec)
{
	time_t t = date_sec;
	struct tm tm;

	if (!localtime_r(&t, &tm) ||
	    strftime(buf, size, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		buf[0] = '\0';
}

/* Prints a row with the same columns as `qemu-img snapshot -l`. */
static void print_snapshot(void *opaque, const struct qcow2_snapshot_info *s)
{
	uint64_t sec = s->vm_clock_ns / 1000000000;
	char size[SIZE_TEXT_MAX], date[32], clock[48], icount[24] = "";

	(void)opaque;
	format_date(date, sizeof(date), s->date_sec);
	snprintf(clock, sizeof(clock), "%02" PRIu64 ":%02d:%02d.%03d",
		 sec / 3600, (int)(sec / 60 % 60), (int)(sec % 60),
		 (int)(s->vm_clock_ns / 1000000 % 1000));
	if (s->icount != UINT64_MAX)
		snprintf(icount, sizeof(icount), "%" PRIu64, s->icount);
	printf("%-9s %-16s %8s%20s%13s%11s\n", ESC(s->id), ESC(s->name),
	       size_text(s->vm_state_size, size), date, clock, icount);
}

void info_print_snapshots(const struct layer *layer)
{
	if (layer->info.n_snapshots == 0)
		return;
	printf("Snapshot list:\n%-9s %-16s %8s%20s%13s%11s\n", "ID", "TAG",
	       "VM SIZE", "DATE", "VM CLOCK", "ICOUNT");
	info_each_snapshot(layer, NULL, print_snapshot);
}

const char *info_lacked(const struct qcow2_info *info, unsigned i)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} parts[] = {
		{ QCOW2_LACKS_NAMES, "names" },
		{ QCOW2_LACKS_L1_TABLE, "L1 table" },
		{ QCOW2_LACKS_REFCOUNT_TABLE, "refcount table" },
		{ QCOW2_LACKS_SNAPSHOT_TABLE, "snapshot table" },
		{ QCOW2_LACKS_BITMAP_DIRECTORY, "bitmap directory" },
	};

	for (size_t k = 0; k < sizeof(parts) / sizeof(parts[0]); k++)
		if ((info->lacks & parts[k].bit) && i-- == 0)
			return parts[k].name;
	return NULL;
}

static void print_lacks(FILE *f, const struct qcow2_info *info)
{
	const char *name;

	for (unsigned i = 0; (name = info_lacked(info, i)); i++)
		fprintf(f, "%s%s", i ? ", " : "", name);
}

/* Under the name of qemu-img, standard output is the same as qemu-img's. */
static void print_incomplete(const struct cli *cli, const struct layer *layer)
{
	if (!layer->info.lacks)
		return;
	if (cli->as->extras) {
		printf("incomplete: yes (without ");
		print_lacks(stdout, &layer->info);
		printf(")\n");
	} else {
		info_warn_incomplete(cli, layer);
	}
}

void info_warn_incomplete(const struct cli *cli, const struct layer *layer)
{
	if (!layer->info.lacks)
		return;
	fflush(stdout);
	fprintf(stderr,
		"%s: %s: the image is damaged, or only its beginning "
		"is here; what cannot be read: ",
		cli->as->name, ESC(layer->path));
	print_lacks(stderr, &layer->info);
	fputc('\n', stderr);
}

static void print_self_contained(const struct qcow2_info *info)
{
	const char *needs[3];
	unsigned n = 0;

	if (info->self_contained) {
		printf("self-contained: yes\n");
		return;
	}
	if (info->backing_file)
		needs[n++] = "backing file";
	if (info->has_data_file)
		needs[n++] = "data file";
	if (info->lacks & QCOW2_LACKS_NAMES)
		needs[n++] = "perhaps: names are cut off";
	for (unsigned i = 0; i < n; i++)
		printf("%s%s", i ? ", " : "self-contained: no (", needs[i]);
	printf(")\n");
}

void info_print_outline(const struct layer *layer)
{
	struct json outline;

	printf("Format specific information:\n");
	json_init(&outline, stdout, JSON_OUTLINE);
	json_object(&outline, NULL);
	info_print_specific(&outline, layer);
	json_end(&outline);
}

void info_print_text(const struct cli *cli, const struct layer *layer)
{
	print_head(layer);
	print_backing(layer);
	info_print_snapshots(layer);
	if (layer->info.format != QCOW2_FORMAT_RAW)
		info_print_outline(layer);
	if (cli->as->extras)
		print_self_contained(&layer->info);
	print_incomplete(cli, layer);
}
