#!/usr/bin/env python3
"""`convert -O qcow2` from disks of every kind into images of every kind.

Each image is clean to qemu-img and to our check, reads as the source,
describes itself as qemu-img's own does, has no more data clusters, and
consists of the same bytes for any number of threads.  The same holds for
images that are there already, but only their disks are compared.

Usage: convert_qcow2.py COMMAND [SLICE SLICES]

A sample of the combinations is taken, see sample.py; TEST_FULL tries all ways to
convert with every source and target instead of one after the other.
"""

import hashlib
import itertools
import json
import os
import shutil
import sys
import tempfile

from convert_sources import make_sources, run
from matrix import scratch

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../support"))
from sample import Sample  # pylint: disable=wrong-import-position

SKIP = 77
EXISTING_BYTES = 12 << 20
TARGETS = ["cluster_size=64k", "cluster_size=512", "cluster_size=4k",
           "cluster_size=2M", "compat=0.10", "refcount_bits=1",
           "refcount_bits=64,cluster_size=1k",
           "extended_l2=on,cluster_size=16k",
           "extended_l2=on,cluster_size=128k", "lazy_refcounts=on",
           "compression_type=zstd",
           "compression_type=zstd,cluster_size=4k,refcount_bits=8",
           "preallocation=metadata", "preallocation=falloc",
           "preallocation=full,cluster_size=32k", "data_file=d.raw",
           "data_file=d.raw,data_file_raw=on"]
# The words of the command line, and those that only we understand.
WAYS = [([], []), (["-c"], []), (["-S", "0"], []), (["-S", "64k", "-W"], []),
        (["-c", "-W"], ["--compress-level", "1"]), (["-B"], []),
        (["-n"], []), (["-n", "-c"], []), (["-B", "-c"], []),
        (["-n", "-S", "0"], []), (["-t", "none", "-T", "none"], [])]


class Wrong(Exception):
    pass


def unlink(*names):
    for name in names:
        if os.path.exists(name):
            os.unlink(name)


def digest():
    found = hashlib.sha256()
    for name in ["o.qcow2", "d.raw"]:
        if os.path.exists(name):
            with open(name, "rb") as f:
                found.update(f.read())
    return found.digest()


def described(name):
    """The answer of `info`, without sizes on the host and names of files."""
    info = json.loads(run("qemu-img", "info", "--output=json", name))
    for key in ["actual-size", "filename", "full-backing-filename"]:
        info.pop(key, None)
    info["format-specific"]["data"].pop("data-file", None)
    info.pop("dirty-flag", None)
    return info


def data_bytes(name):
    """The amount of guest data that lies in the image itself."""
    extents = json.loads(run("qemu-img", "map", "--output=json", name))
    return sum(e["length"] for e in extents if e["depth"] == 0 and e["data"])


def is_sensible(source, target, options):
    packed = "-c" in options
    if packed and ("data_file" in target or "preallocation" in target):
        return False
    if "-B" in options:
        return (source.below is not None and "preallocation" not in target
                and "data_file_raw" not in target)
    return True


def command_line(source, target, options):
    """The arguments between `convert` and the target's name."""
    args = [o for o in options if o != "-B"]
    if "-B" in options:
        args += ["-B", source.below[0], "-F", source.below[1]]
    if "-n" not in options:
        args += ["-o", target]
    return ["-O", "qcow2", *args, *source.options, *source.files]


def make_existing(source, target, name, data, packed):
    """An image that is there already.  qemu-img 7.2 writes compressed clusters
    only to unallocated places, and only whole ones unless the disk ends."""
    size = os.path.getsize(source.raw) if packed else EXISTING_BYTES
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o",
        target.replace("d.raw", data), name, str(size))
    if not packed:
        run("qemu-io", "-f", "qcow2", "-c", f"write -P 9 0 {size}", name)


def convert_ours(qcow2, source, target, way):
    options, more = way
    made = set()
    for threads in ["1", "2", "8"]:
        unlink("o.qcow2", "d.raw")
        if "-n" in options:
            make_existing(source, target, "o.qcow2", "d.raw", "-c" in options)
        run(qcow2, "convert", "-m", threads, *more,
            *command_line(source, target, options), "o.qcow2")
        made.add(digest())
    if len(made) != 1 and "-n" not in options:
        raise Wrong("depends on the number of threads")


def convert_theirs(source, target, way):
    options, _ = way
    theirs = target.replace("d.raw", "t.raw")
    unlink("t.qcow2", "t.raw")
    if "-n" in options:
        make_existing(source, target, "t.qcow2", "t.raw", "-c" in options)
    run("qemu-img", "convert", *command_line(source, theirs, options),
        "t.qcow2")


def judge(qcow2, source, options):
    run("qemu-img", "check", "-q", "o.qcow2")
    run(qcow2, "check", "-q", "o.qcow2")
    against = "t.qcow2" if "-n" in options else source.raw
    run("qemu-img", "compare", "-q", "-F", "qcow2", "-f",
        "qcow2" if "-n" in options else "raw", against, "o.qcow2")
    ours, theirs = described("o.qcow2"), described("t.qcow2")
    if ours != theirs:
        raise Wrong(f"info says {ours}, not {theirs}")
    # Zeros that are shorter than -S may be read and written like data.
    short = "64k" in options or source.name == "tiny"
    if "-n" not in options and not short:
        if data_bytes("o.qcow2") > data_bytes("t.qcow2"):
            raise Wrong("more data than qemu-img writes")
    limit = os.path.getsize("t.qcow2") * 1.1 + (4 << 20)
    if os.path.getsize("o.qcow2") > limit:
        raise Wrong(f"{os.path.getsize('o.qcow2')} bytes, more than {limit}")


def combinations(sources):
    """Yields all combinations that make sense; each source and target meet in
    one way at least."""
    full = os.environ.get("TEST_FULL")
    for i, (source, target) in enumerate(itertools.product(sources, TARGETS)):
        ways = [w for w in WAYS if is_sensible(source, target, w[0])]
        for way in ways if full else [ways[i % len(ways)]]:
            yield source, target, way


def check_all(qcow2, part, parts):
    sample = Sample()
    print(sample, flush=True)
    chosen = sample.of(list(combinations(make_sources())), parts)[part::parts]
    failed = 0
    for source, target, way in chosen:
        try:
            convert_ours(qcow2, source, target, way)
            convert_theirs(source, target, way)
            judge(qcow2, source, way[0])
        except (Wrong, SystemExit) as problem:
            failed += 1
            print(f"FAILED {source.name} -o {target} {way}: {problem}",
                  flush=True)
    print(f"{len(chosen)} targets, {failed} failed")
    return 1 if failed or not chosen else 0


def main():
    if not shutil.which("qemu-img") or not shutil.which("qemu-io"):
        return SKIP
    qcow2 = os.path.abspath(sys.argv[1])
    part, parts = (int(a) for a in sys.argv[2:4] or ("0", "1"))
    with tempfile.TemporaryDirectory(dir=scratch()) as where:
        os.chdir(where)
        try:
            return check_all(qcow2, part, parts)
        finally:
            os.chdir("/")


if __name__ == "__main__":
    sys.exit(main())
