/*
 * Makes the seed corpus: small inputs that reach every kind of every
 * structure, for the fuzzers to start from.
 *
 *	fuzz-seeds DIRECTORY
 *
 * writes DIRECTORY/<target>/<name>.  The result is the same every time.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "format/bitmap.h"
#include "format/extension.h"
#include "format/header.h"
#include "format/l2.h"
#include "format/luks.h"
#include "format/snapshot.h"

static const char *corpus;
static uint8_t buf[8192];

static struct byte_writer start(void)
{
	memset(buf, 0, sizeof(buf));
	return byte_writer_init(buf, sizeof(buf));
}

static void save(const struct byte_writer *w, const char *target,
		 const char *name)
{
	char path[1024];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", corpus, target);
	if (w->failed || (mkdir(path, 0777) < 0 && errno != EEXIST)) {
		perror(path);
		exit(1);
	}
	snprintf(path, sizeof(path), "%s/%s/%s", corpus, target, name);
	f = fopen(path, "wb");
	if (!f || fwrite(buf, 1, byte_writer_len(w), f) != byte_writer_len(w) ||
	    fclose(f)) {
		perror(path);
		exit(1);
	}
}

/* ---- Headers and extensions ---------------------------------------------- */

static struct header plain_header(uint32_t version, uint32_t cluster_bits)
{
	uint64_t cluster = UINT64_C(1) << cluster_bits;

	return (struct header){
		.version = version,
		.cluster_bits = cluster_bits,
		.size = 1 << 20,
		.l1_size = 64,
		.l1_off = 3 * cluster,
		.refcount_table_off = cluster,
		.refcount_table_clusters = 1,
		.refcount_order = 4,
		.header_length = version == 2 ? HEADER_LENGTH_V2
					      : HEADER_LENGTH_V3,
	};
}

static void put_header(struct byte_writer *w, const struct header *h)
{
	uint8_t *p = write_reserve(w, h->header_length);

	if (!p || header_encode(h, p, h->header_length) != h->header_length)
		w->failed = true;
}

static void save_header(const struct header *h, const char *name)
{
	struct byte_writer w = start();

	write_be64(&w, 1 << 24);
	put_header(&w, h);
	save(&w, "header", name);
}

static void headers(void)
{
	static const uint8_t tail[15] = { 0,   0,   0,   0,   0,   0,   0,  't',
					  'a', 'i', 'l', 't', 'a', 'i', 'l' };
	struct header h = plain_header(2, 16);

	save_header(&h, "v2");
	h = plain_header(3, 9);
	save_header(&h, "v3-512");
	h = plain_header(3, 21);
	save_header(&h, "v3-2m");
	h.refcount_order = 6;
	h.header_length = HEADER_LENGTH_V3_MIN;
	save_header(&h, "v3-104-bytes");
	h = plain_header(3, 16);
	h.incompatible_features = INCOMPAT_KNOWN;
	h.compatible_features = COMPAT_KNOWN;
	h.autoclear_features = AUTOCLEAR_BITMAPS;
	h.compression_type = COMPRESSION_ZSTD;
	h.header_length = 120;
	h.tail = tail;
	h.tail_len = sizeof(tail);
	save_header(&h, "v3-features-tail");
	h = plain_header(3, 12);
	h.backing_off = 512;
	h.backing_len = 8;
	h.n_snapshots = 2;
	h.snapshots_off = 0x5000;
	h.crypt_method = CRYPT_LUKS;
	save_header(&h, "v3-backing-snapshots-luks");
	h.size = UINT64_MAX;
	save_header(&h, "v3-size");
}

