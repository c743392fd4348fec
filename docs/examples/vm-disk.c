/*
 * The disk of a virtual machine: four queues, as virtio-blk has them, each with
 * a thread, over one image and one pool of workers.  Snapshots, a growth and a
 * full host come beside the load.
 *
 *	cc -pthread vm-disk.c $(pkg-config --cflags --libs libqcow2) -o vm-disk
 *	./vm-disk disk.qcow2
 *
 * The guest here is a random load that knows what it wrote, so the program
 * destroys the disk that it is given, and says at the end whether it was right.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <qcow2.h>

enum { N_QUEUES = 4, DEPTH = 16, N_SNAPSHOTS = 10, PHASE_REQUESTS = 1000 };
enum { BLOCK_BYTES = 64 << 10, HOST_ROOM_BYTES = 1 << 20 };

/* Nobody knows what such a block holds: the guest has not written to it. */
#define VERSION_UNKNOWN UINT64_MAX
/* Discarded or zeroed; other versions are numbers of writes. */
#define VERSION_ZERO 0

/* One disk.  Every block belongs to one slot of one queue, as a sector belongs
 * to one driver's request: requests that overlap would have no certain end. */
struct disk {
	struct qcow2_image *img;
	_Atomic uint64_t n_blocks; /* grows while the guest runs */
	uint64_t *versions;        /* of each block; room for the growth */
	_Atomic uint64_t n_done;
	_Atomic bool ending; /* the guest shall make no new requests */
	_Atomic bool failed;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool stopped; /* the host has no room: the guest waits */
};

/* A request in the ring that host and guest share, and its buffer. */
struct slot {
	struct qcow2_request request;
	struct iovec iov;
	struct qcow2_error err;
	uint64_t block;
	uint64_t version; /* of the block, once the request has succeeded */
	bool under_way;
	bool again; /* there was no room: to be made once more */
};

struct guest_queue {
	struct disk *disk;
	struct qcow2_queue *queue;
	pthread_t thread;
	uint64_t index;
	uint64_t random;
	unsigned n_under_way;
	struct slot slots[DEPTH];
};

/* ---- What blocks hold ---------------------------------------------------- */

static uint64_t word_of(uint64_t block, uint64_t version, size_t i)
{
	return version == VERSION_ZERO
		       ? 0
		       : (block << 32 ^ version) * 0x9e3779b97f4a7c15 + i;
}

static void block_fill(uint64_t *words, uint64_t block, uint64_t version)
{
	for (size_t i = 0; i < BLOCK_BYTES / sizeof(*words); i++)
		words[i] = word_of(block, version, i);
}

static bool block_is_right(const uint64_t *words, uint64_t block,
			   uint64_t version)
{
	if (version == VERSION_UNKNOWN)
		return true;
	for (size_t i = 0; i < BLOCK_BYTES / sizeof(*words); i++)
		if (words[i] != word_of(block, version, i))
			return false;
	return true;
}

/* ---- A host without room ------------------------------------------------- */

static bool is_no_room(int rc)
{
	return rc == -ENOSPC || rc == -EDQUOT || rc == -EFBIG;
}

/* A request found no room.  False when the guest is about to end: then nobody
 * makes room any more. */
static bool disk_stop(struct disk *d)
{
	bool stops;

	pthread_mutex_lock(&d->lock);
	stops = !d->ending;
	d->stopped |= stops;
	pthread_mutex_unlock(&d->lock);
	return stops;
}

static void disk_go_on(struct disk *d, bool ending)
{
	pthread_mutex_lock(&d->lock);
	d->stopped = false;
	d->ending |= ending;
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->lock);
}

static bool disk_is_stopped(struct disk *d)
{
	bool stopped;

	pthread_mutex_lock(&d->lock);
	stopped = d->stopped;
	pthread_mutex_unlock(&d->lock);
	return stopped;
}

