/*
 * Requests of queues and their completions: argument checks, then queue/.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "api/queue.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/options.h"

enum { COMPLETIONS_AT_ONCE = 64 };

/* ---- Requests ------------------------------------------------------------ */

static int request_check_op(const struct qcow2_request *r,
			    struct qcow2_error *err)
{
	static const uint32_t flags[] = {
		[QCOW2_OP_READ] = QCOW2_NOWAIT,
		[QCOW2_OP_WRITE] = CHANGE_FLAGS,
		[QCOW2_OP_ZERO] = ZERO_FLAGS,
		[QCOW2_OP_DISCARD] = CHANGE_FLAGS,
		[QCOW2_OP_FLUSH] = QCOW2_NOWAIT,
		[QCOW2_OP_WRITE_COMPRESSED] = CHANGE_FLAGS,
	};

	if (r->op < QCOW2_OP_READ || r->op > QCOW2_OP_WRITE_COMPRESSED)
		return error_set(err, -EINVAL,
				 "operation %" PRIu32 " does not exist", r->op);
	if (r->flags & ~flags[r->op])
		return error_set(err, -EINVAL,
				 "flags 0x%" PRIx32 " are not known",
				 r->flags & ~flags[r->op]);
	if (r->reserved || r->reserved2[0] || r->reserved2[1])
		return error_set(err, -EINVAL,
				 "qcow2_request.reserved is not 0");
	return 0;
}

static bool request_has_vector(uint32_t op)
{
	return op == QCOW2_OP_READ || op == QCOW2_OP_WRITE ||
	       op == QCOW2_OP_WRITE_COMPRESSED;
}

static int request_check_vector(const struct qcow2_request *r, uint64_t *len,
				struct qcow2_error *err)
{
	int rc = handle_check_vector(r->iov, r->iovcnt, len, err);

	if (rc == 0 && r->len && r->len != *len)
		rc = error_set(err, -EINVAL,
			       "len is %" PRIu64 ", the vector has %" PRIu64
			       " bytes",
			       r->len, *len);
	return rc;
}

static int request_check_no_vector(const struct qcow2_request *r,
				   struct qcow2_error *err)
{
	if (r->iov || r->iovcnt)
		return error_set(err, -EINVAL,
				 "operation %" PRIu32 " has no vector", r->op);
	if (r->op == QCOW2_OP_FLUSH && (r->off || r->len))
		return error_set(err, -EINVAL, "a flush has no range");
	return 0;
}

/* 0 and how many bytes it is about, or -EINVAL. */
static int request_check(const struct qcow2_image *img,
			 const struct qcow2_request *r, uint64_t *len)
{
	int rc = request_check_op(r, r->err);

	*len = r->len;
	if (rc == 0 && request_has_vector(r->op))
		rc = request_check_vector(r, len, r->err);
	else if (rc == 0)
		rc = request_check_no_vector(r, r->err);
	return rc < 0 ? rc : handle_check_range(img, *len, r->off, r->err);
}

/* The request at @at, in the size of this version; false if its size is not
 * @stride. */
static bool request_copy(const void *at, size_t stride,
			 struct qcow2_request *own)
{
	size_t size;

	memcpy(&size, at, sizeof(size));
	return size == stride &&
	       options_copy(own, sizeof(*own), at, "qcow2_request", NULL) == 0;
}

static int submit_all(struct qcow2_queue *queue,
		      const struct qcow2_request *requests, uint32_t n,
		      uint32_t *n_taken, struct qcow2_error *err)
{
	size_t stride = n ? requests->struct_size : 0;

	for (*n_taken = 0; *n_taken < n; ++*n_taken) {
		const char *at = (const char *)requests + *n_taken * stride;
		struct qcow2_request own;
		uint64_t len;
		int rc;

		if (!request_copy(at, stride, &own))
			return error_set(err, -EINVAL,
					 "struct_size of request %" PRIu32
					 " is not set, is not that of the "
					 "first, or stands for options that "
					 "this version does not know",
					 *n_taken);
		rc = request_check(queue->img, &own, &len);
		if (!queue_begin(queue->queue, &own, len, rc))
			return 0;
	}
	return 0;
}

int qcow2_queue_submit(struct qcow2_queue *queue,
		       const struct qcow2_request *requests, uint32_t n,
		       uint32_t *n_taken, struct qcow2_error *err)
{
	int rc = queue_check(queue, err);

	if (rc == 0 && (!n_taken || (n && !requests)))
		rc = error_set(err, -EINVAL,
			       "requests and n_taken must not be NULL");
	if (rc < 0)
		return rc;
	rc = submit_all(queue, requests, n, n_taken, err);
	queue_kick(queue->queue);
	return rc;
}

/* ---- Completions --------------------------------------------------------- */

/* Gives the caller completions of his own size. */
static int give_all(const struct qcow2_completion *from, uint32_t n,
		    struct qcow2_completion *out, struct qcow2_error *err)
{
	size_t stride = out->struct_size;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < n; i++) {
		char *at = (char *)out + i * stride;

		memcpy(at, &stride, sizeof(stride));
		rc = options_give(at, &from[i], sizeof(from[i]), err);
	}
	return rc;
}

int qcow2_queue_reap(struct qcow2_queue *queue, struct qcow2_completion *out,
		     uint32_t max, int timeout_ms, uint32_t *n,
		     struct qcow2_error *err)
{
	struct qcow2_completion own[COMPLETIONS_AT_ONCE];
	int rc = queue_check(queue, err);

	if (rc == 0 && (!n || !max))
		rc = error_set(err, -EINVAL,
			       "n must not be NULL, nor max be 0");
	if (rc == 0)
		rc = options_check_result(out, err);
	if (rc < 0)
		return rc;
	if (out->struct_size == sizeof(*out))
		return queue_reap(queue->queue, out, max, timeout_ms, n, err);
	rc = queue_reap(queue->queue, own,
			(uint32_t)min_u64(max, COMPLETIONS_AT_ONCE), timeout_ms,
			n, err);
	return rc < 0 ? rc : give_all(own, *n, out, err);
}

int qcow2_queue_drain(struct qcow2_queue *queue, struct qcow2_error *err)
{
	int rc = queue_check(queue, err);

	if (rc == 0)
		queue_drain(queue->queue);
	return rc;
}
