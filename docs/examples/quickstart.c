#include <stdio.h>
#include <qcow2.h>

int main(int argc, char **argv)
{
	struct qcow2_gate gate = QCOW2_GATE_INIT;
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_error err = { .message = "usage: quickstart IMAGE" };
	struct qcow2_image *img = NULL;
	unsigned char sector[512];

	gate.mode = QCOW2_EXTERNAL_DIR; /* backing files beside the image only */
	opts.gate = &gate;
	if (argc != 2 || qcow2_open_path(argv[1], &opts, &img, &err) < 0 ||
	    qcow2_pread(img, sector, sizeof(sector), 0, 0, &err) < 0) {
		fprintf(stderr, "%s\n", err.message);
		qcow2_close(img, NULL);
		return 1;
	}
	printf("%llu bytes, boot signature %02x%02x\n",
	       (unsigned long long)qcow2_size(img), sector[510], sector[511]);
	return qcow2_close(img, NULL) < 0;
}
