#include "format/extension.h"

#include "dump/context.h"

static const char *type_name(uint32_t type)
{
	switch (type) {
	case EXT_BACKING_FORMAT:
		return "backing-format";
	case EXT_FEATURE_NAMES:
		return "feature-names";
	case EXT_BITMAPS:
		return "bitmaps";
	case EXT_CRYPTO:
		return "encryption-header";
	case EXT_DATA_FILE:
		return "data-file";
	case EXT_FILLER:
		return "filler";
	default:
		return "unknown";
	}
}

static void add_bitmaps(struct record *r, const struct extension *e)
{
	struct reader c = reader_init(e->data, e->len);

	record_number(r, "bitmaps", read_be32(&c));
	record_hex(r, "reserved-field", read_be32(&c));
	record_number(r, "directory-bytes", read_be64(&c));
	record_hex(r, "directory-offset", read_be64(&c));
}

static void add_crypto(struct record *r, const struct extension *e)
{
	struct reader c = reader_init(e->data, e->len);

	record_hex(r, "offset", read_be64(&c));
	record_number(r, "bytes", read_be64(&c));
}

static void add_content(struct record *r, const struct extension *e)
{
	switch (e->type) {
	case EXT_BACKING_FORMAT:
	case EXT_DATA_FILE:
		record_text(r, "text", e->data, e->len);
		break;
	case EXT_FEATURE_NAMES:
		record_number(r, "names", e->len / FEATURE_ENTRY_BYTES);
		break;
	case EXT_BITMAPS:
		add_bitmaps(r, e);
		break;
	case EXT_CRYPTO:
		add_crypto(r, e);
		break;
	case EXT_FILLER:
		break;
	default:
		record_bytes(r, "content", e->data, e->len);
	}
}

static bool holds(const struct extension *e, uint64_t off)
{
	return off >= e->off && off - e->off < UINT64_C(8) + e->len;
}

static void dump_extensions_add_defects(struct dump *d,
					const struct extension *e)
{
	const struct extensions *x = &d->extensions;
	const struct fault *f = &d->extensions_fault;
	struct record *r = &d->record;

	if (f->defect && holds(e, f->off))
		record_defect(r, f->defect);
	if (x->repeated_off == e->off)
		record_defect(r, DEFECT_EXTENSION_DUPLICATE);
	if (x->bad_feature_names && e->type == EXT_FEATURE_NAMES)
		record_defect(r, DEFECT_EXTENSION_FEATURE_TABLE);
	if (e->type == EXT_BITMAPS &&
	    (x->bad_bitmaps || x->odd_bitmaps_off == e->off))
		record_defect(r, DEFECT_EXTENSION_BITMAPS);
}

static int dump_extensions_tell(struct dump *d, const struct extension *e,
				struct qcow2_error *err)
{
	struct record *r = &d->record;

	record_begin(r, "extension", e->off);
	record_word(r, "name", type_name(e->type));
	record_hex(r, "type", e->type);
	record_number(r, "length", e->len);
	add_content(r, e);
	dump_extensions_add_defects(d, e);
	return dump_tell(d, err);
}

static int tell_feature_names(struct dump *d, const struct extension *e,
			      struct qcow2_error *err)
{
	static const char *const types[] = { "incompatible", "compatible",
					     "autoclear" };
	struct feature_name f;
	int rc = 0;

	for (uint32_t i = 0;
	     rc == 0 && feature_name_get(e->data, e->len, i, &f); i++) {
		struct record *r = &d->record;

		record_begin(r, "feature-name",
			     e->off + UINT64_C(8) +
				     (uint64_t)i * FEATURE_ENTRY_BYTES);
		record_word(r, "type", f.type < 3 ? types[f.type] : "unknown");
		record_number(r, "bit", f.bit);
		record_text(r, "name", f.name, f.len);
		rc = dump_tell(d, err);
	}
	return rc;
}

static int tell_luks(struct dump *d, const struct extension *e,
		     struct qcow2_error *err)
{
	struct reader c = reader_init(e->data, e->len);
	uint64_t off = read_be64(&c);
	uint64_t len = read_be64(&c);

	return c.failed ? 0 : dump_luks(d, off, len, err);
}

static int tell_all(struct dump *d, const struct extension *e,
		    struct qcow2_error *err)
{
	int rc = dump_extensions_tell(d, e, err);

	if (rc == 0 && e->type == EXT_FEATURE_NAMES)
		rc = tell_feature_names(d, e, err);
	if (rc == 0 && e->type == EXT_CRYPTO)
		rc = tell_luks(d, e, err);
	return rc;
}

/* @last cannot be followed. */
static int tell_broken(struct dump *d, const struct extension *last,
		       enum defect bad, struct qcow2_error *err)
{
	struct record *r = &d->record;

	record_begin(r, "extension", last->off);
	record_word(r, "name", type_name(last->type));
	record_hex(r, "type", last->type);
	record_number(r, "length", last->len);
	record_defect(r, bad);
	return dump_tell(d, err);
}

static int tell_end(struct dump *d, const struct extension_iter *it,
		    struct qcow2_error *err)
{
	struct record *r = &d->record;

	record_begin(r, "extensions-end", (uint64_t)(it->r.pos - it->base));
	if (extension_long_end(it))
		record_defect(r, DEFECT_EXTENSION_END);
	return dump_tell(d, err);
}

static int tell_backing(struct dump *d, struct qcow2_error *err)
{
	const struct header *h = &d->header;
	struct record *r = &d->record;

	if (!header_has_backing(h))
		return 0;
	record_begin(r, "backing-file", h->backing_off);
	if (h->backing_off <= d->head_len &&
	    h->backing_len <= d->head_len - h->backing_off)
		record_text(r, "name", d->head + h->backing_off,
			    h->backing_len);
	if (d->extensions.padded_backing ||
	    d->extensions_fault.defect == DEFECT_HEADER_BACKING_TEXT)
		record_defect(r, DEFECT_HEADER_BACKING_TEXT);
	return dump_tell(d, err);
}

int dump_extensions(struct dump *d, struct qcow2_error *err)
{
	struct extension e = { 0 };
	struct extension_iter it;
	struct fault fault;
	int rc = 0;

	extension_iter_init(&it, &d->header, d->head, d->head_len);
	while (rc == 0 && extension_next(&it, &e, &fault))
		rc = tell_all(d, &e, err);
	if (rc == 0 && fault.defect)
		rc = tell_broken(d, &e, fault.defect, err);
	else if (rc == 0)
		rc = tell_end(d, &it, err);
	return rc < 0 ? rc : tell_backing(d, err);
}