static void disk_wait_for_room(struct disk *d)
{
	pthread_mutex_lock(&d->lock);
	while (d->stopped)
		pthread_cond_wait(&d->changed, &d->lock);
	pthread_mutex_unlock(&d->lock);
}

/* The limit of the file size stands for a file system that fills up; a queue's
 * requests fail with -EFBIG then. */
static void host_limit(uint64_t bytes)
{
	struct rlimit limit;

	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
	setrlimit(RLIMIT_FSIZE, &limit);
}

static int host_leave_little_room(struct disk *d, struct qcow2_error *err)
{
	struct qcow2_info info = { .struct_size = sizeof(info) };
	int rc = qcow2_get_info(d->img, 0, &info, err);

	if (rc == 0)
		host_limit(info.file_size + HOST_ROOM_BYTES);
	return rc;
}

/*
 * There is room again.  The flush comes first: metadata that found no room
 * waits in memory, and once the flush returns 0 all that the guest was told is
 * on the disk.  Then the guest goes on, with the requests that failed.
 */
static int host_make_room(struct disk *d, struct qcow2_error *err)
{
	int rc;

	host_limit(RLIM_INFINITY);
	rc = qcow2_flush(d->img, err);
	if (rc == 0)
		disk_go_on(d, false);
	return rc;
}

/* ---- The guest's requests ------------------------------------------------ */

static uint64_t random_below(struct guest_queue *g, uint64_t limit)
{
	g->random = g->random * 6364136223846793005 + 1442695040888963407;
	return (g->random >> 33) % limit;
}

static uint64_t slot_random_block(struct guest_queue *g, const struct slot *s)
{
	uint64_t n = g->disk->n_blocks / (N_QUEUES * DEPTH);
	uint64_t slot = (uint64_t)(s - g->slots);

	return (random_below(g, n) * DEPTH + slot) * N_QUEUES + g->index;
}

static uint32_t random_op(struct guest_queue *g)
{
	uint64_t percent = random_below(g, 100);

	return percent < 50   ? QCOW2_OP_READ
	       : percent < 85 ? QCOW2_OP_WRITE
	       : percent < 90 ? QCOW2_OP_ZERO
	       : percent < 98 ? QCOW2_OP_DISCARD
			      : QCOW2_OP_FLUSH;
}

/* Vectors go with the operations that carry data, lengths with the others. */
static void slot_prepare(struct guest_queue *g, struct slot *s)
{
	struct qcow2_request r = QCOW2_REQUEST_INIT;
	bool has_data;

	s->block = slot_random_block(g, s);
	s->version = g->disk->versions[s->block];
	r.op = random_op(g);
	r.user_data = (uint64_t)(s - g->slots);
	r.err = &s->err;
	has_data = r.op == QCOW2_OP_READ || r.op == QCOW2_OP_WRITE;
	if (has_data) {
		r.iov = &s->iov;
		r.iovcnt = 1;
	}
	if (r.op != QCOW2_OP_FLUSH) {
		r.off = s->block * BLOCK_BYTES;
		r.len = BLOCK_BYTES;
	}
	if (r.op == QCOW2_OP_WRITE) {
		s->version = 1 + random_below(g, UINT32_MAX);
		block_fill(s->iov.iov_base, s->block, s->version);
	} else if (r.op == QCOW2_OP_ZERO || r.op == QCOW2_OP_DISCARD) {
		/* A block has whole clusters, so it reads as zeros after a
		 * discard. */
		s->version = VERSION_ZERO;
	}
	s->request = r;
}

static void guest_fail(struct guest_queue *g, const char *why)
{
	fprintf(stderr, "queue %" PRIu64 ": %s\n", g->index, why);
	g->disk->failed = true;
}

