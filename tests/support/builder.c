#include "support/builder.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/cursor.h"
#include "store/mem.h"
#include "store/store.h"

static void must(int rc)
{
	assert(rc == 0);
	(void)rc;
}

static uint64_t take_clusters(uint64_t *next, const struct geometry *g,
			      uint64_t n)
{
	uint64_t off = align_up(*next, g->cluster_size);

	*next = off + n * g->cluster_size;
	return off;
}

static uint32_t header_length(const struct builder_opts *opts)
{
	return opts->version == 2 ? HEADER_LENGTH_V2 : HEADER_LENGTH_V3;
}

void builder_init(struct builder *b, const struct builder_opts *opts)
{
	struct header *h = &b->header;

	memset(b, 0, sizeof(*b));
	h->version = opts->version;
	h->cluster_bits = opts->cluster_bits;
	h->size = opts->size;
	h->refcount_order = REFCOUNT_ORDER_V2;
	h->incompatible_features = opts->incompatible_features;
	h->autoclear_features = opts->autoclear_features;
	h->compression_type = opts->compression_type;
	h->header_length = header_length(opts);
	geometry_init(&b->geo, h);
	h->l1_size = (uint32_t)geometry_l1_entries(&b->geo, opts->size);
	b->l1 = calloc(h->l1_size + 1, sizeof(*b->l1));
	assert(b->l1);
	must(store_mem_new(&b->file, NULL));
	b->data = b->file;
	if (b->geo.has_data_file)
		must(store_mem_new(&b->data, NULL));
	b->next_off = b->geo.cluster_size;
	h->refcount_table_clusters = 1;
	h->refcount_table_off = take_clusters(&b->next_off, &b->geo, 1);
	h->l1_off = take_clusters(
		&b->next_off, &b->geo,
		geometry_clusters(&b->geo, h->l1_size * UINT64_C(8)));
}

void builder_release(struct builder *b)
{
	if (b->data != b->file)
		store_unref(b->data);
	store_unref(b->file);
	free(b->l1);
}

static void write_l1(struct builder *b)
{
	for (uint32_t i = 0; i < b->header.l1_size; i++) {
		uint8_t entry[8];

		put_be64(entry, b->l1[i]);
		must(store_pwrite(b->file, entry, 8, b->header.l1_off + i * 8u,
				  0, NULL));
	}
}

static void write_text(struct byte_writer *w, uint32_t type, const char *text)
{
	if (text)
		extension_encode(w, type, text, (uint32_t)strlen(text));
}

void builder_finish(struct builder *b)
{
	uint8_t *buf = calloc(1, b->geo.cluster_size);
	struct byte_writer w = byte_writer_init(buf, b->geo.cluster_size);

	write_reserve(&w, b->header.header_length);
	write_text(&w, EXT_BACKING_FORMAT, b->backing_format);
	write_text(&w, EXT_DATA_FILE, b->data_file);
	extension_encode_end(&w);
	if (b->backing_file) {
		b->header.backing_off = byte_writer_len(&w);
		b->header.backing_len = (uint32_t)strlen(b->backing_file);
		write_bytes(&w, b->backing_file, b->header.backing_len);
	}
	assert(!w.failed);
	assert(header_encode(&b->header, buf, b->header.header_length));
	must(store_pwrite(b->file, buf, b->geo.cluster_size, 0, 0, NULL));
	write_l1(b);
	must(store_truncate(b->file, align_up(b->next_off, b->geo.cluster_size),
			    NULL));
	free(buf);
}

uint64_t builder_add_data(struct builder *b, const void *src)
{
	assert(!b->geo.has_data_file);
	return builder_add_data_for(b, 0, src);
}

uint64_t builder_add_data_for(struct builder *b, uint64_t guest_off,
			      const void *src)
{
	uint64_t off = align_down(guest_off, b->geo.cluster_size);

	if (!b->geo.has_data_file)
		off = take_clusters(&b->next_off, &b->geo, 1);

	if (src)
		must(store_pwrite(b->data, src, b->geo.cluster_size, off, 0,
				  NULL));
	return off;
}

void builder_set_entry(struct builder *b, uint64_t guest_off, struct l2_entry e)
{
	uint64_t *l1 = &b->l1[geometry_l1_index(&b->geo, guest_off)];
	uint8_t raw[L2_ENTRY_BYTES_EXTENDED];

	if (!*l1)
		*l1 = take_clusters(&b->next_off, &b->geo, 1) | ENTRY_COPIED;
	l2_put(&b->geo, raw, 0, e);
	must(store_pwrite(b->file, raw, b->geo.l2_entry_bytes,
			  l1_table_off(*l1) +
				  geometry_l2_index(&b->geo, guest_off) *
					  b->geo.l2_entry_bytes,
			  0, NULL));
}

static size_t deflate_cluster(uint8_t *dst, size_t dst_len, const void *src,
			      size_t src_len)
{
	z_stream z = { 0 };
	size_t len;
	int rc;

	must(deflateInit2(&z, 6, Z_DEFLATED, -12, 9, Z_DEFAULT_STRATEGY));
	z.next_in = (Bytef *)(uintptr_t)src;
	z.avail_in = (uInt)src_len;
	z.next_out = dst;
	z.avail_out = (uInt)dst_len;
	rc = deflate(&z, Z_FINISH);
	len = rc == Z_STREAM_END ? dst_len - z.avail_out : 0;
	deflateEnd(&z);
	return len;
}

bool builder_add_compressed(struct builder *b, uint64_t guest_off,
			    const void *src)
{
	size_t size = b->geo.cluster_size;
	uint8_t *dst = malloc(size);
	struct l2_entry e = { 0 };
	size_t len;

	if (b->header.compression_type == COMPRESSION_ZSTD) {
		len = ZSTD_compress(dst, size, src, size, 3);
		len = ZSTD_isError(len) ? 0 : len;
	} else {
		len = deflate_cluster(dst, size, src, size);
	}
	if (len) {
		assert(compressed_encode(&b->geo, b->next_off, (uint32_t)len,
					 &e.desc));
		must(store_pwrite(b->file, dst, len, b->next_off, 0, NULL));
		b->next_off += len;
		builder_set_entry(b, guest_off, e);
	}
	free(dst);
	return len != 0;
}
