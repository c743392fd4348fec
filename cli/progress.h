/*
 * Shows how far a job is, in one of four ways: a bar on a terminal, qemu-img's
 * percentage, JSON lines for programs, or a line when SIGUSR1 asks for one.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdint.h>

#include "options.h"

enum progress_style {
	PROGRESS_SILENT,
	PROGRESS_PERCENT, /* on standard output, as qemu-img -p */
	PROGRESS_BAR,     /* on standard error */
};

struct progress {
	const char *job;
	enum progress_style style;
	int json_fd; /* -1: none */
	bool bar_visible;
	double shown_percent; /* the last number printed */
	double json_percent;
	uint64_t shown_msec; /* time of that */
};

/* Begins to show @job; from here on SIGUSR1 prints a line. */
void progress_begin(struct progress *p, const struct cli *cli,
		    const struct common *common, const char *job);
/* A qcow2_progress_fn; @opaque is a struct progress.  Returns non-zero once
 * progress_cancel_on_signals() was called and a signal came. */
int progress_update(void *opaque, uint64_t done, uint64_t total);
/* Shows that the job ended; @error says why it failed, NULL that it did not. */
void progress_end(struct progress *p, const char *error);

/* SIGINT, SIGTERM and SIGHUP stop the job instead of the program, so that it
 * can clean up; a second one kills. */
void progress_cancel_on_signals(void);
/* Returns the signal that came, or 0. */
int progress_signal(void);

#endif
