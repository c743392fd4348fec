#!/usr/bin/env python3
"""The same source and options give the same bytes: for any number of threads,
each time, and with any former file at the target's name.

Usage: convert_repeats.py COMMAND

A sample of the ways to convert is taken; see sample.py.
"""

import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile

from matrix import scratch

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from sample import Sample  # pylint: disable=wrong-import-position

SIZE = 24 << 20
THREADS = ["1", "2", "8", "8"]
TARGETS = ["cluster_size=64k", "cluster_size=4k", "cluster_size=2M",
           "cluster_size=512", "extended_l2=on,cluster_size=32k"]
LEVELS = {"zlib": ["1", "6", "9", "fast", "fast2", "fast3"],
          "zstd": ["1", "3", "12"]}


def run(*args):
    done = subprocess.run(args, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(args)}: {done.stdout}{done.stderr}")


def make_sources(qcow2):
    """Text-like bytes, bytes that do not compress, and holes."""
    rng = random.Random(19)
    words = [rng.randbytes(rng.randrange(2, 9)) for _ in range(500)]
    with open("s.raw", "wb") as f:
        f.truncate(SIZE)
        for off in range(0, SIZE, 1 << 20):
            f.seek(off + rng.randrange(1 << 18))
            n = rng.randrange(1 << 19)
            f.write(b"".join(rng.choices(words, k=n // 8)))
            if rng.random() < 0.3:
                f.write(rng.randbytes(70000))
    run(qcow2, "convert", "-c", "-O", "qcow2", "-o", "cluster_size=8k",
        "s.raw", "s.qcow2")


def has_fast_levels(qcow2):
    done = subprocess.run([qcow2, "convert", "-O", "qcow2", "-c",
                           "--compress-level", "fast", "s.raw", "x.qcow2"],
                          capture_output=True, check=False)
    return done.returncode == 0


def digest(name):
    with open(name, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def cases(fast):
    for target in TARGETS:
        yield ["-o", target]
        for kind, levels in LEVELS.items():
            # One level with each shape, all with the usual one.
            some = levels if target == TARGETS[0] else levels[-1:]
            for level in some:
                if fast or not level.startswith("fast"):
                    yield ["-c", "-o", f"{target},compression_type={kind}",
                           "--compress-level", level]


def may_differ(options):
    """ISA-L, which the fast levels use, does not always find the same matches."""
    return any(option.startswith("fast") for option in options)


def check(qcow2, source, options):
    made = set()
    # Disks that are only compared need no second image of a kind.
    numbers = THREADS[1:3] if may_differ(options) else THREADS
    for i, threads in enumerate(numbers):
        # Every other time there is nothing yet.
        if i % 2 and os.path.exists("o.qcow2"):
            os.unlink("o.qcow2")
        run(qcow2, "convert", "-O", "qcow2", "-m", threads, *options, source,
            "o.qcow2")
        made.add(digest("o.qcow2"))
        if may_differ(options):
            run(qcow2, "compare", "-q", "s.raw", "o.qcow2")
    if len(made) != 1 and not may_differ(options):
        print(f"FAILED {source} {options}: {len(made)} different images")
        return 1
    run(qcow2, "compare", "-q", "s.raw", "o.qcow2")
    run(qcow2, "check", "-q", "o.qcow2")
    if shutil.which("qemu-img"):
        run("qemu-img", "compare", "-q", "s.raw", "o.qcow2")
    return 0


def main():
    qcow2 = os.path.abspath(sys.argv[1])
    sample = Sample()
    print(sample, flush=True)
    failed = 0
    with tempfile.TemporaryDirectory(dir=scratch()) as where:
        os.chdir(where)
        make_sources(qcow2)
        chosen = sample.of(list(cases(has_fast_levels(qcow2))))
        for options in chosen:
            for source in ["s.raw", "s.qcow2"]:
                failed += check(qcow2, source, options)
        os.chdir("/")
    print(f"{2 * len(chosen)} images, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
