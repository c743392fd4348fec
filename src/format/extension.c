#include "format/extension.h"

#include <string.h>

#include "base/checked.h"
#include "base/range.h"
#include "format/geometry.h"

enum { CRYPTO_EXT_BYTES = 16 };

/* ---- The walk ------------------------------------------------------------ */

void extension_iter_init(struct extension_iter *it, const struct header *h,
			 const uint8_t *cluster0, size_t len)
{
	uint64_t end = min_u64(len, UINT64_C(1) << h->cluster_bits);
	uint64_t start = min_u64(h->header_length, end);

	/* As for QEMU, a name before the list leaves it no room. */
	if (h->backing_off && h->backing_off < end)
		end = max_u64(start, h->backing_off);
	it->base = cluster0;
	it->r = reader_init(cluster0 + start, (size_t)(end - start));
	it->n_seen = 0;
	it->open_ended = false;
	it->cut_off = false;
}

/* Used up to the last byte, or the end mark. */
static bool at_end(const struct extension_iter *it)
{
	size_t left = reader_left(&it->r);

	return left == 0 || (left >= 8 && get_be32(it->r.pos) == EXT_END);
}

bool extension_next(struct extension_iter *it, struct extension *ext,
		    struct fault *fault)
{
	size_t left, padding;

	fault->defect = DEFECT_NONE;
	it->cut_off = it->open_ended && reader_left(&it->r) < 8;
	if (it->cut_off || at_end(it))
		return false;
	ext->off = (uint32_t)(it->r.pos - it->base);
	ext->type = read_be32(&it->r);
	ext->len = read_be32(&it->r);
	left = reader_left(&it->r);
	if (++it->n_seen > EXTENSIONS_MAX) {
		fault_set(fault, DEFECT_EXTENSION_COUNT, "count", ext->off,
			  it->n_seen, EXTENSIONS_MAX);
		return false;
	}
	it->cut_off = it->open_ended && ext->len > left;
	if (it->cut_off)
		return false;
	if (it->r.failed || ext->len > left) {
		fault_set(fault, DEFECT_EXTENSION_LENGTH, "length",
			  ext->off + UINT64_C(4), ext->len, left);
		return false;
	}
	ext->data = read_bytes(&it->r, ext->len);
	/* The padding of the last extension may be cut off by the area. */
	padding = (size_t)(-(uint64_t)ext->len & 7);
	read_bytes(&it->r, (size_t)min_u64(padding, left - ext->len));
	return true;
}

uint32_t extension_long_end(const struct extension_iter *it)
{
	size_t left = reader_left(&it->r);

	if (left < 8 || get_be32(it->r.pos) != EXT_END ||
	    get_be32(it->r.pos + 4) <= left - 8)
		return 0;
	return (uint32_t)(it->r.pos - it->base);
}

/* ---- Known extensions ---------------------------------------------------- */

/* A name ends before the NULs that fill it up.  False for one with NUL inside:
 * others would read another name. */
static bool is_text(const struct extension *e, uint32_t *len)
{
	const uint8_t *nul = e->len ? memchr(e->data, 0, e->len) : NULL;

	*len = nul ? (uint32_t)(nul - e->data) : e->len;
	for (uint32_t i = *len; i < e->len; i++)
		if (e->data[i])
			return false;
	return true;
}

/* A format name is wrong only where there is a file that it is the format of;
 * a long one always is. */
static enum defect take_backing_format(struct extensions *x,
				       const struct header *h,
				       const struct extension *e,
				       struct fault *fault)
{
	uint32_t len;
	bool good = is_text(e, &len);

	if (e->len > BACKING_FORMAT_BYTES_MAX ||
	    (header_has_backing(h) && !good))
		return fault_set(fault, DEFECT_EXTENSION_BACKING_FORMAT,
				 "length", e->off + UINT64_C(4), e->len,
				 BACKING_FORMAT_BYTES_MAX);
	good = good && len;
	x->backing_format = good ? e->data : NULL;
	x->backing_format_len = good ? len : 0;
	x->padded_backing_format |= len != e->len;
	return DEFECT_NONE;
}

/* Without its feature bit the name says nothing, whatever it is. */
static enum defect take_data_file(struct extensions *x, const struct header *h,
				  const struct extension *e,
				  struct fault *fault)
{
	uint32_t len;
	bool good = is_text(e, &len) && len && len <= DATA_FILE_NAME_BYTES_MAX;

