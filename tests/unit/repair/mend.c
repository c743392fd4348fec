#include "mend.h"

#include <stdlib.h>
#include <string.h>

static void collect(void *opaque, const struct qcow2_finding *f)
{
	struct mended *m = opaque;

	if (f->severity == QCOW2_SEVERITY_NONE)
		return;
	assert_true(m->n < RIG_FINDINGS);
	assert_true(strlen(f->message) > 0);
	m->found[m->n].defect = f->defect;
	m->found[m->n].action = f->action;
	m->found[m->n++].host_off = f->host_off;
}

struct mended mend_store(struct qcow2_store *s, enum repair_what what)
{
	struct mended m = { .result.struct_size = sizeof(m.result) };
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;

	opts.report = collect;
	opts.opaque = &m;
	m.rc = repair_store(s, &opts, what, &m.result, &m.err);
	return m;
}

struct bytes bytes_of(struct qcow2_store *s)
{
	uint64_t size;
	struct bytes b;

	assert_int_equal(store_size(s, &size, NULL), 0);
	b.len = (size_t)size;
	b.p = malloc(b.len + 1);
	assert_non_null(b.p);
	assert_int_equal(store_pread(s, b.p, b.len, 0, 0, NULL), 0);
	return b;
}

/* Frees both. */
bool bytes_equal(struct bytes a, struct bytes b)
{
	bool equal = a.len == b.len && memcmp(a.p, b.p, a.len) == 0;

	free(a.p);
	free(b.p);
	return equal;
}

struct qcow2_store *copy_store(struct qcow2_store *s)
{
	struct bytes b = bytes_of(s);
	struct qcow2_store *copy;

	assert_int_equal(qcow2_store_new_memory(&copy, NULL), 0);
	assert_int_equal(store_pwrite(copy, b.p, b.len, 0, 0, NULL), 0);
	free(b.p);
	return copy;
}

struct mended mend_partly(struct rig *r, enum repair_what what,
			  uint64_t corruptions)
{
	struct mended m = mend_store(r->store, what);
	struct bytes before = bytes_of(r->store);
	struct mended again;
	struct outcome *o;

	assert_int_equal(m.rc, 0);
	assert_int_equal(m.result.corruptions, corruptions);
	assert_int_equal(m.result.leaks, 0);
	o = check_rig(r);
	assert_int_equal(o->rc, 0);
	assert_int_equal(o->result.corruptions, corruptions);
	assert_int_equal(o->result.leaks, 0);
	assert_int_equal(o->result.check_errors, m.result.check_errors);
	free(o);
	again = mend_store(r->store, what);
	assert_int_equal(again.rc, 0);
	assert_int_equal(again.result.corruptions, corruptions);
	assert_int_equal(again.result.corruptions_fixed, 0);
	assert_int_equal(again.result.leaks_fixed, 0);
	assert_true(bytes_equal(before, bytes_of(r->store)));
	return m;
}

struct mended mend(struct rig *r, enum repair_what what)
{
	struct mended m = mend_partly(r, what, 0);

	assert_int_equal(m.result.check_errors, 0);
	EXPECT_CLEAN(r);
	return m;
}

size_t mended_count(const struct mended *m, int32_t defect, uint32_t action)
{
	size_t n = 0;

	for (size_t i = 0; i < m->n; i++)
		n += m->found[i].defect == defect &&
		     m->found[i].action == action;
	return n;
}
