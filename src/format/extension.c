#include "format/extension.h"

#include <string.h>

#include "base/checked.h"
#include "base/range.h"

/* ---- The walk -------------------------------------------------------------- */

void extension_iter_init(struct extension_iter *it, const struct header *h,
			 const uint8_t *cluster0, size_t len)
{
	uint64_t end = min_u64(len, UINT64_C(1) << h->cluster_bits);
	uint64_t start = min_u64(h->header_length, end);

	if (h->backing_off >= start && h->backing_off < end)
		end = h->backing_off;
	it->base = cluster0;
	it->r = reader_init(cluster0 + start, end - start);
	it->n_seen = 0;
}

/* Less than a type and a length, or the end mark: the list ends. */
static bool at_end(const struct extension_iter *it)
{
	return reader_left(&it->r) < 8 || get_be32(it->r.pos) == EXT_END;
}

bool extension_next(struct extension_iter *it, struct extension *ext,
		    struct fault *fault)
{
	size_t padded;

	fault->defect = DEFECT_NONE;
	if (at_end(it))
		return false;
	ext->off = (uint32_t)(it->r.pos - it->base);
	ext->type = read_be32(&it->r);
	ext->len = read_be32(&it->r);
	if (++it->n_seen > EXTENSIONS_MAX) {
		fault_set(fault, DEFECT_EXTENSION_COUNT, "count", ext->off,
			  it->n_seen, EXTENSIONS_MAX);
		return false;
	}
	if (ext->len > reader_left(&it->r)) {
		fault_set(fault, DEFECT_EXTENSION_LENGTH, "length",
			  ext->off + 4, ext->len, reader_left(&it->r));
		return false;
	}
	ext->data = read_bytes(&it->r, ext->len);
	/* The padding of the last extension may be cut off by the area. */
	padded = (size_t)(-(uint64_t)ext->len & 7);
	read_bytes(&it->r, min_u64(padded, reader_left(&it->r)));
	return true;
}

/* ---- Known extensions ------------------------------------------------------ */

static bool is_text(const struct extension *e, uint32_t max)
{
	return e->len > 0 && e->len <= max && !memchr(e->data, 0, e->len);
}

static enum defect duplicate(const struct extension *e, struct fault *fault)
{
	return fault_set(fault, DEFECT_EXTENSION_DUPLICATE, "type", e->off,
			 e->type, 0);
}

static enum defect take_backing_format(struct extensions *x,
				       const struct extension *e,
				       struct fault *fault)
{
	if (x->backing_format)
		return duplicate(e, fault);
	if (!is_text(e, BACKING_FORMAT_BYTES_MAX))
		return fault_set(fault, DEFECT_EXTENSION_BACKING_FORMAT,
				 "length", e->off + 4, e->len,
				 BACKING_FORMAT_BYTES_MAX);
	x->backing_format = e->data;
	x->backing_format_len = e->len;
	return DEFECT_NONE;
}

static enum defect take_data_file(struct extensions *x,
				  const struct extension *e,
				  struct fault *fault)
{
	if (x->data_file)
		return duplicate(e, fault);
	if (!is_text(e, DATA_FILE_NAME_BYTES_MAX))
		return fault_set(fault, DEFECT_EXTENSION_DATA_FILE, "length",
				 e->off + 4, e->len, DATA_FILE_NAME_BYTES_MAX);
	x->data_file = e->data;
	x->data_file_len = e->len;
	return DEFECT_NONE;
}

static enum defect take_feature_names(struct extensions *x,
				      const struct extension *e,
				      struct fault *fault)
{
	if (x->feature_names || x->bad_feature_names)
		return duplicate(e, fault);
	x->bad_feature_names = e->len % FEATURE_ENTRY_BYTES != 0;
	if (x->bad_feature_names)
		return DEFECT_NONE;
	x->feature_names = e->data;
	x->feature_names_len = e->len;
	return DEFECT_NONE;
}

/* The directory lies behind the header cluster and inside the file. */
static bool directory_fits(const struct bitmaps_ext *b, const struct header *h,
			   uint64_t file_size)
{
	uint64_t cluster = UINT64_C(1) << h->cluster_bits;

	return b->n_bitmaps > 0 && b->n_bitmaps <= BITMAPS_MAX &&
	       b->directory_size > 0 &&
	       b->directory_size <= BITMAP_DIRECTORY_BYTES_MAX &&
	       is_aligned(b->directory_off, cluster) &&
	       b->directory_off >= cluster &&
	       range_is_sane(b->directory_off, b->directory_size) &&
	       b->directory_off + b->directory_size <= file_size;
}

static enum defect take_bitmaps(struct extensions *x, const struct header *h,
				const struct extension *e, uint64_t file_size,
				struct fault *fault)
{
	struct reader r = reader_init(e->data, e->len);
	uint32_t reserved;