	if (!good && header_has_data_file(h))
		return fault_set(fault, DEFECT_EXTENSION_DATA_FILE, "length",
				 e->off + UINT64_C(4), e->len,
				 DATA_FILE_NAME_BYTES_MAX);
	x->data_file = good ? e->data : NULL;
	x->data_file_len = good ? len : 0;
	x->padded_data_file |= len != e->len;
	return DEFECT_NONE;
}

static void take_feature_names(struct extensions *x, const struct extension *e)
{
	bool good = e->len % FEATURE_ENTRY_BYTES == 0;

	x->bad_feature_names = !good;
	x->feature_names = good ? e->data : NULL;
	x->feature_names_len = good ? e->len : 0;
}

/* Overlaps the L1 table or the refcount table as the header locates them. */
static bool overlaps_tables(const struct header *h, struct range r)
{
	struct range l1 = { h->l1_off, (uint64_t)h->l1_size * L1_ENTRY_BYTES };
	struct range refcounts = { h->refcount_table_off,
				   (uint64_t)h->refcount_table_clusters
					   << h->cluster_bits };

	return range_overlaps(r, l1) || range_overlaps(r, refcounts);
}

static bool area_fits(const struct header *h, struct range r,
		      uint64_t file_size)
{
	struct geometry g;

	geometry_init(&g, h);
	return geometry_table_fits(&g, r.off, r.len, file_size) &&
	       !overlaps_tables(h, r);
}

static bool bitmaps_are_valid(const struct bitmaps_ext *b,
			      const struct header *h, uint64_t file_size)
{
	struct range directory = { b->directory_off, b->directory_size };

	return b->n_bitmaps > 0 && b->n_bitmaps <= BITMAPS_MAX &&
	       b->directory_size <= BITMAP_DIRECTORY_BYTES_MAX &&
	       b->directory_size >=
		       b->n_bitmaps * (uint64_t)BITMAP_DIR_ENTRY_BYTES &&
	       area_fits(h, directory, file_size);
}

static void take_bitmaps(struct extensions *x, const struct header *h,
			 const struct extension *e, uint64_t file_size)
{
	struct reader r = reader_init(e->data, e->len);
	uint32_t reserved;

	x->has_bitmaps = true;
	if (e->len != BITMAPS_EXT_BYTES && !x->odd_bitmaps_off)
		x->odd_bitmaps_off = e->off;
	x->bitmaps.n_bitmaps = read_be32(&r);
	reserved = read_be32(&r);
	x->bitmaps.directory_size = read_be64(&r);
	x->bitmaps.directory_off = read_be64(&r);
	x->bad_bitmaps = r.failed || reader_left(&r) || reserved ||
			 !bitmaps_are_valid(&x->bitmaps, h, file_size);
}

static enum defect take_crypto(struct extensions *x, const struct header *h,
			       const struct extension *e, uint64_t file_size,
			       struct fault *fault)
{
	struct reader r = reader_init(e->data, e->len);
	struct range area;

	x->has_crypto = true;
	x->crypto.off = read_be64(&r);
	x->crypto.len = read_be64(&r);
	area = (struct range){ x->crypto.off, x->crypto.len };
	if (r.failed || reader_left(&r))
		return fault_set(fault, DEFECT_EXTENSION_CRYPTO, "length",
				 e->off + UINT64_C(4), e->len,
				 CRYPTO_EXT_BYTES);
	if (h->crypt_method != CRYPT_LUKS)
		return fault_set(fault, DEFECT_HEADER_CRYPT_METHOD,
				 "crypt_method", HEADER_OFF_CRYPT_METHOD,
				 h->crypt_method, CRYPT_LUKS);
	if (x->crypto.len < LUKS_HEADER_BYTES)
		return fault_set(fault, DEFECT_EXTENSION_CRYPTO, "length",
				 e->off + UINT64_C(16), x->crypto.len,
				 LUKS_HEADER_BYTES);
	if (x->crypto.len > LUKS_CRYPTO_AREA_BYTES_MAX)
		return fault_set(fault, DEFECT_EXTENSION_CRYPTO, "length",
				 e->off + UINT64_C(16), x->crypto.len,
				 LUKS_CRYPTO_AREA_BYTES_MAX);
	if (!area_fits(h, area, file_size))
		return fault_set(fault, DEFECT_EXTENSION_CRYPTO, "offset",
				 e->off + UINT64_C(8), x->crypto.off,
				 file_size);
	return DEFECT_NONE;
}

