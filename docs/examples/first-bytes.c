/*
 * Prints where the data of an image is and how each extent begins.
 *
 *	cc first-bytes.c $(pkg-config --cflags --libs libqcow2) -o first-bytes
 *	./first-bytes disk.qcow2
 */
#include <inttypes.h>
#include <stdio.h>

#include <qcow2.h>

static int print_extents(struct qcow2_image *img, struct qcow2_error *err)
{
	struct qcow2_extent e;
	unsigned char byte;
	int rc;

	for (uint64_t off = 0; off < qcow2_size(img); off += e.len) {
		rc = qcow2_map(img, qcow2_size(img) - off, off, 0, &e, err);
		if (rc < 0)
			return rc;
		rc = qcow2_pread(img, &byte, 1, e.off, 0, err);
		if (rc < 0)
			return rc;
		printf("%" PRIu64 " +%" PRIu64 " %s %02x\n", e.off, e.len,
		       e.flags & QCOW2_EXTENT_DATA ? "data" : "zero", byte);
	}
	return 0;
}

int main(int argc, char **argv)
{
	/* Backing files are opened in the directory of the image or below. */
	struct qcow2_gate gate = QCOW2_GATE_INIT;
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_error err;
	struct qcow2_image *img;
	int rc;

	if (argc != 2) {
		fprintf(stderr, "usage: %s IMAGE\n", argv[0]);
		return 2;
	}
	gate.mode = QCOW2_EXTERNAL_DIR;
	opts.gate = &gate;
	rc = qcow2_open_path(argv[1], &opts, &img, &err);
	if (rc == 0) {
		rc = print_extents(img, &err);
		qcow2_close(img, NULL);
	}
	if (rc < 0)
		fprintf(stderr, "%s: %s\n", argv[1], err.message);
	return rc < 0;
}
