/*
 * The options of new images: their names, values and defaults.
 */
#include "create.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keyval.h"
#include "size.h"

enum key_type {
	TYPE_TEXT,
	TYPE_SIZE,
	TYPE_NUMBER,
	TYPE_BOOL,
};

struct key_spec {
	const char *name;
	enum key_type type;
	bool for_raw;         /* raw files have it too */
	const char *standard; /* printed for qcow2 when it is not given */
	const char *help;
};

/* clang-format off: a table */
static const struct key_spec keys[N_CREATE_KEYS] = {
	[KEY_CLUSTER_SIZE] = { "cluster_size", TYPE_SIZE, false, "65536",
			       "unit of allocation: a power of two, 512 to "
			       "2M" },
	[KEY_EXTENDED_L2] = { "extended_l2", TYPE_BOOL, false, "off",
			      "allocate 32nds of clusters" },
	[KEY_PREALLOCATION] = { "preallocation", TYPE_TEXT, true, NULL,
				"space to allocate now: off, metadata (qcow2), "
				"falloc, full" },
	[KEY_COMPRESSION_TYPE] = { "compression_type", TYPE_TEXT, false, "zlib",
				   "zlib or zstd" },
	[KEY_SIZE] = { "size", TYPE_SIZE, true, NULL,
		       "size of the virtual disk" },
	[KEY_COMPAT] = { "compat", TYPE_TEXT, false, NULL,
			 "version of the format: v2 (0.10) or v3 (1.1)" },
	[KEY_BACKING_FILE] = { "backing_file", TYPE_TEXT, false, NULL,
			       "image below the new one" },
	[KEY_BACKING_FMT] = { "backing_fmt", TYPE_TEXT, false, NULL,
			      "format of the backing file" },
	[KEY_DATA_FILE] = { "data_file", TYPE_TEXT, false, NULL,
			    "file that holds the data, beside the image" },
	[KEY_DATA_FILE_RAW] = { "data_file_raw", TYPE_BOOL, false, NULL,
				"keep the data file readable as a raw image" },
	[KEY_LAZY_REFCOUNTS] = { "lazy_refcounts", TYPE_BOOL, false, "off",
				 "bring reference counts up to date only at "
				 "close" },
	[KEY_REFCOUNT_BITS] = { "refcount_bits", TYPE_NUMBER, false, "16",
				"width of a reference count: 1, 2, 4, ... 64" },
};
/* clang-format on */

/* ------------------------------------------------------------------------- */
/* Help                                                                      */

static void print_key(const struct key_spec *key)
{
	static const char *const types[] = { "<str>", "<size>", "<num>",
					     "<bool (on/off)>" };
	int width = 22 - (int)strlen(key->name) - 1;

	printf("  %s=%-*s - %s\n", key->name, width, types[key->type],
	       key->help);
}

void create_print_help(enum qcow2_format format)
{
	bool raw = format == QCOW2_FORMAT_RAW;

	printf("Supported %s options:\n", raw ? "raw" : "qcow2");
	for (size_t i = 0; i < N_CREATE_KEYS; i++)
		if (!raw || keys[i].for_raw)
			print_key(&keys[i]);
}

void create_print_amend_help(const bool shown[N_CREATE_KEYS])
{
	printf("Amend options for 'qcow2':\n");
	for (size_t i = 0; i < N_CREATE_KEYS; i++)
		if (shown[i])
			print_key(&keys[i]);
}

const char *create_key_name(enum create_key key)
{
	return keys[key].name;
}

/* ------------------------------------------------------------------------- */
/* Parsing                                                                   */

static int find_key(const struct create_plan *plan, const char *name)
{
	for (int i = 0; i < N_CREATE_KEYS; i++)
		if (strcmp(keys[i].name, name) == 0 &&
		    (plan->format != QCOW2_FORMAT_RAW || keys[i].for_raw))
			return i;
	return -1;
}

static int parse_number(const char *text, uint64_t *number)
{
	char *end;

	if (!(*text >= '0' && *text <= '9'))
		return -EINVAL;
	errno = 0;
	*number = strtoull(text, &end, 0);
	return errno || *end ? -EINVAL : 0;
}

