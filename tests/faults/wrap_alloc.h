/*
 * The allocator of the library under test, which fails when it is told to.
 *
 * The linker sends every call of malloc() and its kin that is made in a static
 * library to the functions in wrap_alloc.c (-Wl,--wrap).  The programs here are
 * compiled with these names defined as the real functions, so that they are
 * not concerned; neither are the C library and the codecs, whose constructors
 * are wrapped instead.
 */
#ifndef FAULTS_WRAP_ALLOC_H
#define FAULTS_WRAP_ALLOC_H

#include <stdbool.h>
#include <stdint.h>

#include <qcow2.h>

/* The @nth allocation from now on fails, with @persistent all that follow too;
 * 0: none. */
void wrap_alloc_arm(uint64_t nth, bool persistent);

/* Allocations that failed since then. */
uint64_t wrap_alloc_fired(void);

/* Allocations that are not freed yet. */
uint64_t wrap_alloc_live(void);

/* Allocations of this thread in between never fail and do not count. */
void wrap_alloc_pause(void);
void wrap_alloc_resume(void);

/* A store over @inner, of which it takes its own reference, whose work is not
 * concerned: it stands for a program that is not under test. */
int wrap_alloc_store(struct qcow2_store *inner, struct qcow2_store **out);

#endif
