#include "chain/carry.h"

#include <assert.h>
#include <errno.h>

#include "base/error.h"
#include "chain/disk_impl.h"
#include "write/writer.h"

/* Bytes that no layer has are zeros. */
int layer_begin_read(struct layer *l, uint64_t len, uint64_t off,
		     struct carried *c, struct qcow2_error *err)
{
	int rc;

	if (!l || off >= l->size)
		return 0;
	if (len > l->size - off || !l->ops->begin_read)
		return error_set(err, -EAGAIN,
				 "the bytes are not in one "
				 "place");
	rc = l->ops->begin_read(l, len, off, c, err);
	return rc < 0 ? error_in_layer(err, rc, l->depth) : 0;
}

int disk_begin_read(struct disk *d, uint64_t len, uint64_t off,
		    struct carried *c, struct qcow2_error *err)
{
	assert(len && off <= disk_size(d) && len <= disk_size(d) - off);
	if (d->metadata_only)
		return error_set(err, -EPERM,
				 "the image was opened for its metadata only");
	c->transfer = (struct transfer){ .off = off, .len = len };
	c->layer = &d->layers[0];
	c->grace = (struct grace_ref){ NULL };
	return layer_begin_read(&d->layers[0], len, off, c, err);
}

int disk_begin_write(struct disk *d, uint64_t len, uint64_t off,
		     struct carried *c, struct qcow2_error *err)
{
	struct layer *top = &d->layers[0];
	int rc = disk_check_writable(d, err);

	assert(len && off <= disk_size(d) && len <= disk_size(d) - off);
	if (rc < 0)
		return rc;
	if (!top->ops->write->begin)
		return error_set(err, -EAGAIN, "only a call can write it");
	c->transfer = (struct transfer){
		.store = top->data, .off = off, .len = len, .is_write = true
	};
	c->layer = top;
	c->grace = (struct grace_ref){ NULL };
	return top->ops->write->begin(top, len, off, c, err);
}

int disk_end_carried(struct carried *c, int rc, unsigned flags,
		     struct qcow2_error *err)
{
	const struct layer_write_ops *write = c->layer->ops->write;

	if (c->transfer.is_write)
		return write->end ? write->end(c, rc, flags, err) : rc;
	writer_grace_end(c->grace);
	return rc;
}

void disk_add_carrier(struct disk *d, struct inflight_carrier *carrier)
{
	struct layer *top = &d->layers[0];

	if (d->writable && top->ops->write->add_carrier)
		top->ops->write->add_carrier(top, carrier);
}

void disk_remove_carrier(struct disk *d, struct inflight_carrier *carrier)
{
	struct layer *top = &d->layers[0];

	if (d->writable && top->ops->write->add_carrier)
		top->ops->write->remove_carrier(top, carrier);
}