	if (x->has_bitmaps)
		return duplicate(e, fault);
	x->has_bitmaps = true;
	x->bitmaps.n_bitmaps = read_be32(&r);
	reserved = read_be32(&r);
	x->bitmaps.directory_size = read_be64(&r);
	x->bitmaps.directory_off = read_be64(&r);
	x->bad_bitmaps = r.failed || reader_left(&r) || reserved ||
			 !directory_fits(&x->bitmaps, h, file_size);
	return DEFECT_NONE;
}

static enum defect take_crypto(struct extensions *x, const struct header *h,
			       const struct extension *e, uint64_t file_size,
			       struct fault *fault)
{
	uint64_t cluster = UINT64_C(1) << h->cluster_bits;
	struct reader r = reader_init(e->data, e->len);

	if (x->has_crypto)
		return duplicate(e, fault);
	x->has_crypto = true;
	x->crypto.off = read_be64(&r);
	x->crypto.len = read_be64(&r);
	if (r.failed || reader_left(&r))
		return fault_set(fault, DEFECT_EXTENSION_CRYPTO, "length",
				 e->off + 4, e->len, 16);
	if (h->crypt_method != CRYPT_LUKS)
		return fault_set(fault, DEFECT_HEADER_CRYPT_METHOD,
				 "crypt_method", HEADER_OFF_CRYPT_METHOD,
				 h->crypt_method, CRYPT_LUKS);
	if (!is_aligned(x->crypto.off, cluster) || x->crypto.off < cluster ||
	    !range_is_sane(x->crypto.off, x->crypto.len) ||
	    x->crypto.off + x->crypto.len > align_up(file_size, cluster))
		return fault_set(fault, DEFECT_EXTENSION_CRYPTO, "offset",
				 e->off + 8, x->crypto.off, file_size);
	if (x->crypto.len < LUKS_HEADER_BYTES ||
	    x->crypto.len > LUKS_CRYPTO_AREA_BYTES_MAX)
		return fault_set(fault, DEFECT_EXTENSION_CRYPTO, "length",
				 e->off + 16, x->crypto.len,
				 LUKS_CRYPTO_AREA_BYTES_MAX);
	return DEFECT_NONE;
}

static enum defect take(struct extensions *x, const struct header *h,
			const struct extension *e, uint64_t file_size,
			struct fault *fault)
{
	switch (e->type) {
	case EXT_BACKING_FORMAT:
		return take_backing_format(x, e, fault);
	case EXT_FEATURE_NAMES:
		return take_feature_names(x, e, fault);
	case EXT_BITMAPS:
		return take_bitmaps(x, h, e, file_size, fault);
	case EXT_CRYPTO:
		return take_crypto(x, h, e, file_size, fault);
	case EXT_DATA_FILE:
		return take_data_file(x, e, fault);
	default:
		return DEFECT_NONE;
	}
}

static enum defect check_complete(const struct extensions *x,
				  const struct header *h, struct fault *fault)
{
	if (h->crypt_method == CRYPT_LUKS && !x->has_crypto)
		return fault_set(fault, DEFECT_HEADER_CRYPT_METHOD,
				 "crypt_method", HEADER_OFF_CRYPT_METHOD,
				 h->crypt_method, 0);
	if (header_has_data_file(h) && !x->data_file)
		return fault_set(fault, DEFECT_EXTENSION_DATA_FILE,
				 "incompatible_features", HEADER_OFF_INCOMPAT,
				 h->incompatible_features, 0);
	return DEFECT_NONE;
}

enum defect extensions_decode(struct extensions *x, const struct header *h,
			      const uint8_t *cluster0, size_t len,
			      uint64_t file_size, struct fault *fault)
{
	struct extension_iter it;
	struct extension e;

	memset(x, 0, sizeof(*x));
	extension_iter_init(&it, h, cluster0, len);
	while (extension_next(&it, &e, fault)) {
		enum defect bad = take(x, h, &e, file_size, fault);

		if (bad)
			return bad;
		x->n_total++;
	}
	if (fault->defect)
		return fault->defect;
	return check_complete(x, h, fault);
}

/* ---- Encode ---------------------------------------------------------------- */

void extension_encode(struct writer *w, uint32_t type, const void *data,
		      uint32_t len)
{
	write_be32(w, type);
	write_be32(w, len);
	write_bytes(w, data, len);
	write_zeros(w, -(size_t)len & 7);
}

void extension_encode_bitmaps(struct writer *w, const struct bitmaps_ext *b)
{
	write_be32(w, EXT_BITMAPS);
	write_be32(w, 24);
	write_be32(w, b->n_bitmaps);
	write_be32(w, 0);
	write_be64(w, b->directory_size);
	write_be64(w, b->directory_off);
}

void extension_encode_crypto(struct writer *w, const struct crypto_ext *c)
{
	write_be32(w, EXT_CRYPTO);
	write_be32(w, 16);
	write_be64(w, c->off);
	write_be64(w, c->len);
}

void extension_encode_end(struct writer *w)
{
	write_be32(w, EXT_END);
	write_be32(w, 0);
}
