"""`resize` gives persistent bitmaps the new size, as qemu-img does."""

import os
import shutil

import case
import images
from bitmaps import Bitmaps

# Bitmaps of one cluster, of many, with tables of several clusters; extensions
# behind the first sector of the header; a first cluster that is one sector.
IMAGES = {
    "one cluster": ([], "8M", ["64k", "512"]),
    "many clusters": (["-o", "cluster_size=512"], "8M", ["512", "4k"]),
    "long tables": (["-o", "cluster_size=512"], "512M", ["512"]),
    "subclusters": (["-o", "extended_l2=on"], "100M", ["512", "1M"]),
    "far extension": (["-o", "data_file=" + 200 * "d"], "8M", ["512"]),
    "behind the name": (["-b", 100 * "b", "-F", "raw", "-o",
                         "cluster_size=4k"], "8M", ["512", "64k"]),
}

# Exact numbers of bits, bytes and clusters, and beside them.
SIZES = ["+512", "+1000k", "-100k", "-513k", "+5M", "-3M", "+33M", "-1M",
         "-32M"]


def bits_of(said, n):
    """The first n bits, as a number."""
    return int.from_bytes(said[3], "little") & ((1 << n) - 1)


class ResizeBitmaps(case.Case):
    def setUp(self):
        for name in os.listdir("."):
            if name != "bin":
                os.unlink(name)

    def make(self, options, size, granularities):
        with open(100 * "b", "wb") as f:
            f.truncate(20 << 20)
        images.make("a.qcow2", *options, size=size)
        for i, granularity in enumerate(granularities):
            images.qemu_img("bitmap", "--add", "-g", granularity, "a.qcow2",
                            f"bitmap {i}")
        images.qemu_img("bitmap", "--add", "--disable", "a.qcow2", "empty")
        images.qemu_io("a.qcow2", "write -P 3 1M 100k", "write -P 4 6999k 3k",
                       "write -P 5 8191k 1k", "write -P 0 4M 1200k")

    def size(self, image="a.qcow2"):
        return images.Header(image).get(">Q", 24)

    def assert_sound(self, *paths):
        for path in paths:
            for check in (self.ours, self.theirs):
                done = check("check", path)
                self.assertEqual(done.status, 0, done.out + done.err)

    def resize(self, size):
        """Both resize a copy of the same image; ours goes on."""
        before, old = Bitmaps("a.qcow2"), self.size()
        shutil.copy("a.qcow2", "theirs.qcow2")
        ours = self.ours("resize", "--shrink", "a.qcow2", size)
        theirs = self.theirs("resize", "--shrink", "theirs.qcow2", size)
        self.assertEqual((ours.status, theirs.status), (0, 0), ours.err)
        self.assert_sound("a.qcow2", "theirs.qcow2")
        self.assertEqual(self.size(), self.size("theirs.qcow2"))
        after, expected = Bitmaps("a.qcow2"), Bitmaps("theirs.qcow2")
        self.assertTrue(after.valid)
        self.assertEqual(after.said.keys(), expected.said.keys())
        for name, said in after.said.items():
            with self.subTest(bitmap=name, size=size):
                self.compare(said, before.said[name], expected.said[name],
                             old)

    def compare(self, said, before, expected, old):
        granule = 1 << said[2]
        n = -(-self.size() // granule)
        kept = min(n, -(-old // granule))
        self.assertEqual(said[:3], expected[:3])
        # The bytes have only those bits, also in the parts that need none.
        self.assertEqual(int.from_bytes(said[3], "little"),
                         bits_of(before, kept))
        self.assertEqual(bits_of(said, n), bits_of(expected, n))

    def test_bits_are_kept_dropped_and_new_ones_are_0(self):
        for name, made_of in IMAGES.items():
            with self.subTest(name):
                self.setUp()
                self.make(*made_of)
                for size in SIZES:
                    self.resize(size)

    def test_qemu_goes_on_with_them(self):
        self.make(*IMAGES["one cluster"])
        for size in ("2G", "5M"):
            self.assertEqual(self.ours("resize", "--shrink", "a.qcow2",
                                       size).status, 0)
            images.qemu_io("a.qcow2", "write -P 5 4M 64k")
            images.qemu_img("bitmap", "--add", "-g", "512", "a.qcow2", "sum")
            images.qemu_img("bitmap", "--merge", "bitmap 1", "a.qcow2", "sum")
            found = Bitmaps("a.qcow2").said
            self.assertEqual(found["sum"][3], found["bitmap 1"][3])
            self.assertTrue(bits_of(found["bitmap 0"], 1 << 7) & 1 << 64)
            images.qemu_img("bitmap", "--remove", "a.qcow2", "sum")
            self.assert_sound("a.qcow2")

    def test_every_other_way_to_a_size_takes_them_along(self):
        self.make(*IMAGES["one cluster"])
        before = Bitmaps("a.qcow2").said
        for args in (["resize", "--preallocation=full", "a.qcow2", "40M"],
                     ["amend", "-o", "size=50M", "a.qcow2"]):
            done = self.ours(*args)
            self.assertEqual(done.status, 0, done.err)
            self.assert_sound("a.qcow2")
            after = Bitmaps("a.qcow2")
            self.assertTrue(after.valid)
            for name, said in after.said.items():
                self.assertEqual(bits_of(said, 1 << 20),
                                 bits_of(before[name], 1 << 20))

    def test_all_ones_end_with_the_disk(self):
        self.make(*IMAGES["one cluster"])
        h = Bitmaps("a.qcow2")
        extension = images.find_extension(h, 0x23852875)
        at = h.get(">Q", extension + 16)
        h.put(">Q", h.get(">Q", at), 1)
        h.save("a.qcow2")
        self.theirs("check", "-r", "leaks", "a.qcow2")
        self.resize("+1M")
        said = Bitmaps("a.qcow2").said["bitmap 0"]
        self.assertEqual(bits_of(said, 1 << 19), (1 << 128) - 1)

    def test_what_they_need_no_more_is_given_back(self):
        self.make(*IMAGES["many clusters"])
        for size in ("3G", "8M"):
            done = self.ours("resize", "--shrink", "a.qcow2", size)
            self.assertEqual(done.status, 0, done.err)
            self.assert_sound("a.qcow2")
        self.assertLess(os.path.getsize("a.qcow2"), 3 << 20)

    def test_bitmaps_in_use_are_refused(self):
        self.make(*IMAGES["one cluster"])
        h = Bitmaps("a.qcow2")
        at = h.get(">Q", images.find_extension(h, 0x23852875) + 16)
        h.put(">I", at + 12, h.get(">I", at + 12) | 1)
        h.save("a.qcow2")
        for size in ("20M", "2M"):
            args = ["resize", "--shrink", "a.qcow2", size]
            done = self.ours(*args)
            self.assert_refused(done, "bitmap 0", "inconsistent")
            self.assertEqual(self.theirs(*args).status, 1)
            self.assertEqual(self.size(), 8 << 20)
        images.qemu_img("bitmap", "--remove", "a.qcow2", "bitmap 0")
        self.assertEqual(self.ours("resize", "a.qcow2", "20M").status, 0)
        self.assert_sound("a.qcow2")

    def test_r18_bitmaps_that_would_be_too_large_are_refused(self):
        images.make("a.qcow2", size="1M")
        images.qemu_img("bitmap", "--add", "-g", "512", "a.qcow2", "fine")
        done = self.ours("resize", "a.qcow2", "2100G")
        self.assert_refused(done, "fine", "limit")
        self.assertEqual(self.size(), 1 << 20)
        self.assertEqual(self.ours("resize", "a.qcow2", "2048G").status, 0)
        self.assert_sound("a.qcow2")

    def damage(self, value):
        """The first entry of the table of the first bitmap."""
        h = Bitmaps("a.qcow2")
        at = h.get(">Q", images.find_extension(h, 0x23852875) + 16)
        h.put(">Q", h.get(">Q", at), value)
        h.save("a.qcow2")

    def test_damaged_bitmaps_are_refused(self):
        self.make(*IMAGES["one cluster"])
        header = images.Header("a.qcow2")
        for value in (1 << 60, 0x10001, 1 << 50, header.l1):
            with self.subTest(entry=hex(value)):
                self.damage(value)
                with open("a.qcow2", "rb") as f:
                    before = f.read()
                done = self.ours("resize", "--shrink", "a.qcow2", "1M")
                self.assert_refused(done, "bitmap")
                if value == header.l1:
                    # A table that is a bitmap too: the image is corrupt.
                    before = before[:79] + b"\2" + before[80:]
                with open("a.qcow2", "rb") as f:
                    self.assertEqual(f.read(len(before)), before)

    def test_a_damaged_directory_is_refused(self):
        self.make(*IMAGES["one cluster"])
        h = images.Header("a.qcow2")
        extension = images.find_extension(h, 0x23852875)
        h.put(">Q", extension + 16, h.l1)
        h.save("a.qcow2")
        done = self.ours("resize", "a.qcow2", "20M")
        self.assert_refused(done, "bitmap")
        self.assertEqual(self.size(), 8 << 20)

    def test_bitmaps_that_are_no_longer_true_do_not_matter(self):
        self.make(*IMAGES["one cluster"])
        self.assertEqual(self.ours("io", "-c", "write 0 64k",
                                   "a.qcow2").status, 0)
        self.assertEqual(self.ours("resize", "a.qcow2", "20M").status, 0)
        self.assertFalse(Bitmaps("a.qcow2").valid)
        self.assertEqual(self.theirs("info", "a.qcow2").status, 0)


if __name__ == "__main__":
    case.main()
