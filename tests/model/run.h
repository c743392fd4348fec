/*
 * Runs a sequence and judges it.
 *
 * Everything that is read on the way must match the oracle.  At the end the
 * image is closed; our check must find no defect and no leak, and the image and
 * every snapshot must read right when it is opened again.  If asked, qemu-img
 * must say the same of it.
 */
#ifndef MODEL_RUN_H
#define MODEL_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "model/config.h"
#include "model/ops.h"

struct trial {
	struct config config;
	struct sequence ops;
	bool ask_qemu;
	bool quiet;      /* nothing on standard error */
	const char *dir; /* scratch */
};

enum { WHY_BYTES = 512, VERDICT_OPS = 4096 };

struct verdict {
	bool ok;
	char why[WHY_BYTES];
	/* The place where the disk reads wrong, for a script; len 0: the
	 * failure is another one. */
	uint64_t off;
	uint64_t len;
	uint8_t expected;                 /* all over that range */
	char snapshot[16];                /* place; empty: the disk itself */
	uint8_t refused[VERDICT_OPS / 8]; /* operations: a bit each */
};

void trial_run(const struct trial *t, struct verdict *v);

/* The same in a process of its own, which may crash or hang. */
void trial_run_apart(const struct trial *t, struct verdict *v);

#endif
