#include "bases.h"

#include <dirent.h>
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void *grown(void *list, size_t n, size_t item)
{
	/* A power of two: the list grows when it is full. */
	if (n & (n - 1) && n)
		return list;
	list = realloc(list, (n ? 2 * n : 1) * item);
	if (!list)
		err(1, "memory");
	return list;
}

static void load_bytes(struct base *b, const char *path)
{
	FILE *f = fopen(path, "rb");
	long len;

	if (!f || fseek(f, 0, SEEK_END) < 0 || (len = ftell(f)) < 0)
		err(1, "%s", path);
	rewind(f);
	b->len = (size_t)len;
	b->bytes = malloc(b->len);
	if (!b->bytes || fread(b->bytes, 1, b->len, f) != b->len)
		err(1, "%s", path);
	fclose(f);
}

static void load_fields(struct base *b, const char *path)
{
	FILE *f = fopen(path, "r");
	char line[80];
	struct field field;
	uint64_t place;

	if (!f)
		err(1, "%s", path);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "field %" SCNu64 " %u", &field.off,
			   &field.width) == 2) {
			if (field.off + field.width > b->len)
				continue;
			b->fields = grown(b->fields, b->n_fields,
					  sizeof(*b->fields));
			b->fields[b->n_fields++] = field;
		} else if (sscanf(line, "place %" SCNu64, &place) == 1) {
			b->places = grown(b->places, b->n_places,
					  sizeof(*b->places));
			b->places[b->n_places++] = place;
		}
	}
	fclose(f);
	if (!b->n_fields || !b->n_places)
		errx(1, "%s: no fields", path);
}

static void load_one(struct bases *all, const char *dir, const char *stem)
{
	char path[4096];
	struct base b = { .name = strdup(stem) };

	snprintf(path, sizeof(path), "%s/%s.qcow2", dir, stem);
	load_bytes(&b, path);
	snprintf(path, sizeof(path), "%s/%s.fields", dir, stem);
	load_fields(&b, path);
	all->list = grown(all->list, all->n, sizeof(*all->list));
	all->list[all->n++] = b;
}

void bases_load(struct bases *all, const char *dir)
{
	struct dirent **names;
	int n = scandir(dir, &names, NULL, alphasort);

	*all = (struct bases){ NULL, 0 };
	if (n < 0)
		err(1, "%s", dir);
	for (int i = 0; i < n; i++) {
		char *dot = strstr(names[i]->d_name, ".fields");

		if (dot) {
			*dot = '\0';
			load_one(all, dir, names[i]->d_name);
		}
		free(names[i]);
	}
	free(names);
	if (!all->n)
		errx(1, "%s: no base images", dir);
}

void bases_free(struct bases *all)
{
	for (size_t i = 0; i < all->n; i++) {
		free(all->list[i].name);
		free(all->list[i].bytes);
		free(all->list[i].fields);
		free(all->list[i].places);
	}
	free(all->list);
}

struct qcow2_store *store_of(const uint8_t *bytes, size_t len)
{
	struct qcow2_store *store;
	struct qcow2_error error;

	if (qcow2_store_new_memory(&store, &error) < 0 ||
	    qcow2_store_pwrite(store, bytes, len, 0, 0, &error) < 0)
		errx(1, "%s", error.message);
	return store;
}

uint64_t rng_next(struct rng *r)
{
	uint64_t x = r->state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	r->state = x;
	return x * UINT64_C(0x2545f4914f6cdd1d);
}

static uint64_t field_get(const uint8_t *p, unsigned width)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < width; i++)
		v = v << 8 | p[i];
	return v;
}

static void field_put(uint8_t *p, unsigned width, uint64_t v)
{
	for (unsigned i = width; i-- > 0; v >>= 8)
		p[i] = (uint8_t)v;
}

/* A value near the end of the file, or at the place of another structure. */
static uint64_t some_place(const struct base *b, struct rng *r)
{
	uint64_t place = b->places[rng_below(r, b->n_places)];

	switch (rng_below(r, 6)) {
	case 0:
		return b->len;
	case 1:
		return b->len - 512 * rng_below(r, 9);
	case 2:
		return place | UINT64_C(1) << 63;
	case 3:
		return place | UINT64_C(1) << 62;
	case 4:
		return place + rng_below(r, 1024);
	default:
		return place;
	}
}

static uint64_t some_value(const struct base *b, const uint8_t *bytes,
			   const struct field *f, struct rng *r)
{
	uint64_t old = field_get(bytes + f->off, f->width);
	const struct field *other = &b->fields[rng_below(r, b->n_fields)];

	switch (rng_below(r, 9)) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX >> rng_below(r, 64);
	case 2:
		return (UINT64_C(1) << rng_below(r, 64)) + rng_below(r, 3) - 1;
	case 3:
		return old ^ UINT64_C(1) << rng_below(r, 8 * f->width);
	case 4:
		return old + rng_below(r, 17) - 8;
	case 5:
		return field_get(bytes + other->off, other->width);
	case 6:
	case 7:
		return some_place(b, r);
	default:
		return rng_next(r);
	}
}

void mutate_field(const struct base *b, uint8_t *bytes, struct rng *r)
{
	const struct field *f;

	/* Every fourth time the header is chosen: it is small and everything
	 * hangs on it. */
	f = &b->fields[rng_below(r, rng_below(r, 4) ? b->n_fields : 19)];
	field_put(bytes + f->off, f->width, some_value(b, bytes, f, r));
}

uint64_t seed_get(void)
{
	const char *text = getenv("TEST_SEED");
	struct timespec now;

	if (text)
		return strtoull(text, NULL, 0);
	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000007u + (uint64_t)now.tv_nsec;
}
