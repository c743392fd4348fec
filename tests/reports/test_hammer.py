#!/usr/bin/env python3
"""T1 to T8: the findings of hammering.  (T6 is with the signals of F06.)

Usage: test_hammer.py COMMAND
"""

import os
import resource
import struct
import subprocess
import tempfile

import low
import targets
from targets import images, read
from case import Case, QEMU_IO, Result, main

RESERVED = [1, 0x100, 0x1ff]


class Hammer(Case):
    def setUp(self):
        self.here = tempfile.mkdtemp(dir=self.dir)
        os.chdir(self.here)

    def tearDown(self):
        os.chdir(self.dir)

    def assert_worked(self, done):
        self.assertEqual(done.status, 0, done.err)
        return done

    def within(self, seconds, *words):
        """The command ends after so much time of the processor."""
        job = subprocess.Popen([f"{self.dir}/bin/qcow2", *words],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        resource.prlimit(job.pid, resource.RLIMIT_CPU, (seconds, seconds))
        out, err = job.communicate(timeout=60)
        self.assertGreaterEqual(job.returncode, 0,
                                f"{words} was stopped: it goes on for ever")
        return Result(subprocess.CompletedProcess(words, job.returncode, out,
                                                  err))

    # T1.

    ALLOCATING = (["io", "-c", "write 0 64k", "m"],
                  ["io", "-c", "write -c 0 64k", "m"],
                  ["io", "-c", "write -z 0 64k", "m"],
                  ["snapshot", "-c", "x", "m"], ["resize", "m", "1T"],
                  ["compact", "m"], ["check", "m"],
                  ["check", "-r", "all", "m"],
                  ["amend", "-o", "refcount_bits=64", "m"],
                  ["convert", "-n", "-O", "qcow2", "s", "m"])

    def test_t1_reserved_bits_of_a_table_entry_are_no_endless_loop(self):
        images.make("s", size="64M", io=["write -P 5 0 1M"])
        for number in (0, 1, 17):
            for bits in RESERVED:
                for words in self.ALLOCATING:
                    with self.subTest(number=number, bits=bits, words=words):
                        images.make("m", size="64M")
                        image = images.Header("m")
                        at = image.get(">Q", 48) + 8 * number
                        image.put(">Q", at, bits).save("m")
                        self.within(5, *words)

    def test_t1_reserved_bits_beside_an_offset_too(self):
        images.make("s", size="64M", io=["write -P 5 0 1M"])
        for bits in RESERVED:
            for words in self.ALLOCATING:
                with self.subTest(bits=bits, words=words):
                    images.make("m", size="64M")
                    image = images.Header("m")
                    at = image.get(">Q", 48)
                    image.put(">Q", at, image.get(">Q", at) | bits).save("m")
                    self.within(5, *words)

    def test_t1_a_table_that_names_one_block_twice_is_no_endless_loop(self):
        images.make("s", size="64M", io=["write -P 5 0 1M"])
        for words in self.ALLOCATING:
            with self.subTest(words=words):
                images.make("m", "-o", "cluster_size=512", size="1M",
                            io=["write -P 1 0 200k"])
                image = images.Header("m")
                table = image.get(">Q", 48)
                for i in range(1, 16):
                    image.put(">Q", table + 8 * i, image.get(">Q", table))
                image.save("m")
                self.within(5, *(w.replace("1T", "2M") for w in words))

    def test_t1_data_that_was_there_is_there_after_a_refusal(self):
        images.make("m", size="64M", io=["write -P 5 0 1M"])
        image = images.Header("m")
        image.put(">Q", image.get(">Q", 48) + 8, 1).save("m")
        self.within(5, "io", "-c", "write -P 6 8M 64k", "m")
        self.assert_worked(self.ours("io", "-r", "-c", "read -P 5 0 1M", "m"))

    # T2.

    def test_t2_a_dry_run_opens_for_reading(self):
        images.make("a", io=["write -P 5 0 1M", "discard 0 512k"])
        for change in (lambda h: h.incompatible(0),
                       lambda h: h.put(">Q", 88, 1 << 40),
                       lambda h: h):
            change(images.Header("a")).save("b")
            before = read("b")
            self.ours("compact", "--dry-run", "b")
            self.assertTrue(read("b") == before)

    @targets.needs_root
    def test_t2_a_dry_run_works_on_a_read_only_file_system(self):
        with targets.tmpfs("t", "16m"):
            images.make("t/a", io=["write -P 5 0 1M"])
            targets.call("mount", "-o", "remount,ro", "t")
            self.assert_worked(self.ours("compact", "--dry-run", "t/a"))

    def test_t2_a_dry_run_works_on_a_file_that_may_only_be_read(self):
        images.make("a", io=["write -P 5 0 1M"])
        os.chmod("a", 0o444)
        self.assert_worked(self.ours("compact", "--dry-run", "a"))

    # T3, T4.

    def what_check_calls_sound_qemu_opens(self, path="a"):
        done = self.ours("check", path)
        theirs = self.theirs("info", path)
        if theirs.status:
            self.assertEqual(done.status, 2, done.out)
        repaired = self.ours("check", "-r", "all", path)
        theirs = self.theirs("info", path)
        if theirs.status:
            self.assertNotEqual(repaired.status, 0, theirs.err)
        return done, repaired

    def with_bitmap(self):
        images.make("s", io=["write -P 5 0 64k"])
        images.qemu_img("bitmap", "--add", "s", "b0")
        return images.Header("s")

    def test_t3_a_bitmaps_extension_of_wrong_length(self):
        for length in (0, 8, 16, 23, 25, 32, 40):
            with self.subTest(length=length):
                image = self.with_bitmap()
                at = images.find_extension(image, 0x23852875)
                image.put(">I", at - 4, length).save("a")
                self.what_check_calls_sound_qemu_opens()

    def test_t3_after_a_repair_qemu_opens_it(self):
        image = self.with_bitmap()
        at = images.find_extension(image, 0x23852875)
        image.put(">I", at - 4, 16).save("a")
        self.assertEqual(self.ours("check", "-r", "all", "a").status, 0)
        self.assert_worked(self.theirs("info", "a"))
        self.assert_worked(self.theirs("check", "a"))

    def test_t4_an_end_extension_with_a_length_that_does_not_fit(self):
        for length in (1, 8, 65536, 1 << 31, (1 << 32) - 1):
            with self.subTest(length=length):
                images.make("s", io=["write -P 5 0 64k"])
                image = images.Header("s")
                at = 104
                while image.get(">I", at):
                    at += 8 + (image.get(">I", at + 4) + 7) // 8 * 8
                image.put(">I", at + 4, length).save("a")
                self.what_check_calls_sound_qemu_opens()

    def test_t4_a_raw_data_file_bit_without_a_data_file(self):
        images.make("s", io=["write -P 5 0 64k"])
        image = images.Header("s")
        image.put(">B", 95, 2).save("a")
        self.what_check_calls_sound_qemu_opens()

    def test_t4_a_snapshot_without_entries_at_an_odd_place(self):
        images.make("s", io=["write -P 5 0 64k"])
        images.qemu_img("snapshot", "-c", "x", "s")
        image = images.Header("s")
        at = image.snapshot_table
        image.put(">I", at + 8, 0).put(">Q", at, 12345).save("a")
        self.what_check_calls_sound_qemu_opens()

    def test_t4_a_size_of_104_with_a_bitmap(self):
        image = self.with_bitmap()
        image.put(">Q", 24, 104).save("a")
        self.what_check_calls_sound_qemu_opens()

    def test_t4_what_one_byte_of_the_header_can_do(self):
        """QEMU opens every image that check calls sound."""
        image = self.with_bitmap()
        for at in list(range(8, 112)) + list(range(112, 400, 7)):
            for value in (1, 2, 0x80):
                changed = images.Header("s")
                changed.bytes[at] ^= value
                changed.save("a")
                done = self.ours("check", "a")
                if done.status == 0:
                    theirs = self.theirs("check", "a")
                    with self.subTest(at=at, value=value):
                        self.assertTrue(theirs.status != 1
                                        or "key-secret" in theirs.err,
                                        theirs.err)
        self.assertIsNotNone(image)

    # T5.

    def test_t5_each_layer_takes_the_cache_that_fits_it(self):
        images.make("base", "-o", "cluster_size=4k", io=["write -P 5 0 64k"])
        images.make("a", "-b", "base", "-F", "qcow2", "-o",
                    "cluster_size=64k")
        for opts in ("l2-cache-entry-size=64k", "l2-cache-entry-size=16k",
                     "l2-cache-size=1M,l2-cache-entry-size=64k"):
            with self.subTest(opts=opts):
                text = f"driver=qcow2,file.filename=a,{opts}"
                theirs = subprocess.run(
                    [QEMU_IO, "--image-opts", "-c", "read -P 5 0 64k", text],
                    capture_output=True, check=False)
                self.assertEqual(theirs.returncode, 0)
                self.assert_worked(self.ours(
                    "io", "--image-opts", "-c", "read -P 5 0 64k", text))

    # T7.

    def shared_table(self, n, data):
        """A disk of which n L1 entries share one L2 table."""
        cluster = 65536
        size = n * (cluster // 8) * cluster
        images.make("a", size="512M", io=["write -P 5 0 64k"]
                    if data else ["write -z 0 64k"])
        image = images.Header("a")
        entry = image.get(">Q", image.l1) & ~(1 << 63)
        image.bytes += bytes(-len(image.bytes) % cluster)
        l1 = len(image.bytes)
        image.bytes += struct.pack(">Q", entry) * n
        image.bytes += bytes(-len(image.bytes) % cluster)
        image.put(">Q", 40, l1).put(">I", 36, n).put(">Q", 24, size)
        image.save("a")
        return size

    def test_t7_many_entries_that_share_a_table_cost_little(self):
        for n in (16384, 131072):
            self.shared_table(n, False)
            for words in (["map", "--output=json", "a"], ["map", "a"],
                          ["convert", "-O", "raw", "a", "x"],
                          ["convert", "-O", "qcow2", "a", "x"],
                          ["check", "a"], ["info", "a"],
                          ["compare", "a", "a"],
                          ["snapshot", "-c", "x", "a"],
                          ["resize", "--shrink", "a", "512M"]):
                with self.subTest(n=n, words=words):
                    self.within(3, *words)

    def test_t7_many_entries_that_share_a_table_with_data_end(self):
        """A budget stops the command, or it comes to its end."""
        self.shared_table(16384, True)
        for words in (["map", "--output=json", "a"], ["check", "a"],
                      ["snapshot", "-c", "x", "a"],
                      ["resize", "--shrink", "a", "512M"]):
            with self.subTest(words=words):
                self.within(3, *words)

    def test_t7_a_thousand_snapshots_that_share_a_table(self):
        images.make("a", "-o", "refcount_bits=32", io=["write -P 5 0 64k"],
                    size="64M")
        commands = [["snapshot", "-c", f"s{i}", "a"] for i in range(3)]
        for words in commands:
            self.assert_worked(self.ours(*words))
        image = images.Header("a")
        table = image.snapshot_table
        first = bytes(image.bytes[table:table + 80])
        self.assertEqual(first[14:16], b"\0\2")
        n = 1000
        image.bytes += bytes(-len(image.bytes) % 65536)
        image.put(">Q", 64, len(image.bytes)).put(">I", 60, n)
        extra = struct.unpack_from(">I", first, 36)[0]
        entry = bytearray(first[:40 + extra])
        for i in range(n):
            name = f"{i:06}".encode()
            struct.pack_into(">HH", entry, 12, 6, 6)
            one = bytes(entry) + name + name
            image.bytes += one + bytes(-len(one) % 8)
        image.bytes += bytes(-len(image.bytes) % 65536)
        image.save("a")
        self.ours("check", "-r", "all", "a")
        self.within(3, "snapshot", "-d", "000500", "a")
        self.within(3, "snapshot", "-l", "a")

    # T8.

    def test_t8_what_a_shrink_cuts_off_reads_as_zeros_when_grown_by_qemu(
            self):
        for options in ([], ["-o", "compat=0.10"],
                        ["-o", "extended_l2=on"], ["-o", "cluster_size=2M"],
                        ["-o", "data_file=d.raw"]):
            with self.subTest(options=options):
                images.make("a", *options, io=["write -P 7 0 4M"])
                self.assert_worked(self.ours("resize", "--shrink", "a",
                                             "2098176"))
                self.assert_worked(self.theirs("resize", "-f", "qcow2", "a",
                                               "4M"))
                self.assert_worked(self.ours(
                    "io", "-c", "read -P 7 0 2098176", "-c",
                    "read -P 0 2098176 2096128", "a"))

    def test_t8_zeroing_at_a_shrink_leaves_a_snapshot_alone(self):
        images.make("a", io=["write -P 7 0 4M"])
        images.qemu_img("snapshot", "-c", "x", "a")
        self.assert_worked(self.ours("resize", "--shrink", "a", "2098176"))
        self.assertTrue(low.Low("a").disks()["x"] == b"\7" * (4 << 20))

    def test_t8_zeroing_at_a_shrink_works_in_a_compressed_cluster(self):
        images.make("a", io=["write -c -P 7 2M 64k"])
        self.assert_worked(self.ours("resize", "--shrink", "a", "2098176"))
        self.assert_worked(self.theirs("resize", "-f", "qcow2", "a", "4M"))
        self.assert_worked(self.ours("io", "-c", "read -P 7 2M 1k", "-c",
                                     "read -P 0 2098176 64k", "a"))


if __name__ == "__main__":
    main()
