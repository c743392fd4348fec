"""The images that are measured, made once and kept."""

import os
import pathlib
import random
import shutil
import subprocess
import sys

GIB = 1 << 30
MIB = 1 << 20

CHAIN_DEPTH = 32


def memory(free=GIB):
    """Returns a directory in memory with so much room, or None."""
    shm = pathlib.Path("/dev/shm")
    if os.access(shm, os.W_OK) and shutil.disk_usage(shm).free > free:
        return shm
    return None


def directory(build):
    """Returns the place of data: QCOW2_BENCH_DIR, memory if there is plenty,
    else the build directory."""
    if "QCOW2_BENCH_DIR" in os.environ:
        return pathlib.Path(os.environ["QCOW2_BENCH_DIR"])
    shm = memory(14 * GIB)
    if shm:
        return shm / f"qcow2-bench-{os.getuid()}"
    return pathlib.Path(build) / "bench"


def run(*command, **options):
    subprocess.run([str(c) for c in command], check=True,
                   stdout=subprocess.DEVNULL, **options)


def copy_tree(source, target, limit):
    """Copies files of a directory up to a number of bytes; returns how many."""
    total = 0
    for where, names, files in os.walk(source):
        names.sort()
        for name in sorted(files):
            path = os.path.join(where, name)
            if os.path.islink(path) or not os.access(path, os.R_OK):
                continue
            size = os.path.getsize(path) + 8192 & ~4095
            if size > limit // 4 or total + size > limit:
                continue
            copy = target / path.lstrip("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
            total += size
    return total


def make_disk(path, size):
    """Makes an ext4 file system full of /usr, several times if it is small."""
    tree = path.with_suffix(".tree")
    shutil.rmtree(tree, ignore_errors=True)
    left = size * 3 // 4
    for copy in range(64):
        copied = copy_tree("/usr", tree / str(copy), left)
        left -= copied
        if left < size // 50 or not copied:
            break
    mkfs = shutil.which("mkfs.ext4", path=f"{os.environ['PATH']}:/usr/sbin")
    run(mkfs, "-q", "-i", "8192", "-d", tree, path, f"{size // MIB}M")
    shutil.rmtree(tree)


def make_chain(base, path, size):
    """Makes overlays over a disk, each with a few clusters of its own."""
    def place(number):
        return number * 7919 * 65536 % size

    below = base.name
    for depth in range(1, CHAIN_DEPTH):
        name = f"{path.name}.{depth}" if depth < CHAIN_DEPTH - 1 \
            else path.name
        run("qemu-img", "create", "-f", "qcow2", "-b", below, "-F", "qcow2",
            name, cwd=path.parent)
        writes = [word for i in range(8) for word in
                  ("-c", f"write -P {depth} {place(depth * 8 + i)} 64k")]
        run("qemu-io", "-t", "unsafe", *writes, name, cwd=path.parent)
        below = name


def make_scattered(path, n_clusters, n_snapshots=0, n_leaked=0):
    """Makes the image in a process whose memory does not stay with this one."""
    generator = pathlib.Path(__file__).with_name("scattered.py")
    run(generator, path, n_clusters, n_snapshots, n_leaked)


def make_holes(image, path, size):
    """Makes a copy of an image, and discards half of its clusters."""
    cluster = 65536
    shutil.copyfile(image, path)
    chosen = random.Random(1).sample(range(size // cluster),
                                     size // cluster // 2)
    lines = "".join(f"discard {i * cluster} {cluster}\n" for i in chosen)
    run("qemu-io", "-d", "unmap", "-t", "unsafe", path, input=lines.encode())


class Data:
    """Names of all images; each is made when it is first needed."""

    def __init__(self, where, size, clusters, snapshots, preallocated):
        self.where = where
        self.size = size
        self.clusters = clusters
        self.n_snapshots = snapshots
        self.preallocated = preallocated
        self.makers = {}
        where.mkdir(parents=True, exist_ok=True)

    def cached(self, name, make):
        path = self.where / name
        self.makers[path] = make
        return path

    def ready(self, *words):
        """Makes those of @words that are names of images."""
        for path in words:
            if path not in self.makers or path.exists():
                continue
            print(f"making {path}", file=sys.stderr, flush=True)
            draft = self.where / f"draft-{path.name}"
            self.makers[path](draft)
            if draft.exists():
                draft.rename(path)

    def made(self, path):
        self.ready(path)
        return path

    def disk(self):
        return self.cached(f"mix-{self.size // MIB}.raw",
                           lambda path: make_disk(path, self.size))

    def image(self, packing):
        options = {"plain": [], "zlib": ["-c"],
                   "zstd": ["-c", "-o", "compression_type=zstd"]}[packing]
        return self.cached(
            f"mix-{self.size // MIB}-{packing}.qcow2",
            lambda path: run("qemu-img", "convert", "-W", "-O", "qcow2",
                             *options, self.made(self.disk()), path))

    def holes(self, packing):
        return self.cached(
            f"mix-{self.size // MIB}-{packing}-holes.qcow2",
            lambda path: make_holes(self.made(self.image(packing)), path,
                                    self.size))

    def chain(self):
        name = f"chain-{self.size // MIB}.qcow2"
        # The layers name each other, so there is no draft.
        return self.cached(name, lambda _: make_chain(
            self.made(self.image("plain")), self.where / name, self.size))

    def scattered(self, n_clusters, n_snapshots=0, n_leaked=0):
        name = f"scattered-{n_clusters}"
        if n_snapshots:
            name += f"-snapshots-{n_snapshots}"
        if n_leaked:
            name += f"-leaked-{n_leaked}"
        return self.cached(f"{name}.qcow2",
                           lambda path: make_scattered(path, n_clusters,
                                                       n_snapshots, n_leaked))

    def snapshots(self):
        return self.scattered(self.clusters[1], self.n_snapshots)
