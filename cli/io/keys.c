/*
 * "key=value,..." of open, reopen and --image-opts: QEMU's names of these
 * options, as far as they exist here.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/io.h"
#include "keyval.h"
#include "size.h"

/* One pair on its way into the settings. */
struct pair {
	const struct cli *cli;
	struct io_settings *s;
	const char *key;
	const char *value;
	char **path; /* NULL: the file is open already */
	bool asked_read_only;
	bool overlap_short;    /* overlap-check was given */
	bool overlap_template; /* overlap-check.template was */
	struct {
		uint64_t total_bytes;
		bool total;
		bool l2;
		bool refcount;
	} named; /* sizes of caches that are given */
};

static int wrong_value(const struct pair *p, const char *expected)
{
	cli_error(p->cli, p->key, "'%s' is not %s", ESC(p->value), expected);
	return -1;
}

static int wrong_key(const struct pair *p)
{
	if (!p->path)
		cli_error(p->cli, NULL, "Cannot change the option '%s'",
			  ESC(p->key));
	else
		cli_error(p->cli, p->key, "this option is not supported");
	return -1;
}

static int truth(const struct pair *p, bool *value)
{
	*value = strcmp(p->value, "on") == 0 || strcmp(p->value, "yes") == 0 ||
		 strcmp(p->value, "true") == 0;
	if (*value || strcmp(p->value, "off") == 0 ||
	    strcmp(p->value, "no") == 0 || strcmp(p->value, "false") == 0)
		return 0;
	return wrong_value(p, "on or off");
}

static int set_driver(struct pair *p)
{
	enum qcow2_format format;

	if (!format_by_name(p->value, &format)) {
		cli_error(p->cli, NULL, "Unknown driver '%s'", ESC(p->value));
		return -1;
	}
	if (!p->path && format != p->s->format) {
		cli_error(p->cli, NULL, "Cannot change the option 'driver'");
		return -1;
	}
	p->s->format = format;
	return 0;
}

static int set_path(struct pair *p)
{
	if (!p->path) {
		cli_error(p->cli, NULL, "Cannot change the option 'filename'");
		return -1;
	}
	free(*p->path);
	*p->path = strdup(p->value);
	if (*p->path)
		return 0;
	cli_error(p->cli, NULL, "out of memory");
	return -1;
}

static int set_protocol(struct pair *p)
{
	if (strcmp(p->value, "file") == 0 ||
	    strcmp(p->value, "host_device") == 0)
		return 0;
	return wrong_value(p, "file or host_device");
}

static int set_read_only(struct pair *p)
{
	return truth(p, &p->asked_read_only);
}

static int set_direct(struct pair *p)
{
	return truth(p, &p->s->cache.direct);
}

static int set_no_flush(struct pair *p)
{
	return truth(p, &p->s->cache.no_sync);
}

static int set_discard(struct pair *p)
{
	return io_set_discard(p->cli, p->s, p->value);
}

static int set_force_share(struct pair *p)
{
	return truth(p, &p->s->force_share);
}

static int set_locking(struct pair *p)
{
	bool any = strcmp(p->value, "auto") == 0;
	bool lock = true;

	if (!any && truth(p, &lock) < 0)
		return -1;
	p->s->no_lock = !lock;
	p->s->need_lock = lock && !any;
	return 0;
}

/* The only backing file that can be named is none. */
static int set_backing(struct pair *p)
{
	if (*p->value)
		return wrong_value(p, "empty, and no other is supported");
	p->s->no_backing = true;
	return 0;
}

static int set_policy(struct pair *p, uint32_t bit)
{
	bool on;

	if (truth(p, &on) < 0)
		return -1;
	p->s->discard = on ? p->s->discard | bit : p->s->discard & ~bit;
	return 0;
}

static int set_pass_request(struct pair *p)
{
	return set_policy(p, QCOW2_DISCARD_REQUEST);
}

static int set_pass_snapshot(struct pair *p)
{
	return set_policy(p, QCOW2_DISCARD_SNAPSHOT);
}

static int set_pass_other(struct pair *p)
{
	return set_policy(p, QCOW2_DISCARD_OTHER);
}

static int set_no_unref(struct pair *p)
{
	return set_policy(p, QCOW2_DISCARD_NO_UNREF);
}

