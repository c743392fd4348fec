"""`compact` makes files smaller, and reports its work; the disk and its
snapshots read as before, and qemu-img finds nothing wrong."""

import json
import os
import shutil

import case
import images

KINDS = {
    "plain": [],
    "small clusters": ["-o", "cluster_size=512"],
    "v2": ["-o", "compat=0.10,cluster_size=4k"],
    "extended": ["-o", "extended_l2=on,cluster_size=16k"],
    "narrow": ["-o", "refcount_bits=1,cluster_size=4k"],
    "wide": ["-o", "refcount_bits=64,cluster_size=4k"],
    "over": ["-b", "base.raw", "-F", "raw"],
    "zstd": ["-o", "compression_type=zstd,cluster_size=32k"],
    "lazy": ["-o", "lazy_refcounts=on,cluster_size=4k"],
}


class Compact(case.Case):
    def setUp(self):
        for name in os.listdir("."):
            if name != "bin":
                os.chmod(name, 0o644)
                os.unlink(name)
        with open("base.raw", "wb") as f:
            f.write(b"base" * (2 << 18))

    def make(self, *options, compressed=False):
        images.make("a.qcow2", *options, size="2M",
                    io=["write -P 1 0 1M", "write -P 2 1M 200k",
                        "write -P 0 1500k 256k"])
        if compressed:
            images.qemu_io("a.qcow2", "write -c -P 9 1920k 64k")
        images.qemu_io("a.qcow2", "discard 0 800k")

    def qemu(self, *args):
        done = self.theirs(*args)
        self.assertEqual(done.status, 0, done.out + done.err)
        return done.out

    def compact(self, *args, status=0):
        done = self.ours("compact", *args, "a.qcow2")
        self.assertEqual(done.status, status, done.out + done.err)
        return done

    def check_same(self, *args):
        """Compacts; no readable data changes."""
        shutil.copy("a.qcow2", "copy.qcow2")
        self.compact(*args)
        self.qemu("check", "a.qcow2")
        self.qemu("compare", "a.qcow2", "copy.qcow2")
        self.assertLess(os.path.getsize("a.qcow2"),
                        os.path.getsize("copy.qcow2"))

    def test_qemu_finds_the_same_disk_and_nothing_wrong(self):
        for name, options in KINDS.items():
            for flags in ([], ["--zeros"], ["--compress"],
                          ["--zeros", "--compress"]):
                with self.subTest(kind=name, flags=flags):
                    self.make(*options, compressed=name != "narrow")
                    self.check_same(*flags)

    def test_snapshots_read_as_before(self):
        self.make("-o", "cluster_size=4k")
        self.qemu("snapshot", "-c", "one", "a.qcow2")
        images.qemu_io("a.qcow2", "write -P 5 900k 300k", "discard 1500k 256k")
        self.qemu("snapshot", "-c", "two", "a.qcow2")
        images.qemu_io("a.qcow2", "write -P 6 0 300k", "discard 900k 300k")
        self.qemu("snapshot", "-d", "two", "a.qcow2")
        self.qemu("convert", "-l", "one", "-O", "raw", "a.qcow2", "one.raw")
        self.check_same()
        self.qemu("convert", "-l", "one", "-O", "raw", "a.qcow2", "now.raw")
        with open("one.raw", "rb") as one, open("now.raw", "rb") as now:
            self.assertEqual(one.read(), now.read())
        self.qemu("snapshot", "-a", "one", "a.qcow2")
        self.qemu("compare", "-f", "qcow2", "-F", "raw", "a.qcow2", "one.raw")

    def test_says_what_it_did(self):
        self.make()
        size = os.path.getsize("a.qcow2")
        lines = self.compact().out.splitlines()
        now = os.path.getsize("a.qcow2")
        self.assertRegex(lines[0], r"^Moved \d+ of \d+ clusters$")
        self.assertEqual(lines[1], f"File size: {size}, now {now}")
        self.make()
        lines = self.compact("--zeros", "--compress").out.splitlines()
        self.assertRegex(lines[1], r"^Made \d+ clusters zero$")
        self.assertRegex(lines[2], r"^Compressed \d+ clusters$")

    def test_json_has_every_number(self):
        self.make()
        size = os.path.getsize("a.qcow2")
        said = json.loads(self.compact("--output=json", "--zeros").out)
        self.assertEqual(
            set(said), {"dry-run", "clusters", "clusters-movable",
                        "clusters-moved", "clusters-zeroed",
                        "clusters-compressed", "clusters-leaked",
                        "file-size-before", "file-size-after"})
        self.assertEqual(said["dry-run"], False)
        self.assertEqual(said["file-size-before"], size)
        self.assertEqual(said["file-size-after"], os.path.getsize("a.qcow2"))
        self.assertGreaterEqual(said["clusters-zeroed"], 3)
        self.assertEqual(said["clusters-leaked"], 0)

    def test_a_dry_run_changes_nothing(self):
        self.make()
        with open("a.qcow2", "rb") as f:
            before = f.read()
        said = json.loads(self.compact("-n", "--output=json").out)
        with open("a.qcow2", "rb") as f:
            self.assertEqual(f.read(), before)
        self.assertEqual(said["dry-run"], True)
        self.assertEqual(said["clusters-moved"], 0)
        self.assertGreater(said["clusters-movable"], 0)
        self.assertLess(said["file-size-after"], len(before))
        self.assertRegex(self.compact("--dry-run").out,
                         r"^Would move \d+ of \d+ clusters\nFile size: \d+, "
                         r"would be about \d+\n$")

    def test_t2_a_dry_run_opens_for_reading(self):
        self.make()
        os.chmod("a.qcow2", 0o444)
        plain = self.compact("-n").out
        os.chmod("a.qcow2", 0o644)
        with open("a.qcow2", "r+b") as f:
            f.seek(72 + 7)
            f.write(b"\1")                 # the dirty bit
            f.seek(88)
            f.write(b"\x80")               # an unknown autoclear bit
            f.seek(0)
            before = f.read()
        for _ in range(2):
            self.assertEqual(self.compact("-n").out, plain)
        with open("a.qcow2", "rb") as f:
            self.assertEqual(f.read(), before)

    def test_once_more_finds_nothing_to_do(self):
        self.make("-o", "cluster_size=4k")
        self.compact()
        with open("a.qcow2", "rb") as f:
            before = f.read()
        self.assertRegex(self.compact().out, r"^Moved 0 of ")
        with open("a.qcow2", "rb") as f:
            self.assertEqual(f.read(), before)

    def test_quiet_says_nothing(self):
        self.make()
        done = self.compact("-q")
        self.assertEqual(done.out + done.err, "")

    def test_progress_ends_at_100_percent(self):
        self.make("-o", "cluster_size=4k")
        self.assertIn("100.00", self.compact("-p").out)

    def test_leaks_are_told_with_a_hint(self):
        self.make("-o", "cluster_size=4k")
        with open("a.qcow2", "r+b") as f:
            # A refcount of the block at the third cluster, far behind.
            f.seek(8192 + 2 * 1500)
            f.write(b"\0\1")
            f.truncate(1501 * 4096)
        done = self.compact()
        self.assertIn("1 leaked clusters stay", done.err)
        self.assertIn("check -r leaks", done.err)

    def damage(self, off, data):
        """Overwrites bytes of the image; returns its new contents."""
        with open("a.qcow2", "r+b") as f:
            f.seek(off)
            f.write(data)
        return self.bytes()

    def bytes(self):
        with open("a.qcow2", "rb") as f:
            return f.read()

    def test_f01_refcounts_that_are_too_low_are_raised(self):
        self.make("-o", "cluster_size=4k")
        self.qemu("convert", "-O", "raw", "a.qcow2", "before.raw")
        self.damage(8192, b"\0\0" * 20)
        done = self.compact()
        self.assertRegex(done.err,
                         r"\d+ refcounts were too low: they have been raised")
        self.qemu("check", "a.qcow2")
        self.qemu("compare", "-F", "raw", "a.qcow2", "before.raw")

    def test_a_damaged_image_is_refused_with_a_hint(self):
        self.make("-o", "cluster_size=4k")
        l1 = int.from_bytes(self.bytes()[40:48], "big")
        entry = int.from_bytes(self.bytes()[l1:l1 + 8], "big")
        before = self.damage(l1, (entry + 512).to_bytes(8, "big"))
        for flags in [], ["-n"]:
            done = self.compact(*flags, status=1)
            self.assertIn("errors and must be repaired first", done.err)
            self.assertEqual(done.err.count("check -r all"), 1, done.err)
            self.assertEqual(self.bytes(), before)

    def test_every_command_that_damage_stops_says_what_helps(self):
        self.make("-o", "cluster_size=4k")
        l1 = int.from_bytes(self.bytes()[40:48], "big")
        entry = int.from_bytes(self.bytes()[l1:l1 + 8], "big")
        before = self.damage(l1, (entry + 512).to_bytes(8, "big"))
        for words in (["compact", "a.qcow2"],
                      ["resize", "--shrink", "a.qcow2", "1M"],
                      ["snapshot", "-c", "s", "a.qcow2"],
                      ["amend", "-o", "refcount_bits=32", "a.qcow2"],
                      ["convert", "-O", "raw", "a.qcow2", "x.raw"],
                      ["convert", "-n", "-f", "raw", "-O", "qcow2",
                       "base.raw", "a.qcow2"],
                      ["io", "-c", "write 0 4k", "a.qcow2"],
                      ["map", "a.qcow2"],
                      ["compare", "a.qcow2", "base.raw"]):
            with self.subTest(words=words):
                with open("a.qcow2", "wb") as f:
                    f.write(before)
                done = self.ours(*words)
                self.assertNotEqual(done.status, 0, done.err)
                self.assertEqual(done.err.count("check -r all"), 1, done.err)
        done = self.ours("check", "a.qcow2")
        self.assertNotIn("check -r", done.err)

    def test_a_file_that_cannot_be_written_is_refused(self):
        self.make()
        os.chmod("a.qcow2", 0o444)
        if os.access("a.qcow2", os.W_OK):
            self.skipTest("root writes to every file")
        self.compact(status=1)

    def test_other_things_are_refused(self):
        self.make()
        for args in (["base.raw"], ["-f", "raw", "base.raw"], ["absent"],
                     [], ["a.qcow2", "b.qcow2"], ["--what", "a.qcow2"],
                     ["--compress-level", "x", "a.qcow2"]):
            with self.subTest(args=args):
                done = self.ours("compact", *args)
                self.assertEqual(done.status, 1)
                self.assertNotEqual(done.err, "")
        self.theirs("create", "-f", "qcow2", "-o", "data_file=d.raw",
                    "a.qcow2", "1M")
        self.assertIn("data file", self.compact("-c", status=1).err)


if __name__ == "__main__":
    case.main()