/* The queue has as many places as there are slots, so it takes all. */
static void guest_submit(struct guest_queue *g)
{
	struct qcow2_request batch[DEPTH];
	struct qcow2_error err;
	uint32_t n = 0, n_taken;

	for (struct slot *s = g->slots; s < g->slots + DEPTH; s++) {
		if (s->under_way || (g->disk->ending && !s->again))
			continue;
		if (!s->again)
			slot_prepare(g, s);
		s->again = false;
		s->under_way = true;
		batch[n++] = s->request;
	}
	g->n_under_way += n;
	if (n && qcow2_queue_submit(g->queue, batch, n, &n_taken, &err) < 0) {
		guest_fail(g, err.message);
		g->n_under_way -= n;
	}
}

static void slot_complete(struct guest_queue *g, struct slot *s, int rc)
{
	s->under_way = false;
	g->n_under_way--;
	if (is_no_room(rc) && disk_stop(g->disk)) {
		s->again = true;
	} else if (rc < 0) {
		guest_fail(g, s->err.message);
	} else if (s->request.op == QCOW2_OP_READ &&
		   !block_is_right(s->iov.iov_base, s->block, s->version)) {
		guest_fail(g, "a block does not hold what was written to it");
	} else {
		g->disk->versions[s->block] = s->version;
		g->disk->n_done++;
	}
}

/* Waits for one completion at least if anything is under way.  A thread that
 * waits for other things too would use qcow2_queue_fd(); see poll-loop.c. */
