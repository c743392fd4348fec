#include "image/names.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* A terminated copy; the decoders have made sure there is no NUL inside. */
static int copy_text(char **out, const void *src, size_t len, const char *what,
		     struct qcow2_error *err)
{
	*out = malloc(len + 1);
	if (!*out)
		return error_nomem(err, what, len + 1);
	memcpy(*out, src, len);
	(*out)[len] = '\0';
	return 0;
}

static int copy_backing_file(struct names *n, const struct header *h,
			     struct qcow2_error *err)
{
	const uint8_t *name = n->cluster0 + h->backing_off;

	if (!header_has_backing(h))
		return 0;
	if (h->backing_off + h->backing_len > n->cluster0_len)
		return error_defect(err, -EINVAL, DEFECT_HEADER_BACKING_NAME,
				    HEADER_OFF_BACKING_OFF,
				    "the file ends before the backing file "
				    "name does");
	/* NULs fill a name up; nothing but NULs is no name. */
	if (!*name)
		return 0;
	return copy_text(&n->backing_file, name, h->backing_len,
			 "the backing file name", err);
}

/* Three types of 64 bits each: entries beyond that name nothing. */
enum { FEATURES_MAX = 3 * 64 };

static int copy_features(struct names *n, const struct extensions *x,
			 struct qcow2_error *err)
{
	uint32_t max = x->feature_names_len / FEATURE_ENTRY_BYTES;
	struct feature_name f;

	if (!x->feature_names || x->bad_feature_names || max == 0)
		return 0;
	if (max > FEATURES_MAX)
		max = FEATURES_MAX;
	n->features = calloc(max, sizeof(*n->features));
	if (!n->features)
		return error_nomem(err, "the feature names",
				   max * sizeof(*n->features));
	while (n->n_features < max &&
	       feature_name_get(x->feature_names, x->feature_names_len,
				n->n_features, &f)) {
		struct feature_text *t = &n->features[n->n_features++];

		t->type = f.type;
		t->bit = f.bit;
		memcpy(t->name, f.name, f.len);
	}
	return 0;
}

static void feature_validate(const struct feature_text *t)
{
	assert(memchr(t->name, '\0', sizeof(t->name)));
}

void names_validate(const struct names *n)
{
	assert(n->cluster0 || !n->cluster0_len);
	assert(n->cluster0_len <= UINT32_C(1) << CLUSTER_BITS_MAX);
	assert(n->n_features <= FEATURES_MAX);
	assert(implies(n->n_features, n->features));
	for (uint32_t i = 0; i < n->n_features; i++)
		feature_validate(&n->features[i]);
	/* A name of no bytes is none. */
	assert(implies(n->backing_file, n->backing_file[0]));
	assert(implies(n->backing_file,
		       strlen(n->backing_file) <= BACKING_NAME_BYTES_MAX));
}

int names_open(struct names *n, const struct header *h,
	       const struct extensions *x, struct qcow2_error *err)
{
	int rc = copy_backing_file(n, h, err);

	if (rc == 0 && x->backing_format)
		rc = copy_text(&n->backing_format, x->backing_format,
			       x->backing_format_len, "the backing format",
			       err);
	if (rc == 0 && x->data_file)
		rc = copy_text(&n->data_file, x->data_file, x->data_file_len,
			       "the data file name", err);
	if (rc == 0)
		rc = copy_features(n, x, err);
	VALIDATE(names, n);
	return rc;
}

void names_release(struct names *n)
{
	free(n->features);
	free(n->backing_file);
	free(n->backing_format);
	free(n->data_file);
	free(n->cluster0);
	memset(n, 0, sizeof(*n));
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

bool names_same_texts(const struct names *a, const struct names *b)
{
	if (!same_text(a->backing_file, b->backing_file) ||
	    !same_text(a->backing_format, b->backing_format) ||
	    !same_text(a->data_file, b->data_file) ||
	    a->n_features != b->n_features)
		return false;
	return !a->n_features ||
	       memcmp(a->features, b->features,
		      a->n_features * sizeof(*a->features)) == 0;
}

const char *names_feature(const struct names *n, unsigned type, unsigned bit)
{
	for (uint32_t i = 0; i < n->n_features; i++) {
		const struct feature_text *t = &n->features[i];

		if (t->type == type && t->bit == bit && t->name[0])
			return t->name;
	}
	return NULL;
}
