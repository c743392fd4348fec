/*
 * An image file with a queue for it, for tests of the public calls.
 */
#ifndef UNIT_API_QUEUE_RIG_H
#define UNIT_API_QUEUE_RIG_H

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <qcow2.h>

#include "support/test.h"

#define ok(expression) assert_int_equal((expression), 0)
#define fails(expression, code) assert_int_equal((expression), -(code))

enum {
	DISK = 16 << 20,
	FILLED = 1 << 20, /* bytes that are written before: 0x55 */
};

struct fixture {
	char path[64];
	struct qcow2_image *img;
	struct qcow2_queue *q;
	uint8_t buf[8192];
	struct iovec iov; /* the first 4096 of buf */
	struct qcow2_error err;
};

int queue_setup(void **state);
int queue_teardown(void **state);

#define QUEUE_TEST(name) TEST_WITH(name, queue_setup, queue_teardown)

struct qcow2_queue_info info_of(struct qcow2_queue *q);
/* With the fixture's vector and error. */
struct qcow2_request request(struct fixture *f, uint32_t op);
void submit(struct qcow2_queue *q, const struct qcow2_request *r);
/* Submits one and waits for its result, which it returns. */
int done(struct qcow2_queue *q, struct qcow2_request *r);
bool is_readable(struct qcow2_queue *q, int timeout_ms);

#endif
