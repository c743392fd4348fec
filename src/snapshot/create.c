/*
 * O16: refcounts of everything that the disk uses; a copy of its L1 table and a
 * new snapshot table, beside; COPIED off -> the header has one snapshot more
 * -> the old table's refcounts.  Until the header says so there are leaks, and
 * COPIED flags whose refcount is too high, which harm nobody; version 3 has the
 * dirty bit for them.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/text.h"
#include "image/image.h"
#include "snapshot/context.h"
#include "snapshot/ops.h"
#include "snapshot/vmstate.h"
#include "write/copied_flags.h"
#include "write/features.h"
#include "write/header_sector.h"
#include "write/unfinished.h"
#include "write/writer.h"

/* Before the switch: "the list with it". */
void creation_validate(const struct creation *c)
{
	const struct snapshots *now = &c->img->snapshots;

	tree_validate(&c->tree);
	snapshots_validate(&c->next);
	assert(c->next.n == now->n + 1);
	assert(c->next.list[now->n].id == c->info.id);
	assert(c->counted && c->table.bytes);
	assert(is_aligned(c->table.host_off | c->l1_off,
			  c->img->geo.cluster_size));
	/* A copy of the L1 table, for a snapshot of its own. */
	assert(implies(c->tree.n_l1,
		       c->l1_off && c->l1_off != c->img->header.l1_off));
	assert(c->info.l1_off == c->l1_off && c->info.l1_size == c->tree.n_l1);
}

/* ---- The entry ----------------------------------------------------------- */

/* One more than the largest number that is an id. */
static void next_id(const struct snapshots *s, char *id, size_t size)
{
	uint64_t max = 0;

	for (uint32_t i = 0; i < s->n; i++)
		max = max_u64(max, strtoull(s->list[i].id, NULL, 10));
	snprintf(id, size, "%" PRIu64, max + 1);
}

static int choose_id(struct creation *c, const char *wish,
		     struct qcow2_error *err)
{
	const struct snapshots *s = &c->img->snapshots;

	if (wish)
		snprintf(c->id, sizeof(c->id), "%s", wish);
	else
		next_id(s, c->id, sizeof(c->id));
	for (uint32_t i = 0; i < s->n; i++)
		if (strcmp(s->list[i].id, c->id) == 0)
			return error_set(err, -EEXIST,
					 "there is a snapshot with the id "
					 "\"%s\" already",
					 TEXT(c->id, strlen(c->id)));
	return 0;
}

static int check_lengths(const struct snapshots *s, const char *name,
			 const char *id, struct qcow2_error *err)
{
	if (s->n >= SNAPSHOTS_MAX)
		return error_set(err, -EFBIG,
				 "the image has %u snapshots, which is the "
				 "limit",
				 SNAPSHOTS_MAX);
	if (strlen(name) > SNAPSHOT_NAME_BYTES_MAX)
		return error_set(err, -ENAMETOOLONG,
				 "the snapshot's name has %zu bytes, the limit "
				 "is %d",
				 strlen(name), SNAPSHOT_NAME_BYTES_MAX);
	if (id && (!*id || strlen(id) > SNAPSHOT_ID_BYTES_MAX))
		return error_set(err, -EINVAL,
				 "a snapshot's id has 1 to %d bytes",
				 SNAPSHOT_ID_BYTES_MAX);
	return 0;
}

static void set_date(struct snapshot *s, const struct qcow2_snapshot_opts *opts)
{
	struct timespec now;

	s->date_sec = opts->date_sec;
	s->date_nsec = opts->date_nsec;
	if (s->date_sec || s->date_nsec)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	s->date_sec = (uint32_t)now.tv_sec;
	s->date_nsec = (uint32_t)now.tv_nsec;
}

static int make_entry(struct creation *c, const char *name,
		      const struct qcow2_snapshot_opts *opts,
		      struct qcow2_error *err)
{
	struct image *img = c->img;
	int rc = check_lengths(&img->snapshots, name, opts->id, err);

	if (rc == 0)
		rc = choose_id(c, opts->id, err);
	if (rc < 0)
		return rc;
	c->entry = (struct snapshot){
		.l1_size = (uint32_t)img->map.l1.n_entries,
		.vm_clock_nsec = opts->vm_clock_ns,
		.vm_state_size = opts->vm_state_size,
		.disk_size = img->virtual_size,
		.icount = opts->icount,
		.id = c->id,
		.id_len = (uint16_t)strlen(c->id),
		.name = name,
		.name_len = (uint16_t)strlen(name),
	};
	set_date(&c->entry, opts);
	return 0;
}

/* ---- Tables -------------------------------------------------------------- */

static int snapshot_create_write_table(struct creation *c,
				       struct qcow2_error *err)
{
	const struct snapshots *old = &c->img->snapshots;
	int rc;

