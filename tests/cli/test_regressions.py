"""Mistakes that other tools made in snapshots, resize, amend, compact and
header updates, by the ids of tests/regressions.md."""

import os
import shutil
import struct

import case
import images
from bitmaps import Bitmaps

# All operations that change an image and are no guest write.
OPERATIONS = [
    ["resize", "a.qcow2", "3M"], ["resize", "--shrink", "a.qcow2", "2M"],
    ["resize", "--preallocation=metadata", "a.qcow2", "5M"],
    ["snapshot", "-c", "s", "a.qcow2"], ["snapshot", "-d", "s", "a.qcow2"],
    ["amend", "-o", "refcount_bits=64", "a.qcow2"],
    ["amend", "-o", "refcount_bits=16", "a.qcow2"],
    ["amend", "-o", "lazy_refcounts=on", "a.qcow2"],
    ["amend", "-o", "lazy_refcounts=off", "a.qcow2"],
    ["compact", "a.qcow2"], ["check", "-r", "leaks", "a.qcow2"],
    ["check", "-r", "all", "a.qcow2"],
]


class Regressions(case.Case):
    def setUp(self):
        for name in os.listdir("."):
            if name != "bin":
                os.unlink(name)

    def ok(self, *args):
        done = self.ours(*args)
        self.assertEqual(done.status, 0, f"{args}\n{done.out}{done.err}")
        return done

    def assert_sound(self, image="a.qcow2"):
        for check in (self.ours, self.theirs):
            done = check("check", image)
            self.assertEqual(done.status, 0, done.out + done.err)

    def expect(self, *commands, image="a.qcow2"):
        args = [word for c in commands for word in ("-c", c)]
        for done in (self.ours("io", *args, image),
                     case.run(case.QEMU_IO, *args, image)):
            self.assertEqual(done.status, 0, done.out + done.err)
            self.assertNotIn("failed", done.out)

    def test_r08_a_snapshot_with_a_shorter_l1_table_comes_back(self):
        for cluster in ("512", "4k", "64k"):
            with self.subTest(cluster=cluster):
                self.setUp()
                images.make("a.qcow2", "-o", f"cluster_size={cluster}",
                            size="1M", io=["write -P 1 0 1M"])
                self.ok("snapshot", "-c", "small", "a.qcow2")
                self.ok("resize", "a.qcow2", "70M")
                images.qemu_io("a.qcow2", "write -P 2 500k 1M",
                               "write -P 3 69M 1M")
                self.ok("snapshot", "-c", "large", "a.qcow2")
                for name in ("small", "large", "small", "large"):
                    self.ok("snapshot", "-a", name, "a.qcow2")
                    self.assert_sound()
                self.expect("read -P 1 0 500k", "read -P 2 500k 1M",
                            "read -P 0 1536k 67M", "read -P 3 69M 1M")
                self.assertEqual(self.theirs("snapshot", "-a", "small",
                                             "a.qcow2").status, 0)
                self.expect("read -P 1 0 1M")
                self.assert_sound()

    def test_r08_refcounts_of_every_width_follow_a_snapshot(self):
        for bits in (2, 8, 64):
            with self.subTest(bits=bits):
                self.setUp()
                images.make("a.qcow2", "-o", f"refcount_bits={bits}",
                            io=images.MIXED)
                for args in (["-c", "a"], ["-a", "a"], ["-d", "a"]):
                    self.ok("snapshot", *args, "a.qcow2")
                    self.assert_sound()

    def test_r16_a_bitmap_that_missed_a_write_is_never_trusted(self):
        images.make("a.qcow2", io=images.PLAIN)
        images.qemu_img("bitmap", "--add", "a.qcow2", "b")
        for command in ("write -P 9 2M 64k", "discard 0 64k",
                        "write -z 64k 64k", "write -c 128k 64k"):
            with self.subTest(command=command):
                shutil.copy("a.qcow2", "b.qcow2")
                self.ok("io", "-c", command, "b.qcow2")
                self.assertFalse(Bitmaps("b.qcow2").valid)
                info = self.theirs("info", "--output=json", "b.qcow2").json()
                self.assertNotIn("bitmaps", info["format-specific"]["data"])

    def test_r17_bitmaps_survive_whatever_writes_no_guest_data(self):
        images.make("a.qcow2", size="2M", io=["write -P 5 0 300k"])
        images.qemu_img("bitmap", "--add", "-g", "4k", "a.qcow2", "b")
        images.qemu_io("a.qcow2", "write -P 6 1M 64k")
        said = Bitmaps("a.qcow2").said["b"]
        for args in OPERATIONS:
            with self.subTest(args=args):
                self.ok(*args)
                self.assert_sound()
                now = Bitmaps("a.qcow2")
                self.assertTrue(now.valid)
                self.assertEqual(now.said["b"][:3], said[:3])
                self.assertEqual(now.said["b"][3].rstrip(b"\0"),
                                 said[3].rstrip(b"\0"))

    def test_r17_an_encrypted_image_is_left_alone(self):
        images.make_luks("a.qcow2")
        with open("a.qcow2", "rb") as f:
            before = f.read()
        for args in OPERATIONS:
            with self.subTest(args=args):
                done = self.ours(*args)
                if args[0] != "check":
                    self.assertEqual(done.status, 1, done.out)
                with open("a.qcow2", "rb") as f:
                    self.assertEqual(f.read(), before)

    def test_r19_growing_within_a_cluster_and_a_table(self):
        for cluster in ("512", "4k", "64k"):
            for mode in ("off", "metadata", "full"):
                with self.subTest(cluster=cluster, mode=mode):
                    self.setUp()
                    images.make("a.qcow2", "-o", f"cluster_size={cluster}",
                                size="520k", io=["write -P 1 0 520k"])
                    self.ok("resize", f"--preallocation={mode}", "a.qcow2",
                            "567k")
                    self.assert_sound()
                    self.expect("read -P 1 0 520k", "read -P 0 520k 47k")
                    images.qemu_io("a.qcow2", "write -P 2 566k 1k")
                    self.assert_sound()

    def test_r20_the_cluster_that_a_disk_ends_in_is_cut(self):
        images.make("a.qcow2", size="1M", io=["write -P 1 0 1M"])
        self.ok("resize", "--shrink", "a.qcow2", "132608")
        self.ok("resize", "a.qcow2", "1M")
        self.expect("read -P 1 0 132608", "read -P 0 132608 915968")
        self.assert_sound()

    def test_r23_many_gigabytes_of_large_clusters(self):
        images.make("a.qcow2", "-o", "cluster_size=256k", size="1G",
                    io=["write -P 1 1023M 1M"])
        self.ok("resize", "--preallocation=metadata", "a.qcow2", "10G")
        self.assert_sound()
        images.qemu_io("a.qcow2", "write -P 2 10239M 1M")
        self.expect("read -P 1 1023M 1M", "read -P 2 10239M 1M",
                    "read -P 0 1024M 64M", "read -P 0 4095M 2M")
        self.ok("resize", "--shrink", "a.qcow2", "1G")
        self.assert_sound()

    def put_unknown(self, path):
        """An extension that nobody knows, where the end mark was."""
        with open(path, "r+b") as f:
            raw = f.read(65536)
            at, = struct.unpack_from(">I", raw, 100)
            while struct.unpack_from(">I", raw, at)[0]:
                n, = struct.unpack_from(">I", raw, at + 4)
                at += 8 + (n + 7) // 8 * 8
            f.seek(at)
            f.write(struct.pack(">II", 0x12345678, 11) + b"hello world" +
                    bytes(13))

    def test_r27_unknown_extensions_survive_every_change(self):
        images.make("a.qcow2", "-o", "cluster_size=4k", size="2M",
                    io=["write -P 5 0 300k"])
        images.qemu_img("bitmap", "--add", "-g", "512", "a.qcow2", "b")
        self.put_unknown("a.qcow2")
        for args in OPERATIONS:
            with self.subTest(args=args):
                self.ok(*args)
                h = images.Header("a.qcow2")
                at = images.find_extension(h, 0x12345678)
                self.assertEqual(h.bytes[at - 8:at + 16],
                                 struct.pack(">II", 0x12345678, 11) +
                                 b"hello world" + bytes(5))
                images.find_extension(h, 0x23852875)

    def test_r27_small_clusters_keep_their_room_for_names(self):
        images.make("a.qcow2", "-o", "compat=0.10,cluster_size=512",
                    size="1M")
        self.ok("amend", "-o", "compat=1.1", "a.qcow2")
        name = 140 * "./" + "base.raw"
        with open(name, "wb") as f:
            f.truncate(1 << 20)
        self.ok("amend", "-o", f"backing_file={name},backing_fmt=raw",
                "a.qcow2")
        info = self.theirs("info", "--output=json", "a.qcow2").json()
        self.assertEqual(info["backing-filename"], name)
        self.assert_sound()

    def test_r37_bitmaps_in_use_stay_in_use(self):
        images.make("a.qcow2", size="2M", io=["write -P 5 0 300k"])
        images.qemu_img("bitmap", "--add", "a.qcow2", "b")
        h = Bitmaps("a.qcow2")
        at = images.find_bitmap_directory(h)
        h.put(">I", at + 12, h.get(">I", at + 12) | 1).save("a.qcow2")
        for args in OPERATIONS:
            with self.subTest(args=args):
                done = self.ours(*args)
                self.assertEqual(done.status, int(args[0] == "resize"),
                                 done.err)
                self.assertEqual(Bitmaps("a.qcow2").said["b"][0] & 1, 1)
        done = self.ours("snapshot", "-a", "s", "a.qcow2")
        self.assertEqual(done.status, 1)
        self.assert_sound()

    def lower(self, n):
        """The last clusters of the file lose their refcounts."""
        h = images.Header("a.qcow2")
        end = os.path.getsize("a.qcow2") >> 16
        table = h.get(">Q", 48)
        block = h.get(">Q", table)
        for i in range(end - n, end):
            h.put(">H", block + 2 * i, 0)
        h.save("a.qcow2")

    def test_f01_refcounts_too_low_cost_no_data(self):
        images.make("a.qcow2", size="8M", io=["write -P 5 0 2M"])
        self.lower(10)
        before = images.Header("a.qcow2").bytes
        self.assertNotEqual(
            self.ours("snapshot", "-d", "nosuch", "a.qcow2").status, 0)
        self.assertNotEqual(self.ours("resize", "a.qcow2", "1M").status, 0)
        self.ok("io", "-c", "read 0 2M", "a.qcow2")
        self.assertEqual(images.Header("a.qcow2").bytes, before)
        done = self.ok("io", "-c", "write -P 6 4M 1M", "a.qcow2")
        self.assertIn("10 refcounts were too low", done.err)
        self.assert_sound()
        self.expect("read -P 5 0 2M", "read -P 6 4M 1M")
        done = self.ok("io", "-c", "write -P 6 4M 1M", "a.qcow2")
        self.assertEqual(done.err, "")

    def test_f01_who_trusts_refcounts_reads_no_metadata(self):
        images.make("a.qcow2", size="8M", io=["write -P 5 0 2M"])
        self.lower(2)
        done = self.ok("io", "--trust-refcounts", "-c", "write -P 6 0 64k",
                       "a.qcow2")
        self.assertEqual(done.err, "")
        done = self.ok("io", "-c", "write -P 6 0 64k", "a.qcow2")
        self.assertIn("2 refcounts were too low", done.err)

    def test_f01_clusters_of_a_data_file_have_no_refcounts(self):
        images.make("a.qcow2", "-o", "data_file=a.data", size="8M",
                    io=["write -P 5 0 2M"])
        self.lower(2)
        # Offsets of the data file are offsets of free clusters here.
        os.truncate("a.qcow2", os.path.getsize("a.qcow2") + (10 << 16))
        self.ok("io", "-c", "write -P 6 1M 1M", "a.qcow2")
        self.assert_sound()
        self.expect("read -P 5 0 1M", "read -P 6 1M 1M")

    def test_f01_compacting_raises_refcounts_first(self):
        images.make("a.qcow2", size="8M",
                    io=["write -P 5 0 2M", "write -P 6 2M 1M",
                        "discard 0 1M"])
        self.lower(10)
        done = self.ok("compact", "a.qcow2")
        self.assertIn("10 refcounts were too low", done.err)
        self.assert_sound()
        self.expect("read -P 0 0 1M", "read -P 5 1M 1M", "read -P 6 2M 1M")


if __name__ == "__main__":
    case.main()
