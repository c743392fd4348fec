/*
 * D5 on a real file system that is full, and larger later: werror=stop, grow
 * the volume, resume.  It needs to mount one, and is skipped without the right
 * to do that.
 */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include <qcow2.h>

enum { SKIPPED = 77, CLUSTER = 65536, N_CLUSTERS = 512 };

static char dir[] = "/tmp/full-host-XXXXXX";
static char path[64];

static int say(const char *what, int rc, const struct qcow2_error *err)
{
	printf("%s: %d %s\n", what, rc, rc < 0 ? err->message : "");
	return rc;
}

static bool mount_small(void)
{
	if (!mkdtemp(dir))
		return false;
	snprintf(path, sizeof(path), "%s/a", dir);
	if (unshare(CLONE_NEWNS) < 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", dir, "tmpfs", 0, "size=8m") < 0) {
		rmdir(dir);
		return false;
	}
	return true;
}

static void unmount(void)
{
	umount2(dir, MNT_DETACH);
	rmdir(dir);
}

static int open_disk(unsigned flags, struct qcow2_image **img)
{
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	struct qcow2_error err = { 0 };

	opts.flags = flags;
	return say("open", qcow2_open_path(path, &opts, img, &err), &err);
}

static void fill_cluster(uint8_t *buf, unsigned i)
{
	memset(buf, (int)(1 + i % 250), CLUSTER);
}

/* Writes from cluster @from on, as far as there is room; returns how many there
 * are then. */
static unsigned write_all(struct qcow2_image *img, unsigned from, uint8_t *buf)
{
	struct qcow2_error err = { 0 };
	unsigned i;
	int rc = 0;

	for (i = from; rc == 0 && i < N_CLUSTERS; i += rc == 0) {
		fill_cluster(buf, i);
		rc = qcow2_pwrite(img, buf, CLUSTER, (uint64_t)i * CLUSTER, 0,
				  &err);
	}
	say("write", rc, &err);
	return rc == -ENOSPC || rc == 0 ? i : 0;
}

static bool all_there(unsigned n, uint8_t *buf)
{
	struct qcow2_image *img;
	uint8_t want[512];
	bool ok = open_disk(0, &img) == 0;

	for (unsigned i = 0; ok && i < n; i++) {
		fill_cluster(buf, i);
		memcpy(want, buf, sizeof(want));
		ok = qcow2_pread(img, buf, CLUSTER, (uint64_t)i * CLUSTER, 0,
				 NULL) == 0 &&
		     !memcmp(buf, want, sizeof(want)) &&
		     !memcmp(buf, buf + 1, CLUSTER - 1);
		if (!ok)
			printf("cluster %u is lost\n", i);
	}
	if (img)
		qcow2_close(img, NULL);
	return ok;
}

static bool is_sound(void)
{
	struct qcow2_check_opts opts = QCOW2_CHECK_OPTS_INIT;
	struct qcow2_check_result r = { .struct_size = sizeof(r) };
	struct qcow2_error err = { 0 };
	int rc = say("check", qcow2_check_path(path, &opts, &r, &err), &err);

	printf("%" PRIu64 " corruptions, %" PRIu64 " leaks\n",
	       (uint64_t)r.corruptions, (uint64_t)r.leaks);
	return rc == 0 && r.corruptions == 0 && r.leaks == 0;
}

static bool stop_grow_resume(void)
{
	struct qcow2_create_opts create = QCOW2_CREATE_OPTS_INIT;
	struct qcow2_error err = { 0 };
	static uint8_t buf[CLUSTER];
	struct qcow2_image *img;
	unsigned n;
	int rc;

	create.virtual_size = (uint64_t)N_CLUSTERS * CLUSTER;
	create.cluster_size = CLUSTER;
	if (say("create", qcow2_create_path(path, &create, &err), &err) < 0 ||
	    open_disk(QCOW2_OPEN_RDWR, &img) < 0)
		return false;
	n = write_all(img, 0, buf);
	printf("%u clusters acknowledged\n", n);
	rc = say("flush", qcow2_flush(img, &err), &err);
	if (n < 64 || n >= N_CLUSTERS || rc != -ENOSPC)
		return false;
	if (mount("none", dir, "tmpfs", MS_REMOUNT, "size=64m") < 0 ||
	    say("flush with room", qcow2_flush(img, &err), &err) < 0 ||
	    write_all(img, n, buf) != N_CLUSTERS ||
	    say("close", qcow2_close(img, &err), &err) < 0)
		return false;
	return all_there(N_CLUSTERS, buf) && is_sound();
}

int main(void)
{
	bool ok;

	if (!mount_small()) {
		printf("no file system can be mounted here\n");
		return SKIPPED;
	}
	ok = stop_grow_resume();
	unmount();
	printf("%s\n", ok ? "ok" : "FAILED");
	return ok ? 0 : 1;
}