/* A bit for each known type, 0 for others. */
static unsigned type_bit(uint32_t type)
{
	switch (type) {
	case EXT_BACKING_FORMAT:
		return 1u << 0;
	case EXT_FEATURE_NAMES:
		return 1u << 1;
	case EXT_BITMAPS:
		return 1u << 2;
	case EXT_CRYPTO:
		return 1u << 3;
	case EXT_DATA_FILE:
		return 1u << 4;
	default:
		return 0;
	}
}

static enum defect extension_take(struct extensions *x, const struct header *h,
				  const struct extension *e, uint64_t file_size,
				  struct fault *fault)
{
	switch (e->type) {
	case EXT_BACKING_FORMAT:
		return take_backing_format(x, h, e, fault);
	case EXT_FEATURE_NAMES:
		take_feature_names(x, e);
		return DEFECT_NONE;
	case EXT_BITMAPS:
		take_bitmaps(x, h, e, file_size);
		return DEFECT_NONE;
	case EXT_CRYPTO:
		return take_crypto(x, h, e, file_size, fault);
	case EXT_DATA_FILE:
		return take_data_file(x, h, e, fault);
	default:
		return DEFECT_NONE;
	}
}

static enum defect check_complete(const struct extensions *x,
				  const struct header *h, struct fault *fault)
{
	if (x->cut_off)
		return DEFECT_NONE;
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

/* The name behind the list.  Whether it is inside the cluster is a question of
 * header_validate(). */
static enum defect check_backing_text(struct extensions *x,
				      const struct header *h,
				      const uint8_t *cluster0, size_t len,
				      struct fault *fault)
{
	struct extension name = { .len = h->backing_len };
	uint32_t text_len;

	if (h->backing_off > len || h->backing_len > len - h->backing_off)
		return DEFECT_NONE;
	name.data = cluster0 + h->backing_off;
	if (!header_has_backing(h))
		return DEFECT_NONE;
	if (!is_text(&name, &text_len))
		return fault_set(fault, DEFECT_HEADER_BACKING_TEXT,
				 "backing_file_offset", h->backing_off,
				 h->backing_off, 0);
	x->padded_backing |= text_len != h->backing_len;
	return DEFECT_NONE;
}

enum defect extensions_decode(struct extensions *x, const struct header *h,
			      const uint8_t *cluster0, size_t len,
			      uint64_t file_size, struct fault *fault)
{
	struct extension_iter it;
	struct extension e;
	unsigned seen = 0;

	memset(x, 0, sizeof(*x));
	extension_iter_init(&it, h, cluster0, len);
	it.open_ended = file_size == FILE_SIZE_UNKNOWN &&
			it.r.end == cluster0 + len &&
			len < UINT64_C(1) << h->cluster_bits;
	while (extension_next(&it, &e, fault)) {
		enum defect bad;

		if (seen & type_bit(e.type))
			x->repeated_off = e.off;
		seen |= type_bit(e.type);
		bad = extension_take(x, h, &e, file_size, fault);
		if (bad)
			return bad;
		x->n_total++;
	}
	if (fault->defect)
		return fault->defect;
	x->cut_off = it.cut_off;
	x->long_end_off = extension_long_end(&it);
	if (check_backing_text(x, h, cluster0, len, fault))
		return fault->defect;
	return check_complete(x, h, fault);
}

/* ---- Encode -------------------------------------------------------------- */

void extension_encode(struct byte_writer *w, uint32_t type, const void *data,
		      uint32_t len)
{
	write_be32(w, type);
	write_be32(w, len);
	write_bytes(w, data, len);
	write_zeros(w, -(size_t)len & 7);
}

void extension_encode_bitmaps(struct byte_writer *w,
			      const struct bitmaps_ext *b)
{
	write_be32(w, EXT_BITMAPS);
	write_be32(w, BITMAPS_EXT_BYTES);
	write_be32(w, b->n_bitmaps);
	write_be32(w, 0);
	write_be64(w, b->directory_size);
	write_be64(w, b->directory_off);
}

void extension_encode_crypto(struct byte_writer *w, const struct crypto_ext *c)
{
	write_be32(w, EXT_CRYPTO);
	write_be32(w, CRYPTO_EXT_BYTES);
	write_be64(w, c->off);
	write_be64(w, c->len);
}

void extension_encode_end(struct byte_writer *w)
{
	write_be32(w, EXT_END);
	write_be32(w, 0);
}
