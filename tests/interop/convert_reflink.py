#!/usr/bin/env python3
"""`convert` shares blocks with its qcow2 target instead of copying them, if
the file system can; the result is the same for any number of threads and reads
as the source."""

import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile

SKIP = 77
SIZE = 300 << 20
OPTIONS = ["cluster_size=64k", "cluster_size=4k", "extended_l2=on",
           "data_file=d.raw,data_file_raw=on", "preallocation=metadata"]


def run(*args):
    done = subprocess.run(args, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(args)}: {done.stdout}{done.stderr}")


def make_sources():
    rng = random.Random(11)
    with open("s.raw", "wb") as f:
        for off, n in [(0, 9 << 20), (40 << 20, 3 << 20), (100 << 20, 70000),
                       (SIZE - 100000, 99000)]:
            f.seek(off)
            f.write(rng.randbytes(n))
        f.truncate(SIZE)
    run("qemu-img", "convert", "-O", "qcow2", "s.raw", "s.qcow2")
    run("sync", "-f", "s.raw")


def used():
    os.sync()
    st = os.statvfs(".")
    return (st.f_blocks - st.f_bfree) * st.f_frsize


def content():
    digest = hashlib.sha256()
    for name in ["o.qcow2", "d.raw"]:
        if os.path.exists(name):
            with open(name, "rb") as f:
                digest.update(f.read())
    return digest.digest()


def check(qcow2, source, options):
    made = set()
    for n in ["1", "2", "8"]:
        for name in ["o.qcow2", "d.raw"]:
            if os.path.exists(name):
                os.unlink(name)
        before = used()
        run(qcow2, "convert", "-O", "qcow2", "-m", n, "-o", options, source,
            "o.qcow2")
        took = used() - before
        if took > 6 << 20:
            sys.exit(f"{source} {options}: {took} bytes of new space")
        made.add(content())
    if len(made) != 1:
        sys.exit(f"{source} {options}: depends on the number of threads")
    run("qemu-img", "check", "-q", "o.qcow2")
    run("qemu-img", "compare", "-q", "s.raw", "o.qcow2")


def check_on(fs, qcow2, where):
    image, mount = f"{where}/{fs}.img", f"{where}/{fs}"
    with open(image, "wb") as f:
        f.truncate(600 << 20)
    os.mkdir(mount)
    for args in [[f"mkfs.{fs}", "-q", image],
                 ["mount", "-o", "loop", image, mount]]:
        try:
            subprocess.run(args, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as e:
            print(f"{fs}: not tested: {e}")
            return False
    try:
        os.chdir(mount)
        make_sources()
        for options in OPTIONS:
            for source in ["s.raw", "s.qcow2"]:
                check(qcow2, source, options)
    finally:
        os.chdir("/")
        subprocess.run(["umount", mount], check=False)
    return True


def main():
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if os.getuid() or not shutil.which("qemu-img"):
        print("needs qemu-img, and root to mount file systems")
        sys.exit(SKIP)
    qcow2 = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as where:
        done = [check_on(fs, qcow2, where) for fs in ["xfs", "btrfs"]]
    if not any(done):
        sys.exit(SKIP)


main()
