/*
 * The workloads that run under fire: together every operation that writes, on
 * clusters in every state.
 */
#ifndef FAULTS_WORKLOADS_H
#define FAULTS_WORKLOADS_H

#include "crash/base.h"
#include "support/test.h"

enum { WORKLOADS_FIXED = 5, WORKLOADS_RANDOM = 7, WORKLOADS_N = 8 };

/* Workload number @index of this configuration: those that all configurations
 * have, then two in which the image is changed, then a random one. */
struct workload workloads_get(const struct config *c, unsigned index,
			      struct test_rng *rng);

#endif