static void extension_lists(void)
{
	struct bitmaps_ext bitmaps = { 2, 64, 0x6000 };
	struct crypto_ext crypto = { 0x7000, 4096 };
	struct header h = plain_header(3, 12);
	struct byte_writer w = start();

	h.crypt_method = CRYPT_LUKS;
	h.backing_off = 2048;
	h.backing_len = 8;
	h.incompatible_features = INCOMPAT_DATA_FILE;
	write_be64(&w, 1 << 24);
	put_header(&w, &h);
	extension_encode(&w, EXT_BACKING_FORMAT, "qcow2", 5);
	extension_encode(&w, EXT_DATA_FILE, "disk.raw", 8);
	extension_encode(&w, 0x12345678, "unknown", 7);
	extension_encode_feature_names(&w);
	extension_encode_bitmaps(&w, &bitmaps);
	extension_encode_crypto(&w, &crypto);
	extension_encode_end(&w);
	write_zeros(&w, 8 + h.backing_off - byte_writer_len(&w));
	write_bytes(&w, "base.raw", 8);
	save(&w, "extension", "all");

	w = start();
	h = plain_header(2, 9);
	write_be64(&w, 1 << 20);
	put_header(&w, &h);
	extension_encode(&w, EXT_BACKING_FORMAT, "raw", 3);
	extension_encode(&w, 0x12345678, NULL, 0);
	extension_encode(&w, 0x12345678, NULL, 0);
	extension_encode(&w, 0x9abcdef0, NULL, UINT32_C(0));
	save(&w, "extension", "v2-no-end");

	w = start();
	write_be64(&w, 1 << 20);
	put_header(&w, &h);
	write_be32(&w, EXT_DATA_FILE);
	write_be32(&w, UINT32_MAX);
	save(&w, "extension", "too-long");
}

/* ---- Tables -------------------------------------------------------------- */

static void put_entry(struct byte_writer *w, uint64_t guest_off, uint64_t desc,
		      uint64_t bitmap)
{
	write_be64(w, guest_off);
	write_be64(w, desc);
	write_be64(w, bitmap);
}

static void save_l2(uint8_t cluster_bits, uint8_t features, const char *name)
{
	uint64_t cluster = UINT64_C(1) << cluster_bits;
	struct byte_writer w = start();

	write_u8(&w, cluster_bits - 9);
	write_u8(&w, features);
	write_be64(&w, 8 * cluster);
	write_be64(&w, 16 * cluster);
	put_entry(&w, 0, 0, 0);
	put_entry(&w, 0, ENTRY_COPIED, SUB_ALL_ALLOC);
	put_entry(&w, 5 * cluster, (5 * cluster) | ENTRY_COPIED, 0);
	put_entry(&w, 5 * cluster, 5 * cluster, SUB_ALLOC(1) | SUB_ZERO(2));
	put_entry(&w, 5 * cluster, 5 * cluster, SUB_ALLOC(1) | SUB_ZERO(1));
	put_entry(&w, 0, L2_ZERO, SUB_ALL_ZERO);
	put_entry(&w, 0, (4 * cluster) | L2_ZERO, 0);
	put_entry(&w, 0, (4 * cluster) | 0x100, 0);
	put_entry(&w, 0, (4 * cluster) | UINT64_C(1) << 60, 0);
	put_entry(&w, 0, 8 * cluster, SUB_ALLOC(31));
	put_entry(&w, 0, cluster / 2 + 512, 0);
	put_entry(&w, 0, L2_COMPRESSED | (3 * cluster + 77), 0);
	put_entry(&w, 0, L2_COMPRESSED | UINT64_C(1) << 60 | 3 * cluster, 1);
	put_entry(&w, 0, UINT64_MAX, UINT64_MAX);
	save(&w, "l2", name);
}

static void refcounts(void)
{
	for (uint8_t order = 0; order <= 6; order++) {
		struct byte_writer w = start();
		char name[16];

		write_u8(&w, order);
		write_u8(&w, 3);
		write_be64(&w, 1 << 20);
		for (uint16_t i = 0; i < 8; i++) {
			write_be16(&w, (uint16_t)(i * 4095));
			write_be64(&w, UINT64_C(0x123456789abcd000) >> 7 * i);
		}
		snprintf(name, sizeof(name), "order-%u", order);
		save(&w, "refcount", name);
	}
}