static int set_bytes(struct pair *p, uint64_t *bytes)
{
	if (size_parse(p->value, bytes) == 0 && *bytes <= INT64_MAX)
		return 0;
	return wrong_value(p, "a size");
}

/* No cache becomes larger than all there is to put into it, so that there is
 * no size too large to ask for. */
static int set_l2_cache(struct pair *p)
{
	uint64_t bytes;

	if (size_parse(p->value, &bytes) < 0)
		return wrong_value(p, "a size");
	p->s->l2_cache_bytes = bytes < INT64_MAX ? bytes : INT64_MAX;
	p->named.l2 = true;
	return 0;
}

static int set_cache_size(struct pair *p)
{
	p->named.total = true;
	return set_bytes(p, &p->named.total_bytes);
}

/* 0 stands for the default, which has no number. */
static int set_l2_slice(struct pair *p)
{
	if (set_bytes(p, &p->s->l2_slice_bytes) < 0)
		return -1;
	return p->s->l2_slice_bytes
		       ? 0
		       : wrong_value(p, "a power of two between 512 and the "
					"cluster size");
}

/* QEMU counts this cache in clusters, and has numbers of 31 bits for them. */
#define REFCOUNT_CACHE_BYTES_MAX ((uint64_t)INT32_MAX << 16)

static int set_refcount_cache(struct pair *p)
{
	p->named.refcount = true;
	if (set_bytes(p, &p->s->refcount_cache_bytes) < 0)
		return -1;
	return p->s->refcount_cache_bytes <= REFCOUNT_CACHE_BYTES_MAX
		       ? 0
		       : wrong_value(p, "a size that a cache can have");
}

static int wrong_caches(const struct pair *p, const char *why)
{
	cli_error(p->cli, NULL, "%s", why);
	return -1;
}

/* One cache gets what the other one leaves of their total. */
static int share_cache(const struct pair *p)
{
	uint64_t total = p->named.total_bytes;
	struct io_settings *s = p->s;

	if (!p->named.total)
		return 0;
	if (p->named.l2 && p->named.refcount)
		return wrong_caches(p, "cache-size, l2-cache-size and "
				       "refcount-cache-size may not be set at "
				       "the same time");
	if (p->named.l2 && s->l2_cache_bytes > total)
		return wrong_caches(p, "l2-cache-size may not exceed "
				       "cache-size");
	if (p->named.refcount && s->refcount_cache_bytes > total)
		return wrong_caches(p, "refcount-cache-size may not exceed "
				       "cache-size");
	if (p->named.l2)
		s->refcount_cache_bytes = total - s->l2_cache_bytes;
	else if (p->named.refcount)
		s->l2_cache_bytes = total - s->refcount_cache_bytes;
	else
		s->l2_cache_bytes = total;
	return 0;
}

static int set_lazy(struct pair *p)
{
	bool on;

	if (truth(p, &on) < 0)
		return -1;
	p->s->lazy_refcounts = on ? QCOW2_LAZY_ON : QCOW2_LAZY_OFF;
	return 0;
}

static int set_clean(struct pair *p)
{
	uint64_t seconds;

	if (size_parse(p->value, &seconds) < 0 || seconds > UINT32_MAX)
		return wrong_value(p, "a number of seconds");
	p->s->cache_clean_sec = (uint32_t)seconds;
	return 0;
}

static int set_template(struct pair *p)
{
	static const struct {
		const char *name;
		uint32_t check;
	} templates[] = {
		{ "none", QCOW2_OVERLAP_NONE },
		{ "constant", QCOW2_OVERLAP_CONSTANT },
		{ "cached", QCOW2_OVERLAP_CACHED },
		{ "all", QCOW2_OVERLAP_ALL },
	};

	for (size_t i = 0; i < sizeof(templates) / sizeof(*templates); i++) {
		if (strcmp(p->value, templates[i].name) == 0) {
			p->s->overlap_check = templates[i].check;
			return 0;
		}
	}
	return wrong_value(p, "none, constant, cached or all");
}