	c->entry.l1_off = c->l1_off;
	rc = snapshot_info_init(&c->info, &c->entry, err);
	if (rc < 0)
		return rc;
	c->next.list = calloc((size_t)old->n + 1, sizeof(*c->next.list));
	if (!c->next.list)
		return error_nomem(err, "the snapshot list",
				   (old->n + UINT64_C(1)) *
					   sizeof(*c->next.list));
	if (old->n)
		memcpy(c->next.list, old->list, old->n * sizeof(*old->list));
	c->next.list[old->n] = c->info;
	c->next.n = old->n + 1;
	return snapshot_table_write(c->img, &c->next, &c->table, err);
}

static int snapshot_create_clear_copied(struct creation *c,
					struct qcow2_error *err)
{
	int rc = 0;

	if (c->tree.has_copied)
		rc = copied_flags_clear_tables(c->img, &c->tree, err);
	return rc < 0 ? rc : copied_flags_clear_l1(c->img, err);
}

/* ---- Progress ------------------------------------------------------------ */

static int creation_watch(void *opaque, uint64_t done, uint64_t total,
			  struct qcow2_error *err)
{
	const struct creation *c = opaque;
	const struct qcow2_snapshot_opts *o = c->opts;

	if (o->progress &&
	    o->progress(o->opaque, c->n_passes * total + done, 2 * total))
		return error_set(err, -ECANCELED,
				 "the snapshot was stopped by the caller");
	return 0;
}

/* ---- All of it ----------------------------------------------------------- */

static int snapshot_create_prepare(struct creation *c, struct qcow2_error *err)
{
	int rc;

	c->tree.watch = creation_watch;
	c->tree.watcher = c;
	rc = tree_add_references(c->img, &c->tree, err);
	c->counted = rc == 0;
	c->n_passes = 1;
	if (rc == 0)
		rc = fresh_l1_write(c->img, c->tree.l1, c->tree.n_l1,
				    &c->l1_off, err);
	if (rc == 0)
		rc = snapshot_create_write_table(c, err);
	return rc < 0 ? rc : snapshot_create_clear_copied(c, err);
}

/* Nothing durable knows of the snapshot, unless the header is unsettled. */
static int snapshot_create_undo(struct creation *c)
{
	uint64_t n_lost;
	int rc, restored;

	c->tree.watch = NULL;
	table_drop(c->img, &c->table);
	l1_table_drop(c->img, c->tree.n_l1, c->l1_off);
	if (!c->counted)
		return 0;
	/* A header that may list the snapshot keeps all that it has. */
	rc = header_sector_settle(c->img, NULL);
	if (rc < 0)
		return rc;
	/* Refcounts that stay too high are leaks; flags that stay off cost a
	 * copy each. */
	rc = tree_drop_references(c->img, &c->tree, NULL);
	restored = copied_flags_restore(c->img, &n_lost, NULL);
	return rc < 0 ? rc : restored;
}

static int snapshot_create_carry_out(struct creation *c,
				     struct qcow2_error *err)
{
	int rc = snapshot_create_prepare(c, err);

	if (rc == 0)
		VALIDATE(creation, c);
	if (rc == 0)
		rc = snapshot_table_switch(c->img, &c->next, &c->table, err);
	if (rc == 0)
		c->info.id = NULL;
	else
		c->unfinished = snapshot_create_undo(c);
	return rc;
}

static int create(struct creation *c, const char *name,
		  const struct qcow2_snapshot_opts *opts,
		  struct qcow2_error *err)
{
	struct image *img = c->img;
	int rc = make_entry(c, name, opts, err);

	if (rc == 0)
		rc = proof_require_frozen(img, err);
	if (rc == 0)
		rc = tree_of_image(&c->tree, img, err);
	if (rc == 0)
		rc = features_begin_dirty(img, DIRTY_OPERATION, err);
	if (rc < 0)
		return rc;
	rc = snapshot_create_carry_out(c, err);
	if (rc == 0 && opts->vm_state_size)
		rc = vmstate_drop(img, err);
	if (c->unfinished) {
		unfinished_leave(img, c->unfinished);
		return rc;
	}
	return unfinished_end(img, rc, err);
}

int image_snapshot_create(struct image *img, const char *name,
			  const struct qcow2_snapshot_opts *opts,
			  struct qcow2_error *err)
{
	struct creation c = { .img = img, .opts = opts };
	struct inflight_freeze freeze;
	int rc = snapshot_begin(img, &freeze, err);

	if (rc == 0)
		rc = create(&c, name, opts, err);
	snapshot_end(img, &freeze);
	snapshot_info_release(&c.info);
	free(c.next.list);
	tree_release(&c.tree);
	return rc;
}
