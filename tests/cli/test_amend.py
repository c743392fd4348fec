"""`amend` makes and refuses the same changes as qemu-img, and leaves images
that qemu-img finds sound."""

import os
import shutil
import struct

import case

SAME = [
    "compat=0.10", "compat=1.1", "compat=v2", "compat=v3", "compat=0.9",
    "compat=0.10,lazy_refcounts=on", "lazy_refcounts=on",
    "lazy_refcounts=off", "lazy_refcounts", "lazy_refcounts=x",
    "refcount_bits=1", "refcount_bits=2", "refcount_bits=4",
    "refcount_bits=8", "refcount_bits=16", "refcount_bits=32",
    "refcount_bits=64", "refcount_bits=3", "refcount_bits=128",
    "refcount_bits=0", "compat=0.10,refcount_bits=8",
    "size=3M", "size=300k", "size=1000", "size=x", "data_file_raw=on",
    "data_file=x", "cluster_size=65536", "cluster_size=4k",
    "extended_l2=on", "compression_type=zstd", "preallocation=off",
    "encryption=on", "encrypt.format=luks", "nothing=1",
    "backing_file=base.raw", "backing_file=base.raw,backing_fmt=raw",
    "backing_file=",
]

KINDS = {
    "plain": ["-o", "cluster_size=4k"],
    "small": ["-o", "cluster_size=512"],
    "v2": ["-o", "compat=0.10"],
    "over": ["-b", "base.raw", "-F", "raw"],
    "lazy": ["-o", "lazy_refcounts=on"],
}

# Changes that qemu-img takes for none at all, and we refuse.
DIFFERENT = [
    ("over", "backing_file=base.raw,backing_fmt=raw"),
    ("over", "backing_file=base.raw"),
    ("lazy", "compat=0.10,lazy_refcounts=on"),
]

REFUSED_BY_V2 = {
    "zstd": ["-o", "compression_type=zstd"],
    "extended_l2": ["-o", "extended_l2=on"],
    "data file": ["-o", "data_file=d.raw"],
    "refcount_bits=16": ["-o", "refcount_bits=8"],
}


def header(path):
    with open(path, "rb") as f:
        return f.read(65536)


