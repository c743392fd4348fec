#!/usr/bin/env python3
"""`convert` keeps to the memory that qcow2.h promises: 64 MiB and 8 MiB for
each thread, the needs of compression besides (40 MiB a thread at most), and
the caches of the images, whatever the clusters' size and however large the
disk.

Usage: convert_memory.py COMMAND
"""

import os
import random
import resource
import subprocess
import sys
import tempfile

from matrix import scratch

MIB = 1 << 20
CACHES = 64 * MIB
SIZE = 1 << 40
CHUNKS = 80


def run(*args):
    """Peak of the resident memory of one command, in bytes."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        # This is the peak of all children that ended, which is this one alone.
        done = subprocess.run(args, capture_output=True, check=False)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        os.write(writer, f"{done.returncode} {peak}".encode())
        os._exit(0)
    os.waitpid(pid, 0)
    status, peak = map(int, os.read(reader, 100).split())
    os.close(reader)
    os.close(writer)
    if status:
        sys.exit(f"{' '.join(args)}: exit status {status}")
    return peak


def make_source(name):
    """A terabyte with a MiB here and there that does not compress."""
    rng = random.Random(3)
    with open(name, "wb") as f:
        f.truncate(SIZE)
        for i in range(CHUNKS):
            f.seek(SIZE // CHUNKS * i // MIB * MIB + 512 * rng.randrange(9))
            f.write(rng.randbytes(MIB))


def cases():
    for cluster in ["64k", "2M", "4k"]:
        for threads in [1, 8]:
            yield threads, 0, ["-o", f"cluster_size={cluster}"]
            yield threads, 0, ["-c", "-o", f"cluster_size={cluster}"]
    yield 8, 40, ["-c", "-o", "cluster_size=2M,compression_type=zstd",
                  "--compress-level", "19"]


def main():
    qcow2 = os.path.abspath(sys.argv[1])
    failed = 0
    with tempfile.TemporaryDirectory(dir=scratch()) as where:
        os.chdir(where)
        make_source("s.raw")
        for threads, state, options in cases():
            peak = run(qcow2, "convert", "-O", "qcow2", "-m", str(threads),
                       *options, "s.raw", "o.qcow2")
            limit = (64 + (8 + state) * threads) * MIB + CACHES
            if peak > limit:
                print(f"FAILED -m {threads} {options}: {peak >> 20} MiB, "
                      f"more than {limit >> 20}")
                failed += 1
            else:
                print(f"-m {threads} {' '.join(options)}: {peak >> 20} of "
                      f"{limit >> 20} MiB")
        os.chdir("/")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
