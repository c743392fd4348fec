/*
 * libread IMAGE: opens an image with the reference mode of the command, asks
 * everything of it and of its snapshots, and tells the outcome by its exit
 * code: 0 all was answered, 1 the image does not open, 2 some calls failed.
 */
#include <stdio.h>
#include <string.h>

#include "exercise.h"

/* Asks for the metadata of an image that does not open for use. */
static void metadata_only(const char *path, struct qcow2_open_opts opts)
{
	struct tally quiet = { 0 };
	struct qcow2_image *img;

	opts.flags |= QCOW2_OPEN_METADATA_ONLY;
	if (qcow2_open_path(path, &opts, &img, NULL) < 0)
		return;
	exercise_image(img, &quiet);
	qcow2_close(img, NULL);
}

int main(int argc, char **argv)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_gate gate = QCOW2_GATE_INIT;
	struct qcow2_error err = { 0 };
	struct tally tally = { .verbose = 0 };
	struct qcow2_image *img;

	if (argc != 2) {
		fprintf(stderr, "usage: libread IMAGE\n");
		return 64;
	}
	gate.mode = QCOW2_EXTERNAL_DIR;
	opts.gate = &gate;
	opts.budget.chain_depth = 1024; /* as the command has it */
	metadata_only(argv[1], opts);
	if (qcow2_open_path(argv[1], &opts, &img, &err) < 0) {
		printf("%s\n", err.message);
		return 1;
	}
	exercise_image(img, &tally);
	exercise_views(img, argv[1], NULL, &opts, &tally);
	qcow2_close(img, NULL);
	printf("%lu calls, %lu failed\n", tally.calls, tally.failed);
	if (tally.failed)
		printf("%s\n", tally.first.message);
	return tally.failed ? 2 : 0;
}
