/*
 * A loop device, where the test may make one.
 */
#ifndef LOOP_DEVICE_H
#define LOOP_DEVICE_H

#include <linux/loop.h>
#include <sys/ioctl.h>

#include "store_test.h"

struct loop_device {
	char path[64];
	int fd;
};

/* Attaches a free device to @file; false where that is not possible. */
static inline bool loop_attach(struct loop_device *d, const char *file)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int number = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);
	int backing = open(file, O_RDWR | O_CLOEXEC);

	if (control >= 0)
		close(control);
	snprintf(d->path, sizeof(d->path), "/dev/loop%d", number);
	d->fd = number < 0 ? -1 : open(d->path, O_RDWR | O_CLOEXEC);
	if (d->fd >= 0 && ioctl(d->fd, LOOP_SET_FD, backing) < 0) {
		close(d->fd);
		d->fd = -1;
	}
	if (backing >= 0)
		close(backing);
	return d->fd >= 0;
}

static inline void loop_detach(struct loop_device *d)
{
	ioctl(d->fd, LOOP_CLR_FD);
	close(d->fd);
}

#endif