/* Two names of one option: QEMU takes one of them. */
static int set_overlap_as(struct pair *p, bool *this_name)
{
	*this_name = true;
	if (!p->overlap_short || !p->overlap_template)
		return set_template(p);
	cli_error(p->cli, NULL,
		  "overlap-check and overlap-check.template may not be set at "
		  "the same time");
	return -1;
}

static int set_overlap(struct pair *p)
{
	return set_overlap_as(p, &p->overlap_short);
}

static int set_overlap_template(struct pair *p)
{
	return set_overlap_as(p, &p->overlap_template);
}

/* Sets "overlap-check.KIND": one kind more or less than the template has. */
static int set_overlap_kind(struct pair *p, const char *kind)
{
	static const char *const kinds[] = {
		"main-header",    "active-l1",      "active-l2",
		"refcount-table", "refcount-block", "snapshot-table",
		"inactive-l1",    "inactive-l2",    "bitmap-directory",
	};
	uint32_t check = p->s->overlap_check & QCOW2_OVERLAP_ALL;
	bool on;

	if (p->s->overlap_check == 0)
		check = QCOW2_OVERLAP_CACHED;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(kind, kinds[i]) != 0)
			continue;
		if (truth(p, &on) < 0)
			return -1;
		check = on ? check | 1u << i : check & ~(1u << i);
		p->s->overlap_check = check ? check : QCOW2_OVERLAP_NONE;
		return 0;
	}
	return wrong_key(p);
}

/* Takes an option that must be off, since it is not there. */
static int set_absent(struct pair *p)
{
	bool on;

	if (truth(p, &on) < 0)
		return -1;
	return on ? wrong_value(p, "supported, only off is") : 0;
}

/* A name is given when a file is opened, and kept. */
static int set_node_name(struct pair *p)
{
	if (p->path)
		return 0;
	cli_error(p->cli, NULL, "Cannot change the option 'node-name'");
	return -1;
}

/* The shell does not choose to fall back to reading: on or off are the same. */
static int set_auto_read_only(struct pair *p)
{
	bool on;

	return truth(p, &on);
}

static const struct {
	const char *key;
	int (*set)(struct pair *p);
} keys[] = {
	{ "driver", set_driver },
	{ "file.driver", set_protocol },
	{ "file.filename", set_path },
	{ "filename", set_path },
	{ "read-only", set_read_only },
	{ "cache.direct", set_direct },
	{ "cache.no-flush", set_no_flush },
	{ "discard", set_discard },
	{ "force-share", set_force_share },
	{ "file.locking", set_locking },
	{ "backing", set_backing },
	{ "pass-discard-request", set_pass_request },
	{ "pass-discard-snapshot", set_pass_snapshot },
	{ "pass-discard-other", set_pass_other },
	{ "discard-no-unref", set_no_unref },
	{ "l2-cache-size", set_l2_cache },
	{ "cache-size", set_cache_size },
	{ "l2-cache-entry-size", set_l2_slice },
	{ "refcount-cache-size", set_refcount_cache },
	{ "lazy-refcounts", set_lazy },
	{ "cache-clean-interval", set_clean },
	{ "overlap-check", set_overlap },
	{ "overlap-check.template", set_overlap_template },
	{ "detect-zeroes", set_absent },
	{ "auto-read-only", set_auto_read_only },
	{ "node-name", set_node_name },
};

static int set_pair(struct pair *p)
{
	static const char overlap[] = "overlap-check.";

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (strcmp(keys[i].key, p->key) == 0)
			return keys[i].set(p);
	return strncmp(p->key, overlap, strlen(overlap)) == 0
		       ? set_overlap_kind(p, p->key + strlen(overlap))
		       : wrong_key(p);
}

int io_settings_add(const struct cli *cli, struct io_settings *s, char *text,
		    char **path)
{
	struct pair p = { .cli = cli, .s = s, .path = path };
	struct keyval kv;

	while (keyval_next(&text, &kv)) {
		p.key = kv.key;
		p.value = kv.value ? kv.value : "on";
		if (set_pair(&p) < 0)
			return -1;
	}
	if (share_cache(&p) < 0)
		return -1;
	/* The shell itself asks for writing, and says so by itself. */
	if (!p.asked_read_only || s->read_only)
		return 0;
	cli_error(cli, "read-only", "the image is to be written to: say -r");
	return -1;
}