static void snapshots(void)
{
	struct snapshot s = {
		.l1_off = 0x50000,
		.l1_size = 1,
		.date_sec = 1700000000,
		.date_nsec = 5,
		.id_len = 1,
		.name_len = 5,
		.vm_clock_nsec = 1234567,
		.vm_state_size = UINT64_C(1) << 33,
		.disk_size = 1 << 20,
		.icount = UINT64_MAX,
		.id = "1",
		.name = "first",
	};
	struct byte_writer w = start();
	size_t second;

	write_be64(&w, 1 << 20);
	write_be64(&w, 1 << 24);
	snapshot_encode(&w, &s);
	second = byte_writer_len(&w);
	s.icount = 99;
	s.unknown_extra = (const uint8_t *)"unknown";
	s.unknown_extra_len = 7;
	snapshot_encode(&w, &s);
	save(&w, "snapshot", "two");

	/* Version 2 writes them without extra data. */
	w = start();
	write_be64(&w, 1 << 20);
	write_be64(&w, 1 << 24);
	snapshot_encode(&w, &s);
	put_be32(buf + 16 + 36, 0);
	w.pos = w.start + 16 + 48;
	save(&w, "snapshot", "no-extra");
	put_be32(buf + 16 + 36, 1025);
	save(&w, "snapshot", "much-extra");
	w.pos = w.start + second;
	put_be16(buf + 16 + 14, UINT16_MAX);
	save(&w, "snapshot", "cut");
}

static void bitmaps(void)
{
	struct bitmap b = {
		.table_off = 0x50000,
		.table_size = 1,
		.flags = BITMAP_FLAG_AUTO,
		.type = BITMAP_TYPE_DIRTY,
		.granularity_bits = 16,
		.name_len = 6,
		.name = "bitmap",
	};
	struct byte_writer w = start();

	write_u8(&w, 7);
	write_be64(&w, UINT64_C(1) << 30);
	write_be64(&w, 1 << 20);
	bitmap_encode(&w, &b);
	b.flags = BITMAP_FLAG_IN_USE | BITMAP_FLAG_EXTRA_COMPATIBLE;
	b.table_size = 100;
	b.extra_len = 5;
	b.extra = (const uint8_t *)"extra";
	bitmap_encode(&w, &b);
	b.granularity_bits = 63;
	b.table_off = 1;
	bitmap_encode(&w, &b);
	save(&w, "bitmap", "three");
	w.pos -= 8;
	save(&w, "bitmap", "cut");
}

static void luks(void)
{
	struct luks_header l = {
		.cipher_name = "aes",
		.cipher_mode = "xts-plain64",
		.hash = "sha256",
		.uuid = "00112233-4455-6677-8899-aabbccddeeff",
		.payload_off_sectors = 4040,
		.key_bytes = 64,
		.digest_iterations = 1000,
	};
	struct byte_writer w = start();

	for (uint32_t i = 0; i < LUKS_SLOTS; i++) {
		l.slots[i].state = i ? LUKS_SLOT_INACTIVE : LUKS_SLOT_ACTIVE;
		l.slots[i].iterations = i ? 0 : 1000;
		l.slots[i].key_off_sectors = 8 + 504 * i;
		l.slots[i].stripes = LUKS_STRIPES;
	}
	write_be64(&w, 4040 * 512);
	luks_encode(&l, write_reserve(&w, LUKS_HEADER_BYTES),
		    LUKS_HEADER_BYTES);
	save(&w, "luks", "qemu");
	put_be64(buf, 4096);
	save(&w, "luks", "small-area");
	put_be64(buf, 4040 * 512);
	put_be32(buf + 8 + 208 + 48 + 40, 9);
	save(&w, "luks", "overlap");
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
		return 1;
	}
	corpus = argv[1];
	headers();
	extension_lists();
	save_l2(9, 0, "v3-512");
	save_l2(12, 1, "v2-4k");
	save_l2(16, INCOMPAT_EXTENDED_L2, "extended-64k");
	save_l2(21, 0, "v3-2m");
	save_l2(16, INCOMPAT_DATA_FILE | 2, "data-file-raw");
	save_l2(14, INCOMPAT_DATA_FILE | INCOMPAT_EXTENDED_L2,
		"data-file-extended");
	refcounts();
	snapshots();
	bitmaps();
	luks();
	return 0;
}
