"""`resize` does the same as qemu-img, and each reads the other's images."""

import os
import shutil

import case

IMAGES = {
    "plain": [],
    "small": ["-o", "cluster_size=512"],
    "4k": ["-o", "cluster_size=4k"],
    "v2": ["-o", "compat=0.10"],
    "sub": ["-o", "extended_l2=on"],
    "rc1": ["-o", "refcount_bits=1,cluster_size=4k"],
    "over": ["-b", "base.raw", "-F", "raw"],
    "v2-over": ["-o", "compat=0.10", "-b", "base.raw", "-F", "raw"],
    "sub-over": ["-o", "extended_l2=on", "-b", "base.raw", "-F", "raw"],
    "data": ["-o", "data_file=d.raw"],
    "data-raw": ["-o", "data_file=d.raw,data_file_raw=on"],
}

SAME = [
    ["2M"], ["+1M"], ["-q", "3M"], ["1M"], ["+0"],
    ["1000"], ["+1000"], ["0"], ["many"], ["+"], ["-"], ["1Z"],
    ["300k"], ["--shrink", "300k"], ["--shrink", "-100k"],
    ["--shrink", "-2M"], ["--shrink", "-1M"], ["-100k"],
    ["--preallocation=metadata", "3M"],
    ["--preallocation=falloc", "3M"],
    ["--preallocation=full", "3M"],
    ["--preallocation=off", "3M"],
    ["--preallocation=much", "3M"],
    ["--shrink", "--preallocation=full", "300k"],
    ["--shrink", "3M"],
    ["20E"], ["-f", "qcow2", "5M"], ["-f", "raw", "5M"], ["-f", "vmdk", "5M"],
]


