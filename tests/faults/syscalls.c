/*
 * Every system call of the file store fails once, transfers end early, and all
 * of them are interrupted: see session.h.  The command line is that of
 * faults-stores.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "crash/cowstore.h"
#include "faults/command.h"
#include "faults/session.h"
#include "faults/wrap_syscalls.h"
#include "store/store.h"

#define SPACE (CALL_WRITE | CALL_TRUNCATE | CALL_ALLOCATE)

static const struct plan {
	const char *name;
	struct syscall_plan plan;
} plans[] = {
	{ "eio", { .calls = CALL_ALL, .error = EIO } },
	{ "enospc", { .calls = SPACE, .error = ENOSPC } },
	{ "enospc-for-ever",
	  { .calls = SPACE, .error = ENOSPC, .persistent = true } },
	{ "nothing-written", { .calls = CALL_WRITE, .error = 0 } },
	/* The kernel tells of an error once, and then forgets it. */
	{ "fdatasync", { .calls = CALL_SYNC, .error = EIO } },
	/* These are no failures, and nobody may notice them. */
	{ "not-supported",
	  { .calls = CALL_ALLOCATE, .error = EOPNOTSUPP, .persistent = true } },
	{ "eintr-storm", { .n_eintr = 3 } },
	{ "short-transfers", { .most = 700 } },
};

enum { N_PLANS = sizeof(plans) / sizeof(plans[0]), FILES_MAX = 4 };

struct mirror {
	int fd;
	struct qcow2_store *inner;
};

struct files {
	struct syscall_plan plan;
	bool hidden; /* the plan causes no failure */
	struct mirror mirrors[FILES_MAX];
	unsigned n;
};

static void arm(void *self, uint64_t nth)
{
	struct files *f = self;

	f->plan.nth = nth;
	wrap_syscalls_arm(&f->plan);
}

static uint64_t fired(void *self)
{
	const struct files *f = self;

	return f->hidden ? 0 : wrap_syscalls_fired();
}

static uint64_t barriers_failed(void *self)
{
	(void)self;
	return wrap_syscalls_syncs_fired();
}

static void fill_file(int fd, struct qcow2_store *from)
{
	size_t size = cow_size(from);
	uint8_t *bytes = malloc(size + 1);
	ssize_t n = 0;

	assert(bytes);
	if (store_pread(from, bytes, size, 0, 0, NULL) == 0)
		n = pwrite(fd, bytes, size, 0);
	assert(n == (ssize_t)size);
	(void)n;
	free(bytes);
}

/* A file in memory with the contents of @inner. */
static int wrap(void *self, struct qcow2_store *inner, struct qcow2_store **out)
{
	struct files *f = self;
	int fd = memfd_create("faults", MFD_CLOEXEC);
	int own = dup(fd);

	assert(fd >= 0 && own >= 0 && f->n < FILES_MAX);
	fill_file(fd, inner);
	f->mirrors[f->n++] = (struct mirror){ own, store_ref(inner) };
	return qcow2_store_open_fd(fd, "file", QCOW2_STORE_RDWR, out, NULL);
}

/* The contents of the files go to the stores that they were made of. */
static void settle(void *self)
{
	struct files *f = self;

	for (unsigned i = 0; i < f->n; i++) {
		off_t size = lseek(f->mirrors[i].fd, 0, SEEK_END);
		uint8_t *bytes = malloc((size_t)size + 1);
		ssize_t n = pread(f->mirrors[i].fd, bytes, (size_t)size, 0);
		int rc = store_truncate(f->mirrors[i].inner, 0, NULL);

		assert(bytes && n == size && rc == 0);
		rc = store_pwrite(f->mirrors[i].inner, bytes, (size_t)n, 0, 0,
				  NULL);
		assert(rc == 0);
		(void)rc;
		free(bytes);
	}
}

static void release(void *self)
{
	struct files *f = self;

	while (f->n) {
		struct mirror *m = &f->mirrors[--f->n];

		close(m->fd);
		store_unref(m->inner);
	}
}

static bool run_plan(struct command *cmd, const struct base *b,
		     const struct workload *w, unsigned index)
{
	struct files f = { .plan = plans[index].plan };
	struct injector in = {
		.arm = arm,
		.fired = fired,
		.barriers_failed = barriers_failed,
		.wrap = wrap,
		.settle = settle,
		.release = release,
		.self = &f,
		.persistent = f.plan.persistent,
		.barriers = f.plan.calls == CALL_SYNC,
	};

	f.hidden = f.plan.error == EOPNOTSUPP;
	return command_run(cmd, &in, plans[index].name, b, w);
}

int main(int argc, char **argv)
{
	const char *names[N_PLANS];

	for (unsigned i = 0; i < N_PLANS; i++)
		names[i] = plans[i].name;
	return command_main(argc, argv, names, N_PLANS, run_plan);
}
