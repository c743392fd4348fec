#!/usr/bin/env python3
"""Images made by `convert -O qcow2` are clean and right to qemu-img, about as
large as its own, and the same for any number of threads."""

import os
import random
import shutil
import subprocess
import sys
import tempfile

SKIP = 77
SIZE = (8 << 20) + 1536
OPTIONS = ["cluster_size=64k", "cluster_size=512", "cluster_size=2M",
           "compat=0.10", "refcount_bits=1", "refcount_bits=64",
           "extended_l2=on,cluster_size=128k", "lazy_refcounts=on",
           "preallocation=metadata", "preallocation=full",
           "compression_type=zstd", "data_file=d.raw",
           "data_file=d.raw,data_file_raw=on"]


def run(*args):
    done = subprocess.run(args, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(args)}: {done.stdout}{done.stderr}")


def make_source():
    rng = random.Random(7)
    with open("s.raw", "wb") as f:
        f.truncate(SIZE)
        for _ in range(60):
            n = rng.choice([512, 4096, 65536, 300000, 5000])
            f.seek(rng.randrange(SIZE - n))
            f.write(rng.choice([rng.randbytes(n), b"ab" * (n // 2),
                                bytes(n)]))
    run("qemu-img", "convert", "-c", "-O", "qcow2", "s.raw", "s.qcow2")


def content():
    out = b""
    for name in ["o.qcow2", "d.raw"]:
        if os.path.exists(name):
            with open(name, "rb") as f:
                out += f.read()
    return out


def check(qcow2, source, options):
    made = set()
    for n in ["1", "4"]:
        run(qcow2, "convert", "-O", "qcow2", "-m", n, *options, source,
            "o.qcow2")
        made.add(content())
    if len(made) != 1:
        sys.exit(f"{source} {options}: depends on the number of threads")
    run("qemu-img", "check", "-q", "o.qcow2")
    run("qemu-img", "compare", "-q", "s.raw", "o.qcow2")
    size = os.path.getsize("o.qcow2")
    theirs = [o.replace("d.raw", "t.raw") for o in options]
    run("qemu-img", "convert", "-O", "qcow2", *theirs, source, "t.qcow2")
    limit = os.path.getsize("t.qcow2") * 1.1 + (4 << 20)
    if size > limit:
        sys.exit(f"{source} {options}: {size} bytes, more than {limit}")


def main():
    if not shutil.which("qemu-img"):
        sys.exit(SKIP)
    qcow2 = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as where:
        os.chdir(where)
        make_source()
        for options in OPTIONS:
            for more in [[], ["-c"], ["-S", "0"]]:
                if more == ["-c"] and ("data_file" in options or
                                        "prealloc" in options):
                    continue
                for source in ["s.raw", "s.qcow2"]:
                    check(qcow2, source, ["-o", options, *more])
        os.chdir("/")


main()
