"""Images of every kind, made by qemu-img and qemu-io from a real file system."""

import itertools
import os
import random
import shutil
import subprocess
from collections import namedtuple

DEPTHS = (1, 3, 8)
MIB = 1 << 20

# The programs that must be installed.
TOOLS = ("qemu-img", "qemu-io", "mkfs.ext4")


class Failed(Exception):
    """A command that makes images failed."""


def find(tool):
    return shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def tools_present():
    return all(find(tool) for tool in TOOLS)


def run(*command, **options):
    result = subprocess.run(command, capture_output=True, text=True,
                            check=False, **options)
    if result.returncode:
        raise Failed(f"{' '.join(map(str, command))}: {result.stderr}")
    return result.stdout


def copy_files(target, limit):
    """Files of this machine, in sorted order, up to a number of bytes."""
    total = 0
    for directory, names, files in os.walk("/usr/share"):
        names.sort()
        for name in sorted(files):
            path = os.path.join(directory, name)
            if os.path.islink(path) or not os.access(path, os.R_OK):
                continue
            size = os.path.getsize(path)
            if size > limit // 4:
                continue
            total += size + 4096
            if total > limit:
                return
            copy = target / path.lstrip("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def make_disk(root, size_mib):
    """An ext4 file system, two thirds full, whose size is no multiple of any
    cluster size but the smallest."""
    tree = root / "tree"
    tree.mkdir()
    copy_files(tree, size_mib * MIB * 2 // 3)
    disk = root / "disk.raw"
    run(find("mkfs.ext4"), "-q", "-d", str(tree), str(disk), f"{size_mib}M")
    shutil.rmtree(tree)
    os.truncate(disk, size_mib * MIB + 25 * 512)
    return disk


class Combination(namedtuple("Combination",
                             "version cluster packing extended data snapshots "
                             "refcount_bits bottom")):
    """One kind of image.  packing: plain, zlib, zstd; data: none, file, raw;
    bottom: the layer below the first, nothing or a raw disk."""

    def __str__(self):
        words = [f"v{self.version}", self.cluster, self.packing,
                 f"rc{self.refcount_bits}"]
        words += ["extended"] * self.extended + ["snapshots"] * self.snapshots
        words += [f"data-{self.data}"] * (self.data != "none")
        words += ["on-raw"] * (self.bottom == "raw")
        return "-".join(words)

    def is_legal(self):
        if self.version == 2 and (self.packing == "zstd" or self.extended
                                  or self.data != "none"
                                  or self.refcount_bits != 16):
            return False
        if self.extended and self.cluster in ("512", "4K"):
            return False
        if self.data != "none" and (self.packing != "plain"
                                    or self.snapshots):
            return False
        # A snapshot needs a count of two.
        if self.snapshots and self.refcount_bits == 1:
            return False
        # One way to lie on a raw disk for each geometry is enough; a raw data
        # file has no backing file at all.
        return self.bottom == "none" or (self.refcount_bits == 16
                                         and self.data != "raw"
                                         and not self.snapshots)

    def cluster_bytes(self):
        return {"512": 512, "4K": 4096, "64K": 65536, "2M": 2 * MIB}[
            self.cluster]

    def options(self):
        if self.version == 2:
            return f"compat=0.10,cluster_size={self.cluster}"
        options = (f"compat=1.1,cluster_size={self.cluster},"
                   f"refcount_bits={self.refcount_bits}")
        if self.packing == "zstd":
            options += ",compression_type=zstd"
        if self.extended:
            options += ",extended_l2=on"
        return options


def combinations():
    """The legal ones, in an order that spreads each value over all slices."""
    product = itertools.product(
        (2, 3), ("512", "4K", "64K", "2M"), ("plain", "zlib", "zstd"),
        (False, True), ("none", "file", "raw"), (False, True), (1, 16, 64),
        ("none", "raw"))
    legal = [c for c in itertools.starmap(Combination, product)
             if c.is_legal()]
    random.Random(1).shuffle(legal)
    return legal


class Chain:
    """Up to eight layers of one kind, each written over the one below."""

    def __init__(self, combination, disk, work, seed):
        self.kind = combination
        self.disk = disk
        self.work = work
        self.random = random.Random(f"{seed} {combination}")
        self.layers = []
        self.taken = {}
        self.written = set()
        self.size = disk.stat().st_size

    def snapshots(self, name):
        """Name and disk size of the snapshots of a layer."""
        return self.taken.get(name, [])

    def build(self):
        """Makes layer after layer and yields each one's name when it is
        complete, so that it can be judged as the top of its chain."""
        depth = 1 if self.kind.data == "raw" else max(DEPTHS)
        for number in range(1, depth + 1):
            name = f"layer{number}.qcow2"
            if number == 1:
                self.make_first(name)
            else:
                self.make_overlay(name, number)
            self.layers.append(name)
            yield name

    def run(self, *command):
        return run(*command, cwd=self.work)

    def data_file(self, name):
        """The creation options of a layer's data file."""
        if self.kind.data == "none":
            return ""
        raw = ",data_file_raw=on" if self.kind.data == "raw" else ""
        return f",data_file={name}.data{raw}"

    def make_first(self, name):
        options = self.kind.options() + self.data_file(name)
        if self.kind.bottom == "raw":
            os.link(self.disk, self.work / "bottom.raw")
            self.run("qemu-img", "create", "-q", "-f", "qcow2", "-o", options,
                     "-b", "bottom.raw", "-F", "raw", name)
        else:
            packed = [] if self.kind.packing == "plain" else ["-c"]
            self.run("qemu-img", "convert", "-f", "raw", "-O", "qcow2",
                     *packed, "-o", options, str(self.disk), name)
        self.snapshot(name, "first")
        self.write(name)
        self.resize_below_snapshot(name)
        self.snapshot(name, "second")
        self.write(name)

    def make_overlay(self, name, number):
        """Overlays are by turns shorter or longer than the layer below."""
        self.size += {3: 1536, 4: MIB + 512, 6: -3 * MIB - 1024,
                      8: 2 * MIB + 2560}.get(number, 0)
        self.written.clear()
        self.run("qemu-img", "create", "-q", "-f", "qcow2", "-o",
                 self.kind.options() + self.data_file(name),
                 "-b", self.layers[-1], "-F", "qcow2", name, str(self.size))
        self.write(name)
        if number in DEPTHS:
            self.snapshot(name, "overlay")
            self.write(name)

    def snapshot(self, name, tag):
        if not self.kind.snapshots:
            return
        self.run("qemu-img", "snapshot", "-c", tag, name)
        self.taken.setdefault(name, []).append((tag, self.size))

    def resize_below_snapshot(self, name):
        """Version 3 allows a disk of another size than its snapshots."""
        if self.kind.snapshots and self.kind.version == 3:
            self.size += 300 * 512
            self.run("qemu-img", "resize", "-q", name, str(self.size))

    def position(self, unit, length):
        """A random place for so many bytes, a multiple of the unit."""
        last = (self.size - length) // unit
        return self.random.randint(0, last) * unit

    def packed_write(self):
        """A compressed write.  QEMU refuses it where the layer already has
        the cluster in any other form."""
        cluster = self.kind.cluster_bytes()
        off = self.position(cluster, cluster)
        if off + cluster > self.size or off // cluster in self.written:
            return None
        self.written.add(off // cluster)
        return f"write -c -P {self.random.randint(1, 255)} {off} {cluster}"

    def plain_write(self):
        """A write, zero or discard of any alignment."""
        r = self.random
        cluster = self.kind.cluster_bytes()
        unit = r.choice([512, 4096, cluster])
        length = min(unit * r.randint(1, 24), 2 * MIB, self.size)
        off = self.position(unit, length)
        self.written.update(range(off // cluster,
                                  (off + length - 1) // cluster + 1))
        kind = r.choice([f"write -P {r.randint(1, 255)}"] * 2
                        + ["write -z", "write -z -u", "discard"])
        return f"{kind} {off} {length}"

    def write(self, name):
        """Random writes, zeros and discards; two lie at the ends.  The first
        layer, made by convert, has its compressed clusters already."""
        commands = []
        if self.layers and self.kind.packing != "plain":
            commands += [self.packed_write() for _ in range(4)]
        commands += [self.plain_write() for _ in range(10)]
        commands = [c for c in commands if c]
        commands.append(f"write -P 17 {self.size - 512} 512")
        commands.append("write -P 18 0 512")
        self.written.update((0, (self.size - 1) // self.kind.cluster_bytes()))
        arguments = [word for c in commands for word in ("-c", c)]
        self.run("qemu-io", "-t", "unsafe", "-f", "qcow2", *arguments, name)