static void guest_reap(struct guest_queue *g)
{
	struct qcow2_completion done[DEPTH] = { QCOW2_COMPLETION_INIT };
	struct qcow2_error err;
	uint32_t n;

	if (qcow2_queue_reap(g->queue, done, DEPTH, -1, &n, &err) < 0) {
		guest_fail(g, err.message);
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		slot_complete(g, &g->slots[done[i].user_data], done[i].rc);
}

static bool guest_has_ended(const struct guest_queue *g)
{
	if (g->disk->failed)
		return true;
	for (const struct slot *s = g->slots; s < g->slots + DEPTH; s++)
		if (s->under_way || s->again)
			return false;
	return g->disk->ending;
}

/* While the host is full nothing new is begun; the guest sees a slow disk and
 * no error.  What is under way ends one way or the other. */
static void *guest_run(void *opaque)
{
	struct guest_queue *g = opaque;

	while (!guest_has_ended(g)) {
		if (!g->n_under_way)
			disk_wait_for_room(g->disk);
		if (!disk_is_stopped(g->disk))
			guest_submit(g);
		guest_reap(g);
	}
	return NULL;
}

static void guest_end(struct guest_queue *g)
{
	qcow2_queue_free(g->queue);
	for (unsigned i = 0; i < DEPTH; i++)
		free(g->slots[i].iov.iov_base);
}

static int guest_begin(struct guest_queue *g, struct disk *d, uint64_t index,
		       struct qcow2_pool *pool, struct qcow2_error *err)
{
	struct qcow2_queue_opts opts = QCOW2_QUEUE_OPTS_INIT;
	int rc;

	g->disk = d;
	g->index = index;
	g->random = index;
	opts.depth = DEPTH;
	opts.pool = pool;
	rc = qcow2_queue_new(d->img, &opts, &g->queue, err);
	for (unsigned i = 0; rc == 0 && i < DEPTH; i++) {
		/* Aligned buffers also serve images opened with DIRECT. */
		rc = -posix_memalign(&g->slots[i].iov.iov_base, 4096,
				     BLOCK_BYTES);
		g->slots[i].iov.iov_len = BLOCK_BYTES;
	}
	if (rc == 0)
		rc = -pthread_create(&g->thread, NULL, guest_run, g);
	if (rc < 0 && g->queue)
		snprintf(err->message, sizeof(err->message), "queue: %s",
			 strerror(-rc));
	if (rc < 0)
		guest_end(g);
	return rc;
}

/* ---- What the host does beside ------------------------------------------- */

static void nap(void)
{
	nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
}

/* Lets the guest make so many requests more, unless it fails or stops. */
static void guest_work(struct disk *d)
{
	uint64_t goal = d->n_done + PHASE_REQUESTS;

	while (d->n_done < goal && !d->failed && !disk_is_stopped(d))
		nap();
}

static int full_host(struct disk *d, struct qcow2_error *err)
{
	int rc = host_leave_little_room(d, err);

	if (rc < 0)
		return rc;
	guest_work(d);
	printf("the host is %s after %" PRIu64 " requests\n",
	       disk_is_stopped(d) ? "full" : "not full yet", d->n_done);
	return host_make_room(d, err);
}

/* Snapshots are taken and deleted while the guest writes: writers wait for as
 * long as that takes, and need not be told. */
static int snapshots(struct disk *d, struct qcow2_error *err)
{
	char name[32];
	int rc = 0;

	for (int i = 0; rc == 0 && i < N_SNAPSHOTS; i++) {
		guest_work(d);
		snprintf(name, sizeof(name), "snapshot-%d", i);
		rc = qcow2_snapshot_create(d->img, name, NULL, err);
		if (rc == 0 && i % 3 == 0)
			rc = qcow2_snapshot_delete(d->img, name, err);
	}
	return rc;
}

/* The guest uses the new blocks when the growth has succeeded, not before. */
static int growth(struct disk *d, struct qcow2_error *err)
{
	uint64_t size = qcow2_size(d->img) * 2;
	int rc = qcow2_resize(d->img, size, NULL, err);

	if (rc == 0)
		d->n_blocks = size / BLOCK_BYTES;
	return rc;
}

static int host_run(struct disk *d, struct qcow2_error *err)
{
	int rc = full_host(d, err);

	if (rc == 0)
		rc = snapshots(d, err);
	if (rc == 0)
		rc = growth(d, err);
	if (rc == 0)
		guest_work(d);
	return rc;
}

/* ---- The end ------------------------------------------------------------- */

static int verify(const struct disk *d, struct qcow2_error *err)
{
	uint64_t *words = malloc(BLOCK_BYTES);
	int rc = words ? 0 : -ENOMEM;

	for (uint64_t b = 0; rc == 0 && b < d->n_blocks; b++) {
		rc = qcow2_pread(d->img, words, BLOCK_BYTES, b * BLOCK_BYTES,
				 0, err);
		if (rc == 0 && !block_is_right(words, b, d->versions[b])) {
			snprintf(err->message, sizeof(err->message),
				 "block %" PRIu64 " has lost its data", b);
			rc = -EIO;
		}
	}
	free(words);
	return rc;
}

static void print_queue(struct guest_queue *g)
{
	struct qcow2_queue_info info = QCOW2_QUEUE_INFO_INIT;

	if (qcow2_queue_get_info(g->queue, &info, NULL) == 0)
		printf("queue %" PRIu64 ": at once %" PRIu64 ", io_uring %"
		       PRIu64 ", workers %" PRIu64 "\n",
		       g->index, info.n_inline, info.n_ring, info.n_worker);
}

static void print_requests(const char *name,
			   const struct qcow2_request_stats *s)
{
	printf("%-8s %8" PRIu64 " done, %8" PRIu64 " KiB, %" PRIu64
	       " failed\n",
	       name, s->done, s->bytes >> 10, s->failed);
}

static void print_stats(struct qcow2_image *img)
{
	struct qcow2_stats stats = QCOW2_STATS_INIT;

	if (qcow2_get_stats(img, 0, &stats, NULL) < 0)
		return;
	print_requests("read", &stats.read);
	print_requests("write", &stats.write);
	print_requests("zero", &stats.zero);
	print_requests("discard", &stats.discard);
	print_requests("flush", &stats.flush);
	printf("clusters: %" PRIu64 " allocated, %" PRIu64 " freed; %" PRIu64
	       " commits\n",
	       stats.allocated_clusters, stats.freed_clusters, stats.commits);
}

/* Queues end before the pool that they use, and both before the image. */
static int guest_and_host_run(struct disk *d, struct qcow2_pool *pool,
			      struct qcow2_error *err)
{
	static struct guest_queue guests[N_QUEUES];
	uint64_t n = 0;
	int rc = 0;

	while (n < N_QUEUES && rc == 0) {
		rc = guest_begin(&guests[n], d, n, pool, err);
		n += rc == 0;
	}
	if (rc == 0)
		rc = host_run(d, err);
	/* Queues that wait for room would wait for ever. */
	disk_go_on(d, true);
	for (uint64_t i = 0; i < n; i++) {
		pthread_join(guests[i].thread, NULL);
		print_queue(&guests[i]);
		guest_end(&guests[i]);
	}
	return rc;
}

static int disk_run(struct disk *d, struct qcow2_error *err)
{
	struct qcow2_pool_opts opts = QCOW2_POOL_OPTS_INIT;
	struct qcow2_pool *pool;
	int rc;

	opts.n_threads = 4;
	rc = qcow2_pool_new(&opts, &pool, err);
	if (rc < 0)
		return rc;
	rc = guest_and_host_run(d, pool, err);
	qcow2_pool_free(pool);
	if (rc == 0 && !d->failed)
		rc = verify(d, err);
	print_stats(d->img);
	return rc;
}

/* ---- Open and close ------------------------------------------------------ */

static int disk_open(struct disk *d, const char *path, struct qcow2_error *err)
{
	struct qcow2_gate gate = QCOW2_GATE_INIT;
	struct qcow2_open_opts opts = QCOW2_OPEN_OPTS_INIT;
	int rc;

	gate.mode = QCOW2_EXTERNAL_DIR; /* backing files beside the image */
	opts.gate = &gate;
	opts.flags = QCOW2_OPEN_RDWR;
	/* What the guest discards, and what deleted snapshots leave, goes back
	 * to the host; clusters that writes replace are used again soon. */
	opts.discard = QCOW2_DISCARD_REQUEST | QCOW2_DISCARD_SNAPSHOT;
	rc = qcow2_open_path(path, &opts, &d->img, err);
	if (rc == 0)
		d->n_blocks = qcow2_size(d->img) / BLOCK_BYTES;
	return rc;
}

static int disk_prepare(struct disk *d, struct qcow2_error *err)
{
	uint64_t n = 2 * d->n_blocks; /* growth() doubles it */

	if (d->n_blocks < N_QUEUES * DEPTH) {
		snprintf(err->message, sizeof(err->message),
			 "the disk has less than a block for each slot");
		return -EINVAL;
	}
	d->versions = malloc(n * sizeof(*d->versions));
	if (!d->versions) {
		snprintf(err->message, sizeof(err->message), "no memory");
		return -ENOMEM;
	}
	for (uint64_t i = 0; i < n; i++)
		d->versions[i] = VERSION_UNKNOWN;
	return 0;
}

int main(int argc, char **argv)
{
	static struct disk disk = { .lock = PTHREAD_MUTEX_INITIALIZER,
				    .changed = PTHREAD_COND_INITIALIZER };
	struct qcow2_error err = { .message = "usage: vm-disk IMAGE" };
	int rc = -EINVAL, close_rc;

	signal(SIGXFSZ, SIG_IGN); /* the limit of host_limit() is an error */
	if (argc == 2)
		rc = disk_open(&disk, argv[1], &err);
	if (rc == 0)
		rc = disk_prepare(&disk, &err);
	if (rc == 0)
		rc = disk_run(&disk, &err);
	if (rc < 0)
		fprintf(stderr, "%s\n", err.message);
	close_rc = qcow2_close(disk.img, &err);
	if (close_rc < 0)
		fprintf(stderr, "%s\n", err.message);
	free(disk.versions);
	if (rc == 0 && close_rc == 0 && !disk.failed)
		puts("no data was lost");
	return rc < 0 || close_rc < 0 || disk.failed;
}
