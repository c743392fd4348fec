/*
 * `info` for programs: the members and their order are qemu-img's.
 */
#include "info.h"

static void add_snapshot(void *opaque, const struct qcow2_snapshot_info *s)
{
	struct json *j = opaque;

	json_object(j, NULL);
	if (s->icount != UINT64_MAX)
		json_u64(j, "icount", s->icount);
	json_u64(j, "vm-clock-nsec", s->vm_clock_ns % 1000000000);
	json_string(j, "name", s->name);
	json_u64(j, "date-sec", s->date_sec);
	json_u64(j, "date-nsec", s->date_nsec);
	json_u64(j, "vm-clock-sec", s->vm_clock_ns / 1000000000);
	json_string(j, "id", s->id);
	json_u64(j, "vm-state-size", s->vm_state_size);
	json_end(j);
}

static void add_snapshots(struct json *j, const struct layer *layer)
{
	if (layer->info.n_snapshots == 0)
		return;
	json_list(j, "snapshots");
	info_each_snapshot(layer, j, add_snapshot);
	json_end(j);
}

static void add_specific(struct json *j, const struct layer *layer)
{
	if (layer->info.format == QCOW2_FORMAT_RAW)
		return;
	json_object(j, "format-specific");
	json_string(j, "type", "qcow2");
	json_object(j, "data");
	info_print_specific(j, layer);
	json_end(j);
	json_end(j);
}

static void add_file(struct json *j, const char *kind, const char *name)
{
	json_object(j, NULL);
	json_string(j, "type", kind);
	if (name)
		json_string(j, "filename", name);
	else
		json_null(j, "filename");
	json_end(j);
}

static void add_self_contained(struct json *j, const struct qcow2_info *info)
{
	json_bool(j, "self-contained", info->self_contained);
	json_list(j, "external");
	if (info->backing_file)
		add_file(j, "backing-file", info->backing_file);
	if (info->has_data_file)
		add_file(j, "data-file", info->data_file);
	json_end(j);
}

static void add_lacks(struct json *j, const struct qcow2_info *info)
{
	const char *name;

	if (!info->lacks)
		return;
	json_list(j, "lacks");
	for (unsigned i = 0; (name = info_lacked(info, i)); i++)
		json_string(j, NULL, name);
	json_end(j);
}

void info_print_json(const struct cli *cli, struct json *j,
		     const struct layer *layer)
{
	const struct qcow2_info *info = &layer->info;

	json_object(j, NULL);
	if (info->backing_file && info->backing_format)
		json_string(j, "backing-filename-format", info->backing_format);
	add_snapshots(j, layer);
	json_u64(j, "virtual-size", info->virtual_size);
	json_string(j, "filename", layer->path);
	if (info->cluster_size)
		json_u64(j, "cluster-size", info->cluster_size);
	json_string(j, "format",
		    info->format == QCOW2_FORMAT_RAW ? "raw" : "qcow2");
	json_u64(j, "actual-size", info->allocated_bytes);
	add_specific(j, layer);
	if (info->backing_file)
		json_string(j, "full-backing-filename", layer->backing_path);
	if (info->encryption != QCOW2_ENCRYPTION_NONE)
		json_bool(j, "encrypted", true);
	if (info->backing_file)
		json_string(j, "backing-filename", info->backing_file);
	json_bool(j, "dirty-flag", info->dirty);
	if (cli->as->extras) {
		add_self_contained(j, info);
		add_lacks(j, info);
	} else {
		info_warn_incomplete(cli, layer);
	}
	json_end(j);
}