static int parse_bool(const char *text, uint64_t *number)
{
	static const char *const words[] = { "off",   "on",   "no", "yes",
					     "false", "true", "n",  "y" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(text, words[i]) == 0) {
			*number = i % 2;
			return 0;
		}
	}
	return -EINVAL;
}

static int parse_value(enum key_type type, struct create_value *v)
{
	switch (type) {
	case TYPE_SIZE:
		return size_parse(v->text, &v->number);
	case TYPE_NUMBER:
		return parse_number(v->text, &v->number);
	case TYPE_BOOL:
		return parse_bool(v->text, &v->number);
	case TYPE_TEXT:
		break;
	}
	return 0;
}

static int set_value(const struct cli *cli, struct create_plan *plan, int key,
		     const struct keyval *kv)
{
	static const char *const expected[] = {
		[TYPE_TEXT] = "a text",
		[TYPE_SIZE] = "a size such as 65536, 64k or 1.5G",
		[TYPE_NUMBER] = "a number",
		[TYPE_BOOL] = "on or off",
	};
	struct create_value v = { kv->value, 0 };

	if (!v.text && keys[key].type == TYPE_BOOL)
		v.text = "on";
	if (v.text && parse_value(keys[key].type, &v) == 0) {
		plan->values[key] = v;
		return 0;
	}
	cli_error(cli, plan->path, "option '%s' expects %s", kv->key,
		  expected[keys[key].type]);
	return -1;
}

/* Returns why an option that qemu-img knows is not in this version. */
static const char *reason_without(const char *key)
{
	if (strncmp(key, "encrypt", 7) == 0)
		return "encryption is not supported in this version";
	return "there is no such option here";
}

/* Returns whether an option that only others have is given as off. */
static bool is_off(const struct create_plan *plan, const struct keyval *kv)
{
	bool raw = plan->format == QCOW2_FORMAT_RAW;
	uint64_t on;

	return (strcmp(kv->key, "nocow") == 0 ||
		(!raw && strcmp(kv->key, "encryption") == 0)) &&
	       kv->value && parse_bool(kv->value, &on) == 0 && !on;
}

int create_parse(const struct cli *cli, struct create_plan *plan, char *text)
{
	struct keyval kv;

	while (keyval_next(&text, &kv)) {
		int key = find_key(plan, kv.key);

		if (key < 0 && is_off(plan, &kv))
			continue;
		if (key < 0) {
			cli_error(cli, plan->path, "option '%s': %s",
				  ESC(kv.key), reason_without(kv.key));
			cli_hint(cli, "-o help lists the options");
			return -1;
		}
		if (set_value(cli, plan, key, &kv) < 0)
			return -1;
	}
	return 0;
}

void create_set_size(struct create_plan *plan, uint64_t size)
{
	plan->values[KEY_SIZE] = (struct create_value){ "", size };
}

/* ------------------------------------------------------------------------- */
/* Telling                                                                   */

/* Prints text as -o would take it, with commas doubled. */
static void print_text(const char *text)
{
	for (const char *p = ESC(text); *p; p++) {
		if (*p == ',')
			putchar(',');
		putchar(*p);
	}
}

static void print_value(enum create_key key, const struct create_value *v)
{
	printf(" %s=", keys[key].name);
	if (!v->text)
		printf("%s", keys[key].standard);
	else if (keys[key].type == TYPE_SIZE || keys[key].type == TYPE_NUMBER)
		printf("%" PRIu64, v->number);
	else
		print_text(v->text);
}

void create_print_plan(const struct create_plan *plan)
{
	static const enum create_key raw_order[] = { KEY_SIZE,
						     KEY_PREALLOCATION };
	bool raw = plan->format == QCOW2_FORMAT_RAW;
	size_t n = raw ? 2 : N_CREATE_KEYS;

	printf("Formatting '%s', fmt=%s", ESC(plan->path),
	       raw ? "raw" : "qcow2");
	for (size_t i = 0; i < n; i++) {
		enum create_key key = raw ? raw_order[i] : (enum create_key)i;
		const struct create_value *v = &plan->values[key];

		if (v->text || (!raw && keys[key].standard))
			print_value(key, v);
	}
	putchar('\n');
}

