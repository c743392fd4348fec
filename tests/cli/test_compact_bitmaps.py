"""`compact` moves persistent bitmaps with all their contents."""

import json
import os

import case
import images
from bitmaps import Bitmaps

# Bitmaps of one cluster, of many, and with tables of several clusters.
IMAGES = {
    "one cluster": ("64k", "8M", ["64k", "512"]),
    "many clusters": ("512", "64M", ["512", "4k"]),
    "long tables": ("512", "512M", ["512"]),
    "extended": ("64k,extended_l2=on", "16M", ["512"]),
}


class CompactBitmaps(case.Case):
    def make(self, options, size, granularities):
        if os.path.exists("a.qcow2"):
            os.unlink("a.qcow2")
        images.make("a.qcow2", "-o", "cluster_size=" + options, size=size,
                    io=["write -P 1 0 5M"])
        images.qemu_img("snapshot", "-c", "room", "a.qcow2")
        images.qemu_io("a.qcow2", "write -P 2 0 5M")
        for i, granularity in enumerate(granularities):
            images.qemu_img("bitmap", "--add", "-g", granularity, "a.qcow2",
                            f"bitmap {i}")
        images.qemu_io("a.qcow2", "write -P 3 1M 100k", "write -P 4 7M 3k",
                       "write -P 5 6M 200k", "write -P 0 4M 512k")
        # qemu-img would write the bitmaps anew, into the room.
        done = self.ours("snapshot", "-d", "room", "a.qcow2")
        self.assertEqual(done.status, 0, done.err)

    def compact(self, *args):
        done = self.ours("compact", *args, "a.qcow2")
        self.assertEqual(done.status, 0, done.err)

    def contents(self):
        self.assertEqual(self.ours("convert", "-O", "raw", "a.qcow2",
                                   "a.raw").status, 0)
        with open("a.raw", "rb") as f:
            return f.read()

    def check_moved(self, *args):
        before, disk = Bitmaps("a.qcow2"), self.contents()
        self.assertTrue(any(b[3].strip(b"\0") for b in before.said.values()))
        self.compact(*args)
        after = Bitmaps("a.qcow2")
        self.assertTrue(after.valid)
        self.assertEqual(after.said, before.said)
        self.assertLess(after.end, before.end)
        self.assertLess(len(after.bytes), len(before.bytes))
        self.assertEqual(self.contents(), disk)
        for check in (self.ours, self.theirs):
            done = check("check", "a.qcow2")
            self.assertEqual(done.status, 0, done.out + done.err)

    def test_bitmaps_move_with_all_they_say(self):
        for name, made_of in IMAGES.items():
            with self.subTest(name):
                self.make(*made_of)
                self.check_moved()

    def test_rewriting_data_leaves_them_valid(self):
        for flag in ("--zeros", "--compress"):
            with self.subTest(flag):
                self.make(*IMAGES["one cluster"])
                self.check_moved(flag)

    def test_qemu_goes_on_with_them(self):
        self.make(*IMAGES["many clusters"])
        self.compact()
        images.qemu_io("a.qcow2", "write -P 5 30M 64k")
        images.qemu_img("bitmap", "--add", "a.qcow2", "sum")
        images.qemu_img("bitmap", "--merge", "bitmap 0", "a.qcow2", "sum")
        images.qemu_img("bitmap", "--remove", "a.qcow2", "bitmap 1")
        found = Bitmaps("a.qcow2").said
        self.assertEqual(sorted(found), ["bitmap 0", "sum"])
        self.assertEqual(self.theirs("check", "a.qcow2").status, 0)

    def test_bitmaps_that_are_no_longer_true_are_leaks(self):
        self.make(*IMAGES["one cluster"])
        self.assertEqual(self.ours("io", "-c", "write 0 64k",
                                   "a.qcow2").status, 0)
        done = self.ours("compact", "--output=json", "a.qcow2")
        self.assertEqual(done.status, 0)
        self.assertGreater(json.loads(done.out)["clusters-leaked"], 0)
        self.assertIn("check -r leaks", done.err)
        self.assertEqual(self.ours("check", "-r", "leaks", "a.qcow2").status,
                         0)
        done = self.ours("compact", "--output=json", "a.qcow2")
        self.assertEqual(json.loads(done.out)["clusters-leaked"], 0)
        self.assertEqual(done.err, "")


if __name__ == "__main__":
    case.main()