class Resize(case.Case):
    def setUp(self):
        for name in os.listdir("."):
            if name != "bin":
                os.unlink(name)
        with open("base.raw", "wb") as f:
            f.write(b"base" * (3 << 18))

    def make(self, name="plain", size="1M", fill=True):
        done = self.theirs("create", "-q", "-f", "qcow2", *IMAGES[name],
                           "a.qcow2", size)
        self.assertEqual(done.status, 0, done.err)
        if fill:
            self.io("write -P 17 0 70k", "write -P 18 500k 200k")

    def io(self, *commands, image="a.qcow2"):
        args = [word for c in commands for word in ("-c", c)]
        done = case.run(case.QEMU_IO, *args, "-f", "qcow2", image)
        self.assertEqual(done.status, 0, done.out + done.err)
        self.assertNotIn("failed", done.out)

    def both(self, *args):
        """Runs ours on one copy and theirs on another; both must have the same
        outcome and the same disk."""
        for who in ("ours", "theirs"):
            shutil.copy("a.qcow2", f"{who}.qcow2")
        got = self.drop_in("resize", *args[:-1], "ours.qcow2", args[-1])
        expected = self.theirs("resize", *args[:-1], "theirs.qcow2", args[-1])
        self.assertEqual((got.status, got.out),
                         (expected.status, expected.out),
                         f"{args}\n{got.err}{expected.err}")
        return got

    def assert_sound(self, *images):
        for image in images:
            done = self.theirs("check", "-q", image)
            self.assertEqual(done.status, 0, done.out + done.err)
            done = self.ours("check", "-q", image)
            self.assertEqual(done.status, 0, done.out + done.err)

    def assert_equal(self):
        done = self.theirs("compare", "-s", "-q", "ours.qcow2",
                           "theirs.qcow2")
        if done.status:
            done = self.theirs("compare", "ours.qcow2", "theirs.qcow2")
        self.assertEqual(done.status, 0, done.out + done.err)
        self.assertNotIn("size", done.out)

    def test_same_outcome(self):
        self.make()
        for args in SAME:
            with self.subTest(args=args):
                self.both(*args)
                if "raw" not in args:
                    self.assert_sound("ours.qcow2")
                    self.assert_equal()

    def test_every_kind_of_image_grows_and_shrinks(self):
        for name in IMAGES:
            with self.subTest(image=name):
                self.setUp()
                self.make(name)
                if name == "v2-over":
                    # qemu-img cannot hide the backing file there.
                    self.assertEqual(
                        self.ours("resize", "a.qcow2", "3M").status, 0)
                    self.assert_sound("a.qcow2")
                    self.io("read -P 0 1M 2M")
                elif not name.startswith("data"):
                    self.both("3M")
                    self.assert_sound("ours.qcow2", "theirs.qcow2")
                    self.assert_equal()
                    self.both("--shrink", "600k")
                    self.assert_equal()
                    self.assert_sound("ours.qcow2", "theirs.qcow2")
                if not name.startswith("data"):
                    continue
                for args in (["3M"], ["--shrink", "200k"]):
                    done = self.ours("resize", *args[:-1], "a.qcow2",
                                     args[-1])
                    self.assertEqual(done.status, 0, done.err)
                    self.assert_sound("a.qcow2")
                self.assertEqual(os.path.getsize("d.raw"), 200 << 10)

    def test_each_goes_on_where_the_other_stopped(self):
        self.make("small")
        for size in ("1500k", "700k", "10M", "100k", "2M"):
            self.assertEqual(self.ours("resize", "--shrink", "a.qcow2",
                                       size).status, 0)
            self.assert_sound("a.qcow2")
            self.io("write -P 19 60k 30k")
            self.assertEqual(self.theirs("resize", "-q", "--shrink", "-f",
                                         "qcow2", "a.qcow2", "+64k").status,
                             0)
            self.assert_sound("a.qcow2")
        self.io("read -P 17 0 60k", "read -P 19 60k 30k", "read -P 0 90k 1958k")

    def test_raw_files(self):
        for args in (["2M"], ["+5k"], ["--shrink", "5k"], ["5k"],
                     ["--preallocation=full", "5M"],
                     ["--preallocation=falloc", "5M"],
                     ["--preallocation=metadata", "5M"], ["1000"], ["0"]):
            with self.subTest(args=args):
                with open("r.raw", "wb") as f:
                    f.write(b"x" * 1048576)
                shutil.copy("r.raw", "s.raw")
                got = self.drop_in("resize", "-f", "raw", *args[:-1],
                                   "r.raw", args[-1])
                expected = self.theirs("resize", "-f", "raw", *args[:-1],
                                       "s.raw", args[-1])
                self.assertEqual((got.status, got.out),
                                 (expected.status, expected.out), got.err)
                with open("r.raw", "rb") as f, open("s.raw", "rb") as g:
                    self.assertEqual(f.read(), g.read())

    def test_refuses_wrong_calls(self):
        self.make()
        for args in (["resize"], ["resize", "a.qcow2"],
                     ["resize", "a.qcow2", "b.qcow2", "1M"],
                     ["resize", "gone.qcow2", "1M"],
                     ["resize", "--nothing", "a.qcow2", "1M"],
                     ["resize", "base.raw", "2M"]):
            with self.subTest(args=args):
                self.assert_refused(self.ours(*args))

    def test_says_how_to_shrink(self):
        self.make()
        done = self.ours("resize", "a.qcow2", "100k")
        self.assert_refused(done, "--shrink", "all data beyond")

    def test_r19_growing_hides_a_longer_backing_file(self):
        for name in ("over", "v2-over", "sub-over"):
            with self.subTest(image=name):
                self.setUp()
                self.make(name, size="520k", fill=False)
                self.assertEqual(
                    self.ours("resize", "a.qcow2", "567k").status, 0)
                self.io("read -P 0 520k 47k")
                self.assertEqual(
                    self.ours("resize", "a.qcow2", "4M").status, 0)
                self.io("read -P 0 520k 3576k")
                self.assert_sound("a.qcow2")

    def test_what_is_cut_off_does_not_come_back_by_qemu_img(self):
        """T8: it zeroes nothing where a disk ends inside a cluster."""
        for kind in ["plain", "small", "v2", "sub", "data"]:
            with self.subTest(kind):
                self.make(kind, fill=False)
                self.io("write -P 17 0 1M")
                self.assertEqual(self.ours("resize", "--shrink", "a.qcow2",
                                           "300k").status, 0)
                self.assertEqual(self.theirs("resize", "-q", "-f", "qcow2",
                                             "a.qcow2", "1M").status, 0)
                self.io("read -P 17 0 300k", "read -P 0 300k 724k")

    def test_r19_preallocation_keeps_the_rest_of_a_cluster(self):
        self.make("sub-over", size="520k", fill=False)
        done = self.ours("resize", "--preallocation=metadata", "a.qcow2",
                         "700k")
        self.assertEqual(done.status, 0, done.err)
        with open("a.raw", "wb") as f:
            f.write(b"base" * (520 << 8) + bytes(180 << 10))
        done = self.theirs("compare", "-f", "qcow2", "-F", "raw", "a.qcow2",
                           "a.raw")
        self.assertEqual(done.status, 0, done.out + done.err)
        self.assert_sound("a.qcow2")

    def test_r19_snapshots_keep_their_size(self):
        self.make()
        self.theirs("snapshot", "-c", "s", "a.qcow2")
        for size in ("3M", "300k", "5M"):
            done = self.ours("resize", "--shrink", "a.qcow2", size)
            self.assertEqual(done.status, 0, done.err)
            self.assert_sound("a.qcow2")
        self.assertEqual(self.theirs("snapshot", "-a", "s",
                                     "a.qcow2").status, 0)
        self.assert_sound("a.qcow2")
        self.io("read -P 17 0 70k", "read -P 18 500k 200k")
        self.assertEqual(self.ours("info", "--output=json",
                                   "a.qcow2").json()["virtual-size"],
                         1 << 20)

    def test_r19_version_2_with_snapshots_is_refused(self):
        self.make("v2")
        self.theirs("snapshot", "-c", "s", "a.qcow2")
        self.both("2M")
        self.assert_refused(self.ours("resize", "a.qcow2", "2M"), "snapshot")

    def test_r20_shrinking_a_large_disk_gives_its_tables_back(self):
        self.make("small", size="1M", fill=False)
        done = self.ours("resize", "--preallocation=metadata", "a.qcow2",
                         "200M")
        self.assertEqual(done.status, 0, done.err)
        self.assert_sound("a.qcow2")
        done = self.ours("resize", "--shrink", "a.qcow2", "100k")
        self.assertEqual(done.status, 0, done.err)
        self.assert_sound("a.qcow2")
        self.assertLess(os.stat("a.qcow2").st_blocks * 512, 8 << 20)

    def test_r12_preallocation_of_a_data_file(self):
        self.make("data")
        done = self.ours("resize", "--preallocation=full", "a.qcow2", "3M")
        self.assertEqual(done.status, 0, done.err)
        self.assertEqual(os.path.getsize("d.raw"), 3 << 20)
        self.assertLess(os.path.getsize("a.qcow2"), 1 << 20)
        self.io("read -P 0 1M 2M")
        self.assert_sound("a.qcow2")


if __name__ == "__main__":
    case.main()
