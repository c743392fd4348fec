/*
 * The system calls of the library under test, which fail when they are told to.
 *
 * The functions of the C library are defined anew in this program and call the
 * kernel themselves.  Nothing is synced to any disk, because that would only
 * cost time.
 */
#ifndef FAULTS_WRAP_SYSCALLS_H
#define FAULTS_WRAP_SYSCALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	CALL_READ = 0x1,      /* preadv2 */
	CALL_WRITE = 0x2,     /* pwritev2 */
	CALL_SYNC = 0x4,      /* fdatasync, fsync */
	CALL_TRUNCATE = 0x8,  /* ftruncate */
	CALL_ALLOCATE = 0x10, /* fallocate */
	CALL_OPEN = 0x20,
	CALL_RENAME = 0x40, /* never interrupted: it does not say so */
	CALL_ALL = 0x7f,
};

struct syscall_plan {
	unsigned calls; /* CALL_*: which count and may fail */
	uint64_t nth;   /* from 1; 0: none */
	bool persistent;
	int error; /* errno; 0: a transfer of nothing */
	/* These cause no failure, for every call: */
	unsigned n_eintr; /* times that it is interrupted first */
	size_t most;      /* bytes of a transfer; 0: no limit */
};

void wrap_syscalls_arm(const struct syscall_plan *plan);
uint64_t wrap_syscalls_fired(void);
/* Those of them that are CALL_SYNC. */
uint64_t wrap_syscalls_syncs_fired(void);

#endif
