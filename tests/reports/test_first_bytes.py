#!/usr/bin/env python3
"""F07, F13, F14, F15, -m: the first bytes of an image, odd header fields,
hints, options that change nothing, and how many threads are started.

Usage: test_first_bytes.py COMMAND
"""

import os
import shutil
import subprocess
import tempfile

import targets
from targets import images, read
from case import Case, Result, UNDER_STRACE, main


class FirstBytes(Case):
    def setUp(self):
        self.here = tempfile.mkdtemp(dir=self.dir)
        os.chdir(self.here)

    def tearDown(self):
        os.chdir(self.dir)

    def assert_worked(self, done):
        self.assertEqual(done.status, 0, done.err)
        return done

    # F07.

    def head(self, source, n):
        return targets.write("h", read(source)[:n])

    def info_as_qemu(self, n, *options, size="10G", io=()):
        images.make("s", *options, size=size, io=io)
        path = self.head("s", n)
        theirs = self.theirs("info", "--output=json", path)
        self.assert_worked(theirs)
        ours = self.assert_worked(self.ours("info", "--output=json", path))
        mine, other = ours.json(), theirs.json()
        for key in ("virtual-size", "cluster-size", "format"):
            self.assertEqual(mine[key], other[key])
        self.assertEqual(mine["format-specific"]["data"]["compat"],
                         other["format-specific"]["data"]["compat"])
        return self.assert_worked(self.ours("info", path))

    def test_f07_info_on_the_first_64_kib(self):
        self.info_as_qemu(65536)

    def test_f07_info_on_the_first_512_bytes(self):
        self.info_as_qemu(512)

    def test_f07_info_on_the_first_sector_of_version_2(self):
        self.info_as_qemu(512, "-o", "compat=0.10")

    def test_f07_info_on_the_first_mebibyte(self):
        self.info_as_qemu(1 << 20, size="4G",
                          io=["write 0 4M", "write 1G 1M"])

    def test_f07_info_notes_what_is_missing(self):
        done = self.info_as_qemu(65536)
        self.assertRegex(done.out + done.err,
                         "(?i)end|miss|short|beyond|past|cut")

    def test_f07_info_on_the_first_bytes_with_a_backing_file(self):
        images.make("base")
        images.make("s", "-b", "base", "-F", "qcow2")
        done = self.assert_worked(self.ours(
            "info", "--output=json", self.head("s", 65536)))
        self.assertEqual(done.json()["backing-filename"], "base")

    def test_f07_info_on_the_first_bytes_of_an_image_with_snapshots(self):
        """The table of snapshots is not there; the header is all the same."""
        images.make("s", io=["write 0 1M"])
        images.qemu_img("snapshot", "-c", "x", "s")
        done = self.ours("info", "--output=json", self.head("s", 65536))
        self.assert_worked(done)
        self.assertEqual(done.json()["virtual-size"], 4 << 20)

    def test_f07_reading_the_disk_of_the_first_bytes_fails(self):
        images.make("s", io=["write -P 3 0 1M"])
        done = self.ours("convert", "-O", "raw", self.head("s", 65536), "x")
        self.assertEqual(done.status, 1)
        self.assertFalse(os.path.exists("x"))

    # F13.

    def as_qemu_reads(self, image, words=("convert", "-O", "raw", "odd", "x")):
        image.save("odd")
        theirs = self.theirs(*words)
        self.assert_worked(theirs)
        expected = read("x") if "x" in words else None
        self.assert_worked(self.ours(*words))
        if expected is not None:
            self.assertTrue(read("x") == expected)

    def test_f13_a_backing_file_name_of_length_0_at_some_offset(self):
        images.make("s", io=["write -P 3 0 1M"])
        self.as_qemu_reads(images.Header("s").put(">Q", 8, 65000))

    def test_f13_a_backing_file_offset_far_away_without_a_name(self):
        images.make("s", io=["write -P 3 0 1M"])
        image = images.Header("s").put(">Q", 8, 1 << 40)
        image.save("odd")
        theirs = self.theirs("convert", "-O", "raw", "odd", "x")
        ours = self.ours("convert", "-O", "raw", "odd", "x")
        self.assertEqual(ours.status, theirs.status, ours.err)

    def test_f13_a_snapshot_offset_without_snapshots(self):
        images.make("s", io=["write -P 3 0 1M"])
        for off in (12345, 1 << 50, 3 << 16):
            with self.subTest(off=off):
                image = images.Header("s").put(">Q", 64, off)
                image.save("odd")
                theirs = self.theirs("convert", "-O", "raw", "odd", "x")
                ours = self.ours("convert", "-O", "raw", "odd", "x")
                self.assertEqual(ours.status, theirs.status, ours.err)

    def test_f13_unknown_compatible_features(self):
        images.make("s", io=["write -P 3 0 1M"])
        self.as_qemu_reads(images.Header("s").put(">Q", 80, 1 << 60))

    def test_f13_bytes_after_the_end_extension(self):
        images.make("s", io=["write -P 3 0 1M"])
        image = images.Header("s")
        image.bytes[600:900] = b"\xa5" * 300
        self.as_qemu_reads(image)

    def test_f13_a_longer_header_with_zeros(self):
        images.make("s", "-o", "compat=1.1", io=["write -P 3 0 1M"])
        image = images.Header("s")
        old = image.get(">I", 100)
        tail = image.bytes[old:65536 - 48]
        image.bytes[old:65536] = bytes(48) + tail
        image.put(">I", 100, old + 48)
        self.as_qemu_reads(image)

    # F14.

    def test_f14_a_mode_that_is_refused_gets_no_hint_about_references(self):
        images.make("s")
        for words in (["convert", "-O", "raw", "s", "/proc/x"],
                      ["create", "-q", "-f", "qcow2", "/proc/x", "1M"],
                      ["info", "/proc/1/nosuch"]):
            with self.subTest(words=words):
                done = self.ours(*words)
                self.assertEqual(done.status, 1)
                self.assertNotIn("--external", done.err)

    @targets.needs_root
    def test_f14_a_file_that_may_not_be_changed_gets_no_hint_of_the_gate(self):
        images.make("s")
        try:
            targets.call("chattr", "+i", "s")
        except (OSError, subprocess.CalledProcessError):
            self.skipTest("no immutable files here")
        try:
            for words in (["io", "-c", "write 0 4k", "s"],
                          ["convert", "-O", "raw", "s", "s"],
                          ["create", "-q", "-f", "qcow2", "s", "1M"]):
                done = self.ours(*words)
                self.assertEqual(done.status, 1)
                self.assertNotIn("--external", done.err)
        finally:
            targets.call("chattr", "-i", "s")

    def test_f14_a_reference_that_is_refused_gets_the_hint(self):
        images.make("/".join([self.dir, "outside"]))
        images.make("s", "-u", "-b", "../outside", "-F", "qcow2")
        done = self.ours("convert", "--external=dir", "-O", "raw", "s", "x")
        self.assertEqual(done.status, 1)
        self.assertIn("--external", done.err)

    # F15.

    def test_f15_options_with_the_value_that_changes_nothing(self):
        for options in ("encryption=off", "nocow=off", "encryption=off,nocow="
                        "off,lazy_refcounts=off", "extended_l2=off",
                        "data_file_raw=off", "preallocation=off",
                        "compression_type=zlib"):
            with self.subTest(options=options):
                theirs = self.theirs("create", "-q", "-f", "qcow2", "-o",
                                     options, "t", "1M")
                self.assert_worked(theirs)
                ours = self.drop_in("create", "-q", "-f", "qcow2", "-o",
                                    options, "o", "1M")
                self.assert_worked(ours)

    def test_f15_options_of_raw_targets(self):
        images.make("s", io=["write -P 3 0 1M"])
        for options in ("preallocation=off", "preallocation=falloc",
                        "preallocation=full", "nocow=off", "size=4M"):
            for words in (["create", "-q", "-f", "raw", "-o", options, "o",
                           "4M"],
                          ["convert", "-O", "raw", "-o", options, "s", "o"]):
                with self.subTest(words=words):
                    theirs = self.theirs(*words)
                    size = os.stat("o").st_blocks
                    os.unlink("o")
                    ours = self.drop_in(*words)
                    self.assertEqual(ours.status, theirs.status, ours.err)
                    if "off" not in options and "size" not in options:
                        self.assertGreaterEqual(os.stat("o").st_blocks + 64,
                                                size)

    def test_f15_the_size_of_a_converted_disk_is_the_sources(self):
        images.make("s", size="4M", io=["write -P 3 0 1M"])
        for fmt in "raw", "qcow2":
            for size in "4M", "2M", "8M", "4194305", "foo":
                with self.subTest(format=fmt, size=size):
                    words = ("convert", "-O", fmt, "-o", f"size={size}", "s")
                    theirs = self.theirs(*words, "t")
                    for run in self.drop_in, self.ours:
                        ours = run(*words, "o")
                        self.assertEqual(ours.status, theirs.status, ours.err)
                        if theirs.status == 0:
                            self.assert_worked(self.theirs(
                                "compare", "-f", "qcow2", "-F", fmt, "s",
                                "o"))
                            self.assertIn("(4194304 bytes)", self.theirs(
                                "info", "-f", fmt, "o").out)
                    self.assertEqual("warning" in ours.err,
                                     theirs.status == 0 and size != "4M")

    def test_f15_convert_and_amend_take_them_too(self):
        images.make("s")
        for words in (["convert", "-O", "qcow2", "-o",
                       "encryption=off,nocow=off", "s", "o"],):
            theirs = self.theirs(*words)
            ours = self.drop_in(*words)
            self.assertEqual(ours.status, theirs.status, ours.err)

    def test_f15_what_would_change_something_is_still_refused(self):
        done = self.drop_in("create", "-q", "-f", "qcow2", "-o",
                            "nocow=perhaps", "o", "1M")
        self.assertEqual(done.status, 1)

    # F17.

    @targets.needs_root
    def test_f17_the_disk_size_of_a_block_device_is_its_own(self):
        targets.write("img", bytes(8 << 20))
        try:
            device = subprocess.run(["losetup", "-f", "--show", "img"],
                                    check=True, capture_output=True,
                                    text=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            self.skipTest("no loop devices here")
        try:
            ours = self.drop_in("info", "-f", "raw", "--output=json", device)
        finally:
            targets.call("losetup", "-d", device)
        # As docs/qemu-differences.md says; qemu-img says 0.
        self.assertEqual(ours.json()["actual-size"], 8 << 20)

    # -m N.

    def threads_at_work(self, *words):
        """The number of threads of a command that transferred data."""
        done = subprocess.run(
            ["strace", "-f", "-qq", "-o", "trace", "-e",
             "trace=preadv,preadv2,pread64,pwritev,pwritev2,pwrite64,"
             "copy_file_range", f"{self.dir}/bin/qemu-img", *words],
            env=UNDER_STRACE, capture_output=True, check=False)
        self.assertEqual(Result(done).status, 0, done.stderr)
        return len({line.split()[0] for line in read("trace").splitlines()})

    def test_m_the_number_of_threads_follows_the_machine(self):
        """Threads beyond the number of processors work while others wait.  On
        a machine that is busy with something else they do: one quiet moment in
        five is enough."""
        if not shutil.which("strace"):
            self.skipTest("no strace")
        images.make("s", size="64M", io=["write -P 3 0 48M"])
        read("s")
        processors = len(os.sched_getaffinity(0))
        for n in ("8", "16"):
            for fmt in ("raw", "qcow2"):
                with self.subTest(n=n, fmt=fmt):
                    self.assertTrue(any(self.threads_at_work(
                        "convert", "-W", "-m", n, "-O", fmt, "s", "x")
                        <= processors + 2 for _ in range(5)))

    def test_m_a_depth_is_still_a_number_from_1_to_16(self):
        images.make("s")
        for n, status in (("1", 0), ("16", 0), ("0", 1), ("-1", 1),
                          ("x", 1)):
            with self.subTest(n=n):
                words = ["convert", "-m", n, "-O", "raw", "s", "x"]
                self.assertEqual(self.theirs(*words).status, status)
                self.assertEqual(self.drop_in(*words).status, status)


if __name__ == "__main__":
    main()
