/*
 * The public handle of a queue.
 */
#ifndef API_QUEUE_H
#define API_QUEUE_H

#include <qcow2.h>

#include "api/handle.h"
#include "queue/queue.h"

struct qcow2_queue {
	struct qcow2_image *img;
	struct queue *queue;
	struct qcow2_pool *own_pool; /* NULL: none, or the caller's */
	int event_fd;                /* belongs to the queue */
};

/* Every function that takes a queue begins with this: -EINVAL when it is NULL,
 * -ECHILD in a child of the process that made it. */
int queue_check(const struct qcow2_queue *queue, struct qcow2_error *err);

#endif
