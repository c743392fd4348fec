"""Guest writes, in-process through the library, against `qemu-img bench`.

Both write the same bytes to the same offsets in the same order: request
number i goes to an offset and i times a step, modulo the size of the disk.
A step of thousands of clusters scatters the requests, and hits all places
before it hits one twice.  The offset is in the middle of a cluster, so that the
data to copy lies on both sides.
"""

import subprocess
from collections import namedtuple

from measure import Case

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
CLUSTER = 64 * KIB
PATTERN = 0xa5

# The number is odd, so all clusters of a disk of a power of two come up.
SCATTERED = 7919 * CLUSTER
MIDDLE = 20 * KIB

Writes = namedtuple("Writes", "name n_requests size offset step goal make")


class Bench:
    """The place of the images, and the program that writes."""

    def __init__(self, program, where, quick):
        self.program = str(program)
        self.where = where
        self.share = 64 if quick else 1
        self.host_copy = str(program.with_name("host-copy"))

    def image(self, name):
        return self.where / f"writes-{name}.qcow2"

    def create(self, name, size, *options):
        image = self.image(name)
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options,
                        image, str(size)], check=True)
        return image

    def ours(self, w, image, n_requests, threads=1, flush=0):
        return [self.program, "-c", n_requests, "-s", w.size, "-o", w.offset,
                "-S", w.step, "-j", threads, "-f", flush, image]

    def theirs(self, w, image, n_requests, depth=1, flush=0, aio="threads"):
        interval = [f"--flush-interval={flush}"] if flush else []
        return ["qemu-img", "bench", "-w", "-f", "qcow2", "-t", "writeback",
                f"--pattern={PATTERN}", "-c", n_requests, "-s", w.size, "-o",
                w.offset, "-S", w.step, "-d", depth, "-i", aio, *interval,
                image]

    def floor(self, w, n_requests, threads):
        """Writes the bytes into a new file, which the next image replaces;
        returns None if the host has more to do."""
        if w.make != self.empty_small:
            return None
        return [self.host_copy, "-j", threads, "-s", w.size, "-b",
                n_requests * w.size, self.image("empty")]

    # Images: a file of data that is overwritten, an empty one, an overlay.

    def full(self):
        image = self.image("full")
        if not image.exists():
            self.create("full", GIB // self.share)
            subprocess.run([self.program, "-c", str(GIB // self.share // MIB),
                            "-s", str(MIB), "-S", str(MIB), image],
                           check=True, stdout=subprocess.DEVNULL)
        return image

    def empty(self):
        return self.create("empty", 16 * GIB)

    def empty_small(self):
        return self.create("empty", GIB)

    def backing(self):
        path = self.where / f"writes-backing-{self.share}.raw"
        if not path.exists():
            with open(path, "wb") as f:
                for _ in range(GIB // self.share // MIB):
                    f.write(bytes([PATTERN ^ 0xff]) * MIB)
        return path

    def overlay(self, *options):
        return self.create("overlay", GIB // self.share, "-b",
                           self.backing().name, "-F", "raw", *options)

    def overlay_extended(self):
        return self.overlay("-o", "extended_l2=on")

    def kinds(self):
        """Returns the loads; `goal`: with one request at a time, then more."""
        at_4k = SCATTERED + 4 * KIB
        return [
            Writes("4 KiB scattered overwrite", 100000, 4 * KIB, 0, at_4k,
                   (0.33, 0.33), self.full),
            Writes("4 KiB scattered write, allocating", 20000, 4 * KIB,
                   MIDDLE, SCATTERED, (0.33, 0.33), self.empty),
            Writes("4 KiB scattered write over a backing file", 10000,
                   4 * KIB, MIDDLE, SCATTERED, (0.4, 0.4), self.overlay),
            Writes("the same, extended_l2", 10000, 4 * KIB, MIDDLE, SCATTERED,
                   (0.59, 0.59), self.overlay_extended),
            Writes("1 MiB sequential write, new", 1000, MIB, 0, MIB,
                   (0.5, 0.5), self.empty_small),
            Writes("1 MiB sequential overwrite", 1000, MIB, 0, MIB,
                   (None, None), self.full),
        ]


def speed_cases(bench):
    for w in bench.kinds():
        n = w.n_requests // bench.share
        image = w.make()
        yield Case(f"{w.name}, one thread", bench.ours(w, image, n),
                   {f"-d 1 -i {aio}": bench.theirs(w, image, n, aio=aio)
                    for aio in ("threads", "io_uring")},
                   w.goal[0], prepare=w.make, n_requests=n,
                   floor=bench.floor(w, n, 1))
        yield Case(f"{w.name}, two threads",
                   bench.ours(w, image, n, threads=2),
                   {f"-d {depth}": bench.theirs(w, image, n, depth)
                    for depth in (2, 32)},
                   w.goal[1], prepare=w.make, n_requests=n,
                   floor=bench.floor(w, n, 2))


def flush_cases(bench):
    """Returns the cases with flushes: both wait for any disk there is."""
    for w in bench.kinds()[:3]:
        image = w.make()
        for interval, n in ((1, 400), (16, 3200)):
            n = max(n // bench.share, 2 * interval)
            yield Case(f"{w.name}, flush every {interval}",
                       bench.ours(w, image, n, flush=interval),
                       {"-d 1": bench.theirs(w, image, n, flush=interval)},
                       None, prepare=w.make, n_requests=n)
