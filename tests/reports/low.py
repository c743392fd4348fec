"""Images whose refcounts are too low, and a reader that trusts none of them.

The reader is written from the specification of the format, for images without
backing files: its answer is the data that people had on their disks."""

import os
import shutil
import struct
import sys
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                os.pardir, "cli"))

import images  # noqa: E402
from bitmaps import Bitmaps  # noqa: E402

OFFSET = 0x00fffffffffffe00
COPIED = 1 << 63
COMPRESSED = 1 << 62
SECTOR = 512


class Low(images.Header):
    """The bytes of an image, its references, and its refcounts to lower."""

    def __init__(self, path):
        super().__init__(path)
        self.path = path
        self.version = self.get(">I", 4)
        self.bits = self.get(">I", 20)
        self.cluster = 1 << self.bits
        self.width = 16 if self.version == 2 else 1 << self.get(">I", 96)
        features = self.get(">Q", 72) if self.version == 3 else 0
        self.extended = features >> 4 & 1
        self.data = None
        if features >> 2 & 1:
            with open(self.data_path(), "rb") as f:
                self.data = f.read()

    def data_path(self):
        return os.path.join(os.path.dirname(self.path), "data.raw")

    def numbers(self, at, n):
        return struct.unpack_from(f">{n}Q", self.bytes, at)

    # Refcounts.

    def blocks(self):
        """Returns the places of the refcount table's entries, and their
        values."""
        table = self.get(">Q", 48)
        n = self.get(">I", 56) * self.cluster // 8
        return [(table + 8 * i, entry & OFFSET)
                for i, entry in enumerate(self.numbers(table, n))]

    def lower(self, cluster, value=0):
        """Gives a cluster another refcount, if it has one."""
        per_block = self.cluster * 8 // self.width
        index = cluster // per_block
        if index >= self.get(">I", 56) * self.cluster // 8:
            return
        block = self.get(">Q", self.get(">Q", 48) + 8 * index) & OFFSET
        if not block:
            return
        bit = cluster % per_block * self.width
        if self.width >= 8:
            size = self.width // 8
            at = block + bit // 8
            self.bytes[at:at + size] = value.to_bytes(size, "big")
            return
        at, shift = block + bit // 8, bit % 8
        mask = (1 << self.width) - 1 << shift
        self.bytes[at] = self.bytes[at] & ~mask | value << shift

    # References.

    def tables(self):
        """Every L1 table: whose it is, its offset, entries, and disk size."""
        found = [("active", self.get(">Q", 40), self.get(">I", 36),
                  self.get(">Q", 24))]
        at = self.get(">Q", 64)
        for _ in range(self.get(">I", 60)):
            l1, n, id_len, name_len = struct.unpack_from(">QIHH", self.bytes,
                                                         at)
            extra = self.get(">I", at + 36)
            size = self.get(">Q", at + 48) if extra >= 16 else found[0][3]
            name = at + 40 + extra + id_len
            found.append((self.bytes[name:name + name_len].decode(), l1, n,
                          size))
            at = (name + name_len + 7) // 8 * 8
        self.snapshots_end = at
        return found

    def l2_tables(self, l1, n):
        return [(i, entry & OFFSET)
                for i, entry in enumerate(self.numbers(l1, n))
                if entry & OFFSET]

    def entries(self, l2):
        """Those that are not 0: number, place and value."""
        step = 16 if self.extended else 8
        n = min(self.cluster, max(len(self.bytes) - l2, 0)) // step
        entries = self.numbers(l2, n * step // 8)[::step // 8]
        for i, entry in enumerate(entries):
            if entry:
                yield i, l2 + step * i, entry

    def packed(self, entry):
        """The place where a compressed cluster begins, and where it may
        end."""
        x = 62 - (self.bits - 8)
        start = entry & (1 << x) - 1
        sectors = (entry & COMPRESSED - 1) >> x
        return start, (start & ~(SECTOR - 1)) + (sectors + 1) * SECTOR

    def places(self):
        """Clusters by their contents, each once for each reference."""
        found = {k: [] for k in ("header", "table", "block", "l1", "l2",
                                 "data", "packed", "snapshot", "bitmap")}

        def add(kind, start, size=1):
            first = start // self.cluster
            found[kind] += range(first,
                                 (start + size - 1) // self.cluster + 1)

        add("header", 0)
        add("table", self.get(">Q", 48), self.get(">I", 56) * self.cluster)
        for _, block in self.blocks():
            if block:
                add("block", block)
        for owner, l1, n, _ in self.tables():
            mine = owner == "active"
            add("l1" if mine else "snapshot", l1, max(8 * n, 1))
            for _, l2 in self.l2_tables(l1, n):
                add("l2" if mine else "snapshot", l2)
                for _, _, entry in self.entries(l2):
                    if entry & COMPRESSED:
                        start, end = self.packed(entry)
                        add("packed" if mine else "snapshot", start,
                            min(end, len(self.bytes)) - start)
                    elif entry & OFFSET and self.data is None:
                        add("data" if mine else "snapshot", entry & OFFSET)
        if self.get(">I", 60):
            at = self.get(">Q", 64)
            add("snapshot", at, self.snapshots_end - at)
        self.add_bitmaps(add)
        return found

    def has_bitmaps(self):
        return (self.version == 3 and self.get(">Q", 88) & 1
                and self.data is None)

    def add_bitmaps(self, add):
        if not self.has_bitmaps():
            return
        at = images.find_extension(self, 0x23852875)
        n, _, size, at = struct.unpack_from(">IIQQ", self.bytes, at)
        add("bitmap", at, size)
        for _ in range(n):
            table, entries = struct.unpack_from(">QI", self.bytes, at)
            extra, name = self.get(">I", at + 20), self.get(">H", at + 18)
            add("bitmap", table, 8 * entries)
            for i in range(entries):
                entry = self.get(">Q", table + 8 * i) & OFFSET
                if entry:
                    add("bitmap", entry)
            at += (24 + extra + name + 7) // 8 * 8

    def only(self, kind):
        """Clusters that hold this and nothing else."""
        places = self.places()
        others = {c for k in places if k != kind for c in places[k]}
        return sorted(set(places[kind]) - others)

    def copied(self, on):
        """COPIED in every entry of the active tables, or in none."""
        _, l1, n, _ = self.tables()[0]
        for i, l2 in self.l2_tables(l1, n):
            self.flag(l1 + 8 * i, on)
            for _, at, entry in self.entries(l2):
                if entry & OFFSET and not entry & COMPRESSED:
                    self.flag(at, on)
        return self

    def flag(self, at, on):
        value = self.get(">Q", at)
        self.put(">Q", at, value | COPIED if on else value & ~COPIED)

    # Contents.

    def disk(self, l1, n, size):
        """The contents of a disk."""
        out = bytearray((size + self.cluster - 1) >> self.bits << self.bits)
        per_l2 = self.cluster // (16 if self.extended else 8)
        for i, l2 in self.l2_tables(l1, n):
            for j, at, entry in self.entries(l2):
                off = i * per_l2 + j << self.bits
                if off < len(out):
                    self.fill(out, off, at, entry)
        return bytes(out[:size])

    def fill(self, out, off, at, entry):
        if entry & COMPRESSED:
            start, end = self.packed(entry)
            out[off:off + self.cluster] = zlib.decompressobj(-15).decompress(
                bytes(self.bytes[start:end]), self.cluster)
            return
        zero = not self.extended and self.version == 3 and entry & 1
        # With a data file offset 0 is a place like any other.
        here = entry & OFFSET or self.data is not None and entry & COPIED
        if zero or not here:
            return
        host = entry & OFFSET
        source = self.bytes if self.data is None else self.data
        data = bytes(source[host:host + self.cluster])
        data += bytes(self.cluster - len(data))
        if not self.extended:
            out[off:off + self.cluster] = data
            return
        bitmap, sub = self.get(">Q", at + 8), self.cluster // 32
        for k in range(32):
            if bitmap >> k & 1:
                out[off + k * sub:off + (k + 1) * sub] = \
                    data[k * sub:(k + 1) * sub]

    def disks(self):
        """The contents of every disk of the image, by the snapshot's name."""
        return {name: self.disk(l1, n, size)
                for name, l1, n, size in self.tables()}

    def said(self):
        """The contents of the bitmaps, None if the image holds none."""
        return Bitmaps(self.path).said if self.has_bitmaps() else None


# Kinds of images: options for qemu-img create.
KINDS = dict(
    plain="cluster_size=4k", v2="cluster_size=4k,compat=0.10",
    w1="cluster_size=4k,refcount_bits=1", w2="cluster_size=4k,refcount_bits=2",
    w4="cluster_size=4k,refcount_bits=4", w8="cluster_size=4k,refcount_bits=8",
    w32="cluster_size=4k,refcount_bits=32",
    w64="cluster_size=4k,refcount_bits=64", small="cluster_size=512",
    ext="cluster_size=16k,extended_l2=on", usual="cluster_size=64k",
    data="cluster_size=4k,data_file=data.raw",
)
SIZE = 4 << 20


def build(kind):
    """Makes an image of that kind with everything that it can have; returns
    its name."""
    path = kind + ".qcow2"
    images.make(path, "-o", KINDS[kind], size=str(SIZE))
    if kind == "v2":
        images.qemu_io(path, "write -P 1 0 400k", "write -z 64k 64k")
    else:
        images.qemu_io(path, "write -P 1 0 400k", "write -z 64k 64k",
                       "write -P 2 1M 100k", "discard 1088k 64k")
    if kind not in ("w1", "data"):
        images.qemu_img("snapshot", "-c", "first", path)
        images.qemu_io(path, "write -P 3 128k 200k", "write -P 4 2M 50k")
        images.qemu_img("snapshot", "-c", "second", path)
        images.qemu_io(path, "write -P 5 192k 64k", "write -P 6 2M 64k")
    if kind not in ("v2", "data"):
        images.qemu_img("bitmap", "--add", "-g", "512", path, "changes")
        images.qemu_io(path, "write -P 7 3M 30k")
    if kind != "data":
        images.qemu_io(path, "write -c -P 8 3200k 64k",
                       "write -c -P 9 3328k 64k")
    return path


def nothing_counted(image):
    for cluster in range(len(image.bytes) // image.cluster + 1):
        image.lower(cluster)


def no_blocks(image):
    for at, _ in image.blocks():
        image.put(">Q", at, 0)


def zeroed(*kinds):
    def lower(image):
        places = image.places()
        for kind in kinds:
            for cluster in places[kind]:
                image.lower(cluster)
    return lower


def last_ones(image):
    used = sorted({c for p in image.places().values() for c in p})
    for cluster in used[-6:]:
        image.lower(cluster)


def only(kind):
    def lower(image):
        for cluster in image.only(kind):
            image.lower(cluster)
    return lower


def some_blocks(image):
    """Chooses the blocks except the first, if there are others."""
    for at, _ in image.blocks()[1:]:
        image.put(">Q", at, 0)
    middle = len(image.bytes) // image.cluster // 2
    for cluster in range(middle, middle + 20):
        image.lower(cluster)


def shared_once(copied):
    """Gives refcount 1 to clusters with more references."""
    def lower(image):
        count = {}
        for clusters in image.places().values():
            for c in clusters:
                count[c] = count.get(c, 0) + 1
        for cluster, n in count.items():
            if n > 1:
                image.lower(cluster, 1)
        if copied is not None:
            image.copied(copied)
    return lower


# The ways in which refcounts are too low.
PLACES = dict(
    sound=lambda image: None,
    nothing_counted=nothing_counted, no_blocks=no_blocks,
    some_blocks=some_blocks, last_ones=last_ones, data=zeroed("data"),
    tables=zeroed("l1", "l2"), refcounts=zeroed("table", "block"),
    compressed=zeroed("packed"), header=zeroed("header"),
    snapshot_only=only("snapshot"), bitmap_only=only("bitmap"),
    shared_once=shared_once(None), shared_once_not_copied=shared_once(False),
    shared_once_copied=shared_once(True),
)


def weaken(source, place):
    """Writes the image with refcounts that are too low in that way, as a file
    in the directory "weak"; returns its name."""
    os.makedirs("weak", exist_ok=True)
    image = Low(source)
    (PLACES[place] if isinstance(place, str) else place)(image)
    path = image.save(os.path.join("weak", source))
    if image.data is not None:
        shutil.copy(image.data_path(), "weak")
    return path
