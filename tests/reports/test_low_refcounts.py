#!/usr/bin/env python3
"""F01: refcounts that are too low, as host crashes and some writers leave
them.  A command that is refused or changes nothing leaves every byte; one
that writes puts no data over data.

Usage: test_low_refcounts.py COMMAND
"""

import os

import low
from low import images
from case import Case, main

# Commands that are refused, or change nothing, by the words of the command
# line.
UNCHANGED = [
    (["snapshot", "-d", "nosuch"], 1), (["snapshot", "-a", "nosuch"], 1),
    (["snapshot", "-l"], 0), (["check"], None), (["info"], 0),
    (["compact", "--dry-run"], None),
    (["amend", "-o", "refcount_bits=3"], 1),
    (["amend", "-o", "compat=0.9"], 1),
]
SHRUNK = ["resize", "weak", "64k"]


def rotated(items, by):
    return items[by % len(items):] + items[:by % len(items)]


class LowRefcounts(Case):
    @classmethod
    def prepare(cls):
        cls.kinds = {kind: low.build(kind) for kind in low.KINDS}
        images.make("too-large.qcow2", size="64M")

    def combinations(self, odd=0):
        """Every kind of image, weak in every second place; the places differ
        from test to test.  Images that differ only in the width of refcounts
        are each weak in some of the places."""
        similar = ["w2", "w4", "w8", "w32"]
        for turn, (kind, path) in enumerate(self.kinds.items()):
            for number, place in enumerate(low.PLACES):
                if kind in similar:
                    if similar.index(kind) != number % 4:
                        continue
                elif (turn + number + odd) % 2:
                    continue
                yield kind, place, low.weaken(path, place)

    def bytes_of(self, path):
        with open(path, "rb") as f:
            return f.read()

    def refused(self, number, path):
        """Commands that must leave the image alone, a few for each number."""
        for words, status in rotated(UNCHANGED, number)[:2]:
            yield [*words, path], status
        yield ["io", "-c", "quit", path], 0
        yield from rotated([
            (["io", "-c", "read 0 4M", path], 0),
            (["io", "-c", "write 4M 1k", path], 1),
            (["io", "-d", "unmap", "-c", "flush", path], 0),
            (["resize", path, "64k"], 1),
            (["resize", path, "+0"], None),
            (["convert", "-n", "-O", "qcow2", "too-large.qcow2", path], 1),
            (["convert", "-n", "-O", "qcow2", "nosuch.qcow2", path], 1),
            (["check", "-r", "leaks", "--no-such-option", path], 1),
        ], number)[:2]

    def test_f01_a_refused_command_leaves_every_byte(self):
        for number, (kind, place, path) in enumerate(self.combinations()):
            before = self.bytes_of(path)
            for words, status in self.refused(number, path):
                with self.subTest(kind=kind, place=place, words=words):
                    result = self.ours(*words)
                    if status is not None:
                        self.assertEqual(result.status, status, result.err)
                    self.assertTrue(self.bytes_of(path) == before,
                                    "the file is another")

    def assert_reads(self, path, expected, words, disks=None):
        got = low.Low(path).disks()
        for name in disks or expected:
            self.assertTrue(got.get(name) == expected[name],
                            f"{words}: {name} reads differently")

    def test_f01_a_write_into_new_clusters_puts_no_data_over_data(self):
        for kind, place, path in self.combinations(1):
            with self.subTest(kind=kind, place=place):
                expected = low.Low(path).disks()
                result = self.ours("io", "-c", "write -P 77 2560k 256k",
                                   "-c", "flush", "-c",
                                   "write -P 78 2816k 128k", path)
                self.assertEqual(result.status, 0, result.err)
                disk = bytearray(expected["active"])
                disk[2560 << 10:2816 << 10] = b"\x4d" * (256 << 10)
                disk[2816 << 10:2944 << 10] = b"\x4e" * (128 << 10)
                expected["active"] = bytes(disk)
                self.assert_reads(path, expected, "write")

    def test_f01_what_is_freed_is_only_what_nobody_has(self):
        """Data that a snapshot has too is discarded and written again."""
        for kind, place, path in self.combinations():
            with self.subTest(kind=kind, place=place):
                expected = low.Low(path).disks()
                result = self.ours(
                    "io", "-d", "unmap", "-c", "discard 0 256k", "-c",
                    "flush", "-c", "write -P 77 0 256k", "-c", "flush", "-c",
                    "write -P 78 2560k 256k", path)
                self.assertEqual(result.status, 0, result.err)
                disk = bytearray(expected["active"])
                disk[:256 << 10] = b"\x4d" * (256 << 10)
                disk[2560 << 10:2816 << 10] = b"\x4e" * (256 << 10)
                expected["active"] = bytes(disk)
                self.assert_reads(path, expected, "discard, write")

    def test_f01_a_deleted_snapshot_takes_nothing_with_it(self):
        for kind, place, path in self.combinations(1):
            if kind in ("w1", "data"):
                continue
            with self.subTest(kind=kind, place=place):
                expected = low.Low(path).disks()
                self.ours("snapshot", "-d", "first", path)
                self.ours("io", "-c", "write -P 9 2560k 512k", path)
                disk = bytearray(expected["active"])
                now = low.Low(path).disks()
                if now["active"] != expected["active"]:
                    disk[2560 << 10:3072 << 10] = b"\x09" * (512 << 10)
                    expected["active"] = bytes(disk)
                self.assert_reads(path, expected, "snapshot -d",
                                  ["active", "second"])

    def test_f01_every_job_leaves_what_could_be_read(self):
        jobs = [["snapshot", "-c", "new"], ["compact"],
                ["resize", None, "8M"], ["amend", "-o", "compat=1.1"],
                ["amend", "-o", "lazy_refcounts=on"],
                ["amend", "-o", "refcount_bits=32"],
                ["check", "-r", "leaks"], ["check", "-r", "all"]]
        for number, (kind, place, path) in enumerate(self.combinations()):
            expected = low.Low(path).disks()
            for words in rotated(jobs, number)[:3]:
                with self.subTest(kind=kind, place=place, words=words):
                    args = [path if w is None else w for w in words]
                    self.ours(*args, *([] if None in words else [path]))
                    got = low.Low(path).disks()
                    if words[0] == "resize":
                        got["active"] = got["active"][:low.SIZE]
                    for name, disk in expected.items():
                        self.assertTrue(got.get(name) == disk, name)
                    low.weaken(self.kinds[kind], place)

    def test_f01_an_applied_snapshot_reads_as_it_did(self):
        for kind, place, path in self.combinations(1):
            if kind in ("w1", "data"):
                continue
            with self.subTest(kind=kind, place=place):
                expected = low.Low(path).disks()
                done = self.ours("snapshot", "-a", "first", path)
                if not done.status:
                    expected["active"] = expected["first"]
                self.assert_reads(path, expected, "snapshot -a")
                self.ours("io", "-c", "write -P 9 2560k 512k", path)
                self.assert_reads(path, expected, "then a write",
                                  ["first", "second"])

    def test_f01_bitmaps_read_as_they_did_or_are_said_to_be_gone(self):
        for kind, place, path in self.combinations():
            said = low.Low(path).said()
            if not said:
                continue
            for words in (["snapshot", "-d", "nosuch", path],
                          ["resize", path, "5M"],
                          ["compact", path],
                          ["io", "-c", "write 2560k 128k", path]):
                with self.subTest(kind=kind, place=place, words=words):
                    self.ours(*words)
                    now = low.Low(path)
                    if not now.has_bitmaps():
                        self.assertEqual(words[0], "io")
                    elif words[0] != "resize" and now.said() != said:
                        self.fail("a bitmap says something else")
                    low.weaken(self.kinds[kind], place)

    def test_f01_the_disk_of_a_written_image_reads_alike_by_qemu(self):
        for kind in ("plain", "v2", "usual", "ext"):
            path = low.weaken(self.kinds[kind], "nothing_counted")
            self.ours("io", "-c", "write -P 77 2560k 256k", path)
            images.qemu_img("convert", "-O", "raw", path, "theirs.raw")
            self.assertTrue(self.bytes_of("theirs.raw")
                            == low.Low(path).disks()["active"])

    def test_f01_the_report_itself(self):
        """Refcounts of clusters 40 to 44 are 0, the file ends behind them."""
        with open("r.raw", "wb") as f:
            f.write(os.urandom(40 * 65536))
        images.qemu_img("convert", "-f", "raw", "-O", "qcow2", "r.raw", "a")
        image = low.Low("a")
        for cluster in range(40, 45):
            image.lower(cluster)
        image.save("a")
        size = os.path.getsize("a")
        self.assert_refused(self.ours("snapshot", "-d", "nosuch", "a"))
        self.assertEqual(os.path.getsize("a"), size)
        images.qemu_img("convert", "-O", "raw", "a", "x")
        self.assertTrue(self.bytes_of("x") == self.bytes_of("r.raw"))


if __name__ == "__main__":
    main()
