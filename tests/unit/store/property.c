/*
 * Random operations on a store and on a plain byte array give the same bytes:
 * in memory, in a file, in a file with O_DIRECT.
 */
#include "store_test.h"

#define MAX_BYTES (256 * 1024)
#define ROUNDS 600

/* The expected contents of the store; bytes past `size` are zero. */
struct model {
	uint8_t bytes[MAX_BYTES];
	uint64_t size;
};

static void check_all(struct qcow2_store *s, const struct model *m)
{
	static uint8_t got[MAX_BYTES + 999];
	struct qcow2_error err = { 0 };
	uint64_t size;

	assert_int_equal(store_size(s, &size, &err), 0);
	assert_int_equal(size, m->size);
	memset(got, 0xee, sizeof(got));
	assert_int_equal(store_pread(s, got, sizeof(got), 0, 0, &err), 0);
	assert_memory_equal(got, m->bytes, MAX_BYTES);
	for (size_t i = MAX_BYTES; i < sizeof(got); i++)
		assert_int_equal(got[i], 0);
}

/* Lengths of every kind: tiny, around blocks, large. */
static uint64_t random_len(struct test_rng *r, uint64_t limit)
{
	static const uint64_t typical[] = { 1,    511,  512,   513,   4095,
					    4096, 4097, 65536, 70000, 131072 };
	uint64_t len = test_rng_below(r, 3)
			       ? typical[test_rng_below(r, 10)]
			       : 1 + test_rng_below(r, MAX_BYTES / 3);

	return len < limit ? len : limit;
}

static uint64_t random_off(struct test_rng *r)
{
	uint64_t off = test_rng_below(r, MAX_BYTES);

	switch (test_rng_below(r, 3)) {
	case 0:
		return off & ~UINT64_C(4095);
	case 1:
		return off & ~UINT64_C(511);
	default:
		return off;
	}
}

/* Cuts [buf, len) into up to 80 segments. */
static int random_iov(struct test_rng *r, uint8_t *buf, uint64_t len,
		      struct iovec *iov)
{
	int n = 0;

	while (len && n < 79 && test_rng_below(r, 40)) {
		uint64_t part = test_rng_below(r, len) / 4;

		if (test_rng_below(r, 2))
			part &= ~UINT64_C(511);
		iov[n++] = (struct iovec){ buf, part };
		buf += part;
		len -= part;
	}
	iov[n++] = (struct iovec){ buf, len };
	return n;
}

static void do_write(struct qcow2_store *s, struct model *m, struct test_rng *r)
{
	static _Alignas(4096) uint8_t buf[MAX_BYTES];
	struct qcow2_error err = { 0 };
	uint64_t off = random_off(r);
	uint64_t len = random_len(r, MAX_BYTES - off);
	struct iovec iov[80];
	int n = 1;

	test_rng_fill(r, buf, len);
	iov[0] = (struct iovec){ buf, len };
	if (test_rng_below(r, 2))
		n = random_iov(r, buf, len, iov);
	assert_int_equal(store_pwritev(s, iov, n, off, 0, &err), 0);
	memcpy(m->bytes + off, buf, len);
	if (off + len > m->size)
		m->size = off + len;
}

static void do_read(struct qcow2_store *s, struct model *m, struct test_rng *r)
{
	static _Alignas(4096) uint8_t buf[MAX_BYTES];
	struct qcow2_error err = { 0 };
	uint64_t off = random_off(r);
	uint64_t len = random_len(r, MAX_BYTES - off);
	struct iovec iov[80];
	int n = random_iov(r, buf, len, iov);

	memset(buf, 0xdd, len);
	assert_int_equal(store_preadv(s, iov, n, off, 0, &err), 0);
	assert_memory_equal(buf, m->bytes + off, len);
}

static void do_zero(struct qcow2_store *s, struct model *m, struct test_rng *r)
{
	struct qcow2_error err = { 0 };
	uint64_t off = random_off(r);
	uint64_t len = random_len(r, 2 * MAX_BYTES);
	unsigned flags = test_rng_below(r, 2) ? QCOW2_STORE_UNMAP : 0;

	assert_int_equal(store_zero(s, len, off, flags, &err), 0);
	if (off + len > MAX_BYTES)
		len = MAX_BYTES - off;
	memset(m->bytes + off, 0, len);
}

static void do_truncate(struct qcow2_store *s, struct model *m,
			struct test_rng *r)
{
	struct qcow2_error err = { 0 };
	uint64_t size = random_off(r);

	assert_int_equal(store_truncate(s, size, &err), 0);
	if (size < m->size)
		memset(m->bytes + size, 0, m->size - size);
	m->size = size;
}

/* Walks all extents: they join, and holes read as zeros. */
static void do_extents(struct qcow2_store *s, struct model *m)
{
	struct qcow2_error err = { 0 };
	uint64_t off = 0;

	while (off < MAX_BYTES) {
		uint64_t len = MAX_BYTES - off;
		bool is_data;

		assert_int_equal(store_extent(s, &len, off, &is_data, &err), 0);
		for (uint64_t i = 0; i < len && !is_data; i++)
			assert_int_equal(m->bytes[off + i], 0);
		off += len;
	}
}

static void run(struct qcow2_store *s, unsigned rounds)
{
	struct model *m = calloc(1, sizeof(*m));
	struct test_rng r = test_rng_init(test_seed());

	assert_non_null(m);
	for (unsigned i = 0; i < rounds; i++) {
		switch (test_rng_below(&r, 12)) {
		case 0:
			do_truncate(s, m, &r);
			break;
		case 1:
		case 2:
			do_zero(s, m, &r);
			break;
		case 3:
			do_extents(s, m);
			break;
		case 4:
			assert_int_equal(store_flush(s, NULL), 0);
			break;
		case 5:
		case 6:
		case 7:
			do_read(s, m, &r);
			break;
		default:
			do_write(s, m, &r);
		}
		if (i % 16 == 0)
			check_all(s, m);
	}
	check_all(s, m);
	free(m);
	store_unref(s);
}

TEST(memory_store_equals_the_byte_array)
{
	struct qcow2_store *s;

	assert_int_equal(store_mem_new(&s, NULL), 0);
	run(s, ROUNDS * 4);
}

TEST(file_store_equals_the_byte_array)
{
	struct qcow2_store *s = open_temp(".", 0);

	assert_non_null(s);
	run(s, ROUNDS);
}

TEST(file_store_in_memory_equals_the_byte_array)
{
	struct qcow2_store *s = open_temp("/dev/shm", 0);

	if (!s)
		skip();
	run(s, ROUNDS);
}

TEST(direct_file_store_equals_the_byte_array)
{
	struct qcow2_store *s = open_temp(".", QCOW2_STORE_DIRECT);

	if (!s)
		skip();
	run(s, ROUNDS / 3);
}
