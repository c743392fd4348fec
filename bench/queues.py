"""Queues: one thread that keeps 32 requests under way, with `qcow2 bench`,
against `qemu-img bench` in all its ways, our own threads, and fio on a plain
file (if it is installed), which moves the bytes alone."""

import pathlib
import shutil
import sys
from collections import namedtuple

import writing
from measure import Case
from writing import GIB, KIB, MIB, MIDDLE, PATTERN, SCATTERED

DEPTH = 32
FIO = pathlib.Path(__file__).with_name("fio.py")

# `kind`: what fio calls it; None if a plain file has nothing like it.
Load = namedtuple("Load", "name n_requests size offset step make writes kind")


class Bench(writing.Bench):
    """The images of guest writes; `cache` is none or writeback."""

    def __init__(self, qcow2, program, where, quick, cache):
        super().__init__(program, where, quick)
        self.qcow2 = qcow2
        self.cache = cache

    def words(self, load, image, n_requests, flush):
        write = ["-w", f"--pattern={PATTERN}"] if load.writes else []
        interval = [f"--flush-interval={flush}"] if flush else []
        return ["-f", "qcow2", "-t", self.cache, "-c", n_requests, "-s",
                load.size, "-o", load.offset, "-S", load.step, "-d", DEPTH,
                *write, *interval, image]

    def ours(self, w, image, n_requests, threads=0, flush=0):
        """With `threads` these do everything, and there is no ring."""
        way = ["-i", "threads", "--workers", threads] if threads else []
        return [self.qcow2, "bench", *way,
                *self.words(w, image, n_requests, flush)]

    def theirs(self, w, image, n_requests, depth=DEPTH, flush=0,
               aio="io_uring"):
        return ["qemu-img", "bench", "-i", aio,
                *self.words(w, image, n_requests, flush)]

    def all_of_theirs(self, load, image, n_requests):
        ways = ["io_uring", "threads"]
        if self.cache == "none":
            ways.append("native")
        return {f"-i {aio}": self.theirs(load, image, n_requests, aio=aio)
                for aio in ways}

    def plain_file(self):
        """As large as the full image, and written to."""
        path = self.where / "plain.raw"
        if not path.exists():
            with open(path, "wb") as f:
                for _ in range(GIB // self.share // MIB):
                    f.write(bytes([PATTERN]) * MIB)
        return path

    def floor(self, w, n_requests, threads=1):
        if not w.kind or not shutil.which("fio"):
            return None
        is_new = w.make == self.empty_small
        file = self.where / "new.raw" if is_new else self.plain_file()
        size = GIB if is_new else GIB // self.share
        return [sys.executable, FIO, file, w.kind, w.size, n_requests, size, DEPTH,
                int(self.cache == "none"), int(is_new)]

    def kinds(self):
        at_4k = SCATTERED + 4 * KIB
        loads = [Load(*words) for words in (
            ("4 KiB scattered read", 100000, 4 * KIB, 0, at_4k, self.full,
             False, "randread"),
            ("4 KiB scattered overwrite", 100000, 4 * KIB, 0, at_4k,
             self.full, True, "randwrite"),
            ("4 KiB scattered write, allocating", 20000, 4 * KIB, MIDDLE,
             SCATTERED, self.empty, True, None),
            ("4 KiB scattered write over a backing file", 10000, 4 * KIB,
             MIDDLE, SCATTERED, self.overlay, True, None),
            ("the same, extended_l2", 10000, 4 * KIB, MIDDLE, SCATTERED,
             self.overlay_extended, True, None),
            ("1 MiB sequential write, new", 1000, MIB, 0, MIB,
             self.empty_small, True, "write"))]
        return loads[:2] if self.share > 1 else loads


def cases(bench):
    """Compares the queue with qemu-img, then with threads of our own."""
    where = "O_DIRECT" if bench.cache == "none" else "page cache"
    for load in bench.kinds():
        n = max(load.n_requests // bench.share, DEPTH)
        image = load.make()
        ours = bench.ours(load, image, n)
        name = f"queue, {where}: {load.name}"
        yield Case(name, ours, bench.all_of_theirs(load, image, n), None,
                   prepare=load.make, n_requests=n,
                   floor=bench.floor(load, n))
        yield Case(f"{name}, our threads", ours,
                   {f"{n_threads} threads":
                    bench.ours(load, image, n, threads=n_threads)
                    for n_threads in (2, DEPTH)},
                   None, prepare=load.make, n_requests=n)
