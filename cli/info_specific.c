/*
 * The members of `info` that are particular to qcow2: the same code prints them
 * for people as an outline and for programs as JSON.
 */
#include "info.h"

#include <stdio.h>
#include <string.h>

static void add_bitmap(struct json *j, const struct qcow2_bitmap_info *b)
{
	json_object(j, NULL);
	json_list(j, "flags");
	if (b->flags & QCOW2_BITMAP_IN_USE)
		json_string(j, NULL, "in-use");
	if (b->flags & QCOW2_BITMAP_AUTO)
		json_string(j, NULL, "auto");
	json_end(j);
	json_string(j, "name", b->name);
	json_u64(j, "granularity", b->granularity);
	json_end(j);
}

static void add_bitmaps(struct json *j, const struct layer *layer)
{
	struct qcow2_bitmap_info b = { .struct_size = sizeof(b) };

	if (layer->info.n_bitmaps == 0)
		return;
	json_list(j, "bitmaps");
	for (uint32_t i = 0; i < layer->info.n_bitmaps; i++)
		if (qcow2_get_bitmap(layer->img, i, &b, NULL) == 0)
			add_bitmap(j, &b);
	json_end(j);
}

static void add_luks_slots(struct json *j, const struct qcow2_luks_info *luks)
{
	json_list(j, "slots");
	for (unsigned i = 0; i < QCOW2_LUKS_SLOTS; i++) {
		const struct qcow2_luks_slot *slot = &luks->slots[i];

		json_object(j, NULL);
		json_bool(j, "active", slot->active);
		if (slot->active)
			json_u64(j, "iters", slot->iterations);
		json_u64(j, "key-offset", slot->key_off);
		if (slot->active)
			json_u64(j, "stripes", slot->stripes);
		json_end(j);
	}
	json_end(j);
}

/* The three parts of "cbc-essiv:sha256"; the header holds at most 32 bytes of
 * it. */
struct luks_mode {
	char chain[40];
	char ivgen[40];
	char ivgen_hash[40];
};

static void copy_part(char *dst, size_t size, const char *src, size_t len)
{
	snprintf(dst, size, "%.*s", (int)len, src);
}

static void split_mode(const char *text, struct luks_mode *m)
{
	size_t chain = strcspn(text, "-");
	const char *ivgen = text + chain + (text[chain] == '-');
	size_t name = strcspn(ivgen, ":");
	const char *hash = ivgen + name + (ivgen[name] == ':');

	copy_part(m->chain, sizeof(m->chain), text, chain);
	copy_part(m->ivgen, sizeof(m->ivgen), ivgen, name);
	copy_part(m->ivgen_hash, sizeof(m->ivgen_hash), hash, strlen(hash));
}

/* "aes-256": the key of XTS is two keys of the cipher. */
static void add_cipher(struct json *j, const struct qcow2_luks_info *luks,
		       const struct luks_mode *m)
{
	uint32_t bits = luks->key_bytes * 8;
	char cipher[64];

	if (strcmp(m->chain, "xts") == 0)
		bits /= 2;
	snprintf(cipher, sizeof(cipher), "%s-%u", luks->cipher_name,
		 (unsigned)bits);
	json_string(j, "cipher-alg", cipher);
}

static void add_luks(struct json *j, const struct qcow2_luks_info *luks)
{
	struct luks_mode m;

	split_mode(luks->cipher_mode, &m);
	if (m.ivgen[0])
		json_string(j, "ivgen-alg", m.ivgen);
	json_string(j, "hash-alg", luks->hash);
	add_cipher(j, luks, &m);
	json_string(j, "uuid", luks->uuid);
	if (m.ivgen_hash[0])
		json_string(j, "ivgen-hash-alg", m.ivgen_hash);
	json_string(j, "format", "luks");
	json_string(j, "cipher-mode", m.chain);
	add_luks_slots(j, luks);
	json_u64(j, "payload-offset", luks->payload_off);
	json_u64(j, "master-key-iters", luks->iterations);
}

static void add_encrypt(struct json *j, const struct layer *layer)
{
	enum qcow2_encryption encryption = layer->info.encryption;

	if (encryption == QCOW2_ENCRYPTION_NONE)
		return;
	json_object(j, "encrypt");
	if (layer->has_luks)
		add_luks(j, &layer->luks);
	else
		json_string(j, "format",
			    encryption == QCOW2_ENCRYPTION_AES ? "aes"
							       : "luks");
	json_end(j);
}

void info_print_specific(struct json *j, const struct layer *layer)
{
	const struct qcow2_info *info = &layer->info;
	bool v3 = info->version >= 3;

	json_string(j, "compat", v3 ? "1.1" : "0.10");
	json_string(j, "compression-type",
		    info->compression == QCOW2_COMPRESSION_ZSTD ? "zstd"
								: "zlib");
	if (v3)
		json_bool(j, "lazy-refcounts", info->lazy_refcounts);
	add_bitmaps(j, layer);
	json_u64(j, "refcount-bits", info->refcount_bits);
	if (info->data_file)
		json_string(j, "data-file", info->data_file);
	add_encrypt(j, layer);
	if (info->has_data_file)
		json_bool(j, "data-file-raw", info->data_file_raw);
	if (v3) {
		json_bool(j, "corrupt", info->corrupt);
		json_bool(j, "extended-l2", info->extended_l2);
	}
}
