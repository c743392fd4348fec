#include "progress.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "json.h"

#define BAR_WIDTH 40
#define BAR_INTERVAL_MSEC 100
#define PERCENT_STEP 0.5
#define PATIENCE_SEC 1

/* Set by signal handlers, which can reach nothing else. */
static volatile sig_atomic_t want_line;
static volatile sig_atomic_t stop_signal;
static volatile sig_atomic_t stop_sec;

static void on_usr1(int sig)
{
	(void)sig;
	want_line = 1;
}

/* One wish often comes as two signals, to the process and to its group: the
 * second must not keep the job from cleaning up.  A user who sends another one
 * later does not want to wait for that. */
static void on_stop(int sig)
{
	sig_atomic_t now = (sig_atomic_t)time(NULL);

	if (!stop_signal) {
		stop_sec = now;
		stop_signal = sig;
	} else if (now - stop_sec > PATIENCE_SEC) {
		signal(sig, SIG_DFL);
		raise(sig);
	}
}

static void handle(int sig, void (*handler)(int), int flags)
{
	struct sigaction sa;

	memset(&sa, 0, sizeof(sa));
	sa.sa_handler = handler;
	sa.sa_flags = flags;
	sigemptyset(&sa.sa_mask);
	sigaction(sig, &sa, NULL);
}

void progress_cancel_on_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		struct sigaction old;

		/* nohup and shells in the background ignore some of them. */
		sigaction(signals[i], NULL, &old);
		if (old.sa_handler != SIG_IGN)
			handle(signals[i], on_stop, SA_RESTART);
	}
}

int progress_signal(void)
{
	return stop_signal;
}

static uint64_t now_msec(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* ------------------------------------------------------------------------- */
/* The ways to show it                                                       */

static void show_percent(double percent)
{
	printf("    (%3.2f/100%%)\r", percent);
	fflush(stdout);
}

static void show_bar(struct progress *p, double percent)
{
	char bar[BAR_WIDTH + 1];
	int full = (int)(percent / 100 * BAR_WIDTH);

	memset(bar, '.', BAR_WIDTH);
	memset(bar, '#', (size_t)full);
	bar[BAR_WIDTH] = '\0';
	fprintf(stderr, "\r%s [%s] %5.1f %%", p->job, bar, percent);
	p->bar_visible = true;
}

/* Each line is one write, so that lines arrive whole.  A reader that went away
 * is no reason to stop the job. */
static void write_line(int fd, const char *line, size_t len)
{
	while (write(fd, line, len) < 0 && errno == EINTR)
		;
}

static void json_line(int fd, void (*fill)(struct json *, const void *),
		      const void *what)
{
	char *line = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&line, &len);
	struct json j;

	if (!out)
		return;
	json_init(&j, out, JSON_LINE);
	json_object(&j, NULL);
	fill(&j, what);
	json_end(&j);
	if (fclose(out) == 0)
		write_line(fd, line, len);
	free(line);
}

struct position {
	const char *job;
	uint64_t done, total;
	double percent;
	const char *error; /* NULL: success */
};

static void fill_position(struct json *j, const void *what)
{
	const struct position *at = what;

	json_string(j, "event", "progress");
	json_string(j, "job", at->job);
	json_u64(j, "done", at->done);
	json_u64(j, "total", at->total);
	json_percent(j, "percent", at->percent);
}

static void fill_end(struct json *j, const void *what)
{
	const struct position *at = what;

	json_string(j, "event", "end");
	json_string(j, "job", at->job);
	json_bool(j, "success", !at->error);
	if (at->error)
		json_string(j, "error", at->error);
	else
		json_null(j, "error");
}

/* ------------------------------------------------------------------------- */

static bool is_due(const struct progress *p, double percent)
{
	if (percent >= 100)
		return p->shown_percent < 100;
	if (p->style == PROGRESS_BAR)
		return now_msec() - p->shown_msec >= BAR_INTERVAL_MSEC;
	return percent - p->shown_percent >= PERCENT_STEP;
}

static void show(struct progress *p, double percent)
{
	if (p->style == PROGRESS_SILENT || !is_due(p, percent))
		return;
	if (p->style == PROGRESS_PERCENT)
		show_percent(percent);
	else
		show_bar(p, percent);
	p->shown_percent = percent;
	p->shown_msec = now_msec();
}

static void show_json(struct progress *p, uint64_t done, uint64_t total,
		      double percent)
{
	struct position at = { p->job, done, total, percent, NULL };
	double step = percent - p->json_percent;
	bool last = done >= total;

	if (p->json_fd < 0)
		return;
	if (last ? step <= 0 : p->json_percent >= 0 && step < PERCENT_STEP)
		return;
	json_line(p->json_fd, fill_position, &at);
	p->json_percent = percent;
}

int progress_update(void *opaque, uint64_t done, uint64_t total)
{
	struct progress *p = opaque;
	double percent = total ? 100.0 * (double)done / (double)total : 100.0;

	show(p, percent);
	show_json(p, done, total, percent);
	if (want_line) {
		want_line = 0;
		fprintf(stderr, "    (%3.2f/100%%)\n", percent);
	}
	return stop_signal != 0;
}

static enum progress_style style_for(const struct cli *cli,
				     const struct common *common)
{
	if (common->quiet)
		return PROGRESS_SILENT;
	if (common->progress)
		return PROGRESS_PERCENT;
	return cli->as->bar && isatty(STDERR_FILENO) ? PROGRESS_BAR
						     : PROGRESS_SILENT;
}

void progress_begin(struct progress *p, const struct cli *cli,
		    const struct common *common, const char *job)
{
	memset(p, 0, sizeof(*p));
	p->job = job;
	p->style = style_for(cli, common);
	p->json_fd = common->json_progress_fd;
	p->json_percent = -1;
	p->shown_msec = now_msec();
	handle(SIGUSR1, on_usr1, SA_RESTART);
	if (p->json_fd >= 0)
		handle(SIGPIPE, SIG_IGN, 0);
	if (p->style == PROGRESS_PERCENT)
		show_percent(0);
}

static void end_shown(const struct progress *p, bool success)
{
	if (p->style == PROGRESS_PERCENT) {
		if (success && p->shown_percent < 100)
			show_percent(100);
		putchar('\n');
	} else if (p->bar_visible) {
		fputs("\r\x1b[K", stderr);
	}
}

void progress_end(struct progress *p, const char *error)
{
	struct position at = { p->job, 0, 0, 0, error };

	end_shown(p, !error);
	if (p->json_fd >= 0)
		json_line(p->json_fd, fill_end, &at);
}
