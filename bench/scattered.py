#!/usr/bin/env python3
"""Images of 1 TiB in which single clusters are allocated all over the disk.

The tables are written directly: qemu-io would take hours for a million
clusters, and qemu-img minutes for a hundred snapshots.  The data clusters
themselves are holes in the file.
"""

import random
import sys
from array import array

VIRTUAL_SIZE = 1 << 40
CLUSTER_BITS = 16
CLUSTER = 1 << CLUSTER_BITS
L2_ENTRIES = CLUSTER // 8
COPIED = 1 << 63


def big_endian(numbers, kind="Q"):
    """Returns the bytes of a table."""
    table = array(kind, numbers)
    table.byteswap()
    return table.tobytes()


def number(value, size):
    return value.to_bytes(size, "big")


def padded(data, unit=CLUSTER):
    return data + bytes(-len(data) % unit)


def clusters_for(n_bytes):
    return -(-n_bytes // CLUSTER)


class Layout:
    """The order in the file: header, L1, snapshot L1s, snapshot table,
    refcount table, refcount blocks, L2 tables, data, and clusters that are
    counted but belong to nothing."""

    def __init__(self, n_clusters, n_snapshots, n_leaked, seed):
        guest = random.Random(seed).sample(range(VIRTUAL_SIZE // CLUSTER),
                                           n_clusters)
        self.by_table = {}
        for position, cluster in enumerate(guest):
            self.by_table.setdefault(cluster // L2_ENTRIES, []).append(
                (cluster % L2_ENTRIES, position))
        self.n_snapshots = n_snapshots
        self.l1_size = VIRTUAL_SIZE // CLUSTER // L2_ENTRIES
        self.l1_clusters = clusters_for(self.l1_size * 8)
        self.l1 = 1
        self.snapshot_l1s = self.l1 + self.l1_clusters
        self.snapshots = (self.snapshot_l1s
                          + self.l1_clusters * n_snapshots)
        self.refcount_table = self.snapshots + clusters_for(
            len(self.snapshot_table()))
        self.refcount_blocks = self.refcount_table + 1
        others = (self.refcount_blocks + len(self.by_table) + n_clusters
                  + n_leaked)
        self.n_blocks = 1
        while self.n_blocks * CLUSTER // 2 < others + self.n_blocks:
            self.n_blocks += 1
        self.l2 = self.refcount_blocks + self.n_blocks
        self.data = self.l2 + len(self.by_table)
        self.leaked = self.data + n_clusters
        self.end = self.leaked + n_leaked

    def entry(self, cluster):
        """Returns an entry for a host cluster; shared ones are not COPIED."""
        return cluster << CLUSTER_BITS | (0 if self.n_snapshots else COPIED)

    def header(self):
        return (b"QFI\xfb" + number(3, 4) + number(0, 12)
                + number(CLUSTER_BITS, 4) + number(VIRTUAL_SIZE, 8)
                + number(0, 4) + number(self.l1_size, 4)
                + number(self.l1 * CLUSTER, 8)
                + number(self.refcount_table * CLUSTER, 8) + number(1, 4)
                + number(self.n_snapshots, 4)
                + number(self.snapshots * CLUSTER if self.n_snapshots else 0,
                         8)
                + number(0, 24) + number(4, 4) + number(104, 4)
                + number(0, 8))

    def snapshot_table(self):
        table = b""
        for i in range(self.n_snapshots):
            name = f"snapshot-{i}".encode()
            ident = str(i + 1).encode()
            l1 = self.snapshot_l1s + i * self.l1_clusters
            table += padded(
                number(l1 * CLUSTER, 8) + number(self.l1_size, 4)
                + number(len(ident), 2) + number(len(name), 2)
                + number(1700000000 + i, 4) + number(0, 16) + number(24, 4)
                + number(0, 8) + number(VIRTUAL_SIZE, 8) + number(0, 8)
                + ident + name, 8)
        return table

    def l1_table(self):
        entries = [0] * self.l1_size
        for position, index in enumerate(sorted(self.by_table)):
            entries[index] = self.entry(self.l2 + position)
        return padded(big_endian(entries))

    def l2_tables(self):
        for index in sorted(self.by_table):
            entries = [0] * L2_ENTRIES
            for within, position in self.by_table[index]:
                entries[within] = self.entry(self.data + position)
            yield big_endian(entries)

    def refcounts(self):
        """Returns all blocks: 1 for each cluster before the L2 tables, one more
        than there are snapshots for clusters that these share."""
        counts = [1] * self.l2
        counts += [1 + self.n_snapshots] * (self.leaked - self.l2)
        counts += [1] * (self.end - self.leaked)
        counts += [0] * (self.n_blocks * CLUSTER // 2 - len(counts))
        return big_endian(counts, "H")

    def refcount_table_bytes(self):
        return padded(big_endian((self.refcount_blocks + i) * CLUSTER
                                 for i in range(self.n_blocks)))


def make(path, n_clusters, n_snapshots=0, n_leaked=0, seed=1):
    layout = Layout(n_clusters, n_snapshots, n_leaked, seed)
    l1_table = layout.l1_table()
    with open(path, "wb") as f:
        f.write(padded(layout.header()))
        f.write(l1_table * (1 + n_snapshots))
        f.write(padded(layout.snapshot_table()))
        f.write(layout.refcount_table_bytes())
        f.write(layout.refcounts())
        for table in layout.l2_tables():
            f.write(table)
        f.truncate(layout.end * CLUSTER)


if __name__ == "__main__":
    make(sys.argv[1], *map(int, sys.argv[2:]))
