"""The sources for the tests of convert: disks of every kind, each with the
arguments that name it on a command line, the same for both tools, and a raw
file with its contents."""

import random
import subprocess
import sys

SIZE = (5 << 20) + 1536


def run(*args):
    done = subprocess.run(args, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(args)}: {done.returncode} "
                 f"{done.stdout}{done.stderr}")
    return done.stdout


class Source:
    """A disk: NAME.raw reads as the file or files (and snapshot) named.

    `below` is the file that a target can be put over, with its format.
    """

    def __init__(self, name, files, options=(), below=None):
        self.name = name
        self.files = list(files)
        self.options = list(options)
        self.below = below
        self.raw = f"{name}.expected"
        run("qemu-img", "convert", "-O", "raw", *self.options, *self.files,
            self.raw)


def pieces(rng, size, n):
    """Bytes that do not compress, bytes that do, and zeros, anywhere."""
    for _ in range(n):
        length = rng.choice([512, 4096, 65536, 200000, 5000, 1])
        yield (rng.randrange(size - length),
               rng.choice([rng.randbytes(length),
                           (b"ab" * length)[:length], bytes(length)]))


def make_raw(name, seed, size=SIZE):
    rng = random.Random(seed)
    with open(name, "wb") as f:
        f.truncate(size)
        for off, data in pieces(rng, size, 40):
            f.seek(off)
            f.write(data)


def write_some(name, seed, size=SIZE):
    """Writes, zeroes and discards at places that follow from the seed."""
    rng = random.Random(seed)
    args = []
    for i in range(24):
        length = rng.choice([512, 4096, 65536, 131072])
        off = rng.randrange((size - length) // 512) * 512
        verb = rng.choice([f"write -P {i + 1}", f"write -P {i + 1}",
                           "write -z", "write -z -u", "discard"])
        args += ["-c", f"{verb} {off} {length}"]
    run("qemu-io", "-f", "qcow2", *args, name)


def make_overlay(name, below, fmt, seed, options="cluster_size=64k"):
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, "-b", below,
        "-F", fmt, name, str(SIZE))
    write_some(name, seed)


def make_single():
    for name, options in [
            ("plain", ["-o", "cluster_size=64k"]),
            ("tiny", ["-o", "cluster_size=512"]),
            ("huge", ["-o", "cluster_size=2M"]),
            ("old", ["-o", "compat=0.10"]),
            ("zlib", ["-c"]),
            ("zstd", ["-c", "-o", "compression_type=zstd,cluster_size=16k"]),
            ("subclusters", ["-o", "extended_l2=on,cluster_size=128k"]),
            ("outside", ["-o", "data_file=outside.data"])]:
        run("qemu-img", "convert", "-O", "qcow2", *options, "s.raw",
            f"{name}.qcow2")
        if name != "outside":
            write_some(f"{name}.qcow2", len(name))
        yield Source(name, [f"{name}.qcow2"])


def make_snapshot():
    run("cp", "plain.qcow2", "snap.qcow2")
    run("qemu-img", "snapshot", "-c", "then", "snap.qcow2")
    write_some("snap.qcow2", 77)
    yield Source("now", ["snap.qcow2"])
    yield Source("then", ["snap.qcow2"], ["-l", "snapshot.name=then"])


def make_chains():
    make_raw("base.raw", 3, SIZE - (1 << 20))
    make_overlay("on-raw.qcow2", "base.raw", "raw", 5)
    yield Source("on-raw", ["on-raw.qcow2"], below=("base.raw", "raw"))
    make_overlay("deep.qcow2", "on-raw.qcow2", "qcow2", 6,
                 "extended_l2=on,cluster_size=64k")
    yield Source("deep", ["deep.qcow2"], below=("on-raw.qcow2", "qcow2"))
    yield Source("all-of-deep", ["deep.qcow2"])


def make_sources():
    make_raw("s.raw", 7)
    make_raw("odd.raw", 8, (1 << 20) + 333)
    sources = [Source("raw", ["s.raw"])]
    sources += [*make_single(), *make_snapshot(), *make_chains()]
    sources.append(Source("several", ["odd.raw", "zlib.qcow2", "s.raw"]))
    return sources