/* ------------------------------------------------------------------------- */
/* For the library                                                           */

struct choice {
	const char *name;
	int value;
};

/* Sets *value to the choice that @key's text names, if it is given. */
static int choose(const struct cli *cli, const struct create_plan *plan,
		  enum create_key key, const struct choice *choices, int *value)
{
	const char *text = plan->values[key].text;

	if (!text)
		return 0;
	for (; choices->name; choices++) {
		if (strcmp(choices->name, text) == 0) {
			*value = choices->value;
			return 0;
		}
	}
	cli_error(cli, plan->path, "option '%s' does not know the value '%s'",
		  keys[key].name, ESC(text));
	return -1;
}

static const struct choice versions[] = {
	{ "0.10", 2 }, { "v2", 2 }, { "1.1", 3 }, { "v3", 3 }, { NULL, 0 },
};

static const struct choice compressions[] = {
	{ "zlib", QCOW2_COMPRESSION_ZLIB },
	{ "zstd", QCOW2_COMPRESSION_ZSTD },
	{ NULL, 0 },
};

static const struct choice preallocations[] = {
	{ "off", QCOW2_PREALLOC_OFF },
	{ "metadata", QCOW2_PREALLOC_METADATA },
	{ "falloc", QCOW2_PREALLOC_FALLOC },
	{ "full", QCOW2_PREALLOC_FULL },
	{ NULL, 0 },
};

static int fill_choices(const struct cli *cli, const struct create_plan *plan,
			struct qcow2_create_opts *opts)
{
	int version = 0, compression = 0, preallocation = 0;

	if (choose(cli, plan, KEY_COMPAT, versions, &version) < 0 ||
	    choose(cli, plan, KEY_COMPRESSION_TYPE, compressions,
		   &compression) < 0 ||
	    choose(cli, plan, KEY_PREALLOCATION, preallocations,
		   &preallocation) < 0)
		return -1;
	opts->version = (uint32_t)version;
	opts->compression = (enum qcow2_compression)compression;
	opts->preallocation = (enum qcow2_preallocation)preallocation;
	return 0;
}

/* The library takes 0 for the default, so 0 is wrong here when given. */
static int fill_number(const struct cli *cli, const struct create_plan *plan,
		       enum create_key key, uint32_t *field)
{
	const struct create_value *v = &plan->values[key];

	if (v->text && (v->number == 0 || v->number > UINT32_MAX)) {
		cli_error(cli, plan->path, "option '%s' is out of range: %s",
			  keys[key].name, keys[key].help);
		return -1;
	}
	*field = (uint32_t)v->number;
	return 0;
}

static uint32_t flags_of(const struct create_plan *plan)
{
	uint32_t flags = 0;

	if (plan->values[KEY_EXTENDED_L2].number)
		flags |= QCOW2_CREATE_EXTENDED_L2;
	if (plan->values[KEY_LAZY_REFCOUNTS].number)
		flags |= QCOW2_CREATE_LAZY_REFCOUNTS;
	if (plan->values[KEY_DATA_FILE_RAW].number)
		flags |= QCOW2_CREATE_DATA_FILE_RAW;
	return flags;
}

int create_fill_opts(const struct cli *cli, const struct create_plan *plan,
		     struct qcow2_create_opts *opts)
{
	opts->virtual_size = plan->values[KEY_SIZE].number;
	opts->flags = flags_of(plan);
	/* Every plan here has a size: see check_size() in create.c. */
	if (!opts->virtual_size)
		opts->flags |= QCOW2_CREATE_SIZE_ZERO;
	opts->backing_file = plan->values[KEY_BACKING_FILE].text;
	opts->backing_format = plan->values[KEY_BACKING_FMT].text;
	opts->data_file = plan->values[KEY_DATA_FILE].text;
	if (fill_number(cli, plan, KEY_CLUSTER_SIZE, &opts->cluster_size) < 0 ||
	    fill_number(cli, plan, KEY_REFCOUNT_BITS, &opts->refcount_bits) < 0)
		return -1;
	return fill_choices(cli, plan, opts);
}