class Amend(case.Case):
    def setUp(self):
        for name in os.listdir("."):
            if name != "bin":
                os.unlink(name)
        with open("base.raw", "wb") as f:
            f.write(b"base" * (3 << 18))

    def make(self, *options, size="1M", data=True):
        done = self.theirs("create", "-q", "-f", "qcow2", *options, "a.qcow2",
                           size)
        self.assertEqual(done.status, 0, done.err)
        if data:
            self.io("write -P 17 0 200k", "write -z 64k 64k",
                    "write -P 18 500k 20k", "write -z 700k 100k")

    def io(self, *commands, image="a.qcow2"):
        args = [word for c in commands for word in ("-c", c)]
        done = case.run(case.QEMU_IO, *args, "-f", "qcow2", image)
        self.assertEqual(done.status, 0, done.out + done.err)
        self.assertNotIn("failed", done.out)

    def amend(self, options, status=0, image="a.qcow2"):
        done = self.ours("amend", "-o", options, image)
        self.assertEqual(done.status, status, done.err)
        return done

    def info(self, image="a.qcow2"):
        return self.ours("info", "--output=json", image).json()

    def specific(self, image="a.qcow2"):
        return self.info(image)["format-specific"]["data"]

    def assert_sound(self, *images):
        for image in images or ("a.qcow2",):
            done = self.theirs("check", "-q", image)
            self.assertEqual(done.status, 0, done.out + done.err)
            done = self.ours("check", "-q", image)
            self.assertEqual(done.status, 0, done.out + done.err)

    def assert_contents(self, a, b):
        done = self.theirs("compare", a, b)
        self.assertEqual(done.status, 0, done.out + done.err)

    def both(self, options):
        for who in ("ours", "theirs"):
            shutil.copy("a.qcow2", f"{who}.qcow2")
        got = self.drop_in("amend", "-f", "qcow2", "-o", options,
                           "ours.qcow2")
        expected = self.theirs("amend", "-f", "qcow2", "-o", options,
                               "theirs.qcow2")
        self.assertEqual((got.status, got.out),
                         (expected.status, expected.out),
                         f"{options}\n{got.err}{expected.err}")
        self.assert_sound("ours.qcow2")
        self.assert_contents("ours.qcow2", "theirs.qcow2")
        self.assertEqual(self.specific("ours.qcow2"),
                         self.specific("theirs.qcow2"), options)

    def test_same_outcome(self):
        for kind, args in KINDS.items():
            self.setUp()
            self.make(*args)
            for options in SAME:
                if (kind, options) in DIFFERENT:
                    continue
                with self.subTest(kind=kind, options=options):
                    self.both(options)

    def test_each_goes_on_where_the_other_stopped(self):
        self.make("-o", "cluster_size=4k", "-b", "base.raw", "-F", "raw")
        shutil.copy("a.qcow2", "first.qcow2")
        for ours, theirs in (("compat=0.10", "compat=1.1"),
                             ("refcount_bits=64", "refcount_bits=2"),
                             ("refcount_bits=16,compat=v2", "compat=1.1"),
                             ("compat=v3", "refcount_bits=1")):
            self.amend(ours)
            self.assert_sound()
            done = self.theirs("amend", "-f", "qcow2", "-o", theirs,
                               "a.qcow2")
            self.assertEqual(done.status, 0, done.err)
            self.assert_sound()
        self.assert_contents("a.qcow2", "first.qcow2")

    def test_snapshots_survive_every_change(self):
        for kind in ("plain", "over"):
            self.setUp()
            self.make(*KINDS[kind])
            shutil.copy("a.qcow2", "first.qcow2")
            self.theirs("snapshot", "-c", "s", "a.qcow2")
            self.io("write -P 20 0 300k", "write -z 100k 600k")
            for options in ("compat=0.10", "compat=1.1", "refcount_bits=64",
                            "refcount_bits=2", "size=3M",
                            "lazy_refcounts=on"):
                with self.subTest(kind=kind, options=options):
                    self.amend(options)
                    self.assert_sound()
            self.theirs("snapshot", "-a", "s", "a.qcow2")
            self.assert_contents("a.qcow2", "first.qcow2")
            self.assert_sound()

    def test_a_refcount_that_does_not_fit_is_said(self):
        self.make()
        for i in range(3):
            self.theirs("snapshot", "-c", f"s{i}", "a.qcow2")
        done = self.amend("refcount_bits=1", status=1)
        self.assert_refused(done, "refcount")
        self.assert_sound()
        self.amend("refcount_bits=4")
        self.assert_sound()

    def test_version_2_refuses_what_it_has_no_place_for(self):
        for word, args in REFUSED_BY_V2.items():
            with self.subTest(what=word):
                self.make(*args, data=False)
                before = header("a.qcow2")
                done = self.amend("compat=0.10", status=1)
                self.assert_refused(done, word)
                self.assertEqual(header("a.qcow2"), before)

    def test_s1_version_2_refuses_snapshots_of_another_size(self):
        self.make(data=False)
        self.ours("snapshot", "-c", "bar", "a.qcow2")
        self.ours("resize", "--shrink", "a.qcow2", "64k")
        before = header("a.qcow2")
        self.assert_refused(self.amend("compat=0.10", status=1), "bar")
        self.assertEqual(header("a.qcow2"), before)

    def test_version_2_refuses_bitmaps(self):
        self.make(data=False)
        self.theirs("bitmap", "--add", "a.qcow2", "b")
        self.assert_refused(self.amend("compat=0.10", status=1), "bitmap")
        self.assertEqual(len(self.specific()["bitmaps"]), 1)

    def test_the_backing_file(self):
        self.make("-o", "cluster_size=4k")
        self.amend("backing_file=base.raw,backing_fmt=raw")
        self.assertEqual(self.info()["backing-filename"], "base.raw")
        self.io("read -P 98 300k 1", "read -P 17 0 64k")
        name = "a-very/" * 60 + "long-name"
        self.amend(f"backing_file={name},backing_fmt=qcow2")
        self.assertEqual(self.theirs("info", "--output=json",
                                     "a.qcow2").json()["backing-filename"],
                         name)
        self.assertEqual(self.ours("amend", "--external=none", "-o",
                                   "backing_file=", "a.qcow2").status, 1)

    def test_the_backing_file_goes(self):
        self.make("-b", "base.raw", "-F", "raw")
        self.amend("backing_file=")
        self.assertNotIn("backing-filename", self.info())
        self.assertNotIn("backing-filename-format", self.info())
        self.io("read -P 0 256k 128k")
        self.assert_sound()

    def test_a_backing_file_needs_its_format(self):
        self.make()
        self.assert_refused(self.amend("backing_file=base.raw", status=1),
                            "backing_format")

    def test_r44_all_that_a_header_says_stays(self):
        self.make("-o", "compression_type=zstd,cluster_size=64k",
                  "-b", "base.raw", "-F", "raw", data=False)
        with open("a.qcow2", "r+b") as f:
            raw = f.read(65536)
            at = 112
            while struct.unpack(">I", raw[at:at + 4])[0]:
                n = struct.unpack(">I", raw[at + 4:at + 8])[0]
                at += 8 + (n + 7) // 8 * 8
            # An extension that nobody knows, the end mark, and the name.
            unknown = struct.pack(">II", 0x12345678, 11) + b"hello world"
            f.seek(at)
            f.write(unknown.ljust(24, b"\0") + bytes(8) + b"base.raw")
            f.seek(8)
            f.write(struct.pack(">QI", at + 32, 8))
        names = raw.count(b"dirty bit")
        for options in ("lazy_refcounts=on", "size=3M", "refcount_bits=64",
                        "backing_file=base.raw,backing_fmt=raw",
                        "backing_file=./base.raw,backing_fmt=raw",
                        "backing_file="):
            with self.subTest(options=options):
                self.amend(options)
                now = header("a.qcow2")
                self.assertIn(b"hello world", now)
                self.assertEqual(now.count(b"dirty bit") >= names, True)
                self.assertEqual(self.specific()["compression-type"], "zstd")
                self.assert_sound()

    def test_r44_version_2_has_no_fields_of_version_3(self):
        self.make("-o", "lazy_refcounts=on")
        self.amend("compat=0.10,lazy_refcounts=off")
        now = header("a.qcow2")
        self.assertEqual(now[4:8], bytes([0, 0, 0, 2]))
        self.assertEqual(now[72:80], bytes(8))
        self.assert_sound()

    def test_help_and_wrong_calls(self):
        self.make()
        done = self.ours("amend", "-o", "help", "a.qcow2")
        self.assertEqual(done.status, 0)
        self.assertIn("refcount_bits=<num>", done.out)
        for args in (["a.qcow2"], ["-o", "compat=1.1"],
                     ["-o", "compat=1.1", "a.qcow2", "b.qcow2"],
                     ["-f", "raw", "-o", "size=1M", "base.raw"],
                     ["-t", "much", "-o", "compat=1.1", "a.qcow2"]):
            with self.subTest(args=args):
                self.assert_refused(self.ours("amend", *args))

    def test_progress(self):
        self.make()
        done = self.ours("amend", "-p", "-o", "refcount_bits=64", "a.qcow2")
        self.assertEqual(done.status, 0, done.err)
        self.assertIn("(100.00/100%)", done.out)


if __name__ == "__main__":
    case.main()
