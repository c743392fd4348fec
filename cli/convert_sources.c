/*
 * The sources that convert reads.
 */
#include "convert.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "open.h"

int convert_check_distinct(const struct cli *cli,
			   const struct convert_sources *s, const char *target)
{
	struct stat st;

	if (stat(target, &st) < 0)
		return 0;
	for (int i = 0; i < s->n; i++) {
		if (!image_reads_file(s->images[i], &st))
			continue;
		cli_error(cli, target, "the source reads from this very file");
		return 1;
	}
	return 0;
}

static int open_one(const struct cli *cli, const struct common *common,
		    const struct convert_sources *s, int i,
		    struct qcow2_image **out)
{
	struct source src = { s->paths[i], s->format, s->flags, NULL };
	char *snapshot = NULL;
	int ret = 0;

	if (s->snapshot)
		ret = source_find_snapshot(cli, common, &src, s->snapshot,
					   &snapshot);
	src.snapshot = snapshot;
	if (ret == 0)
		ret = source_open(cli, common, &src, out);
	free(snapshot);
	return ret;
}

static int put_together(const struct cli *cli, struct convert_sources *s,
			const char *target)
{
	struct qcow2_error err;

	if (s->n == 1) {
		s->whole = s->images[0];
		return 0;
	}
	if (qcow2_concat(s->images, (uint32_t)s->n, &s->whole, &err) == 0)
		return 0;
	cli_report(cli, target, &err);
	return 1;
}

int convert_sources_open(const struct cli *cli, const struct common *common,
			 struct convert_sources *s, const char *target)
{
	s->images = calloc((size_t)s->n, sizeof(*s->images));
	if (!s->images) {
		cli_error(cli, NULL, "out of memory");
		return 1;
	}
	for (int i = 0; i < s->n; i++)
		if (open_one(cli, common, s, i, &s->images[i]) < 0)
			return 1;
	if (convert_check_distinct(cli, s, target))
		return 1;
	return put_together(cli, s, target);
}

void convert_sources_close(struct convert_sources *s)
{
	if (s->n > 1)
		qcow2_close(s->whole, NULL);
	for (int i = 0; s->images && i < s->n; i++)
		qcow2_close(s->images[i], NULL);
	free(s->images);
}
